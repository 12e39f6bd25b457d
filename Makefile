# Everything a person or CI calls. `make help` lists it.
# Needs Python 3.11 or newer, make and git; what the tests need beyond that is in .ci/run.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
BUILD  := build

# Hashes are checked for every package; the editable install must not reach for anything beside them.
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check
EDITABLE    := --no-index --no-deps --no-build-isolation --editable .
UV_VERSION  := 0.13.9

PROTOS    := $(sort $(wildcard proto/flopmeter/*/v1/*.proto))
GENERATED := $(patsubst proto/flopmeter/%/,proto/flopmeter_proto/%,$(sort $(dir $(PROTOS))))

BUF_VERSION := 1.75.0
BUF         := $(BUILD)/buf/node_modules/.bin/buf

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

# --- environments -----------------------------------------------------------------------------------

.PHONY: venv
venv: $(VENV)/.runtime-done ## Create .venv with what flopmeter needs to run
	@:

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "flopmeter needs Python 3.11 or newer: install it, or name it with PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "flopmeter needs Python 3.11 or newer; $(PYTHON) is older: name another with PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# What is compiled, and by what: an extension beside a changed source refuses to run.
KERNELS := hatch_build.py $(sort $(wildcard core/flopmeter_core/kernels/*.p[xy]*))

# The stamp makes the second call instant; a changed lock, project file or kernel renews the
# installation. pip hides what a build warns of, so the compiled form is asked for where there is a
# compiler, and what became of it is said here. FLOPMETER_BUILD=interpreted does without.
$(VENV)/.runtime-done: requirements/runtime.txt pyproject.toml $(KERNELS) | $(BIN)/python
	@echo "Installing flopmeter into $(VENV) ..."
	@$(PIP_INSTALL) --require-hashes -r requirements/runtime.txt
	@mkdir -p $(BUILD)
	@if [ -z "$${FLOPMETER_BUILD:-}" ] && ! command -v cc >/dev/null; then \
	  echo "There is no C compiler (cc): the kernels run interpreted, which is right but slower in bulk."; \
	  export FLOPMETER_BUILD=interpreted; \
	fi; \
	FLOPMETER_BUILD=$${FLOPMETER_BUILD:-compiled} $(PIP_INSTALL) $(EDITABLE) >$(BUILD)/kernels.log 2>&1 || { \
	  [ -z "$${FLOPMETER_BUILD:-}" ] || { cat $(BUILD)/kernels.log >&2; exit 1; }; \
	  echo "The kernels could not be compiled ($(BUILD)/kernels.log says why): they run interpreted, which is right but slower in bulk."; \
	  FLOPMETER_BUILD=interpreted $(PIP_INSTALL) $(EDITABLE); \
	}
	@touch $@

.PHONY: venv-dev
venv-dev: $(VENV)/.dev-done ## Add the test and lint tools to .venv
	@:

$(VENV)/.dev-done: requirements/dev.txt $(VENV)/.runtime-done
	@echo "Installing the test tools into $(VENV) ..."
	@$(PIP_INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

.PHONY: lock
lock: ## Pin the newest versions of requirements/*.in, with hashes and without addresses
	@"$(PYTHON)" -m venv $(BUILD)/lock
	@$(BUILD)/lock/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@for name in runtime dev mutants bench; do \
	  $(BUILD)/lock/bin/uv pip compile --quiet --upgrade --generate-hashes --python-version 3.11 \
	    --no-header --no-annotate requirements/$$name.in --output-file requirements/$$name.txt \
	    --no-emit-index-url; \
	done

# --- use --------------------------------------------------------------------------------------------

.PHONY: demo
demo: venv ## Watch a simulated training run being metered (DEMO_SECONDS limits it)
	@$(BIN)/flopmeter demo

# --- checks -----------------------------------------------------------------------------------------

.PHONY: test
test: lint ## Run every check: lint, types, layers, tidy and all tests (REQUIRE_ALL=1: no skips)
	@PYTHONPATH=tests $(BIN)/python -m support.suite

.PHONY: test-interpreted
test-interpreted: venv-dev ## Run the tests of what counts and keeps once more, with the kernels interpreted
	@FLOPMETER_BUILD=interpreted $(BIN)/python -m pytest -q tests/unit/core tests/unit/collector/ledger tests/contract

.PHONY: hostile
hostile: venv-dev ## Honest agents beside hostile peers in full size (10,000 streams, 1,000,000 users); writes its part of docs/security.md
	@$(BIN)/python tests/bench/hostile.py

.PHONY: e2e
e2e: venv-dev ## Build the image and run docker-compose.yml for real (root, Debian 12; docs/e2e.md)
	@tests/e2e/run

.PHONY: bench
bench: $(BUILD)/bench/.venv-done ## Measure the budgets beside their peers, in one run; writes docs/performance.md
	@$(BUILD)/bench/venv/bin/python tests/bench/run.py

$(BUILD)/bench/.venv-done: requirements/runtime.txt requirements/dev.txt requirements/bench.txt | $(BIN)/python
	@rm -rf $(BUILD)/bench/venv
	@"$(PYTHON)" -m venv $(BUILD)/bench/venv
	@$(BUILD)/bench/venv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes \
	  -r requirements/runtime.txt -r requirements/dev.txt -r requirements/bench.txt
	@$(BUILD)/bench/venv/bin/python -m pip install -qq --disable-pip-version-check \
	  --no-index --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: bench-quick
bench-quick: venv-dev ## Measure in under a minute what must not slip, and fail on ratios; writes build/bench.json
	@$(BIN)/python tests/bench/quick.py

.PHONY: bench-fleet
bench-fleet: venv-dev ## A collector with 30,000 nodes, 10,000 of them really connected, beside a bare echo; writes its part of docs/scaling.md
	@$(BIN)/python tests/bench/fleet.py

.PHONY: bench-bulk
bench-bulk: $(BUILD)/bench/.venv-done ## Import of telemetry against the same pipeline in pandas (DEVICES=8 DAYS=365)
	@$(BUILD)/bench/venv/bin/python tests/bench/bulk.py $(if $(DEVICES),--devices $(DEVICES)) $(if $(DAYS),--days $(DAYS))

.PHONY: soak
soak: venv-dev ## A day of an agent in minutes: 86,400 samples, and nothing may grow (HOURS=24)
	@$(BIN)/python tests/bench/soak.py $(if $(HOURS),--hours $(HOURS))

.PHONY: agent-minutes
agent-minutes: venv-dev ## What a running agent takes of a core over a made-up driver, and holds (MINUTES=10; no other agent may run)
	@$(BIN)/python tests/bench/agent_minutes.py $(if $(MINUTES),--minutes $(MINUTES))

.PHONY: curves
curves: venv-dev ## How costs grow with nodes, runs, keys and history; writes its part of docs/scaling.md (FULL=1: 125,000 nodes too)
	@$(BIN)/python tests/bench/curves.py $(if $(FULL),--full)

.PHONY: shared-ledger
shared-ledger: venv-dev ## What 1, 2 and 4 collectors commit to one PostgreSQL ledger; writes its part of docs/scaling.md
	@$(BIN)/python tests/bench/shared_ledger.py

.PHONY: journal-days
journal-days: venv-dev ## Size of an agent's memory after 90 virtual days without a collector, and after 10,000 starts
	@$(BIN)/python tests/bench/journal_days.py

.PHONY: faults
faults: venv-dev ## Real faults against real processes; writes docs/faults.md (CASE=kills KILLS=100: one; root, Debian 12)
	@$(BIN)/python tests/faults/run.py $(CASE)

SEEDS ?= 1000

.PHONY: simulate
simulate: venv-dev ## Simulate SEEDS more fleets under faults; writes docs/fault-simulation-record.md
	@exec nice $(BIN)/python -m flopmeter.lab.simulation.campaign --seeds $(SEEDS)

.PHONY: mutants
mutants: $(BUILD)/mutants/.venv-done ## Plant defects and mutants, see the tests find them; writes docs/mutants.md (PART=journal: one)
	@$(BUILD)/mutants/venv/bin/python tests/mutants/run.py $(if $(PART),"$(PART)")

# The mutation tester brings a terminal interface with it, which nothing else needs. The command there
# is that of whichever copy of the tree is on the path.
$(BUILD)/mutants/.venv-done: requirements/runtime.txt requirements/dev.txt requirements/mutants.txt | $(BIN)/python
	@rm -rf $(BUILD)/mutants/venv
	@"$(PYTHON)" -m venv $(BUILD)/mutants/venv
	@$(BUILD)/mutants/venv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes \
	  -r requirements/runtime.txt -r requirements/dev.txt -r requirements/mutants.txt
	@printf '#!%s\nimport sys\nfrom flopmeter.entry import main\nsys.exit(main())\n' \
	  "$(abspath $(BUILD)/mutants/venv/bin/python)" >$(BUILD)/mutants/venv/bin/flopmeter
	@chmod +x $(BUILD)/mutants/venv/bin/flopmeter
	@touch $@

.PHONY: backtest
backtest: venv ## Score the forecast on 200 simulated runs whose future is known (docs/forecast.md)
	@$(BIN)/python -m flopmeter.lab.backtest

.PHONY: coverage
coverage: venv-dev ## Run the suite and count lines and branches of every module; writes docs/coverage.md (TESTS=tests/unit: a part; MODULE=PATH: that one)
	@$(BIN)/python tests/mutants/branches.py $(TESTS) $(MODULE:%=--module=%)

.PHONY: page-budget
page-budget: venv-dev ## Play healthy weeks of 500 nodes against the shipped alert rules, and count who is woken
	@PYTHONPATH=tests $(BIN)/python -m support.healthy_week

.PHONY: score
score: venv ## Score the estimator on the committed recordings; writes docs/scoreboard.md
	@$(BIN)/python -m flopmeter.lab.scoreboard

.PHONY: lint
lint: venv-dev ## Check style, formatting, types and layers
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy $(wildcard flopmeter core/flopmeter_core agent/flopmeter_agent collector/flopmeter_collector proto/flopmeter_proto tests)
	@$(BIN)/lint-imports --no-logo --cache-dir $(BUILD)/import_linter_cache

.PHONY: format
format: venv-dev ## Rewrite the code into the common format
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

# --- generated code ---------------------------------------------------------------------------------

# The proto package stays flopmeter.<name>.v1, the Python package becomes flopmeter_proto.<name>.v1:
# the -I mapping does that, and the files must be named by their mapped path. protoc writes no
# __init__.py, without which import-linter would not see the folder and keep its contract in silence.
.PHONY: proto
proto: venv-dev ## Regenerate the Python code of proto/flopmeter/*/v1
	@mkdir -p $(GENERATED)
	@touch $(GENERATED:/v1=/__init__.py) $(GENERATED:=/__init__.py)
	@$(BIN)/python -m grpc_tools.protoc -Iflopmeter_proto=proto/flopmeter \
	  --python_out=proto --pyi_out=proto --grpc_python_out=proto \
	  $(patsubst proto/flopmeter/%,flopmeter_proto/%,$(PROTOS))

.PHONY: buf
buf: $(BUILD)/buf/.$(BUF_VERSION)-done ## Install buf, the linter of .proto files, from npm into build/
	@:

$(BUILD)/buf/.$(BUF_VERSION)-done:
	@npm install --silent --no-save --no-package-lock --prefix $(BUILD)/buf @bufbuild/buf@$(BUF_VERSION)
	@touch $@

# Run at a release: from then on each change must be readable by the agents and collectors of that release.
.PHONY: proto-baseline
proto-baseline: buf ## Take the present .proto files as what later ones must stay compatible with
	@$(BUF) build proto --exclude-source-info --output proto/baseline.binpb
