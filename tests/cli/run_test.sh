# octet run, as a person or a script uses it.
. "$(dirname "$0")/expect.sh"

prompt="Once upon a time"
story=", there was a little girl named Lily. She loved to play outside in the park."

Run "$OCTET" run "$prompt" --temp 0 -n 27
ExpectCode 0
ExpectEqual "$output" "$story"
ExpectErrors "stories260k-mixtral: loaded in"
ExpectErrors "answer 27 tokens"
ExpectErrors "ended by length"

# As llama.cpp has it.
Run "$OCTET" run -p "$prompt" -c 256 --temp 0 -n 27 -q
ExpectEqual "$output" "$story"

# The prompt from a pipe and from a file is the same prompt.
Run "$OCTET" run --temp 0 -n 27 -q <<<"$prompt"
ExpectEqual "$output" "$story"
ExpectNoErrors
file=$(mktemp)
echo "$prompt" >"$file"
Run "$OCTET" run -f "$file" --temp 0 -n 27 -q --echo
ExpectEqual "$output" "$prompt$story"
rm -f "$file"

# A seed names a text; without one the seed is random and is said, so that the text can be had again.
Run "$OCTET" run "$prompt" --temp 1.5 --seed 7 -n 40 -q
first=$output
Run "$OCTET" run "$prompt" --temp 1.5 --seed 7 -n 40 -q --threads 1 --batch 2
ExpectEqual "$output" "$first"
Run "$OCTET" run "$prompt" --temp 1.5 --seed 8 -n 40 -q
[ "$output" != "$first" ] || Fail "two seeds gave one text"
Run "$OCTET" run "$prompt" --temp 1.5 -n 40
unseeded=$output
seed=$(sed -n 's/.*seed \([0-9]*\)$/\1/p' <<<"$errors")
Run "$OCTET" run "$prompt" --temp 1.5 --seed "$seed" -n 40 -q
ExpectEqual "$output" "$unseeded"

# Stop strings fall anywhere between tokens and are not printed.
Run "$OCTET" run "$prompt" --temp 0 -n 100 --stop "named Li" --stop never
ExpectEqual "$output" ", there was a little girl "
ExpectErrors "ended by stop"

Run "$OCTET" run "$prompt" --temp 0 -n 3 --json --logprobs 2
ExpectCode 0
ExpectEqual "$(wc -l <<<"$output")" 1
for part in '"text":", there w' '"finish_reason":"length"' '"prompt_tokens":5' \
  '"completion_tokens":3' '"ids":[' '"logprobs":[{"id":'; do
  ExpectOutput "$part"
done

Run "$OCTET" run "$prompt" --temp 0 -n 1 --logit-bias 432=-inf -q
[ "${output:0:1}" != "," ] || Fail "a banned token was chosen"

# Every sampler is reachable; what is out of range is refused by name.
Run "$OCTET" run "$prompt" --seed 1 -n 20 --top-k 10 --top-p 0.9 --min-p 0.1 --typical 0.9 \
  --repeat-penalty 1.2 --presence-penalty 0.1 --frequency-penalty 0.1 --repeat-last-n 32 \
  --dry-multiplier 0.8 --dry-base 1.5 --dry-allowed-length 3 --dry-last-n 100 --dry-breaker . \
  --temp-first --ignore-eos
ExpectCode 0
Run "$OCTET" run "$prompt" --seed 1 -n 20 --mirostat 5 --mirostat-eta 0.2
ExpectCode 0
Run "$OCTET" run "$prompt" --top-p 1.5
ExpectCode 1
ExpectErrors "top_p is 1.5, expected a number from 0 to 1"
Run "$OCTET" run "$prompt" --kv-type q4
ExpectCode 1
ExpectErrors "expected f32, f16, bf16 or q8_0"
Run "$OCTET" run "$prompt" --logit-bias 5
ExpectErrors "expected ID=VALUE"
Run "$OCTET" run "$prompt" --ctx 5
ExpectCode 1
ExpectErrors "the context holds 5"
Run "$OCTET" run -m /nowhere/model.gguf "$prompt"
ExpectCode 1
ExpectErrors "/nowhere/model.gguf"
Run "$OCTET" run "$prompt" --template nonsense
ExpectCode 1
ExpectErrors "mistral-v1"
Run "$OCTET" run "$prompt" -f x
ExpectCode 2

Run "$OCTET" run "$prompt" --chat --template mistral-v1 --system "Be brief" -n 5 --seed 1
ExpectCode 0

# Guessing ahead gives the same text, greedy and sampled.
model=$(dirname "$0")/../../models/stories260k-mixtral.gguf
for sampling in "--temp 0" "--seed 3" "--seed 3 --mirostat 3" "--seed 3 --repeat-penalty 1.2"; do
  Run "$OCTET" run "$prompt" $sampling -n 150 -q
  plain=$output
  Run "$OCTET" run "$prompt" $sampling -n 150 -q --speculate lookup
  ExpectEqual "$output" "$plain"
  Run "$OCTET" run "$prompt" $sampling -n 150 -q --draft "$model" --draft-max 4
  ExpectEqual "$output" "$plain"
done
Run "$OCTET" run "$prompt" --temp 0 -n 30 --json --speculate lookup
for part in '"speculation":{' '"drafted":' '"accepted":' '"steps":' '"steps_saved":'; do
  ExpectOutput "$part"
done
Run "$OCTET" run "$prompt" --speculate guess
ExpectCode 1
ExpectErrors "expected off, lookup or draft"
Run "$OCTET" run "$prompt" --speculate draft
ExpectCode 1
ExpectErrors "needs a draft model"
Run "$OCTET" run "$prompt" --speculate lookup --draft "$model"
ExpectCode 1
Run "$OCTET" run "$prompt" --speculate lookup --draft-max 99
ExpectCode 1
ExpectErrors "expected 1 to 32"

# Bound answers: whole whatever the seed, and faults by their place.
folder=$(mktemp -d)
printf 'root ::= "a tale of " [a-z]{3,8} "."' >"$folder/grammar"
printf '{"properties": {"n": {"type": "integer", "maximum": 99}}, "required": ["n"]}' >"$folder/schema"
for seed in 1 2 3; do
  Run "$OCTET" run "$prompt" --grammar "$folder/grammar" --seed $seed -q
  [[ "$output" =~ ^a\ tale\ of\ [a-z]{3,8}\.$ ]] || Fail "expected a tale"
  Run "$OCTET" run "$prompt" --json-schema "$folder/schema" --seed $seed -q -n 30
  [[ "$output" =~ ^\{[[:space:]]*\"n\":[[:space:]]*-?[0-9]+[[:space:]]*\}$ ]] || Fail "expected an object"
  Run "$OCTET" run "$prompt" --json-object --temp 2 --seed $seed -q -n 25
  [[ "$output" == "{"*"}" ]] || Fail "expected an object"
done
Run "$OCTET" run "$prompt" --json-schema "$folder/schema" -n 2
ExpectCode 1
ExpectErrors "the shortest answer that is allowed may take"
printf 'root ::= "a" |\n  "b' >"$folder/grammar"
Run "$OCTET" run "$prompt" --grammar "$folder/grammar"
ExpectCode 1
ExpectErrors "line 2, column 3"
Run "$OCTET" run "$prompt" --grammar "$folder/nothing"
ExpectCode 1
ExpectErrors "cannot open"
rm -rf "$folder"

# The context ends an answer, and nobody reading ends the program.
Run "$OCTET" run "$prompt" --ctx 20 -n 100 --ignore-eos --temp 0
ExpectErrors "answer 15 tokens"
ExpectErrors "ended by context"
"$OCTET" run "$prompt" --ignore-eos -n 400 -q | head -c 1 >/dev/null
# Ctrl-C ends a long answer with what there was; in the foreground, or the signal comes twice.
Run timeout --foreground --preserve-status -s INT 1 "$OCTET" run "$prompt" --ctx 32000 -n 30000 --ignore-eos
ExpectCode 130
ExpectErrors "ended by cancelled"
ExpectErrors "stopped by Ctrl-C"
[ -n "$output" ] || Fail "expected the text so far"
Run bash -c '"$0" run "$1" -n 5 >/dev/full' "$OCTET" "$prompt"
ExpectCode 1
ExpectErrors "cannot write to standard output"
Finish
