# make demo: which backbone, answered on the embedded sample.   make test: everything tested.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo
READY := $(VENV)/.catdog-ready

.PHONY: demo test faults docs serve bench container readme notebooks clean
.NOTPARALLEL:

$(READY): settings.ini setup.py pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

# Where the Hugging Face Hub is reachable four families start from their own weights, else three start from weights of PyPI
demo: $(READY)
	$(BIN)/catdog find sample --candidates demo --image-size 96 --folds 3 --epochs 2 --scratch-epochs 3 --delta 6 --budget 4m --runs $(DEMO)/runs || test $$? -eq 3
	$(BIN)/catdog compare $(DEMO)/runs --out $(DEMO)/report
	@echo "The comparison, for a browser: $(abspath $(DEMO))/report/report.html"

test: $(READY)
	$(BIN)/python -m pytest -n auto --dist worksteal

# The long form of tests/faults: 120,000 damaged photos, kills at 25 moments of trainings and sweeps, every cached file damaged, full disks
faults: $(READY)
	CATDOG_FAULTS=long $(BIN)/python -m pytest tests/faults tests/test_find.py tests/test_label_the_disagreements.py tests/test_settings_are_refused_by_name.py tests/test_sweep.py tests/test_splits_and_copies.py tests/test_real_photos.py

docs: $(READY)
	$(BIN)/python scripts/docs.py
	$(BIN)/python scripts/live.py

# The rendered site at http://127.0.0.1:8000, until Ctrl-C
serve:
	$(PYTHON) -m http.server --bind 127.0.0.1 --directory _docs 8000

# Each prints a table and leaves a record, all of them in many hours; gpu.py where there is a card; then the site's page is made anew
HAS_CARD = $(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'
bench: $(READY)
	@set -e; for file in benchmarks/*.py; do name=$$(basename $$file .py); \
	case $$name in measure|rivals|expert) continue;; gpu) $(HAS_CARD) || continue;; esac; \
	$(BIN)/python $$file --json benchmarks/records/$$name.json; done
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace nbs/benchmarks.ipynb
	$(BIN)/nbdev-clean

# Both images of the Dockerfile, by whichever of these is there
CONTAINER ?= $(notdir $(firstword $(shell command -v docker podman buildah)))
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
container:
	@test -n "$(CONTAINER)" || { echo 'catdog: needs docker, podman or buildah' >&2; exit 2; }
	$(CONTAINER) build --target serve -t catdog-serve .
	$(CONTAINER) build --target train --build-arg TORCH_INDEX=$(TORCH_INDEX) -t catdog .

readme: $(READY)
	$(BIN)/python scripts/readme.py

# After editing notebooks: modules, README and clean notebooks
notebooks: $(READY)
	$(BIN)/nbdev-export
	$(BIN)/nbdev-clean
	$(BIN)/python scripts/readme.py

clean:
	rm -rf $(DEMO) _proc _docs build dist
