# One command a purpose; `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PYTEST ?= $(BIN)/pytest
SOURCES := project broker monitoring tests benchmarks compose
# Integration tests mostly wait: three files at a time keep two cores busy.
BESIDE ?= -n 3 --dist loadfile --no-loadscope-reorder
# What `make matrix` runs, and on which Celery beside the newest.
CELERY ?= 5.5 5.6
CELERY_UNIT := tests/unit/worker tests/unit/test_extension.py \
  tests/unit/test_celery_commands.py tests/unit/test_celery_cadence.py
CELERY_PATHS := tests/integration/test_worker_runs.py tests/integration/test_whole_path.py

# The stamps carry pyproject.toml's checksum: dependencies are installed again
# when it changes, and a second `make` costs nothing.
SUM := $(shell cksum < pyproject.toml | cut -d' ' -f1)
RUN := $(VENV)/.run-$(SUM)
DEV := $(VENV)/.dev-$(SUM)

help: ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(RUN) ## a shop with its tasks, beat, workers, monitor, Flower and pages (Ctrl-C stops it)
	@exec $(BIN)/metronome demo

test: unit integration ## the whole test suite: unit, then integration

unit: $(DEV) ## the unit tests: no network, no Docker
	$(PYTEST) tests/unit -n auto $(ARGS)

integration: $(DEV) ## the integration tests: real broker, databases, processes, browser
	@./tests/integration/prepare.sh
	$(PYTEST) tests/integration $(BESIDE) $(ARGS)

matrix: ## the worker's tests on older Celery versions
	@./tests/integration/prepare.sh
	@set -e; for version in $(CELERY); do \
	  echo "Celery $$version, in $(VENV)-celery-$$version …"; \
	  python=$(VENV)-celery-$$version/bin/python; \
	  [ -x $$python ] || $(PYTHON) -m venv $(VENV)-celery-$$version; \
	  $$python -m pip install -q -q --disable-pip-version-check -e '.[dev]' "celery==$$version.*"; \
	  $$python -m pytest $(CELERY_UNIT) $(ARGS); \
	  $$python -m pytest $(CELERY_PATHS) -k 'test_worker_runs or lane or results or live' $(ARGS); \
	done

check: lint unit ## format, lint, types, layers and unit tests: what a commit must pass

lint: $(DEV) ## format, lint, types and layers
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV) ## format the code and mend what ruff can mend
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

bench: $(DEV) ## run the benchmarks and print their tables
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove the virtualenv, caches and built files
	rm -rf $(VENV) $(VENV)-celery-* dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find project broker monitoring tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: Python 3.11 or later is needed, got `$(PYTHON) --version 2>&1`; name another one with PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUN): | $(BIN)/python
	@echo "Installing Flask-Metronome into $(VENV) …"
	@$(BIN)/python -m pip install -q -q --disable-pip-version-check -e '.[demo]'
	@rm -f $(VENV)/.run-* && touch $@

$(DEV): | $(BIN)/python
	@echo "Installing Flask-Metronome and what its tests need into $(VENV) …"
	@$(BIN)/python -m pip install -q -q --disable-pip-version-check -e '.[dev]'
	@rm -f $(VENV)/.run-* $(VENV)/.dev-* && touch $(RUN) $@

.PHONY: help demo test unit integration matrix check lint format bench clean
