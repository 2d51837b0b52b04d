# The commands of the README. Everything lives in .venv; only Python >= 3.11 is needed beforehand.

PYTHON ?= python3
WORKERS ?= 2
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: lab test lint types unit bench conformance docs clean

lab: $(INSTALLED)  ## open JupyterLab on the tour
	$(BIN)/python -m tools.lab

test: lint types unit  ## everything: linters, types, layers, unit tests, notebooks, browser

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(INSTALLED)
	$(BIN)/mypy

unit: $(INSTALLED)
	$(BIN)/python -m pytest -n $(WORKERS)

bench: $(INSTALLED)  ## the benchmarks, as ratios to peers measured in the same run
	$(BIN)/python -m tests.benchmarks

conformance: $(INSTALLED)  ## ksqlDB's own cases, if they lie beside the project
	$(BIN)/python -m tests.conformance $(CASES)

CASES ?= ../shared/conformance/qtt ../shared/conformance/rqtt

docs: $(INSTALLED)  ## regenerate the pages made from code
	$(BIN)/python -m kalam_jupyter.ksql.functions.docs
	$(BIN)/python -m kalam_jupyter.ksql.property_docs

$(INSTALLED): pyproject.toml server_ext/jupyter-config/kalam_server.json
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
