#!/bin/sh
# Restore a backup into the new, empty database that DATABASE_URL names, and prepare it for the service:
# deploy/restore.sh countonme-….dump. Run it in the folder of manage.py, with the settings of the service. Options after
# the name of the backup are passed to `manage.py after_restore`, and so is every ledger in the folder of the backup:
# erasures.txt, which backup.sh copies there, and others whose names begin with "erasures", such as erasures-second.txt.
set -eu
umask 077

[ $# -ge 1 ] || { echo "Usage: $0 BACKUP [OPTIONS OF after_restore]" >&2; exit 2; }
command -v pg_restore >/dev/null || { echo "pg_restore is not installed. On Debian: apt-get install postgresql-client" >&2; exit 1; }
. "${0%/*}/read_secrets.sh"
python=${PYTHON:-.venv/bin/python}
backup=$1
shift
for ledger in "$(dirname "$backup")"/erasures*.txt; do
    if [ -e "$ledger" ]; then set -- "$@" --ledger "$ledger"; fi
done

pg_restore --exit-on-error --single-transaction --no-owner --no-privileges --dbname="$DATABASE_URL" "$backup"
"$python" manage.py migrate --noinput --verbosity 0
"$python" manage.py after_restore "$@"
