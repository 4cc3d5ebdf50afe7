# octet tokenizer train and octet train, from text files to a model that runs, killed and resumed.
. "$(dirname "$0")/expect.sh"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1

# A little language: sentences of fixed words, so that a few updates learn something.
words=(cat dog bird sees likes finds the a small red house tree)
seed=7
Next() { seed=$(((seed * 1103515245 + 12345) % 2147483648)); echo $((seed / 65536 % $1)); }
for ((d = 0; d < 60; ++d)); do
  for ((s = 0; s < 4; ++s)); do
    for ((w = 0; w < 6; ++w)); do printf '%s ' "${words[$(Next 12)]}"; done
    printf 'end.\n'
  done
  echo '<|endoftext|>'
done | gzip >text.txt.gz
for ((d = 0; d < 20; ++d)); do
  printf '{"messages": [{"role": "user", "content": "the %s"}, {"role": "assistant", "content": "a %s"}]}\n' \
    "${words[$(Next 12)]}" "${words[$(Next 12)]}"
done >chats.jsonl
for ((d = 0; d < 12; ++d)); do
  printf '{"messages": [{"role": "user", "content": "the %s"}], "chosen": "a house", "rejected": "dog dog"}\n' \
    "${words[$(Next 12)]}"
done >pairs.jsonl

Run "$OCTET" tokenizer train text.txt.gz chats.jsonl --vocab-size 290 -o tokenizer.model
ExpectCode 0
ExpectEqual "$output" "tokenizer.model"
Run "$OCTET" tokenize -m tokenizer.model "the small cat" --ids
ExpectCode 0
Run "$OCTET" tokenizer train text.txt.gz --vocab-size 100000
ExpectCode 1

printf 'the red cat sees a dog\n<|endoftext|>\na tree\n' >other.txt
cat >run.toml <<'TOML'
output = "run"
tokenizer = "tokenizer.model"
source = ["words=text.txt.gz@2"]
held-out = 4
held-out-every = 5
layers = 2
dim = 32
heads = 4
kv-heads = 2
ffn = 32
experts = 4
context = 64
batch-tokens = 128
steps = 10
warmup = 2
rate = 0.01
save-every = 3
keep = 2
seed = 3
held-out-source = ["other=other.txt"]
sample-every = 5
sample-prompt = ["the", "a small"]
sample-tokens = 4
TOML
Run "$OCTET" train --config run.toml --log-every 1
ExpectCode 0
ExpectEqual "$output" "run/step-00000010"
ExpectErrors "bits/byte"
ExpectErrors "other "
ExpectErrors "a small | "
ExpectErrors "step 10/10"
ExpectErrors "words: 56 documents of"
ExpectErrors "4 documents held out"
ExpectEqual "$(wc -l <run/metrics.jsonl)" 10
Run "$OCTET" run -m run/step-00000010 "the small" -n 5 -q
ExpectCode 0

# What it tells beside the checkpoints.
ExpectEqual "$(head -c 4 run/curves.svg)" "<svg"
ExpectEqual "$(grep -c '"step":' run/samples.jsonl)" 4
ExpectEqual "$(grep -ac 'brain.Event:2' run/events.out.tfevents.0.octet)" 1

# Killed ten times at any moments and resumed each time: the same bytes, each update told once.
for ((kill = 0; kill < 10; ++kill)); do
  "$OCTET" train --config run.toml -o cut --resume -q >/dev/null 2>&1 &
  pid=$!
  sleep "0.$(printf '%03d' "$(Next 160)")"
  kill -9 "$pid" 2>/dev/null
  wait "$pid" 2>/dev/null
done
Run "$OCTET" train --config run.toml -o cut --resume -q
ExpectCode 0
Run cmp run/step-00000010/model.safetensors cut/step-00000010/model.safetensors
ExpectCode 0
ExpectEqual "$(wc -l <cut/metrics.jsonl)" 10
Run cmp run/samples.jsonl cut/samples.jsonl
ExpectCode 0

Run "$OCTET" train --config run.toml
ExpectCode 1
ExpectErrors "resume it"
Run "$OCTET" train --config run.toml --resume --seed 4 --steps 20
ExpectCode 1
ExpectErrors "begun with seed 3"

# What was learned counts, not where it lies or since when; other texts are another run.
mkdir moved && cp text.txt.gz moved/ && cp -r run moved-run
Run "$OCTET" train --config run.toml -o moved-run --source words=moved/text.txt.gz@2 --resume --steps 11 -q
ExpectCode 0
(zcat text.txt.gz && printf '<|endoftext|>\na cat of another story sees a tree\n') | gzip >moved/text.txt.gz
Run "$OCTET" train --config run.toml -o moved-run --source words=moved/text.txt.gz@2 --resume --steps 12 -q
ExpectCode 1
ExpectErrors "begun with source words"

# Files of options: each fault with its line.
while IFS='|' read -r text error; do
  printf '# a comment\n%b\n' "$text" >wrong.toml
  Run "$OCTET" train --config wrong.toml
  ExpectCode 1
  ExpectErrors "wrong.toml:$error"
done <<'EOF'
expert = 3|2: there is no option "expert" (did you mean --experts
steps = "many"|2: steps is "many", expected INT
steps = 1.5|2: steps is "1.5", expected INT
steps = [1, 2]|2: steps is a list, expected one value
tied = 3|2: tied is 3, expected true or false
rate =|2: Error while parsing key-value pair: expected value
schedule = cosine|2: Error while parsing value: could not determine value type; expected KEY = VALUE, where VALUE is "text in quotes"
rate 5|2: Error while parsing key-value pair: expected '='
steps = 3\nsteps = 4|3: Error while parsing key-value pair: cannot redefine existing integer 'steps'
[a]\nsteps = 3\n[b]\nsteps = 4|5: "steps" is given twice
source = [["a"]]|2: a value of source is neither text, a number, true nor false
source = ["a=b",\n  "c=d"|3: Error while parsing array: encountered end-of-file
source = ["a=b" "c=d"]|2: Error while parsing array: expected comma or closing
output = "run|2: Error while parsing string
steps = 3 4|2: Error while parsing key-value pair: expected a comment
EOF
# Lists over several lines, quotes of both kinds, tables that only group.
cat >lines.toml <<'TOML'
[data]
source = [
  "words=text.txt.gz@2",  # a comment, with ] and "
  'other=other.txt',
]
[run]
tokenizer = 'tokenizer.model'
layers = 1
dim = 32
context = 64
batch-tokens = 1_28
steps = 2
tied = false
quiet = true
TOML
Run "$OCTET" train --config lines.toml -o lines
ExpectCode 0
ExpectEqual "$output" "lines/step-00000002"
ExpectEqual "$(ls lines/data/*.tokens)" "lines/data/other.tokens
lines/data/words.tokens"

# Numbers that make no sense, and a vocabulary of nothing.
for wrong in --rate=-1 --rate=inf --clip=nan --dropout=1 --eps=0 --label-smoothing=0.7 --beta=0 --threads=-2 --lora-rank=-1; do
  Run "$OCTET" train --config run.toml -o wrong "$wrong"
  ExpectCode 1
  ExpectErrors "expected a number"
done
Run "$OCTET" train --config run.toml -o wrong --held-out 60
ExpectErrors "source words has 60 documents, of which 60 are to be held out"
: >nothing.txt
Run "$OCTET" train --config run.toml -o wrong --source n=nothing.txt
ExpectErrors "nothing.txt holds no document"
Run "$OCTET" tokenizer train nothing.txt
ExpectErrors "nothing.txt: no text to learn a vocabulary from"

# Updates whose gradients are not finite are skipped, told as null, and the run can be resumed.
Run "$OCTET" train --config run.toml -o diverged --rate 1e38 --warmup 0 --steps 6 --save-every 1 --held-out-every 0
ExpectCode 0
ExpectErrors "a gradient was not finite"
ExpectEqual "$(grep -c '"loss":null' diverged/metrics.jsonl)" 5
Run "$OCTET" train --config run.toml -o diverged --rate 1e38 --warmup 0 --steps 7 --resume -q
ExpectCode 0
ExpectEqual "$(wc -l <diverged/metrics.jsonl)" 7

# One process a folder.
"$OCTET" train --config run.toml -o held --steps 100000 -q >/dev/null 2>&1 &
pid=$!
for _ in $(seq 300); do
  [ -s held/metrics.jsonl ] && break
  sleep 0.1
done
Run "$OCTET" train --config run.toml -o held --resume --steps 100000
ExpectCode 1
ExpectErrors "another process is at work in this folder"
kill -INT "$pid"
wait "$pid"

# The average of the weights is a model.
# A model that there is keeps its shape; files are made into tokens once.
Run "$OCTET" train --config lines.toml -o more -m lines/step-00000002 --heads 4
ExpectCode 0
ExpectErrors "warning: --heads is for a new model; lines/step-00000002 keeps its own shape"
Run "$OCTET" train --config run.toml -o averaged --average 0.5 -q
ExpectCode 0
Run "$OCTET" run -m averaged/step-00000010/average "the small" -n 5 -q
ExpectCode 0
Run cmp averaged/step-00000010/model.safetensors run/step-00000010/model.safetensors
ExpectCode 0

# Muon and a capacity: another run, which says so when it is resumed as this one, and the metrics tell what was dropped.
Run "$OCTET" train --config run.toml -o muon --optimizer muon --capacity-factor 0.75 -q
ExpectCode 0
ExpectEqual "$(grep -c '"dropped":0.[1-9]' muon/metrics.jsonl)" 10
Run "$OCTET" train --config run.toml -o muon --resume --steps 20
ExpectCode 1
ExpectErrors "begun with optimizer muon, now it is not set"
Run "$OCTET" train --config run.toml -o forgetful --dropout 0.2 -q
ExpectCode 0
Run cmp -s forgetful/step-00000010/model.safetensors run/step-00000010/model.safetensors
ExpectCode 1
Run "$OCTET" train --config run.toml -o other --optimizer moun
ExpectErrors "adamw, muon"

# Fine-tuning on chats, then preferences.
size=(--context 64 --batch-tokens 256 --warmup 1)
Run "$OCTET" finetune -m run/step-00000010 --source c=chats.jsonl -o sft --steps 3 "${size[@]}" -q
ExpectCode 0
for objective in dpo ipo kto orpo simpo; do
  Run "$OCTET" finetune -m sft/step-00000003 --source p=pairs.jsonl --held-out 2 --held-out-every 3 -o "$objective" \
    --objective "$objective" --steps 3 "${size[@]}" --log-every 1
  ExpectCode 0
  ExpectErrors "step 3: held out  p"
  ExpectEqual "$(grep -c 'loss of the objective' "$objective/curves.svg")" 1
done
# Answers judged one by one are KTO's.
for ((d = 0; d < 12; ++d)); do
  printf '{"messages": [{"role": "user", "content": "the %s"}, {"role": "assistant", "content": "a house"}], "label": %s}\n' \
    "${words[$(Next 12)]}" "$([ $((d % 3)) -eq 0 ] && echo false || echo true)"
done >judged.jsonl
Run "$OCTET" finetune -m sft/step-00000003 --source j=judged.jsonl --held-out 3 --held-out-every 3 -o judged \
  --objective kto --undesirable-weight 2 --steps 3 "${size[@]}"
ExpectCode 0
ExpectErrors "step 3: held out  j"
Run "$OCTET" finetune -m sft/step-00000003 --source j=judged.jsonl -o x --objective dpo --steps 3 "${size[@]}"
ExpectCode 1
ExpectErrors "of which kto learns"
# A chat that nothing can be learned of, at all or in so short a context.
echo '{"messages": [{"role": "user", "content": "the"}]}' >question.jsonl
Run "$OCTET" finetune -m run/step-00000010 --source c=question.jsonl -o x --steps 3 "${size[@]}"
ExpectCode 1
ExpectErrors "question.jsonl:1: no message is the assistant's"
Run "$OCTET" finetune -m run/step-00000010 --source c=chats.jsonl -o x --steps 3 --context 3 --batch-tokens 64
ExpectCode 1
ExpectErrors "give a longer --context"
Run "$OCTET" finetune -m run/step-00000010 --source c=chats.jsonl -o x --chat-format mistral
ExpectErrors "mistral-v1"
Run "$OCTET" finetune --source c=chats.jsonl -o x --steps 3
ExpectCode 1
ExpectErrors "the model to begin from is missing"
# Adapters: beside the weights and folded into them they say the same.
Run "$OCTET" train -m run/step-00000010 --source w=text.txt.gz -o lora --lora-rank 4 --lora-targets q_proj,w2,gate \
  --steps 4 --warmup 1 --rate 0.02 --context 64 --batch-tokens 128 -q
ExpectCode 0
adapter=$output
Run "$OCTET" run -m run/step-00000010 "the small" -n 12 --temp 0 -q --arithmetic float32
plain=$output
Run "$OCTET" run -m run/step-00000010 --lora "$adapter" "the small" -n 12 --temp 0 -q --arithmetic float32
ExpectCode 0
adapted=$output
Run "$OCTET" run -m run/step-00000010 --lora "$adapter:0" "the small" -n 12 --temp 0 -q --arithmetic float32
ExpectEqual "$output" "$plain"
Run "$OCTET" merge run/step-00000010 "$adapter" merged
ExpectCode 0
Run "$OCTET" run -m merged "the small" -n 12 --temp 0 -q --arithmetic float32
ExpectEqual "$output" "$adapted"
Run "$OCTET" merge run/step-00000010 "$adapter" merged
ExpectErrors "--force"
Run "$OCTET" run -m run/step-00000010 --lora nowhere "the small"
ExpectErrors "adapter nowhere: no such file or folder"
Run "$OCTET" finetune -m run/step-00000010 --source c=chats.jsonl -o x --lora-rank 2 --context 128
ExpectCode 1
ExpectErrors "the model's 64, which adapters do not change"
# The same adapter in the files of other programs.
for format in peft-fused mistral; do
  Run "$OCTET" train -m run/step-00000010 --source w=text.txt.gz -o "lora-$format" --lora-rank 4 \
    --lora-targets q_proj,w2,gate --lora-format "$format" --steps 4 --warmup 1 --rate 0.02 --context 64 --batch-tokens 128 -q
  ExpectCode 0
  Run "$OCTET" run -m run/step-00000010 --lora "$output" "the small" -n 12 --temp 0 -q --arithmetic float32
  ExpectEqual "$output" "$adapted"
done
# Named, a request of the server may have it.
"$OCTET" serve -m run/step-00000010 --lora named="$adapter" --port 0 --threads 1 --log off --arithmetic float32 2>serve.err &
server=$!
for _ in $(seq 300); do
  grep -q '^listening on ' serve.err && break
  sleep 0.1
done
Run python3 -c 'import json, sys, urllib.request
for model in sys.argv[2:]:
  body = json.dumps({"model": model, "prompt": "the small", "max_tokens": 12, "temperature": 0}).encode()
  print(json.load(urllib.request.urlopen(sys.argv[1] + "/v1/completions", body))["choices"][0]["text"])' \
  "$(sed -n 's/^listening on //p' serve.err)" "" named
kill -TERM "$server"
wait "$server"
ExpectCode 0
ExpectEqual "$output" "$plain
$adapted"
Run "$OCTET" train -m run/step-00000010 --source w=text.txt.gz -o y --lora-rank 4 --lora-targets q_proj,vproj
ExpectCode 1
ExpectErrors '"vproj" is not a matrix an adapter can stand beside; this model has gate, k_proj, o_proj, q_proj, v_proj, w1, w2, w3'
Run "$OCTET" finetune -m run/step-00000010 --source c=chats.jsonl -o y --lora-rank 4 --lora-format pfet
ExpectCode 1
ExpectErrors "peft, peft-fused, mistral"
# Over quantised weights, killed and resumed.
Run "$OCTET" quantize run/step-00000010 q8.gguf --type q8_0 -q
ExpectCode 0
options=(-m q8.gguf --tokenizer tokenizer.model --source w=text.txt.gz --lora-rank 2 --steps 6 --save-every 1 --context 64
  --batch-tokens 128 -q)
Run "$OCTET" train "${options[@]}" -o whole
ExpectCode 0
"$OCTET" train "${options[@]}" -o part >/dev/null 2>&1 &
pid=$!
sleep 0.15
kill -9 "$pid" 2>/dev/null
wait "$pid" 2>/dev/null
Run "$OCTET" train "${options[@]}" -o part --resume
ExpectCode 0
Run cmp whole/step-00000006/adapter_model.safetensors part/step-00000006/adapter_model.safetensors
ExpectCode 0

Run "$OCTET" train -m sft/step-00000003 --source p=pairs.jsonl -o x --steps 3
ExpectCode 1
ExpectErrors "preferences"
Finish
