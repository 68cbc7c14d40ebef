#!/bin/sh
# Inside the image's build: installs the service's packages from the build stage, mounted at /build.
# usage: image-packages.sh INDEX        an index to look for torch in too, or an empty argument
set -eu

/build/.venv/bin/python -m venv --without-pip /opt/vitrine
set -- ${1:+--extra-index-url "$1"}
PIP_CONFIG_FILE=/run/secrets/pip.conf /build/.venv/bin/pip --python /opt/vitrine/bin/python install --quiet \
    --disable-pip-version-check --no-cache-dir --no-compile --find-links /wheels --requirement /build/requirements.lock "$@"
# torch brings its own tests and, for compilers, its headers: some 200 MB that serving never opens.
torch=$(echo /opt/vitrine/lib/python3*/site-packages/torch)
rm -rf "$torch"/test "$torch"/include "$torch"/bin/*[tT]est* "$torch"/bin/protoc*

# A read-only root keeps no bytecode of a first start. Tests are never imported; some don't even compile.
/opt/vitrine/bin/python -m compileall -q -j 0 -x '/(tests|torch/testing)/' \
    --invalidation-mode unchecked-hash /opt/vitrine/lib
