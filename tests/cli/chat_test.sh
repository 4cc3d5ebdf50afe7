# octet chat on a pipe: a message a line. The terminal is chat_terminal_test.cc.
. "$(dirname "$0")/expect.sh"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_STATE_HOME=$folder/state
Chat() { Run "$OCTET" chat --seed 1 --max-tokens 30 "$@"; }

Chat <<<"Once upon a time"
ExpectCode 0
ExpectEqual "$(wc -l <<<"$output")" 1
ExpectErrors "no chat template"
first=$output

Chat --template mistral-v1 <<<$'Once upon a time\n\n/stats\nWhat \\\nthen?\n/save '"$folder/saved.json"
ExpectCode 0
ExpectNoErrors
ExpectOutput "mistral-v1 format"
ExpectOutput "Saved 4 messages"
grep -q '"content": "What \\nthen?"' "$folder/saved.json" || Fail "expected the joined line"

Chat --template mistral-v1 <<<"/load $folder/saved.json"$'\n/retry\n/system Be kind\n/clear\n/stats'
ExpectCode 0
ExpectOutput "Loaded 4 messages"
ExpectOutput "in 1 messages"

Chat <<<$'/set temp 0\n/set\n/help\n/quit\nnot reached'
ExpectCode 0
ExpectOutput "temp is 0"
ExpectOutput "  top-k 40"
ExpectOutput "/retry"

# The oldest turns go when the context is full, and that is said.
Chat --ctx 120 --ignore-eos < <(for i in 1 2 3 4 5; do echo "And then number $i came"; done)
ExpectCode 0
ExpectErrors "the oldest 2 messages are forgotten"

# A script's mistake ends it.
for wrong in "/nonsense" "/set temp hot" "/set top-p 7" "/load $folder/none" "/retry" "/save"; do
  Chat <<<"$wrong"
  ExpectCode 1
done
ExpectErrors "/save needs a file name"
echo '{"messages": [{"role": "wizard", "content": "x"}]}' >"$folder/wrong.json"
Chat --template mistral-v1 <<<"/load $folder/wrong.json"
ExpectCode 1
ExpectErrors "wizard"
Chat --template nonsense <<<"hello"
ExpectCode 1
[ ! -e "$folder/state" ] || [ -z "$(find "$folder/state" -type f)" ] || Fail "a pipe left a history"
Finish
