#!/bin/sh
# Restore a backup into the new, empty database that DATABASE_URL names, and prepare it for the service:
# deploy/restore.sh countonme-….dump. Run it in the folder of manage.py, with the settings of the service.
set -eu
umask 077

[ $# -eq 1 ] || { echo "Usage: $0 BACKUP" >&2; exit 2; }
command -v pg_restore >/dev/null || { echo "pg_restore is not installed. On Debian: apt-get install postgresql-client" >&2; exit 1; }
: "${DATABASE_URL:?names no database}"
python=${PYTHON:-.venv/bin/python}
ledger=$(dirname "$1")/erasures.txt # the copy that backup.sh makes

pg_restore --exit-on-error --single-transaction --no-owner --no-privileges --dbname="$DATABASE_URL" "$1"
"$python" manage.py migrate --noinput --verbosity 0
if [ -e "$ledger" ]; then
    "$python" manage.py after_restore --ledger "$ledger"
else
    "$python" manage.py after_restore
fi
