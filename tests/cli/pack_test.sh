# octet pack, as a person or a script uses it.
. "$(dirname "$0")/expect.sh"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
Run "$OCTET" bench --synthetic tiny-moe --type q8_0 --save "$folder/tiny.gguf"
ExpectCode 0

Run "$OCTET" pack "$folder/tiny.gguf" "$folder/tiny.packed"
if [ "$code" = 1 ] && [[ "$errors" == *"order of rows"* ]]; then
  echo "no packed kernels on this machine: nothing to test"
  exit 0
fi
ExpectCode 0
ExpectEqual "$output" "$folder/tiny.packed"
ExpectErrors "packed for"

# Every command reads it, and gives what the original gives.
prompt="the quick brown fox"
Run "$OCTET" run -m "$folder/tiny.gguf" "$prompt" -n 12 --temp 0 -q
expected=$output
Run "$OCTET" run -m "$folder/tiny.packed" "$prompt" -n 12 --temp 0 -q
ExpectCode 0
ExpectEqual "$output" "$expected"
Run "$OCTET" inspect -m "$folder/tiny.packed"
ExpectOutput "packed layout"
ExpectOutput "packed for"
ExpectOutput "panel16"
Run "$OCTET" tokenize -m "$folder/tiny.packed" "$prompt"
ExpectCode 0
Run "$OCTET" logits -m "$folder/tiny.packed" --tokens 1,2,3 -o "$folder/logits.npy"
ExpectCode 0
yes "$prompt" | head -100 > "$folder/text"
Run "$OCTET" perplexity -m "$folder/tiny.packed" -f "$folder/text" --ctx 64
ExpectCode 0
Run "$OCTET" bench -m "$folder/tiny.packed" -p 8 -d 0 -b 1 -r 1
ExpectCode 0
ExpectOutput "packed"

# Refused where it does not fit, with what to do.
Run env OCTET_ISA=reference "$OCTET" run -m "$folder/tiny.packed" "$prompt" -n 1
ExpectCode 1
ExpectErrors "use the model it was packed from"
Run "$OCTET" logits -m "$folder/tiny.packed" --tokens 1 -o "$folder/x.npy" --arithmetic float32
ExpectCode 1
ExpectErrors "--arithmetic fast"
Run "$OCTET" convert "$folder/tiny.packed" "$folder/back.gguf"
ExpectCode 1
ExpectErrors "the model it was packed from"
Run "$OCTET" pack "$folder/tiny.gguf" "$folder/tiny.packed"
ExpectCode 1
ExpectErrors "--force"
Run env OCTET_ISA=reference "$OCTET" pack "$folder/tiny.gguf" "$folder/other.packed"
ExpectCode 1
ExpectErrors "order of rows"

# Quantising on the way.
Run "$OCTET" pack "$folder/tiny.gguf" "$folder/small.packed" --type q4_k_m -q
ExpectCode 0
Run "$OCTET" inspect -m "$folder/small.packed"
ExpectOutput "Q4_K"
Finish
