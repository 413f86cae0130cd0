#!/bin/bash
# The roles and the database of docs/deployment.md. The image of PostgreSQL runs this once, with an empty data directory.
set -euo pipefail
psql --no-psqlrc --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname=postgres \
  --set=owner="$LEDGER_OWNER_PASSWORD" --set=app="$LEDGER_APP_PASSWORD" --set=read="$LEDGER_READ_PASSWORD" <<'SQL'
create role ledger_owner login password :'owner';
create role ledger_app login password :'app';
create role ledger_read login password :'read';
create database ledger owner ledger_owner encoding 'UTF8' template template0;
SQL
