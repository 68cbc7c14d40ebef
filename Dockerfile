# The service with a model in it. How to build and run it, and what the arguments mean: docs/image.md
# The stages of a target stand before it, and no others: older builders build all that come before.
ARG BASE=python:3.11-slim-bookworm
ARG PYTHON=python3
ARG MODEL_NAME=all-MiniLM-L6-v2
ARG VERSION=0.0.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z

# Empty, unless a folder of wheels is given: --build-context wheels=FOLDER
FROM scratch AS wheels

# What building and serving both stand on: a Python, the base's own or the distribution's, and who serves.
# checkov:skip=CKV_DOCKER_7:The base is an argument, and its default has a version
FROM ${BASE} AS python
ARG PYTHON
# The base is an argument, and which versions there are is its distribution's affair.
# hadolint ignore=DL3008
RUN set -eu; \
    # Small bases have neither a Python nor groupadd.
    command -v "$PYTHON" >/dev/null || set -- "$PYTHON"; \
    command -v groupadd >/dev/null || set -- "$@" passwd; \
    if [ $# -gt 0 ]; then \
        apt-get update -qq; \
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; \
        apt-get clean; \
        rm -rf /var/lib/apt/lists/* /var/log/*; \
    fi; \
    # Libraries rely on what a version's release has, and its candidates may lack.
    if ! "$PYTHON" -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) or v.releaselevel != "final")'; then \
        echo "The base's $PYTHON is $("$PYTHON" --version 2>&1). Vitrine needs a final release of Python 3.11 or" \
            "newer: name a base that has one in BASE (Debian 12, Ubuntu 24.04, or newer), or another Python of" \
            "this base in BASE_PYTHON (without make: --build-arg PYTHON=)." >&2; \
        exit 1; \
    fi; \
    # Some bases come without bytecode, and a read-only root cannot keep what the first start makes.
    "$PYTHON" -m compileall -q -j 0 -x '/(test|idlelib|lib2to3|dist-packages|site-packages)/' \
        "$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"; \
    groupadd --gid 10001 vitrine; \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin vitrine

# pip and what fetches a model. The service gets none of it: its packages are installed from here, by mounts.
FROM python AS build
ARG PYTHON
WORKDIR /build
# hadolint ignore=DL3008
RUN set -eu; \
    if ! "$PYTHON" -c 'import ensurepip' 2>/dev/null; then \
        apt-get update -qq; \
        DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "$PYTHON-venv" ca-certificates; \
        rm -rf /var/lib/apt/lists/*; \
    fi; \
    "$PYTHON" -m venv .venv
ENV PIP_CONFIG_FILE=/run/secrets/pip.conf \
    PIP_FIND_LINKS=/wheels \
    PIP_NO_CACHE_DIR=1
COPY requirements.lock scripts/image-packages.sh ./

# The model, with the manifest of its files. To fetch and to seal need little of what serving needs.
FROM build AS model
RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem --mount=type=bind,from=wheels,target=/wheels \
    .venv/bin/pip install -q --constraint requirements.lock huggingface-hub pydantic-settings safetensors
ARG MODEL_ID=sentence-transformers/all-MiniLM-L6-v2
ARG MODEL_NAME
ARG MODEL_REVISION=
COPY requirements-model.lock ./
COPY scripts/minilm.sh scripts/
COPY app app
RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem --mount=type=secret,id=hf_token \
    --mount=type=bind,from=wheels,target=/wheels \
    set -eu; \
    if [ "${MODEL_ID##*/}" != "$MODEL_NAME" ]; then \
        echo "MODEL_NAME ($MODEL_NAME) must be the last part of MODEL_ID ($MODEL_ID): give both." >&2; \
        exit 1; \
    fi; \
    mkdir /models; \
    if [ "$MODEL_ID@$MODEL_REVISION" = sentence-transformers/all-MiniLM-L6-v2@ ]; then \
        scripts/minilm.sh; \
        mv "models/$MODEL_NAME" /models/; \
    else \
        [ ! -e /run/secrets/ca.pem ] || export SSL_CERT_FILE=/run/secrets/ca.pem; \
        HF_TOKEN_PATH=/run/secrets/hf_token .venv/bin/python -m app model fetch "$MODEL_ID" \
            ${MODEL_REVISION:+--revision "$MODEL_REVISION"} --folder "/models/$MODEL_NAME"; \
    fi; \
    chmod -R a+rX,go-w /models

FROM python AS code
ARG PYTHON
WORKDIR /vitrine
COPY LICENSE ./
COPY app app
RUN "$PYTHON" -m compileall -q --invalidation-mode unchecked-hash app
ARG VERSION
ARG REVISION
ARG CREATED
# Labels alone do not make podman's cache look at them; a file does.
RUN echo "$VERSION $REVISION $CREATED" > BUILD

# All that both targets say. Files come last, those that change least first.
FROM python AS service
ARG MODEL_NAME
ENV PATH=/opt/vitrine/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    APP_MODEL=/models/$MODEL_NAME \
    APP_HOST=0.0.0.0 \
    APP_OPS_HOST=0.0.0.0 \
    APP_OPS_PORT=9000
WORKDIR /vitrine
EXPOSE 8000 9000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-IS", "/vitrine/app/healthcheck.py"]
ENTRYPOINT ["python", "-m", "app"]
CMD ["serve"]
LABEL org.opencontainers.image.title="Vitrine" \
    org.opencontainers.image.description="An inference server behind glass" \
    org.opencontainers.image.source="https://github.com/vitrine-serving/vitrine" \
    org.opencontainers.image.licenses="Apache-2.0"

FROM service AS cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=bind,from=build,source=/build,target=/build \
    sh /build/image-packages.sh "$TORCH_INDEX"
COPY --from=model /models /models
COPY --from=code /vitrine /vitrine
USER 10001:10001
ARG VERSION
ARG REVISION
ARG CREATED
LABEL org.opencontainers.image.version=$VERSION \
    org.opencontainers.image.revision=$REVISION \
    org.opencontainers.image.created=$CREATED

FROM service AS cuda
ARG TORCH_CUDA_INDEX=
RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=bind,from=build,source=/build,target=/build \
    sh /build/image-packages.sh "$TORCH_CUDA_INDEX"
# A GPU that is missing ends the start, rather than to serve at a CPU's speed.
ENV APP_DEVICE=cuda
COPY --from=model /models /models
COPY --from=code /vitrine /vitrine
USER 10001:10001
ARG VERSION
ARG REVISION
ARG CREATED
LABEL org.opencontainers.image.version=$VERSION \
    org.opencontainers.image.revision=$REVISION \
    org.opencontainers.image.created=$CREATED

# What is built where no target is named
FROM cpu
