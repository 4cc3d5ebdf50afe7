# octet quantize, as a person or a script uses it.
. "$(dirname "$0")/expect.sh"

model="$OCTET_SOURCE_DIR/models/stories260k-mixtral.gguf"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

Run "$OCTET" quantize "$model" --type q8_0 --dry-run
ExpectCode 0
ExpectErrors "no multiple of 32 values"
ExpectOutput "-> Q8_0"
ExpectOutput "bits a weight"

Run "$OCTET" quantize "$model" "$folder/small.gguf" --type q8_0 -q
ExpectCode 0
ExpectEqual "$output" "$folder/small.gguf"
Run "$OCTET" run -m "$folder/small.gguf" "Once upon a time" --temp 0 -n 12 -q
ExpectEqual "$output" ", there was a little girl named Lily. She"

Run "$OCTET" quantize "$model" "$folder/small.gguf"
ExpectCode 1
ExpectErrors "--force"
Run "$OCTET" quantize "$model"
ExpectErrors "DST is missing"
Run "$OCTET" quantize "$model" "$folder/x.gguf" --type q17
ExpectCode 1
ExpectErrors "q4_k_m"
Finish
