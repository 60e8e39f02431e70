#!/bin/sh
# Back up the database that DATABASE_URL names, and the ledger of erasures, into the folder BACKUPS. Remove backups that
# are older than BACKUP_RETENTION days (default: 14). Print the name of the new file. Record the backup in the database,
# for the metric countonme_last_backup_timestamp_seconds.
# An unfinished backup has a name that ends with .part.
set -eu
umask 077

command -v pg_dump >/dev/null || { echo "pg_dump is not installed. On Debian: apt-get install postgresql-client" >&2; exit 1; }
. "$(dirname "$0")/read_secrets.sh"
: "${BACKUPS:?names no folder}"
case $DATABASE_URL in postgres*) ;; *) echo "DATABASE_URL does not name a PostgreSQL database. docs/backup.md says how to back up SQLite." >&2; exit 1 ;; esac
days=${BACKUP_RETENTION:-14}
case $days in
    0* | *[!0-9]* | ??????*) echo "BACKUP_RETENTION is '$days'. It must be a whole number of days, from 1 to 99999." >&2; exit 1 ;;
esac
ledger=${ERASURE_LEDGER:-erasures.txt}

# One backup at a time. The lock is on the folder itself, and ends with this process.
exec 9<"$BACKUPS"
flock --nonblock 9 || { echo "Another backup is running. This one waits for its end." >&2; flock 9; }

# Merge the ledger into the copy. The copy never loses a line: on a new host the ledger is empty at first, and the copy
# may be the only one left. Each line begins with its time, so that sorting puts the lines in order. A line that a crash
# cut off is not copied.
copy_ledger() {
    copy=$BACKUPS/erasures.txt
    set -- "$ledger"
    if [ -e "$copy" ]; then set -- "$ledger" "$copy"; fi
    { grep --no-filename --text --extended-regexp ' [0-9a-f]{64}[[:space:]]*$' "$@" || [ $? -eq 1 ]; } >"$copy.part" &&
        LC_ALL=C sort --unique --output="$copy.part" "$copy.part" &&
        sync "$copy.part" &&
        mv "$copy.part" "$copy"
}

# The ledger is copied first, so that it is safe even if pg_dump fails.
if [ -e "$ledger" ]; then
    copy_ledger || echo "The ledger of erasures could not be copied. It will be tried again after the backup." >&2
else
    echo "There is no ledger of erasures yet: ERASURE_LEDGER names $ledger, which does not exist." >&2
fi

started=$(date --utc +%Y%m%dT%H%M%SZ)
file=$BACKUPS/countonme-$started.dump
trap 'rm -f "$file.part"' EXIT
pg_dump --format=custom --no-owner --no-privileges --file="$file.part" --dbname="$DATABASE_URL"
pg_restore --list "$file.part" >/dev/null # fails if the table of contents can't be read
sync "$file.part"
mv "$file.part" "$file"
sync "$BACKUPS"
echo "$file"

# Remove old backups only after the new one is complete. An hour is subtracted because the backup of 14 nights ago may
# have ended a few minutes later in the night than this one. It would otherwise stay a day longer.
find "$BACKUPS" -maxdepth 1 -type f ! -name "${file##*/}" \
    \( -name 'countonme-*.dump.part' -o -name 'countonme-*.dump' -mmin "+$((days * 24 * 60 - 60))" \) -delete

# Copy the ledger again, so that the copy has every erasure that was confirmed before this backup began.
if [ -e "$ledger" ]; then copy_ledger; fi

psql --no-psqlrc --quiet --dbname="$DATABASE_URL" --command="INSERT INTO backups (started_at) VALUES ('$started')" ||
    { echo "The backup is complete, but the database has no record of it. Has manage.py migrate run?" >&2; exit 1; }
