#!/bin/sh
# Restore a backup into the new, empty database that DATABASE_URL names, and prepare it for the service:
# deploy/restore.sh [--continue] countonme-….dump. Run it as the user of the service, in any folder. Options after the
# name of the backup are passed to `manage.py after_restore`, and so is every ledger in the folder of the backup:
# erasures.txt, which backup.sh copies there, and others whose names begin with "erasures", such as erasures-second.txt.
# --continue only does what is left if the script has stopped after it had restored the data.
set -eu
umask 077

restored=
if [ "${1:-}" = --continue ]; then restored=yes; shift; fi
[ $# -ge 1 ] || { echo "Usage: $0 [--continue] BACKUP [OPTIONS OF after_restore]" >&2; exit 2; }
for program in psql pg_restore; do
    command -v $program >/dev/null || { echo "$program is not installed. On Debian: apt-get install postgresql-client" >&2; exit 1; }
done
. "$(dirname "$0")/read_secrets.sh"
root=$(dirname "$0")/..
python=${PYTHON:-$root/.venv/bin/python}
backup=$1
shift
[ -r "$backup" ] || { echo "$(id -un) can't read $backup, or it does not exist." >&2; exit 1; }
for ledger in "$(dirname "$backup")"/erasures*.txt; do
    [ -e "$ledger" ] || continue
    [ -r "$ledger" ] || { echo "$(id -un) can't read $ledger." >&2; exit 1; }
    set -- "$@" --ledger "$ledger"
done
"$python" "$root/manage.py" check >/dev/null # stops here if Python or a setting is missing

tables=$(psql --no-psqlrc --quiet --tuples-only --no-align --dbname="$DATABASE_URL" \
    --command="SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") ||
    {
        echo "$(id -un) can't connect to the database. Run this as the user of the service: on a bare host, with" \
            "sudo -u countonme." >&2
        exit 1
    }
if [ "$tables" -gt 0 ] && [ -z "$restored" ]; then
    echo "The database is not empty. If this script has stopped after it had restored the data, repeat the command" \
        "with --continue: $0 --continue $backup. Otherwise, create a new, empty database." >&2
    exit 1
elif [ "$tables" -eq 0 ] && [ "$restored" ]; then
    echo "The database is empty, so the data was not restored. Repeat the command without --continue." >&2
    exit 1
fi

if [ -z "$restored" ]; then
    pg_restore --exit-on-error --single-transaction --no-owner --no-privileges --dbname="$DATABASE_URL" "$backup"
    echo "Restored $backup. If a command below fails, fix the cause, and repeat this command with --continue."
fi
"$python" "$root/manage.py" migrate --noinput --verbosity 0
"$python" "$root/manage.py" after_restore "$@"
