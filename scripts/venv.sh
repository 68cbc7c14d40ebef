#!/usr/bin/env bash
# Makes a virtual environment hold what lock files say. Where it does so already, it ends at once.
# usage: venv.sh FOLDER LOCK...        reads PYTHON and TORCH_INDEX
set -euo pipefail

folder=$1
shift
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "Vitrine needs Python 3.11 or newer, and '$python' is not one. Name one: make PYTHON=python3.12 ..." >&2
    exit 1
fi

version=$("$python" --version)
if [ "$("$folder/bin/python" --version 2>/dev/null)" != "$version" ] || [ ! -x "$folder/bin/pip" ]; then
    echo "Making $folder with $version"
    "$python" -m venv --clear "$folder"
fi

# A copy of each lock in the environment says that its packages are installed.
fresh=yes
for lock in "$@"; do
    cmp -s "$lock" "$folder/$lock" || fresh=no
done
[ $fresh = no ] || exit 0

echo "Installing the packages of $* into $folder (the first time that takes a minute or two)"
options=("${@/#/--requirement=}")
[ -z "${TORCH_INDEX:-}" ] || options+=(--extra-index-url "$TORCH_INDEX")
[ -t 1 ] || options+=(--quiet)

# With dependencies, though the locks are whole: a CUDA build of torch names CUDA packages that no lock here lists.
rm -f "$folder"/*.lock
"$folder/bin/pip" install --disable-pip-version-check "${options[@]}"
cp "$@" "$folder"
