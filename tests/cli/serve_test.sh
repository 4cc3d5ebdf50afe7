# octet serve, and the examples that ask it.
. "$(dirname "$0")/expect.sh"

examples=$OCTET_SOURCE_DIR/examples/http
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -KILL "$server" 2>/dev/null; rm -rf "$folder"' EXIT

# Start FLAGS…: serves on a free port; sets $server and $OCTET_URL.
Start() {
  : >"$folder/err"  # what the server before said
  "$OCTET" serve --port 0 --threads 1 --log "$folder/access.log" "$@" 2>"$folder/err" &
  server=$!
  for _ in $(seq 300); do
    OCTET_URL=$(sed -n 's/^listening on //p' "$folder/err")
    [ -z "$OCTET_URL" ] || break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  export OCTET_URL
}
# Stop: SIGTERM; the exit code in $code.
Stop() {
  kill -TERM "$server"
  wait "$server"
  code=$?
  server=
}

story=", there was a little girl named Lily. She loved to play outside in the park."
Start --parallel 2
[ -n "$OCTET_URL" ] || Fail "the server did not start: $(cat "$folder/err")"
if command -v curl >/dev/null; then
  Run bash "$examples/chat.sh"
  ExpectCode 0
  ExpectOutput "\"content\":\"$story"
  ExpectOutput "data: [DONE]"
else
  echo "skipped: no curl" >&2
fi
Run python3 "$examples/chat.py"
ExpectCode 0
ExpectOutput "$story"
if command -v node >/dev/null; then
  Run node "$examples/chat.mjs"
  ExpectCode 0
  ExpectOutput "$story"
else
  echo "skipped: no node" >&2
fi
Run "$OCTET" serve --port "${OCTET_URL##*:}" --log off
ExpectCode 1
ExpectErrors "cannot listen on 127.0.0.1"
Stop
ExpectCode 0
Run cat "$folder/access.log"
ExpectOutput '"path":"/v1/chat/completions","status":200'
[[ "$output" != *Lily* && "$output" != *"upon a time"* ]] || Fail "the log holds text"

echo "secret-one" >"$folder/keys"
Start --api-key-file "$folder/keys"
Run python3 "$examples/chat.py"
ExpectCode 1
ExpectErrors "no API key"
Run env OCTET_API_KEY=secret-one python3 "$examples/chat.py"
ExpectCode 0
Stop

# What was computed before a restart is found again after it.
question=$(printf 'Lily went to the park with her mom. %.0s' {1..12})
AskLong() {
  Run python3 -c 'import json, sys, urllib.request
body = json.dumps({"prompt": sys.argv[2], "max_tokens": 4, "temperature": 0}).encode()
answer = json.load(urllib.request.urlopen(sys.argv[1] + "/v1/completions", body))
print(answer["choices"][0]["text"], answer["usage"]["prompt_tokens_details"]["cached_tokens"])' "$OCTET_URL" "$question"
  ExpectCode 0
}
Start --prefix-cache "$folder/prefixes"
AskLong
cold=$output
Stop
ExpectCode 0
Run cat "$folder/err"
ExpectOutput "pages of computed prefixes to $folder/prefixes"
Start --prefix-cache "$folder/prefixes"
AskLong
[ "${output##* }" -ge 64 ] || Fail "nothing was found computed"
ExpectEqual "${output% *}" "${cold% *}"
Stop
Start --prefix-cache "$folder/prefixes" --kv-type f32
Run cat "$folder/err"
ExpectOutput "prefixes are computed anew: $folder/prefixes has keys and values of another type"
Stop

# They are saved while the server works, for the day it does not come to its end.
rm "$folder/prefixes"
Start --prefix-cache "$folder/prefixes" --prefix-cache-every 0.2
AskLong
for _ in $(seq 300); do
  [ -e "$folder/prefixes" ] && break
  sleep 0.1
done
kill -KILL "$server"
wait "$server" 2>/dev/null
Start --prefix-cache "$folder/prefixes"
AskLong
[ "${output##* }" -ge 64 ] || Fail "nothing was saved meanwhile"
Stop

Run "$OCTET" serve --host 0.0.0.0 --port 0
ExpectCode 1
ExpectErrors "--api-key-file"
Run "$OCTET" serve --api-key-file "$folder/none"
ExpectCode 1
ExpectErrors "cannot open the file of API keys"
Run "$OCTET" serve --parallel 0
ExpectCode 1
ExpectErrors "parallel is 0"
Run "$OCTET" serve --template nonsense
ExpectCode 1
ExpectErrors "chat format \"nonsense\""
Run "$OCTET" serve --lora story="$folder/none"
ExpectCode 1
ExpectErrors "no such file or folder"
Run "$OCTET" serve --lora "$folder/a" --lora "$folder/b"
ExpectCode 1
ExpectErrors "only one adapter can be for all requests"
Finish
