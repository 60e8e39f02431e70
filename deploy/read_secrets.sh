# For `. deploy/read_secrets.sh`: set DATABASE_URL, and PGPASSWORD for PostgreSQL's programs, from the settings of the
# service: DATABASE_URL and DATABASE_PASSWORD, or the files that DATABASE_URL_FILE and DATABASE_PASSWORD_FILE name.
# shellcheck shell=sh

if [ -n "${DATABASE_URL_FILE:-}" ]; then DATABASE_URL=$(cat "$DATABASE_URL_FILE") || exit 1; fi
if [ -n "${DATABASE_PASSWORD_FILE:-}" ]; then
    PGPASSWORD=$(cat "$DATABASE_PASSWORD_FILE") || exit 1
    export PGPASSWORD
elif [ -n "${DATABASE_PASSWORD:-}" ]; then
    export PGPASSWORD="$DATABASE_PASSWORD"
fi
: "${DATABASE_URL:?names no database}"
