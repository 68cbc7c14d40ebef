#!/usr/bin/env bash
# Makes a virtual environment hold what lock files say. Where it does so already, it ends at once.
# usage: venv.sh FOLDER LOCK...        reads PYTHON and TORCH_INDEX
set -euo pipefail

folder=$1
shift
python=${PYTHON:-python3}

# Ubuntu 22.04's python3.11 is a release candidate, and lacks what torch needs.
if ! "$python" -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) or v.releaselevel != "final")'; then
    echo "Vitrine needs a final release of Python 3.11 or newer, and '$python' is not one" \
        "($("$python" --version 2>/dev/null || echo "it does not run")). Name one: make PYTHON=python3.12 ..." >&2
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
    cmp -s "$lock" "$folder/${lock##*/}" || fresh=no
done
[ $fresh = no ] || exit 0

echo "Installing the packages of $* into $folder (a minute or two, and their downloads the first time)"
options=("${@/#/--requirement=}")
[ -z "${TORCH_INDEX:-}" ] || options+=(--extra-index-url "$TORCH_INDEX")

# With dependencies, though the locks are whole: a CUDA build of torch names CUDA packages that no lock here lists.
# Of what pip says, a large download takes long, and warnings matter only where it fails.
rm -f "$folder"/*.lock
warnings=$(mktemp)
trap 'rm -f "$warnings"' EXIT
if ! "$folder/bin/pip" install --disable-pip-version-check "${options[@]}" 2>"$warnings" |
    { grep --line-buffered 'Downloading .*whl (.* MB)' || true; }; then
    cat "$warnings" >&2
    exit 1
fi
cp "$@" "$folder"
