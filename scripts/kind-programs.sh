#!/usr/bin/env bash
# Checks the programs that a kind cluster needs, and says of each that is missing, broken or too old what to do.
# A download that failed often leaves an error page under a program's name: so looks at what each file is first.
set -euo pipefail

bad=0
complain() {
    echo "$1" >&2
    bad=1
}

# usage: check PROGRAM OLDEST ARGUMENT...        the arguments make it print its version
check() {
    local program=$1 oldest=$2 path start version
    shift 2
    if ! path=$(command -v "$program"); then
        complain "$program is missing: install version $oldest or newer, so that it is in PATH."
        return
    fi
    start=$(tr -d "\0[:space:]" <"$path" | head -c 4 | LC_ALL=C tr -c "[:print:]\177" "?" || true)
    case $start in
    $'\x7fELF' | '#!'*) ;;
    '<'*)
        complain "$path is a web page, not a program: its download failed. Fetch it again with curl --fail --location."
        return
        ;;
    *)
        complain "$path is no program for Linux: its first bytes are '$start', not an ELF header. Fetch it again."
        return
        ;;
    esac
    if ! version=$("$path" "$@" 2>&1); then
        complain "$path does not run, perhaps since it is for another processor: ${version:-it says nothing}"
        return
    fi
    version=$(grep -o '[0-9]\+\.[0-9]\+\.[0-9]\+' <<<"$version" | head -n 1 || true)
    if [ "$(printf '%s\n' "$oldest" "${version:-0}" | sort -V | head -n 1)" != "$oldest" ]; then
        complain "$path has version ${version:-unknown}: $oldest or newer is needed."
        return
    fi
    echo "$program $version ($path)"
}

check kind 0.33.0 version
check kubectl 1.35.0 version --client
if engine=$(scripts/engine.sh); then
    check "$engine" 4.3.0 --version
else
    bad=1
fi
exit $bad
