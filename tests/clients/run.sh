#!/usr/bin/env bash
# Starts octet serve and lets published clients ask it. Exit code 77: skipped.
#   tests/clients/run.sh OCTET
set -u
cd "$(dirname "$0")"
octet=$1
command -v node >/dev/null || { echo "skipped: no node"; exit 77; }
[ -d node_modules ] || { echo "skipped: no packages; (cd tests/clients && npm ci) installs them"; exit 77; }

folder=$(mktemp -d)
export OCTET_MODEL=../../models/stories260k-mixtral.gguf
accounts=$folder/accounts.db
OCTET_API_KEY=$("$octet" keys add clients --accounts "$accounts" 2>/dev/null) || exit 1
"$octet" serve --port 0 --parallel 10 --ctx 2048 --accounts "$accounts" --log "$folder/log" 2>"$folder/err" &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; rm -rf "$folder"' EXIT
for _ in $(seq 300); do
  OCTET_URL=$(sed -n 's/^listening on //p' "$folder/err")
  [ -z "$OCTET_URL" ] || break
  sleep 0.1
done
[ -n "$OCTET_URL" ] || { cat "$folder/err"; exit 1; }
export OCTET_URL OCTET_API_KEY
node --test --test-concurrency=1 --test-reporter=spec clients.test.mjs tools.test.mjs schemas.test.mjs openapi.test.mjs
