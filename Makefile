# `make run` starts everything; `make test` proves it. Both need Python 3.11 or later, and nothing else.

PYTHON := $(shell for python in python3.11 python3 python3.12 python3.13 python3.14 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
HAS_PYTHON = test -n "$(PYTHON)" || { echo "imissive needs Python 3.11 or later: none is in PATH." >&2; exit 1; }
INSTALL := $(PYTHON) -P imissive/run/install.py $(VENV)
EMBEDDED := $(BIN)/python -m imissive.run.embedded --die-with-parent
# Tests to run, such as `make test TESTS="tests/messaging/text/test_encoding.py -k arabic"`.
TESTS ?=

# The seed of `make conformance`, `make shuffle` and `make drill`: the same number repeats the run.
SEED := $(shell date +%s)
DRILL_SECONDS ?= 120

# Without the bytecode cache, each of many processes would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test shuffle conformance axe screenshots lint drill bench clean help

run: $(VENV)/.run ## Start everything and say where it is
	@exec $(BIN)/python -m imissive.run.launch

test: $(VENV)/.dev ## Run all tests beside a PostgreSQL and a Valkey of their own
	@exec $(EMBEDDED) --fast -- $(BIN)/python -m pytest -n 4 --dist loadfile \
		--no-loadscope-reorder $(TESTS)

shuffle: $(VENV)/.dev ## Run all tests in random order; SEED=… repeats an order
	@echo "SEED=$(SEED)"
	@exec $(EMBEDDED) --fast -- $(BIN)/python -m pytest -p randomly --randomly-seed=$(SEED) \
		-n 4 --dist loadfile --no-loadscope-reorder $(TESTS)

conformance: $(VENV)/.dev ## Judge the API by its own schema for some minutes; SEED=… repeats a run
	@echo "SEED=$(SEED)"
	@CONFORMANCE_EXAMPLES=400 CONFORMANCE_SEED=$(SEED) exec $(EMBEDDED) --fast -- \
		$(BIN)/python -m pytest -n 2 --timeout 1800 tests/journeys/test_conformance.py

axe: $(VENV)/.dev ## Judge every page by axe, in both themes, both languages and two widths
	@AXE_ALL=1 exec $(EMBEDDED) --fast -- $(BIN)/python -m pytest -n 2 --dist load --timeout 1800 tests/journeys/test_axe.py

screenshots: $(VENV)/.dev ## Take every page in both themes, both languages and two widths, into ./screenshots
	@exec $(BIN)/python -m tests.screenshots

drill: $(VENV)/.dev ## Kill parts of a platform under load for DRILL_SECONDS, then count; SEED=… repeats the kills
	@exec $(BIN)/python -m tests.journeys.drill --seconds $(DRILL_SECONDS) --seed $(SEED)

bench: $(VENV)/.dev ## Measure this machine and print a table
	@exec $(BIN)/python -m tests.bench

lint: $(VENV)/.dev ## Everything about the code that a program can judge
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(EMBEDDED) --fast -- $(BIN)/mypy .
	$(BIN)/lint-imports
	$(EMBEDDED) --fast -- $(BIN)/python manage.py makemigrations --check --dry-run
	HTTPS=1 ALLOWED_HOSTS=sms.example.com PUBLIC_URL=https://sms.example.com \
		$(EMBEDDED) --fast -- $(BIN)/python manage.py check --deploy --fail-level WARNING

clean: ## Remove the environment and the caches; `var`, where the data is, stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(VENV)/.run: requirements.lock
	@$(HAS_PYTHON)
	@$(INSTALL) $< $@

$(VENV)/.dev: requirements-dev.lock
	@$(HAS_PYTHON)
	@$(INSTALL) $< $@ $(VENV)/.run
