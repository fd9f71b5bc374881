# Two images from one file; `make container` builds both with docker, podman or buildah.
#   serve   a trained network behind an address: no torch, under 400 MB
#           docker build --target serve -t catdog-serve .
#           docker run --rm --read-only -p 127.0.0.1:8000:8000 -v "$PWD/exported:/model:ro" -e CATDOG_API_KEY=... catdog-serve
#   train   all of catdog; TORCH_INDEX is the index of torch's wheels: CPU ones where it is left out
#           docker build --target train -t catdog .
#           mkdir -p runs
#           docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/photos:/photos:ro" -v "$PWD/runs:/app/runs" catdog train --data /photos
ARG BASE=python:3.11-slim

FROM ${BASE} AS wheel
WORKDIR /src
COPY settings.ini setup.py pyproject.toml MANIFEST.in README.md LICENSE ./
COPY catdog catdog
COPY nbs nbs
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
 && python -c "import configparser as c; s = c.ConfigParser(delimiters=['=']); s.read('settings.ini'); print(s['DEFAULT']['runtime_requirements'])" > /wheels/runtime.txt

FROM ${BASE} AS serve
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --no-compile --no-deps /wheels/*.whl && pip install --no-cache-dir --no-compile -r /wheels/runtime.txt
RUN mkdir /model && echo 'catdog:x:10001:10001::/tmp:/bin/false' >> /etc/passwd
ENV PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/ready', timeout=2)"]
ENTRYPOINT ["catdog", "serve"]
CMD ["/model/model.onnx", "--host", "0.0.0.0", "--port", "8000"]

FROM ${BASE} AS train
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} "$(ls /wheels/*.whl)[offline,speed,sources,photos,sweep,deploy,serve]"
# Any user may run it: what it writes goes to the mounted folder and to /cache, which may be mounted too
RUN mkdir -p /app/runs /cache && chmod 1777 /app /app/runs /cache \
 && cp "$(python -c 'from catdog.sweeps.job import find_notebook; print(find_notebook("train"))')" /app/
ENV HOME=/cache CATDOG_CACHE=/cache/catdog HF_HOME=/cache/huggingface XDG_CACHE_HOME=/cache MPLCONFIGDIR=/cache/matplotlib
WORKDIR /app
USER 10001:10001
ENTRYPOINT ["catdog"]
CMD ["--help"]
