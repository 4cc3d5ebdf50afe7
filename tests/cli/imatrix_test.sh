# octet imatrix and what octet quantize makes of it, as a person or a script uses them.
. "$(dirname "$0")/expect.sh"

model="$OCTET_SOURCE_DIR/models/stories260k-mixtral.gguf"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
text="$folder/text.txt"
for seed in 1 2 3; do "$OCTET" run "Once upon a time" --seed $seed -n 300 -q --ignore-eos; done >"$text"

Run "$OCTET" imatrix -f "$text" -o "$folder/imatrix.gguf" -c 128 --plot "$folder/map.svg"
ExpectCode 0
ExpectOutput "tokens seen by each expert"
ExpectEqual "$(wc -l <<<"$output")" 7
ExpectErrors "written to $folder/imatrix.gguf"
grep -q "layer 4 expert 7: " "$folder/map.svg" || Fail "no picture"

# It is not replaced unasked; stopped at a limit, it goes on to the same end.
Run "$OCTET" imatrix -f "$text" -o "$folder/imatrix.gguf"
ExpectCode 1
ExpectErrors "--force"
Run "$OCTET" imatrix -f "$text" -o "$folder/parts.gguf" -c 128 --max-tokens 256 --json -q
ExpectOutput '"tokens":256,'
Run "$OCTET" imatrix -f "$text" -o "$folder/parts.gguf" -c 64 --resume -q
ExpectCode 1
ExpectErrors "in windows of"
Run "$OCTET" imatrix -f "$text" -o "$folder/parts.gguf" -c 128 --resume -q
ExpectCode 0
whole=$("$OCTET" imatrix -f "$text" -o "$folder/imatrix.gguf" -c 128 --force -q)
ExpectEqual "$output" "$whole"

# It ends when the rarest expert has seen enough, and says who fell short.
Run "$OCTET" imatrix -f "$text" -o "$folder/short.gguf" -c 64 --min-tokens-per-expert 3 --json
ExpectCode 0
ExpectOutput '"expert_tokens":[['
Run "$OCTET" imatrix -f "$text" -o "$folder/short.gguf" --min-tokens-per-expert 1000000 --force -q
ExpectErrors "saw fewer than 1000000 tokens"
ExpectOutput "*"
Run "$OCTET" imatrix -f /nowhere.txt -o "$folder/x.gguf"
ExpectCode 1
ExpectErrors "/nowhere.txt"

Run "$OCTET" quantize "$model" "$folder/small.gguf" --type q4_0 --imatrix "$folder/imatrix.gguf" -q
ExpectCode 0
Run "$OCTET" run -m "$folder/small.gguf" "Once upon a time" --temp 0 -n 12 -q
ExpectCode 0
Run "$OCTET" quantize "$model" "$folder/x.gguf" --type q4_0 --imatrix "$model" -q
ExpectCode 1
ExpectErrors "no importance matrix"
Finish
