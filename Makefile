# `make run` and `make test` install everything that they need. .env.example lists the settings, which come from the
# environment or from .env (DATABASE_URL, PORT, …).

PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test test-clients test-schema test-generators rehearse-restore faults abuse scaling test-docker lint nightly \
  indexes bench pin key

run: .venv/run key
	$(BIN)/python manage.py migrate --noinput
	-@$(BIN)/python manage.py import_usda --once
	@MALLOC_ARENA_MAX=1 exec $(BIN)/gunicorn countonme.wsgi

test: .venv/dev key
	$(BIN)/pytest $(ARGS)

# Test the clients of docs/clients.md against a live service. Needs Node (20.19, 22.13, 24.3 or newer), and PostgreSQL:
# the server that DATABASE_URL names, or the one on this machine. SEED and STEPS repeat a random run.
NODE := clients/watermelondb

test-clients: .venv/run key
	@command -v npm >/dev/null || { echo "Node with npm is not installed: test-clients needs 20.19, 22.13, 24.3 or newer." >&2; exit 1; }
	@$(MAKE) --no-print-directory $(NODE)/node_modules/.package-lock.json
	$(if $(DATABASE_URL),BENCH_POSTGRES=$(dir $(DATABASE_URL))) $(BIN)/python -m tests.e2e.clients.live npm --silent --prefix $(NODE) test

# Back up, restore, and check that no device loses a row. Needs PostgreSQL, as above, and pg_dump.
rehearse-restore: .venv/run key
	$(if $(DATABASE_URL),BENCH_POSTGRES=$(dir $(DATABASE_URL))) $(BIN)/python -m tests.e2e.restore

$(NODE)/node_modules/.package-lock.json: $(NODE)/package-lock.json
	cd $(NODE) && npm ci --silent
	@touch $@

# Check the service against its OpenAPI document for SCHEMA_SECONDS. Needs PostgreSQL, as test-clients does.
SCHEMATHESIS := tests/e2e/schema
SCHEMA_SECONDS ?= 45

test-schema: .venv/run key $(SCHEMATHESIS)/.venv/run
	$(if $(DATABASE_URL),BENCH_POSTGRES=$(dir $(DATABASE_URL))) $(BIN)/python -m tests.e2e.clients.live \
	  $(BIN)/python -m tests.e2e.schema.run --max-time $(SCHEMA_SECONDS) $(ARGS)

# Generate clients from the OpenAPI document, and use them against a live service. With QUICK=1, three generators only.
# Needs npm, and PostgreSQL, as test-clients does. The folders install all other tools.
GENERATORS := tests/e2e/generators
TYPESCRIPT := $(GENERATORS)/openapi-typescript/node_modules/.package-lock.json
NODE22 := $(GENERATORS)/node22/node_modules/.package-lock.json

test-generators: .venv/run key $(GENERATORS)/.venv/run $(TYPESCRIPT) $(if $(QUICK),,$(NODE22))
	$(if $(DATABASE_URL),BENCH_POSTGRES=$(dir $(DATABASE_URL))) $(BIN)/python -m tests.e2e.clients.live \
	  $(BIN)/python -m tests.e2e.generators.run $(if $(QUICK),--quick)

$(TYPESCRIPT) $(NODE22): $(GENERATORS)/%/node_modules/.package-lock.json: $(GENERATORS)/%/package-lock.json
	cd $(<D) && npm ci --silent --ignore-scripts
	@touch $@

# Kill workers, the database, connections and `manage.py erase` for FAULT_SECONDS. Check that no acknowledged write is
# lost, and that no data of an erased device is left. Starts a PostgreSQL of its own, so it needs PostgreSQL's programs.
faults: .venv/run key
	$(BIN)/python -m tests.e2e.faults $(ARGS)

# Attack the service for ABUSE_SECONDS, and check that it still serves honest devices (docs/abuse.md). Needs
# PostgreSQL's programs, as above.
abuse: .venv/run key
	$(BIN)/python -m tests.e2e.abuse $(ARGS)

# Test what docs/scaling.md describes: run the test suite behind PgBouncer (ARGS selects tests), then tests/e2e/scaling.
# Needs PostgreSQL's programs, pgbouncer, nginx and redis-server.
scaling: .venv/dev key
	$(BIN)/python -m tests.e2e.scaling.pooled $(BIN)/pytest --reuse-db $(ARGS)
	$(BIN)/pytest tests/e2e/scaling

# Install, back up, restore, update and stop the service with Docker. Needs root, and an engine with the Compose plugin.
# PYTHON_IMAGE and POSTGRES_IMAGE name other base images: make test-docker POSTGRES_IMAGE=mirror.example.org/postgres:17
test-docker: .venv/run key
	$(BIN)/python -m tests.e2e.docker

lint: .venv/dev key
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python .ci/lint_migrations.py
	SECRET_KEY=$$($(BIN)/python -c "import secrets; print(secrets.token_urlsafe(50))") DEBUG=off HTTPS_ONLY=on \
	  ALLOWED_HOSTS=api.example.org DATABASE_URL=postgres://127.0.0.1/countonme \
	  $(BIN)/python manage.py check --deploy --fail-level WARNING
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file /dev/null
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml deploy/docker/*.yml

# .ci/run with more time for the random parts, and with the parts that take too long for every change.
nightly:
	bash .ci/run nightly

# The benchmarks' environment has only the packages that production installs.
OURS := benchmarks/.venv-ours

# Check that each query uses an index, with 1,000,000 entries: benchmarks/indexes.md. Needs PostgreSQL (BENCH_POSTGRES).
indexes: $(OURS)/run key
	$(OURS)/bin/python -m benchmarks.indexes

# Compare the service with FastAPI and with a bare WSGI function (docs/speed.md). Needs PostgreSQL (BENCH_POSTGRES) and
# wrk. Uses production's packages: Django REST framework imports some of the development packages if they are installed.
PEER := benchmarks/.venv

bench: $(OURS)/run key $(PEER)/run
	$(OURS)/bin/python -m benchmarks.run

# Virtual environments with only the packages of their requirements file.
$(OURS)/run: requirements.txt
$(PEER)/run: benchmarks/requirements.txt
$(SCHEMATHESIS)/.venv/run: $(SCHEMATHESIS)/requirements.txt
$(GENERATORS)/.venv/run: $(GENERATORS)/requirements.txt
$(OURS)/run $(PEER)/run $(SCHEMATHESIS)/.venv/run $(GENERATORS)/.venv/run:
	$(NEEDS_VENV)
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/$(INSTALL) $<
	@touch $@

# Debian has venv in a package of its own.
NEEDS_VENV := @$(PYTHON) -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
  { echo "Python 3.11 or newer with venv is not installed. On Debian: sudo apt-get install python3-venv" >&2; exit 1; }

INSTALL := pip install --quiet --disable-pip-version-check --require-hashes --requirement

.venv/bin/pip:
	$(NEEDS_VENV)
	$(PYTHON) -m venv .venv

.venv/run: requirements.txt | .venv/bin/pip
	$(BIN)/$(INSTALL) $<
	@touch $@

.venv/dev: requirements-dev.txt .venv/run
	$(BIN)/$(INSTALL) $<
	@touch $@

# Write each requirements.txt from its requirements.in: the versions and hashes of all packages, for each platform and
# each Python from 3.11. Packages keep their versions; `make pin ARGS="--upgrade-package attrs"` upgrades one.
PINNED := requirements requirements-dev benchmarks/requirements $(SCHEMATHESIS)/requirements $(GENERATORS)/requirements
PIN := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras \
  --annotation-style line --custom-compile-command "make pin"

pin: .venv/dev
	for file in $(PINNED); do $(BIN)/$(PIN) $(ARGS) --output-file $$file.txt $$file.in || exit 1; done

# On the first run, write settings to .env: a new key, and plain HTTP on this machine only.
key:
	@[ -n "$$SECRET_KEY" ] || grep -qs '^SECRET_KEY=.' .env || { \
	  umask 077; touch .env; chmod o= .env; [ -z "$$(tail -c 1 .env)" ] || echo >> .env; \
	  echo "SECRET_KEY=$$($(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(50))')" >> .env; \
	  for setting in ALLOWED_HOSTS=localhost,127.0.0.1 HTTPS_ONLY=off; do \
	    grep -q "^$${setting%%=*}=" .env || echo "$$setting" >> .env; \
	  done; }
