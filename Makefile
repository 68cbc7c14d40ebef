# Settings, each also an environment variable:
#   PYTHON       the Python (3.11 or newer) that the environments are made with
#   TORCH_INDEX  a package index to look for torch in too. On x86_64 Linux the default index's torch brings some
#                3 GB of CUDA; the build without is in https://download.pytorch.org/whl/cpu
#   ENGINE       docker or podman; by default the first that works
#   BASE, TAG, TARGET, MODEL_ID …  what `make image` builds: docs/image.md
#   APP_*        the server's own: see `.venv/bin/python -m app serve --help`
PYTHON ?= python3
APP_MODEL ?= models/all-MiniLM-L6-v2
# For people, wherever the output goes: with it come the addresses and a request to paste
APP_LOG_FORMAT ?= console
# More arguments to pytest: make test ARGS='-k batcher -x'
ARGS ?=
export PYTHON TORCH_INDEX ENGINE BASE BASE_PYTHON TAG TARGET MODEL_ID MODEL_REVISION WHEELS PIP_CONF \
    CA_PEM

VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' app/__init__.py)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help serve stack test bench measure check format generate simulate-autoscaling mutate-rules image sbom kind-up kind-down \
    kind-e2e lock lock-check clean venv dev checkov clients model sbom-tools system

help: ## Show this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: venv model ## Serve all-MiniLM-L6-v2, after installing what that needs
	@APP_MODEL='$(APP_MODEL)' APP_LOG_FORMAT='$(APP_LOG_FORMAT)' exec .venv/bin/python -m app serve

stack: dev model ## Serve it with Prometheus, Alertmanager and the rules, on loopback (ARGS=--help)
	@scripts/system-programs.sh prometheus prometheus-alertmanager
	@APP_MODEL='$(APP_MODEL)' exec .venv/bin/python -m monitoring.stack $(ARGS)

test: system dev checkov clients model sbom-tools ## Run the tests, after installing what they need
	.venv/bin/python -m pytest -m 'not bench and not e2e' --cov $(ARGS)

bench: dev model ## Compare with other servers, on a machine that does nothing else (ARGS=--help)
	@scripts/system-programs.sh gcc
	.venv/bin/python -m tests.bench $(ARGS)

measure: system dev model ## Measure the service by itself: telemetry's cost, linearity, memory, overload
	.venv/bin/python -m pytest -m bench -s $(ARGS)

check: dev ## Lint code, scripts, Dockerfile and workflows; check the format and the types
	@scripts/system-programs.sh shellcheck
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	shellcheck scripts/*.sh .ci/run
	.venv/bin/hadolint Dockerfile
	.venv/bin/actionlint
	.venv/bin/zizmor --offline --quiet .github

format: dev ## Format the code and mend what can be mended
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

generate: dev ## Write rules, their tests, the dashboards and the autoscaler's target from monitoring/slo.yaml
	.venv/bin/python -m monitoring.generate
	.venv/bin/python -m monitoring.grafana.generate
	.venv/bin/python -m monitoring.autoscaling.generate

simulate-autoscaling: dev ## Write the tables and pictures of docs/autoscaling.md (some 10 minutes)
	.venv/bin/python -m monitoring.autoscaling

mutate-rules: system dev ## Break each alert in turn and see whether the rule tests notice (a minute)
	.venv/bin/python -m monitoring.mutate $(ARGS)

image: ## Build the container image (BASE=, TARGET=cuda, TAG=, MODEL_ID=: docs/image.md)
	@scripts/image.sh

sbom: sbom-tools ## Write build/sbom.json, the bill of materials of the image TAG (CycloneDX)
	@scripts/sbom.sh '$(or $(TAG),vitrine:$(VERSION))' build/sbom.json

kind-up: ## A cluster on this machine (kind), with the image, the service and its monitoring in it
	@scripts/kind-up.sh

kind-down: ## Delete that cluster
	@scripts/kind-down.sh

kind-e2e: dev ## Scale, kill and roll out under load, in the cluster that KUBECONFIG names
	.venv/bin/python -m pytest -m e2e -s $(ARGS)

lock: dev ## Write the locks from pyproject.toml (ARGS=--upgrade raises versions)
	scripts/lock.sh $(ARGS)

lock-check: dev ## Check that the locks hold on each Python and processor
	scripts/lock-check.sh

clean: ## Remove all that make made
	rm -rf .venv .venv-checkov .venv-clients .venv-sbom .venv-bench-* build models \
	    .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis

# What the targets above stand on. Each ends at once where there is nothing to do.
venv:
	@scripts/venv.sh .venv requirements.lock

dev:
	@scripts/venv.sh .venv requirements.lock requirements-dev.lock

checkov:
	@scripts/venv.sh .venv-checkov requirements-checkov.lock

clients:
	@scripts/venv.sh .venv-clients requirements-clients.lock

sbom-tools:
	@scripts/venv.sh .venv-sbom requirements-sbom.lock

model:
	@scripts/minilm.sh

system:
	@scripts/system-programs.sh
