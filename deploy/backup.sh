#!/bin/sh
# Back up the database that DATABASE_URL names into the folder BACKUPS, and remove backups older than KEEP_DAYS.
# Prints the new file's name. A backup that was broken off keeps the name *.part and is never taken for one.
set -eu
umask 077

command -v pg_dump >/dev/null || { echo "pg_dump is not installed. On Debian: apt-get install postgresql-client" >&2; exit 1; }
: "${DATABASE_URL:?names no database}" "${BACKUPS:?names no folder}"
case $DATABASE_URL in postgres*) ;; *) echo "DATABASE_URL is not PostgreSQL's; docs/backup.md has SQLite's way." >&2; exit 1 ;; esac

file=$BACKUPS/countonme-$(date --utc +%Y%m%dT%H%M%SZ).dump
pg_dump --format=custom --no-owner --no-privileges --file="$file.part" --dbname="$DATABASE_URL"
pg_restore --list "$file.part" >/dev/null # the table of contents can be read
sync "$file.part"
mv "$file.part" "$file"
find "$BACKUPS" -maxdepth 1 -name 'countonme-*' -mtime "+${KEEP_DAYS:-14}" -delete
echo "$file"
