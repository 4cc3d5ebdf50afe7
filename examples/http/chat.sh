#!/usr/bin/env bash
# Asks a running `octet serve` with curl: an answer as a whole, then one as it is written.
#   examples/http/chat.sh [QUESTION]      OCTET_URL: where (http://127.0.0.1:8080), OCTET_API_KEY: its key
set -euo pipefail
url=${OCTET_URL:-http://127.0.0.1:8080}
question=${1:-Once upon a time}
headers=(-H "content-type: application/json")
[ -z "${OCTET_API_KEY:-}" ] || headers+=(-H "authorization: Bearer $OCTET_API_KEY")

Escaped() {  # a text as it stands between the quotes of a JSON string
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  printf '%s' "${text//$'\n'/\\n}"
}
Ask() {  # STREAM
  curl -sS --fail-with-body --no-buffer "$url/v1/chat/completions" "${headers[@]}" --data-binary @- <<JSON
{"messages": [{"role": "user", "content": "$(Escaped "$question")"}],
 "max_tokens": 40, "temperature": 0, "stream": $1}
JSON
}

Ask false
Ask true
