# octet bench, as a person or a script uses it; what it measures is nobody's business here.
. "$(dirname "$0")/expect.sh"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

Run "$OCTET" bench --synthetic tiny-moe --type q4_k_m --save "$folder/tiny.gguf"
ExpectCode 0
ExpectEqual "$output" "$folder/tiny.gguf"
Run "$OCTET" inspect -m "$folder/tiny.gguf"
ExpectOutput "tokenizer     gguf, 1024 tokens"
ExpectOutput "ffn_gate_exps.weight  Q4_K"
Run "$OCTET" run -m "$folder/tiny.gguf" "the quick" -n 4 --temp 0 -q
ExpectCode 0

Run "$OCTET" bench --synthetic tiny-moe --save "$folder/tiny.gguf"
ExpectCode 1
ExpectErrors "--force"
Run "$OCTET" bench --save "$folder/x.gguf"
ExpectCode 1
ExpectErrors "mixtral-8x7b"
Run "$OCTET" bench --synthetic mixtral-9x9 --save "$folder/x.gguf"
ExpectCode 1
ExpectErrors "tiny-moe"
Run "$OCTET" bench --synthetic tiny-moe --tokenizer "$OCTET_SOURCE_DIR/tests/data/tokenizer512.model" \
  --save "$folder/named.gguf" --type q8_0
ExpectCode 0
Run "$OCTET" tokenize -m "$folder/named.gguf" "Once upon a time"
ExpectCode 0
# What cannot be in memory is not begun.
Run "$OCTET" bench --synthetic mixtral-8x22b --layers 1000
ExpectCode 1
ExpectErrors "take fewer --layers"
Finish
