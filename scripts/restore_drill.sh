#!/bin/sh
# Restore drill: dump the ledger, restore the dump into an empty database, and verify the copy against a seal of the original.
# Nothing is sent to Stripe, and the original is only read.
#
#   DATABASE_URL   the ledger; the owner's or the reading role's URL (pg_dump needs SELECT on every table)
#   DRILL_URL      an empty database of the same PostgreSQL version or newer; its owner's URL. No superuser is needed.
#   DRILL_DIR      a directory for dump and seal (default: a new one in /tmp); keep it if the drill failed
set -eu
: "${DATABASE_URL:?set DATABASE_URL to the ledger}" "${DRILL_URL:?set DRILL_URL to an empty database}"
dir=${DRILL_DIR:-$(mktemp -d)}
ledger=${TRANSFER_LEDGER:-transfer-ledger}

"$ledger" seal --out "$dir/seal.json"
pg_dump --format=custom --file="$dir/ledger.dump" "$DATABASE_URL"
pg_restore --exit-on-error --single-transaction --no-owner --no-privileges --dbname="$DRILL_URL" "$dir/ledger.dump"
DATABASE_URL=$DRILL_URL "$ledger" verify --seal "$dir/seal.json"
echo "The drill succeeded: $dir/ledger.dump restores, and agrees with $dir/seal.json."
