# Two stages: the first has pip and builds, the second has what runs and nothing else.
#   docker build -t gateway .
#   docker run --network host --read-only --cap-drop ALL --security-opt no-new-privileges \
#       -v ./config:/etc/gateway:ro gateway
# With the host's network the gateway sees the clients' addresses; docs/containers.md says what else that needs.
# The access log goes to standard output with `access_log: {path: "-"}`; nothing is written into the container.
#
# The base image is named by its digest (Python 3.13.15 on Debian 13, all architectures), so that every build gets the
# same bytes. Security fixes need a newer one, in both FROM lines:
#   docker buildx imagetools inspect python:3.13-slim --format '{{.Manifest.Digest}}'

FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements/run.txt requirements/build.txt requirements/
RUN python -m venv /opt/gateway \
    && /opt/gateway/bin/pip install --require-hashes -r requirements/run.txt \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/gateway/bin/pip install --no-deps --no-index /wheels/*.whl \
    && /opt/gateway/bin/pip uninstall --yes pip

FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
LABEL org.opencontainers.image.title="gateway" \
      org.opencontainers.image.description="A mutual-TLS access gateway in front of webmail and Exchange ActiveSync" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that Kubernetes can see that it isn't root. Docker opens ports below 1024 to it; docs/containers.md says
# what Podman needs.
USER 10001:10001
WORKDIR /etc/gateway
EXPOSE 443
STOPSIGNAL SIGTERM
# Whether a worker serves, where there is an `admin` section; else whether the first listener takes connections.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["gateway", "status", "--health", "--config", "/etc/gateway/config.yaml"]
ENTRYPOINT ["gateway"]
CMD ["run", "--config", "/etc/gateway/config.yaml"]
