#!/usr/bin/env bash
# Sees to the programs that pip cannot bring: as root on Debian or Ubuntu it installs those that are missing;
# elsewhere it names them and fails.
# usage: system-programs.sh [PROGRAM...]        all of them unless named
set -euo pipefail

# program                 Debian's package         what for
programs='
prometheus                prometheus               to scrape the running server and evaluate the rules
promtool                  prometheus               to check and unit-test the rules
prometheus-alertmanager   prometheus-alertmanager  to route real alerts
amtool                    prometheus-alertmanager  to check the routes
chromium                  chromium                 to look at the console as a person does
wrk                       wrk                      to check the load generator by
gcc                       gcc                      to build the load generator and the stand-in for the NVIDIA driver
podman                    podman                   to build the image and run it
runc                      runc                     to run it on any kernel
mmdebstrap                mmdebstrap               to make a base for the tested image
shellcheck                shellcheck               to lint the scripts
'

packages=()
while read -r program package purpose; do
    if [ -z "$program" ] || command -v "$program" >/dev/null; then
        continue
    fi
    if [ $# = 0 ] || [[ " $* " == *" $program "* ]]; then
        echo "Missing: $program, $purpose (Debian's package $package)"
        [[ " ${packages[*]} " == *" $package "* ]] || packages+=("$package")
    fi
done <<<"$programs"
[ ${#packages[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Install what is missing, then try again. On Debian and Ubuntu: sudo apt-get install ${packages[*]}" >&2
    exit 1
fi

# Prometheus' packages would start it as a service; the tests start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
fi
echo "Installing ${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "${packages[@]}" >/dev/null
