#!/usr/bin/env bash
# Starts octet serve and drives its page in Chromium. Exit code 77: skipped.
#   tests/page/run.sh OCTET [FOLDER]     FOLDER: screenshots go there
set -u
octet=$(realpath "$1")
export OCTET_SCREENSHOTS=${2:+$(realpath "$2")}
cd "$(dirname "$0")"
command -v node >/dev/null || { echo "skipped: no node"; exit 77; }
[ -d node_modules ] || { echo "skipped: no packages; (cd tests/page && npm ci) installs them"; exit 77; }
for name in "${CHROMIUM:-chromium}" chromium-browser google-chrome; do
  OCTET_CHROMIUM=$(command -v "$name") && break
done
[ -n "$OCTET_CHROMIUM" ] || { echo "skipped: no chromium; apt-get install chromium"; exit 77; }
export OCTET_CHROMIUM

folder=$(mktemp -d)
unset OCTET_API_KEY
export OCTET_MODEL=../../models/stories260k-mixtral.gguf
"$octet" serve --port 0 --log off 2>"$folder/err" &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; rm -rf "$folder"' EXIT
for _ in $(seq 300); do
  OCTET_URL=$(sed -n 's/^listening on //p' "$folder/err")
  [ -z "$OCTET_URL" ] || break
  sleep 0.1
done
[ -n "$OCTET_URL" ] || { cat "$folder/err"; exit 1; }
export OCTET_URL
node -e "fetch('$OCTET_URL/page.js').then((r) => process.exit(r.ok ? 0 : 77))" ||
  { echo "skipped: this program was built without the page"; exit 77; }
node --test --test-reporter=spec page.test.mjs
