# Two commands matter: `make demo` and `make test`. Both make the environment first; neither needs root or a running service.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

.PHONY: demo test lint types imports long bench constraints clean help

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $(STAMP)

demo: $(STAMP) ## the main job on generated purchases: live progress, a report, an inbox of caught mail
	$(BIN)/veredus demo

test: $(STAMP) lint types imports ## lint, types, import law, and the whole suite
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

long: $(STAMP) ## what takes an hour: 100,000 simulation seeds, long fuzzing
	$(BIN)/python -m pytest -m long --timeout 7200

bench: $(STAMP) ## every bench case, quickly
	$(BIN)/veredus bench all --quick

constraints: ## resolve all dependencies anew and pin them
	rm -rf $(VENV)-new
	$(PYTHON) -m venv $(VENV)-new
	$(VENV)-new/bin/python -m pip install --quiet --editable '.[test]'
	echo '# Exact versions of everything that `make` installs. Made anew with `make constraints`.' > constraints.txt
	$(VENV)-new/bin/python -m pip freeze --exclude-editable >> constraints.txt
	rm -rf $(VENV)-new

clean: ## remove the environment and what runs left
	rm -rf $(VENV) .veredus .mypy_cache .ruff_cache
