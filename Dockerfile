# One image for the service, migrations and nightly jobs.
ARG PYTHON_IMAGE=python:3.13-slim
FROM ${PYTHON_IMAGE}

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=1 HOST=0.0.0.0 \
    ERASURE_LEDGER=/var/lib/countonme/erasures.txt

WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --require-hashes -r requirements.txt

COPY . .
# The code must be readable, whatever the umask of the checkout was. A named volume gets the owner of its folder here.
RUN chmod -R a+rX . \
    && useradd --system --no-create-home --uid 10001 countonme \
    && install --directory --owner=countonme --mode=700 /var/lib/countonme
USER 10001

EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ.get(\"PORT\", 8000)}/healthz', timeout=2)"]
CMD ["gunicorn", "countonme.wsgi"]
