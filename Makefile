# Every command a person or CI runs. Recipes are short; the logic is in Python and in the playbooks.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

STACK ?= consoul
PROFILE ?= load
PYTHON ?= python3
PURGE ?=
RUN ?=
LONG ?=
VENV := .venv
BIN := $(VENV)/bin
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
	--custom-compile-command 'make lock'
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all:

export STACK

.PHONY: help
help: ## Print this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-zA-Z0-9_%-]+:.*## / {sub("%", "NAME", $$1); printf "  make %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Lab
.PHONY: up status logs down presets
up: $(VENV)/.installed ## Start the lab: Redis, the stack's services, Prometheus (INSTANCES=3, PRESET=gc-frequent)
	@$(BIN)/python -m mock_server.lab up

status: $(VENV)/.installed ## Say what runs, where, and whether it is ready
	@$(BIN)/python -m mock_server.lab status

logs: $(VENV)/.installed ## Print the last lines of every service's log (SERVICE=redis or consoul-2 for one)
	@$(BIN)/python -m mock_server.lab logs $(SERVICE)

down: $(VENV)/.installed ## Stop the lab; no process and no port is left (PURGE=1: no data either)
	@$(BIN)/python -m mock_server.lab down $(if $(filter-out 0 no false,$(PURGE)),--purge)

presets: $(VENV)/.installed ## List the named settings of the mock for PRESET=…, from the tuning guide
	@$(BIN)/python -m mock_server.lab presets

##@ Load (TIME_SCALE=0.1 shortens, TARGET=http://… aims elsewhere)
.PHONY: test-load test-load-ui profiles validate
test-load: $(VENV)/.installed ## Run the stack's series of profiles; says first how long it takes
	@$(BIN)/python -m loadtests run --series $(STACK)

test-load-%: $(VENV)/.installed ## Run one profile: smoke, baseline, load, spike, open-500
	@$(BIN)/python -m loadtests run $(STACK)/$*

test-load-ui: $(VENV)/.installed ## Run PROFILE=load from Locust's web UI on port 8089
	@$(BIN)/python -m loadtests run --ui $(STACK)/$(PROFILE)

profiles: $(VENV)/.installed ## List the profiles with the question each answers
	@$(BIN)/python -m loadtests list

validate: $(VENV)/.installed ## Check every profile without sending load
	@$(BIN)/python -m loadtests validate

##@ Results and hosts
.PHONY: report snapshot
report: $(VENV)/.installed ## Draw the report of RUN=results/… again (the newest without RUN)
	@$(BIN)/python -m loadtests report $(RUN)

snapshot: $(VENV)/.installed ## Record this host's environment as JSON and print it as a page
	@$(BIN)/python -m loadtests snapshot

##@ Quality
.PHONY: test test-unit test-contract test-integration test-reliability test-e2e test-all coverage lint format dashboards bench bench-mock
test: $(VENV)/.installed-dev test-packages ## Run unit, contract and integration tests on a fresh checkout
	$(BIN)/pytest tests/unit tests/contract tests/integration
	$(BIN)/pytest -m 'not slow' tests/reliability

test-unit: $(VENV)/.installed-dev ## Run the pure tests only (seconds)
	$(BIN)/pytest tests/unit

test-contract: $(VENV)/.installed-dev test-packages ## Check the seams between the parts
	$(BIN)/pytest tests/contract

test-integration: $(VENV)/.installed-dev test-packages ## Test against real Redis, uvicorn, Locust, Prometheus
	$(BIN)/pytest tests/integration

test-reliability: $(VENV)/.installed-dev test-packages ## Do the mock every harm of the table, print it (LONG=1: real times)
	LONG=$(LONG) $(BIN)/pytest --timeout 3600 tests/reliability

test-e2e: $(VENV)/.installed-dev test-packages ## Test the whole lab as a user runs it
	$(BIN)/pytest --timeout 900 tests/e2e

test-all: lint test test-reliability test-e2e ## Everything CI runs

coverage: $(VENV)/.installed-dev ## Say which lines the pure tests and the seams do not reach
	$(BIN)/pytest tests/unit tests/contract --cov --cov-report=term:skip-covered

lint: $(VENV)/.installed-dev ## Check style, types and who imports whom
	$(BIN)/ruff format --check . && $(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.installed-dev ## Put the code into its canonical form
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

dashboards: $(VENV)/.installed-dev ## Generate the Grafana dashboards anew
	$(BIN)/python -m grafana.generate

bench: bench-mock ## Run every benchmark, side by side with what it is compared to

bench-mock: $(VENV)/.installed-dev ## Put the mock beside a bare ASGI app; time its streams and WebSockets
	$(BIN)/python -m tests.bench.mock
	$(BIN)/python -m tests.bench.latency
	$(BIN)/python -m tests.bench.streams
	$(BIN)/python -m tests.bench.sockets

##@ Housekeeping
.PHONY: install bootstrap lock clean test-packages
install: $(VENV)/.installed ## Install the locked dependencies into .venv
	@echo "installed into $(VENV)"

lock: $(VENV)/.installed-dev ## Write requirements*.txt anew from pyproject.toml
	$(LOCK) --all-extras pyproject.toml --output-file requirements-dev.txt
	$(LOCK) --extra mock --extra loadtests --extra lab --constraint requirements-dev.txt pyproject.toml --output-file requirements.txt
	$(LOCK) --extra mock --constraint requirements-dev.txt pyproject.toml --output-file requirements-mock.txt

clean: ## Remove the virtual environment and caches; results and the lab's data stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage

bootstrap: $(VENV)/.installed ## Install the system packages the lab runs on (Debian family, as root)
	@$(BIN)/python -m mock_server.lab bootstrap

# Without these packages some tests skip, and say why; with CI=true a skip fails.
test-packages: $(VENV)/.installed-dev
	-@$(BIN)/python -m mock_server.lab bootstrap --tests

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is older than Python 3.11; \
	name a newer one: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "make: $(PYTHON) has no venv module; \
	on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt | $(BIN)/python
	$(PIP_INSTALL) -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements.txt | $(BIN)/python
	$(PIP_INSTALL) -r requirements-dev.txt
	@touch $@ $(VENV)/.installed
