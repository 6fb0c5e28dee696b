# Everything a developer runs. `make help` lists it.

# The Python that makes the virtual environment: 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements-lock.txt
STAMP := $(VENV)/.backbeat-set-up
# What the demo needs is less than half of it, and comes first.
RUNTIME_STAMP := $(VENV)/.backbeat-runs
TREE := build/tree
# More words for pytest or for the benchmark: make test ARGS='-k registry', make bench ARGS='--only a,d'.
ARGS ?=
# Tests mostly wait: for Kafka, for engines, for time to pass. Each process has a Kafka of its own.
TEST_PROCESSES ?= 3
# The bound of a whole run of the tests: 75 minutes, for slow machines and shared ones.
TEST_SECONDS ?= 4500
# Compiled modules are kept, whatever the shell says: the tests start hundreds of processes that import the same.
unexport PYTHONDONTWRITEBYTECODE
# Replays one run of the simulator; without it the simulator draws seeds and prints them.
SEED ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup jars demo test check lint types imports tree format schemas sim prove soak shots bench drill certify audit lock relock wheels test-compiled clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make the virtual environment .venv from the lock file (only when that or pyproject.toml changed)

$(STAMP): $(RUNTIME_STAMP)
	@$(BIN)/python -m compose.setup.install
	@touch $@

$(RUNTIME_STAMP): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Backbeat needs Python 3.11 or newer; '$(PYTHON)' is: $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV) …"; $(PYTHON) -m venv $(VENV); } || { \
	  rm -rf $(VENV); \
	  echo "The virtual environment could not be made (Debian, Ubuntu: apt-get install python3-venv)." >&2; exit 1; }
	@$(BIN)/python -m compose.setup.install --extra dev-server --project
	@touch $@

jars: $(RUNTIME_STAMP) ## fetch Apache Kafka's jars into the cache folder (once)
	@$(BIN)/backbeat jars

demo: $(RUNTIME_STAMP) jars ## run the camera purchase and the other cases on a real Kafka, from nothing
	@$(BIN)/backbeat demo

test: $(STAMP) jars ## run all tests
	$(BIN)/python -m pytest --session-timeout=$(TEST_SECONDS) -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

check: lint types imports ## lint, format, types and import rules

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Type checkers and the import linter do not follow setuptools' editable finder: they get a tree of links that looks as
# an installed package does.
tree:
	@rm -rf $(TREE) && mkdir -p $(TREE)/backbeat
	@for one in sdk/*; do case $$one in */__pycache__) ;; *) ln -s "../../../$$one" $(TREE)/backbeat/ ;; esac; done
	@for one in compose gateway schemas streams; do ln -s "../../../$$one" $(TREE)/backbeat/$$one; done

types: $(STAMP) tree
	$(BIN)/mypy -p backbeat
	$(BIN)/mypy tests/sdk/typing_cases.py
	$(BIN)/basedpyright

imports: $(STAMP) tree
	PYTHONPATH=$(TREE) $(BIN)/lint-imports

format: $(STAMP) ## format the code and mend what can be mended by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schemas: $(STAMP) ## write the Avro schemas, schemas/*.avsc, from the structs of schemas/messages
	@$(BIN)/python -m backbeat.schemas generate

sim: $(STAMP) ## run the simulator; SEED=… repeats one run
	BACKBEAT_SIM_SEED=$(SEED) $(BIN)/python -m pytest tests/sim -s $(ARGS)

prove: $(STAMP) jars ## run what takes longer than a test may (memory over millions of events)
	$(BIN)/python -m pytest -m prove -s --timeout=0 $(ARGS)

soak: $(STAMP) jars ## an hour of mixed load under plays at random: everything flat, the judge agrees; ARGS='--for 10m'
	@$(BIN)/backbeat drill soak $(ARGS)

shots: $(STAMP) jars ## pictures of every page of the console, in build/screens: look at those that you have changed
	$(BIN)/python -m pytest -m prove --timeout=0 tests/gateway/console/test_shots.py

bench: $(STAMP) jars ## measure (within 15 minutes); ARGS='--only a,b --json'
	@$(BIN)/backbeat bench $(ARGS)

# In an environment of its own: what it brings along belongs to nobody's lock file.
audit: ## compare the lock file with known vulnerabilities (asks the network)
	@test -x build/audit/bin/pip-audit || { $(PYTHON) -m venv build/audit && build/audit/bin/pip install --quiet pip-audit; }
	build/audit/bin/pip-audit --strict --require-hashes --disable-pip --requirement $(LOCK) $(ARGS)

drill: $(STAMP) jars ## five minutes of drill: an engine, workers, gateways, the leading broker fail under load
	@$(BIN)/backbeat drill run engine-killed worker-killed gateway-killed leader-killed --seconds 15 $(ARGS)

certify: $(STAMP) jars ## the whole playbook of faults (about twenty minutes)
	@$(BIN)/backbeat drill certify $(ARGS)

# Versions stay as they are where they can; ARGS=--upgrade takes the newest. An extra that names others of ours is no dependency.
lock: $(STAMP) ## bring the lock file in line with pyproject.toml; ARGS=--upgrade takes the newest versions
	@cp $(LOCK) $(LOCK).new
	@$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options \
	  --all-extras $(ARGS) --output-file=$(LOCK).new pyproject.toml
	@{ sed -n '/^#/!q;p' $(LOCK); \
	  sed -e '/^# WARNING:/,/^    # via/d' -e '/^    #   backbeat$$/d' $(LOCK).new; } > $(LOCK).made
	@rm $(LOCK).new && mv $(LOCK).made $(LOCK)

wheels: $(STAMP) ## build the pure wheel and one whose engine is compiled for this Python, into dist/ (needs a C compiler)
	@$(BIN)/python -m compose.setup.wheels $(ARGS)

# The compiled engine: the same rules, the same simulator, the same Kafka. A worker sees nothing of it but what an engine's
# tests see.
COMPILED_TESTS ?= tests/streams/core tests/streams/engine tests/streams/state tests/conformance tests/fuzz tests/sim \
  tests/integration/test_engine.py
test-compiled: $(STAMP) jars ## run the engine's tests on the compiled engine (needs a C compiler)
	@$(BIN)/python -m compose.setup.wheels --tree build/compiled --unoptimised
	PYTHONPATH=build/compiled $(BIN)/python -m pytest --session-timeout=$(TEST_SECONDS) -n $(TEST_PROCESSES) \
	  --dist loadfile --no-loadscope-reorder $(COMPILED_TESTS) $(ARGS)

relock: $(STAMP) ## write compose/local/jars/kafka-jars.lock anew from compose/local/jars/pom.xml (needs Maven)
	@$(BIN)/python -m backbeat.compose.local.jars.lock

clean: ## remove what was made here: .venv, build, caches, .backbeat
	rm -rf $(VENV) build dist .backbeat .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -maxdepth 1 -name '*.egg-info' -exec rm -rf {} +
