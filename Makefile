# Binwire's commands. Each does its own set-up inside the checkout: a virtual environment, packages, servers, clients.
# Nothing is installed into the system, and none but `make fresh` needs root.

SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV_PYTHON := .venv/bin/python
PYTEST := $(VENV_PYTHON) -m pytest
SOURCES := binwire broker capture storage bench tests hatch_build.py

# `make demo RECORDS=12` ends by itself; `make test TESTS=tests/storage PYTEST_OPTIONS=-x` runs a part.
RECORDS ?=
RENEW ?=
FRAMES ?=
TESTS ?= tests
PYTEST_OPTIONS ?=

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

ACCELERATOR := hatch_build.py broker/search/_scan.c capture/_rows.c storage/_framing.c storage/_zigzag.h

.venv/.stamp: pyproject.toml tests/tools/requirements-dev.txt tests/tools/setup.sh $(ACCELERATOR)
	@PYTHON=$(PYTHON) sh tests/tools/setup.sh

.PHONY: setup
setup: .venv/.stamp ## the virtual environment and its packages

.PHONY: demo
demo: .venv/.stamp ## row changes of a small shop, recorded from a real server, read by a real Kafka client (RECORDS=N ends it)
	@$(VENV_PYTHON) -m binwire demo $(if $(RECORDS),--records $(RECORDS))

.PHONY: test
test: lint servers ## all that a change must pass: lint, types, core suite on real servers, one client of each family
	-@$(VENV_PYTHON) -m tests.tools.clients install --representative
	-@$(VENV_PYTHON) -m tests.tools.chromium install
	@$(PYTEST) -m "not torture and (not interop or representative)" $(PYTEST_OPTIONS) $(TESTS)

.PHONY: interop
interop: .venv/.stamp clients ## every Kafka client and version, unmodified (RENEW=1 records the matrix and the README's table)
	@BINWIRE_RENEW_MATRIX=$(RENEW) $(PYTEST) -m "interop and not torture" $(PYTEST_OPTIONS) tests/interop

.PHONY: torture
torture: .venv/.stamp servers ## faults and soaks: kill -9 under load, mutated frames by the million (FRAMES=N)
	@BINWIRE_FRAMES=$(FRAMES) $(PYTEST) -m torture $(PYTEST_OPTIONS) $(TESTS)

.PHONY: bench
bench: .venv/.stamp ## how fast it is, beside its peers
	@$(VENV_PYTHON) -m bench

.PHONY: dist
dist: .venv/.stamp ## the wheel and the sdist, in dist/
	@$(VENV_PYTHON) -m hatchling build

.PHONY: lint
lint: .venv/.stamp ## style and types
	@$(VENV_PYTHON) -m ruff check --quiet $(SOURCES)
	@$(VENV_PYTHON) -m ruff format --quiet --check $(SOURCES) || { echo "run 'make format'" >&2; exit 1; }
	@$(VENV_PYTHON) -m mypy --no-error-summary

.PHONY: format
format: .venv/.stamp ## bring the sources into the project's form
	@$(VENV_PYTHON) -m ruff check --quiet --fix $(SOURCES); $(VENV_PYTHON) -m ruff format $(SOURCES)

# A server or client that cannot be had is a notice here; its tests skip with the reason, and fail when CI=true.
.PHONY: servers
servers: .venv/.stamp ## the MySQL and MariaDB servers of the tests, unpacked into .servers
	-@$(VENV_PYTHON) -m tests.tools.servers install

.PHONY: clients
clients: .venv/.stamp ## the Kafka clients of the tests, unpacked into .clients and .venvs
	-@$(VENV_PYTHON) -m tests.tools.clients install

.PHONY: fresh
fresh: ## prove the README's commands in a bare Debian 12 (as root)
	@$(PYTHON) -m tests.tools.fresh

.PHONY: lock
lock: .venv/.stamp ## record the newest versions of all Python packages, servers and clients
	@sh tests/tools/lock.sh
	@$(VENV_PYTHON) -m tests.tools.servers record
	@$(VENV_PYTHON) -m tests.tools.clients record
	@$(VENV_PYTHON) -m tests.tools.chromium record

.PHONY: clean
clean: ## remove what tests and builds left
	@rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## remove everything that set-up made, too (downloads stay cached in your home)
	@rm -rf .venv .venvs .servers .clients .fresh capture/*.so storage/*.so
