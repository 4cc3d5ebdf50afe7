# HTTPS: octet serve --tls-cert --tls-key.
. "$(dirname "$0")/expect.sh"

for program in openssl curl; do
  command -v $program >/dev/null || { echo "skipped: no $program" >&2; exit 0; }
done
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -KILL "$server" 2>/dev/null; rm -rf "$folder"' EXIT
for name in one two; do
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
    -keyout "$folder/$name.key" -out "$folder/$name.pem" 2>/dev/null || exit 1
done
openssl rsa -aes128 -passout pass:secret -in "$folder/one.key" -out "$folder/locked.key" 2>/dev/null

Serve() { "$OCTET" serve --port 0 --threads 1 --log off "$@"; }
Run Serve --tls-cert "$folder/one.pem"
ExpectCode 1
ExpectErrors "both a certificate and its key"
Run Serve --tls-cert "$folder/none.pem" --tls-key "$folder/one.key"
ExpectCode 1
ExpectErrors "cannot read the TLS certificate $folder/none.pem"
Run Serve --tls-cert "$folder/one.key" --tls-key "$folder/one.key"
ExpectCode 1
ExpectErrors "is not a certificate in PEM"
for key in two locked; do
  Run Serve --tls-cert "$folder/one.pem" --tls-key "$folder/$key.key"
  ExpectCode 1
  ExpectErrors "$key.key is not the certificate's key"
done

"$OCTET" serve --port 0 --threads 1 --log off --tls-cert "$folder/one.pem" \
  --tls-key "$folder/one.key" 2>"$folder/err" &
server=$!
for _ in $(seq 300); do
  url=$(sed -n 's/^listening on //p' "$folder/err")
  [ -z "$url" ] || break
  sleep 0.1
done
[[ "$url" == https://127.0.0.1:* ]] || Fail "expected an https address, got '$url'"
port=${url##*:}
Ask() { Run curl -sS --max-time 20 --cacert "$folder/one.pem" "$@"; }
Ask "$url/health"
ExpectCode 0
ExpectOutput '"ok"'
body='{"messages": [{"role": "user", "content": "Once upon a time"}], "max_tokens": 40, "stream": true}'
Ask -N "$url/v1/chat/completions" -d "$body"
ExpectCode 0
ExpectOutput "data: [DONE]"
# A body of many TLS records, on one connection with another request.
head -c 300000 /dev/zero | tr '\0' a | sed 's/^/{"content": "/; s/$/"}/' >"$folder/long"
Ask "$url/tokenize" -d "@$folder/long" -o "$folder/tokens" --next -sS \
  --cacert "$folder/one.pem" "$url/health"
ExpectCode 0
grep -q '"count":300000' "$folder/tokens" || Fail "a long body was not answered"
ExpectOutput '"ok"'
Ask --http1.1 --cacert "$folder/two.pem" "$url/health"
[ "$code" -ne 0 ] || Fail "another certificate was accepted"
Ask --tls-max 1.1 "$url/health"
[ "$code" -ne 0 ] || Fail "TLS 1.1 was accepted"
for version in 1.2 1.3; do
  Ask "--tlsv$version" --tls-max $version "$url/health"
  ExpectCode 0
done
Run curl -sS --max-time 20 "http://127.0.0.1:$port/health"
[ "$code" -ne 0 ] || Fail "plain HTTP was answered"
# The end of an answer is told, so that a cut one is noticed.
Run bash -c "printf 'GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n' |
  timeout 20 openssl s_client -quiet -ign_eof -CAfile '$folder/one.pem' -connect 127.0.0.1:$port 2>&1"
ExpectCode 0
ExpectOutput '"ok"'
[[ "$output" != *"unexpected eof"* ]] || Fail "no close_notify"
# A new certificate, for connections from now on; an unfit one changes nothing.
cp "$folder/one.pem" "$folder/old.pem"
cp "$folder/two.pem" "$folder/one.pem"
kill -HUP "$server"
for _ in $(seq 100); do grep -q "is not the certificate's key" "$folder/err" && break; sleep 0.05; done
Run curl -sS --max-time 20 --cacert "$folder/old.pem" "$url/health"
ExpectCode 0
cp "$folder/two.key" "$folder/one.key"
kill -HUP "$server"
for _ in $(seq 100); do grep -q "read the certificate" "$folder/err" && break; sleep 0.05; done
Ask "$url/health"
ExpectCode 0
Run curl -sS --max-time 20 --cacert "$folder/old.pem" "$url/health"
[ "$code" -ne 0 ] || Fail "the old certificate is still used"
kill -TERM "$server"
wait "$server"
code=$?
server=
ExpectCode 0
Finish
