# Truename's service: `docker build -t truename .`. compose.yaml runs it with Redis and PostgreSQL; docs/operations.md says how.
# tests/service/test_image.py (-m long) runs these steps in a scratch root and starts what comes of them.
FROM python:3.11-slim AS build
COPY requirements.lock /build/requirements.lock
# Wheels alone, each with the hash that the lock names: nothing is compiled, and nothing that is installed runs code of its own.
RUN python -m venv --without-pip /app/venv
RUN python -m pip --python /app/venv/bin/python install --no-cache-dir --no-compile --only-binary=:all: --require-hashes -r /build/requirements.lock
COPY LICENSE /app/LICENSE
COPY api /app/code/api
COPY verifier /app/code/verifier
COPY probes /app/code/probes
COPY fingerprints /app/code/fingerprints
# On the path without an installer: the same code for `truename` and for the workers that `serve` starts.
RUN echo /app/code > /app/venv/lib/python3.11/site-packages/truename.pth
RUN printf '#!/bin/sh\nexec /app/venv/bin/python -m api "$@"\n' > /app/truename && chmod 0755 /app/truename
RUN /app/venv/bin/python -m compileall -q -j 0 /app/venv/lib /app/code
RUN chmod -R a-w,a+rX /app

FROM python:3.11-slim
# No tool to install anything with.
RUN python -m pip uninstall --yes pip setuptools wheel
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin truename
RUN mkdir /data && chown 10001:10001 /data && chmod 0700 /data
COPY --from=build /app /app
ENV PATH=/app:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 TRUENAME_DATA_DIR=/data
WORKDIR /data
VOLUME /data
EXPOSE 8080
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/app/venv/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["/app/venv/bin/python", "-m", "api"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080"]
