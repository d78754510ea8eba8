# Everything a developer or a newcomer types. Needs python3 (3.11 or later, with venv) and make; the rest is
# installed into .venv from the pinned, hashed lists in requirements/. Nothing is done twice: each step leaves a stamp.
# Another Python has an environment of its own: make test PYTHON=python3.13 VENV=.venv-3.13

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test short soak check format bench lock peers clean

# Tests start hundreds of processes. Where Python may not keep what it has compiled, as is usual in containers, each of them
# compiles the gateway anew, which takes it as long as all the rest of its start.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip -qq --disable-pip-version-check
# The suite is shared out by files, the slow end-to-end ones first; one process more than there are cores, at most four,
# since they wait for half of their time.
SHARED = --numprocesses $(shell $(PY) -c 'import os; print(min(4, 1 + (os.cpu_count() or 1)))') \
	--dist loadfile --no-loadscope-reorder
# End-to-end tests of what depends on the version of Python: TLS towards servers, sockets, processes, the event loop.
MAIN = $(patsubst %,tests/e2e/test_e2e_%.py,http conditions upstream upstream_certificate reload publish \
	revocation_lists ntlm upgrade demo init)
# Arguments for the program behind a target: make demo ARGS=--once
ARGS ?=

help: ## what there is to make
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.run ## a CA, a user, a mail server and the gateway on loopback, to try out (ARGS=--once: show and end)
	@$(PY) -m gateway demo $(ARGS)

test: $(VENV)/.dev peers ## the whole suite, with the coverage each package must have (ARGS=tests/unit/policy: only that)
	@data=$$(mktemp -d); trap 'rm -rf "$$data"' EXIT; COVERAGE_FILE=$$data/coverage \
		$(PY) -m pytest $(or $(ARGS),$(SHARED) -p tests.coverage_gate --cov --cov-report=)

short: $(VENV)/.dev peers ## the unit tests and the main end-to-end ones, coverage not counted
	@$(PY) -m pytest $(SHARED) $(MAIN) tests/unit

soak: $(VENV)/.dev peers ## property tests and random dialogues, other ones each time, for ten minutes (ARGS="--minutes 60")
	@$(PY) -m tests.soak $(ARGS)

check: $(VENV)/.dev ## format, lint, types, import contracts
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -c 'from importlinter.cli import lint_imports_command as lint; lint()'

format: $(VENV)/.dev ## put the code into the project's format
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

bench: $(VENV)/.dev peers ## CPU and memory beside nginx, HAProxy, Caddy and aiohttp (ARGS="--only 1k --servers nginx,gateway")
	@$(PY) -m bench $(ARGS)

# Extras stay in the lists: where one package asks for another's extra, pip refuses a pin without it as soon as there is a
# newer release than the pinned one.
lock: $(VENV)/.dev ## choose versions anew (ARGS=--upgrade) and write requirements/*.txt with their hashes
	@compile() { $(PY) -m uv --quiet pip compile --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-strip-extras --custom-compile-command 'make lock' $(ARGS) "$$@" >/dev/null; }; \
	compile pyproject.toml -o requirements/run.txt; \
	compile requirements/build.in -o requirements/build.txt; \
	compile -c requirements/run.txt pyproject.toml requirements/dev.in -o requirements/dev.txt

peers:
	@.ci/peers

clean: ## remove .venv and everything that can be made again
	@rm -rf .venv .venv-* .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
		build dist
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(VENV)/.made:
	@.ci/venv "$(PYTHON)" "$(VENV)"
	@touch $@

$(VENV)/.run: $(VENV)/.made requirements/run.txt requirements/build.txt pyproject.toml
	@echo "Installing what the gateway needs into $(VENV)"
	@$(PIP) install --require-hashes -r requirements/run.txt -r requirements/build.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	@echo "Installing what checks and tests need into $(VENV)"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@
