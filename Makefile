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
# What `make matrix` runs, and on which Celery beside the newest: what Celery decides.
CELERY ?= 5.5 5.6
CELERY_TESTS := $(addprefix tests/unit/,test_extension.py test_celery_commands.py \
    test_celery_cadence.py $(addprefix worker/test_,backend.py deaths.py \
    result_contract.py shown.py tasks.py tracing.py)) \
  $(addprefix tests/integration/test_,causes.py causes_shown.py worker_runs.py \
    worker_deaths.py dead_letters.py whole_path.py)

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

matrix: $(CELERY:%=$(VENV)-celery-%/.made-$(SUM)) ## the tests of what Celery decides, on older versions of it
	@./tests/integration/prepare.sh
	@$(MAKE) --no-print-directory --jobs $(CELERY:%=celery-%)

# Side by side, so each says its lines at its end.
.PHONY: $(CELERY:%=celery-%)
$(CELERY:%=celery-%): celery-%:
	@[ ! -e $(VENV)-celery-$*/.missing ] || { echo "Celery $*: left out, it cannot be installed here"; exit 0; }; \
	log=$(VENV)-celery-$*/tests.log; echo "Celery $*, in $(VENV)-celery-$* …"; \
	$(VENV)-celery-$*/bin/python -m pytest -p no:cacheprovider $(CELERY_TESTS) \
	  -k 'not test_whole_path or lane or results or live' $(ARGS) >$$log 2>&1; \
	status=$$?; echo "Celery $*:"; cat $$log; exit $$status

# An older Celery and what it needs, before everything else of $(VENV).
$(VENV)-celery-%/.made-$(SUM): | $(DEV)
	@echo "Installing Celery $* into $(VENV)-celery-$* …"
	@$(BIN)/python -m venv --clear $(VENV)-celery-$*
	@$(VENV)-celery-$*/bin/python -m pip install -q -q --disable-pip-version-check 'celery==$*.*' || \
	  touch $(VENV)-celery-$*/.missing
	@site='import sysconfig; print(sysconfig.get_path("purelib"))'; \
	  echo "import site; site.addsitedir('$$($(BIN)/python -c "$$site")')" \
	    > "$$($(VENV)-celery-$*/bin/python -c "$$site")/above.pth"
	@[ -e $(VENV)-celery-$*/.missing ] || touch $@

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

peers: ## measure other beats beside ours (Docker; installs them into a virtualenv of their own)
	@[ -x $(VENV)-peers/bin/python ] || $(PYTHON) -m venv $(VENV)-peers
	@$(VENV)-peers/bin/python -m pip install -q -q --disable-pip-version-check -e '.[postgres]' \
	  django-celery-beat sqlalchemy-celery-beat celery-redbeat
	$(VENV)-peers/bin/python -m benchmarks.peers $(ARGS)

clean: ## remove the virtualenv, caches and built files
	rm -rf $(VENV) $(VENV)-peers $(VENV)-celery-* dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
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

.PHONY: help demo test unit integration matrix check lint format bench peers clean
