# octet convert as a person uses it, on the model that the repository holds.
. "$(dirname "$0")/expect.sh"
model="$OCTET_SOURCE_DIR/models/stories260k-mixtral.gguf"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

Run "$OCTET" convert "$model" "$folder/hf"
ExpectCode 0
ExpectOutput "$folder/hf/config.json"
ExpectOutput "$folder/hf/model.safetensors"
ExpectOutput "$folder/hf/tokenizer.model"
ExpectErrors "tensors"

Run "$OCTET" convert -q "$folder/hf" "$folder/back.gguf"
ExpectCode 0
ExpectNoErrors
ExpectEqual "$output" "$folder/back.gguf"
# The same tensors again: the data after the headers, whose lengths differ by the model's name.
data_bytes=2900000
ExpectEqual "$(tail -c $data_bytes "$folder/back.gguf" | cksum)" "$(tail -c $data_bytes "$model" | cksum)"

Run "$OCTET" convert "$folder/hf" "$folder/back.gguf"
ExpectCode 1
ExpectErrors "exists already; --force replaces it"
Run "$OCTET" convert "$folder/hf" "$folder/back.gguf" --force --type q8_0
ExpectCode 0
ExpectErrors "F16, because their rows are no multiple"
Run "$OCTET" convert "$folder/back.gguf" "$folder/nowhere/a.gguf"
ExpectCode 1
ExpectErrors "$folder/nowhere: there is no such folder to write in; make it first"
Run "$OCTET" convert "$folder/back.gguf" "$folder/decoded"
ExpectCode 0
ExpectErrors "decoded to BF16"

Run "$OCTET" convert "$model" "$folder/parts.gguf" --split-max-size 1MB
ExpectCode 0
ExpectOutput "$folder/parts-00001-of-0000"
Run "$OCTET" convert "$model" "$folder/shared.gguf" --kv-heads 2
ExpectCode 0
Run "$OCTET" inspect "$folder/shared.gguf"
ExpectOutput "2 for keys and values"
Run "$OCTET" upcycle "$model" "$folder/x.gguf"
ExpectCode 1
ExpectErrors "has 8 experts a layer already"
Run "$OCTET" convert "$folder/nothing" "$folder/x.gguf"
ExpectCode 1
ExpectErrors "$folder/nothing"
Run "$OCTET" convert "$model"
ExpectCode 2
Run "$OCTET" convert "$model" "$folder/x.gguf" --type q3
ExpectCode 2
ExpectErrors "q8_0"
ExpectEqual "$(ls "$folder" | grep -c partial)" 0
Finish
