# octet keys, prices, usage and cost, and a server that uses them.
. "$(dirname "$0")/expect.sh"

folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -KILL "$server" 2>/dev/null; rm -rf "$folder"' EXIT
export OCTET_ACCOUNTS=$folder/accounts.db

Run "$OCTET" keys list
ExpectCode 1
ExpectErrors "there is no accounts file"
Run "$OCTET" keys add
ExpectCode 1
ExpectErrors "wants a key's name"
Run "$OCTET" keys add Lily --requests-per-minute 2
ExpectCode 0
ExpectErrors "the only time"
key=$output
Run "$OCTET" keys add Lily
ExpectCode 1
ExpectErrors "revoke it first"
Run "$OCTET" keys set Lily --tokens-per-day 900
ExpectCode 0
Run "$OCTET" keys list --json
ExpectOutput '"requests_per_minute": 2'
ExpectOutput '"tokens_per_day": 900'
[[ "$output" != *"${key:14}"* ]] || Fail "the list shows the key"
Run "$OCTET" prices --prompt 2 --cached 1 --completion 10
ExpectCode 0
ExpectOutput "(other models)"

# Start FLAGS…: serves on a free port; sets $server and $url.
Start() {
  : >"$folder/err"  # what the server before said
  "$OCTET" serve --port 0 --threads 1 --log off "$@" 2>"$folder/err" &
  server=$!
  for _ in $(seq 300); do
    url=$(sed -n 's/^listening on //p' "$folder/err")
    [ -z "$url" ] || break
    sleep 0.1
  done
}
Stop() {
  kill -TERM "$server"
  wait "$server"
  server=
}
Start
Ask() {
  Run env OCTET_URL="$url" OCTET_API_KEY="$key" python3 "$OCTET_SOURCE_DIR/examples/http/chat.py"
}
Ask
ExpectCode 0
Ask
ExpectCode 0
Ask
ExpectCode 1
ExpectErrors "requests a minute"
Run "$OCTET" usage
ExpectOutput "Lily"
Run "$OCTET" usage --by model --csv
ExpectOutput "model,requests,answered,prompt_tokens,cached_tokens,completion_tokens,cost"
ExpectOutput '",2,2,'
Run "$OCTET" usage --by day --json --since 2000-01-01 --until 2001-01-01
ExpectEqual "$output" "[]"
Run "$OCTET" usage --since soon
ExpectCode 1
ExpectErrors "is not a day"
Run "$OCTET" serve --port 0
ExpectCode 1
ExpectErrors "another server uses the accounts file"
Run "$OCTET" keys revoke Lily
ExpectOutput "revoked"
sleep 2
Ask
ExpectErrors "not known here"
Stop

# Whoever has no key is counted by address where everybody may ask.
Start --open
key=
Ask
ExpectCode 0
key=wrong
Ask
ExpectErrors "not known here"
Stop
Run "$OCTET" usage --csv
ExpectOutput '"127.0.0.1",1,1,'

# 1 kW at 0.36 a kWh is 0.0001 a second: a million tokens at 100/s take 10000 s.
Run "$OCTET" cost --watts 1000 --kwh-price 0.36 --prompt-speed 1000 --completion-speed 100
ExpectCode 0
ExpectOutput "a million tokens of prompts        0.1000"
ExpectOutput "a million tokens of answers        1.0000"
Run "$OCTET" cost --watts 100 --kwh-price -1 --prompt-speed 1 --completion-speed 1
ExpectCode 1
ExpectErrors "price per kWh is -1"
Finish
