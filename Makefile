# One command a chore. Each installs what it needs into $(VENV), once.

PYTHON ?= python3
VENV ?= .venv
DATA ?= cifar10
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet

.PHONY: help run train test lint bench docs release clean

help:
	@echo "make run     classify the example photograph with the bundled model"
	@echo "make test    run all tests"
	@echo "make train   train the CNN; DATA=cifar10 (default), digits, a folder of pictures or an .npz file"
	@echo "make lint    check style and types"
	@echo "make bench   measure start-up, bulk prediction and training against what people write (25 minutes)"
	@echo "make docs    write docs/commands.md again"
	@echo "make release build the wheel and the source archive in dist/, check both, and try the wheel alone"

run: $(VENV)/installed-base
	$(BIN)/thumbnet predict examples/cat.png

train: $(VENV)/installed-train
	$(BIN)/python train.py --data $(DATA)

# A file stays with one process: what its tests share is made once.
test: $(VENV)/installed-dev
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)/installed-train
	$(BIN)/python benchmarks/cold_start.py
	$(BIN)/python benchmarks/bulk.py --model cifar10-seed
	$(BIN)/python benchmarks/training.py build/training --runs 3 --seed-epochs 2 --only tutorial seed seed-2

docs: $(VENV)/installed-dev
	$(BIN)/python docs/commands.py > docs/commands.md

# The wheel has to work where nothing else is: in an empty environment, from another folder.
release: $(VENV)/installed-release
	rm -rf dist build/release
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	$(PYTHON) -m venv build/release
	build/release/bin/pip --disable-pip-version-check install --quiet dist/*.whl
	cd build/release && env -u PYTHONPATH bin/thumbnet predict --format jsonl $(CURDIR)/examples/cat.png | grep '"label": "cat"'

clean:
	rm -rf $(VENV) build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# One stamp a layer of dependencies; a changed pyproject.toml installs again.
$(VENV)/installed-base: $(BIN)/python pyproject.toml
	$(PIP) --editable .
	@touch $@

$(VENV)/installed-train: $(VENV)/installed-base
	$(PIP) --editable '.[train]'
	@touch $@

$(VENV)/installed-release: $(BIN)/python pyproject.toml
	$(PIP) --upgrade 'pip>=25.1'
	$(PIP) --group release
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed-train
	$(PIP) --upgrade 'pip>=25.1'
	$(PIP) --editable '.[check,litert,logs,scale,serve]' --group test --group lint
	@touch $@
