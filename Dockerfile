# syntax=docker/dockerfile:1
# The downloader with its Dask and bucket support, as a user without rights. See docs/pipelines.md.
#   docker build -t downloader .
#   docker run --rm -v "$PWD:/work" -u "$(id -u):$(id -g)" downloader run job.yaml
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY downloader ./downloader
COPY earthengine_emulator ./earthengine_emulator
# Wheels only: nothing is compiled, so no compiler is needed. The versions are those that are tested.
RUN python -m venv /opt/downloader \
 && /opt/downloader/bin/pip install --no-cache-dir --only-binary=:all: -c constraints.txt hatchling \
 && /opt/downloader/bin/pip install --no-cache-dir --prefer-binary --no-build-isolation -c constraints.txt ".[dask]" \
 && /opt/downloader/bin/pip uninstall --yes hatchling pathspec pluggy trove-classifiers pip \
 && find /opt/downloader -name __pycache__ -prune -exec rm -rf {} +

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="earthengine-downloader" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /work --shell /usr/sbin/nologin downloader \
 && mkdir /work && chown downloader:downloader /work
COPY --from=build /opt/downloader /opt/downloader
ENV PATH=/opt/downloader/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /work
ENTRYPOINT ["downloader"]
CMD ["--help"]
