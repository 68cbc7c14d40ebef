#!/usr/bin/env bash
# Asks the package index whether the locks hold, installing nothing: each says what pyproject.toml asks for, and
# each Python on each processor finds a wheel of every package.
set -euo pipefail

before=$(cat requirements*.lock)
scripts/lock.sh
if [ "$before" != "$(cat requirements*.lock)" ]; then
    echo "The locks did not say what pyproject.toml asks for. They do now: look at the difference and commit it." >&2
    exit 1
fi

for version in 3.11 3.12 3.13; do
    for processor in x86_64 aarch64; do
        for lock in requirements.lock requirements-dev.lock; do
            .venv/bin/uv pip compile --quiet --python-version $version --python-platform $processor-manylinux_2_28 \
                --only-binary :all: $lock >/dev/null
        done
        echo "The locks hold on Python $version on $processor"
    done
done
