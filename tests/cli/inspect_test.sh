# What a person sees of a model: counts from the configuration alone, the model inside, mistakes.
. "$(dirname "$0")/expect.sh"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat >"$folder/config.json" <<'CONFIG'
{"model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
 "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2,
 "vocab_size": 32000, "max_position_embeddings": 32768, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
 "sliding_window": null, "tie_word_embeddings": false, "torch_dtype": "bfloat16"}
CONFIG

Run "$OCTET" inspect "$folder"
ExpectCode 0
ExpectNoErrors
ExpectOutput "46702792704"
ExpectOutput "12879925248"
ExpectOutput "131072 f16"
ExpectOutput "model.layers.31.block_sparse_moe.experts.7.w3.weight"
ExpectOutput "995 tensors"
ExpectOutput "no tokenizer here"

Run "$OCTET" inspect "$folder" --summary --ctx 1024
ExpectCode 0
ExpectOutput "128.0 MiB of keys and values"
[[ "$output" != *w3.weight* ]] || Fail "expected no list of tensors"

Run "$OCTET" inspect "$folder" --json
ExpectCode 0
ExpectOutput '"parameters": 46702792704,'
ExpectOutput '"active_parameters": 12879925248,'

# A shard that is only there in name.
mkdir "$folder/lfs"
cp "$folder/config.json" "$folder/lfs"
echo "version https://git-lfs.github.com/spec/v1" >"$folder/lfs/model.safetensors"
Run "$OCTET" inspect "$folder/lfs"
ExpectCode 1
ExpectErrors "git lfs pull"

Run "$OCTET" inspect --summary
ExpectCode 0
ExpectOutput "gguf layout"

Run "$OCTET" inspect "$folder/nowhere"
ExpectCode 1
ExpectErrors "nowhere: no such file or folder"
Run "$OCTET" inspect "$folder" --ctx 0
ExpectCode 2
Finish
