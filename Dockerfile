# docker build -t catdog .
# docker run --rm -v "$PWD/runs:/home/catdog/runs" catdog -p arch resnet18 -p weights none
FROM python:3.11-slim
RUN useradd --create-home --uid 1000 catdog
COPY settings.ini setup.py pyproject.toml MANIFEST.in README.md LICENSE /src/
COPY catdog /src/catdog
COPY nbs /src/nbs
RUN pip install --no-cache-dir '/src[offline]'
USER catdog
WORKDIR /home/catdog
RUN mkdir runs && cp /src/nbs/train.ipynb /src/nbs/compare.ipynb .
# papermill's own arguments follow: the defaults are those of train.ipynb
ENTRYPOINT ["papermill", "train.ipynb", "runs/train.ipynb"]
