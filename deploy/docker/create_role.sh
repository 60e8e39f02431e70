#!/bin/sh
# The image of PostgreSQL runs this script once, when it has created its data. Create the service's role and database.
# The role is no superuser. The superuser loses its password: it can log in inside the container only.
set -eu

psql --no-psqlrc --set ON_ERROR_STOP=1 --username postgres --dbname postgres <<'SQL'
\getenv password POSTGRES_PASSWORD
CREATE ROLE countonme LOGIN PASSWORD :'password';
CREATE DATABASE countonme OWNER countonme TEMPLATE template0 ENCODING 'UTF8';
ALTER ROLE postgres PASSWORD NULL;
SQL
