#!/bin/sh
# Run once by PostgreSQL's image, while its volume is empty: a role with a database of its own for the
# service and its relays, and one for the consumers. Neither may look into the other's.
set -eu
psql --set ON_ERROR_STOP=1 --quiet --username "$POSTGRES_USER" --dbname postgres \
  --set auth_password="$AUTH_DATABASE_PASSWORD" --set welcome_password="$WELCOME_DATABASE_PASSWORD" <<'SQL'
CREATE ROLE auth LOGIN PASSWORD :'auth_password';
CREATE DATABASE auth OWNER auth;
CREATE ROLE welcome LOGIN PASSWORD :'welcome_password';
CREATE DATABASE welcome OWNER welcome;
REVOKE CONNECT ON DATABASE auth, welcome FROM PUBLIC;
SQL
