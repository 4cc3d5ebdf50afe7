# tokenize and detokenize, with the 512-piece model of tests/data (ids made by SentencePiece).
. "$(dirname "$0")/expect.sh"
model=$OCTET_SOURCE_DIR/tests/data/tokenizer512.model
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

Run "$OCTET" tokenize -m "$model" "the license" --ids
ExpectCode 0
ExpectNoErrors
ExpectEqual "$output" "1 268 411"
Run "$OCTET" tokenize -m "$model" --no-bos --ids "the license"
ExpectEqual "$output" "268 411"
Run "$OCTET" tokenize -m "$model" "the </s>"
ExpectEqual "$(awk '{print $1}' <<<"$output" | xargs)" "1 268 441 503 493 449 504"
ExpectOutput "   268  ▁the"
Run "$OCTET" tokenize -m "$model" --json "the license"
ExpectEqual "$output" '{"count":3,"ids":[1,268,411],"pieces":["<s>","▁the","▁license"]}'

# Files and pipes, every byte: invalid UTF-8, NUL, the last line break.
printf 'the license' >"$folder/text"
Run "$OCTET" tokenize -m "$model" -f "$folder/text" --ids
ExpectEqual "$output" "1 268 411"
output=$("$OCTET" tokenize -m "$model" --ids <"$folder/text")
ExpectEqual "$output" "1 268 411"
output=$(printf 'a\0\377\n' | "$OCTET" tokenize -m "$model" --ids)
ExpectEqual "$output" "1 261 3 258 13"
printf 'Zwölf Boxkämpfer\n\n\tjagen 🦙\0 ' >"$folder/text"
"$OCTET" tokenize -m "$model" -f "$folder/text" --ids | "$OCTET" detokenize -m "$model" >"$folder/back"
cmp -s "$folder/text" "$folder/back" || Fail "expected the text back"

Run "$OCTET" detokenize -m "$model" 1 268 411
ExpectEqual "$output" "the license"
Run "$OCTET" detokenize -m "$model" --ids "[1, 268,411]" --json
ExpectEqual "$output" '{"count":3,"text":"the license"}'

# Without -m: the model inside the program.
Run "$OCTET" tokenize "Once upon a time"
ExpectCode 0
ExpectOutput "<s>"
output=$("$OCTET" tokenize --ids "Once upon a time" | "$OCTET" detokenize)
ExpectEqual "$output" "Once upon a time"

# Conversations.
cat >"$folder/chat.json" <<'JSON'
{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
JSON
Run "$OCTET" tokenize -m "$model" --chat "$folder/chat.json" --template mistral-v1 --json
ExpectCode 0
ExpectOutput '"format":"mistral-v1","is_assistant":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,1]'
Run "$OCTET" tokenize -m "$model" --chat "$folder/chat.json" --template raw --ids
ExpectEqual "$output" "1 261 304 2"
Run "$OCTET" tokenize -m "$model" --chat "$folder/chat.json" --template raw --ids --continue-last
ExpectEqual "$output" "1 261 304"

# Mistakes.
Run "$OCTET" tokenize -m "$folder/absent" "text"
ExpectCode 1
ExpectErrors "$folder/absent: no such file or folder"
Run "$OCTET" tokenize -m "$folder" "text"
ExpectErrors "looked for tokenizer.model, tokenizer.json and *.gguf"
Run "$OCTET" tokenize -m "$model" -f "$folder/absent"
ExpectErrors "cannot open $folder/absent"
Run "$OCTET" tokenize -m "$model" --chat "$folder/text"
ExpectCode 1
ExpectErrors 'expected JSON like [{"role"'
Run "$OCTET" tokenize -m "$model" --chat "$folder/chat.json" --template nonsense
ExpectCode 2
ExpectErrors "mistral-v1"
Run "$OCTET" detokenize -m "$model" 1 512
ExpectCode 1
ExpectErrors "id 512 (number 2 of 2) is not in the vocabulary, which has ids 0 to 511"
Run "$OCTET" detokenize -m "$model" 1 two
ExpectErrors "'two' is not a token id"
Finish
