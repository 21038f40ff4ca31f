# Every target sets up what it needs by itself; a second run starts at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# A checkout's own service: its data live in ./.cmac and its ports are free ones.
export CMAC_HOME ?= $(CURDIR)/.cmac
export CMAC_API_PORT ?= 0
export PYTHONDONTWRITEBYTECODE ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo up down docs test test-fast test-system test-gpu test-browser browser check format bench peers screenshots results chaos afternoon lock clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv and install the locked dependencies (hashes checked)

$(READY): requirements/dev.txt requirements/uv.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "cmac-lab needs Python 3.11 to 3.13, and $(PYTHON) is another. Try: make PYTHON=python3.11 ..."; exit 2; }
	@test -x $(BIN)/python || { echo "Making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@echo "Installing the locked dependencies (torch is large: a minute or more the first time)"
	@UV_LINK_MODE=$${UV_LINK_MODE:-hardlink} $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $(READY)

demo: $(READY) ## The whole path: corpus, pack, pretrain, evaluations, table, pictures (DATA=DIR for real videos)
	@$(BIN)/cmac demo $(if $(DATA),--data "$(DATA)")

up: $(READY) ## Start the service of this checkout (data in ./.cmac)
	@$(BIN)/cmac up

down: $(READY) ## Stop it
	@$(BIN)/cmac down

docs: $(READY) ## Write the manual into build/docs, to be read without a service; fails on a broken link
	@$(BIN)/python -m api.manual build/docs

test: $(READY) ## All tests but those of whole services and those that are long (under 12 minutes)
	@$(BIN)/python -m pytest -m "not system and not gpu" --durations=15

test-fast: $(READY) ## The tests that need no torch (under a minute)
	@$(BIN)/python -m pytest -m "not system" tests/architecture tests/cmac_core/specs tests/store

test-system: $(READY) ## End to end and long ones: service, faults, demo, browser, benchmarks (under 45 minutes)
	@$(MAKE) --no-print-directory browser || echo "Going on: the browser tests are skipped."
	@$(BIN)/python -m pytest -m system --durations=15 --timeout=900

test-gpu: $(READY) ## What a GPU computes, against the CPU (needs one; in neither of the others)
	@$(BIN)/python -m pytest -m gpu tests/gpu

test-browser: $(READY) browser ## The pages in a headless Chromium (a part of test-system); pictures in ./screenshots
	@$(BIN)/python -m pytest -m system --durations=15 --timeout=900 tests/system/browser

browser: ## Install Chromium where that is allowed
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -q && apt-get install -y -q chromium; } || \
	  { echo "The browser tests need Chromium, and it cannot be installed from here. Try: sudo apt-get install chromium"; exit 2; }

check: $(READY) ## Lint, types, import contracts, migrations in step with the tables
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/mypy docs/screenshots.py
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m store.migrate --check

format: $(READY) ## Put the code into its standard form
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

bench: $(READY) ## Measure against plain references, and the full service against limits (QUICK=1: under 5 minutes; ONLY="step mlflow")
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

peers: $(READY) ## Install others' software into .venv-peers, for `make bench` to measure against
	@test -x .venv-peers/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python .venv-peers
	@$(BIN)/uv pip install --quiet --python .venv-peers/bin/python -r requirements/peers.in
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --target .venv-peers/torchcodec --no-deps -r requirements/torchcodec.in

screenshots: $(READY) browser ## Photograph the pages for README and manual (after make demo; some minutes)
	@$(BIN)/cmac up
	@$(BIN)/python docs/screenshots.py

results: $(READY) ## Measure on real recordings over the running service of this checkout (DATA=DIR)
	@$(BIN)/python -m benchmarks.real_media --data "$(DATA)"

chaos: $(READY) ## Break a living service at random, check the queue's invariants (RUNS=200 SEED=1; 20 s a run)
	@$(BIN)/python -m chaos --runs $(or $(RUNS),200) --seed $(or $(SEED),1)

afternoon: $(READY) ## Three people, four machines, two minutes: the log of the queue's decisions, and whether they were fair
	@$(BIN)/python -m afternoon

lock: $(READY) ## Write the lock files anew from pyproject.toml
	@$(BIN)/python requirements/lock.py

clean: ## Remove .venv and caches (not ./.cmac)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
