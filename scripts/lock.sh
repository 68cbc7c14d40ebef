#!/usr/bin/env bash
# Writes the locks from pyproject.toml. Versions already locked stay; to raise them: lock.sh --upgrade, or
# lock.sh --upgrade-package NAME.
set -euo pipefail

compile() {
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-header "$@" >/dev/null
}

compile pyproject.toml --output-file requirements.lock "$@"
# The tests run what is served: the same versions, and their own tools beside them.
compile pyproject.toml --group dev --constraint requirements.lock --output-file requirements-dev.lock "$@"
compile --group checkov --output-file requirements-checkov.lock "$@"
compile --group clients --output-file requirements-clients.lock "$@"
compile --group sbom --output-file requirements-sbom.lock "$@"
compile --group model --no-deps --generate-hashes --output-file requirements-model.lock "$@"
