#!/usr/bin/env bash
# Runs every fuzzer that the asan build made (cmake --build --preset asan --target fuzzers) for some seconds each, and fails on a finding.
#   tools/fuzz.sh [SECONDS [NAME…]]     default: 10 s of each; NAME as in fuzz/fuzz_NAME.cc
# Seeds: fuzz/corpus/NAME, and the starts of fitting files in ../shared/data where that exists. What the
# fuzzer learns stays in build/fuzz/corpus/NAME. A finding is kept as build/fuzz/findings/NAME-*; add
# it to fuzz/corpus/NAME with the fix.
set -uo pipefail
shopt -s nullglob
cd "$(dirname "$0")/.."
seconds=${1:-10}
shift || true
names=("$@")
if [ ${#names[@]} -eq 0 ]; then
  for source in fuzz/fuzz_*.cc; do
    name=$(basename "$source" .cc)
    names+=("${name#fuzz_}")
  done
fi

# Larger files than this slow every round down, and the parsers' decisions are all in the headers.
seed_bytes=65536
SharedSeeds() {  # NAME DIR: copies fitting files of ../shared/data, cut short
  local pattern
  case "$1" in
    *gguf*) pattern='*.gguf' ;;
    *safetensors*) pattern='*.safetensors' ;;
    *torch* | *pth* | *pickle*) pattern='*.pth' ;;
    *tokenizer_json*) pattern='*okenizer.json' ;;
    *tokenizer* | *sentencepiece*) pattern='*okenizer.model*' ;;
    *config*) pattern='*.json' ;;
    *) return ;;
  esac
  [ -d ../shared/data ] || return 0
  local file
  find ../shared/data/reference/models ../shared/data/tokenizer ../shared/data/reference/tokenizer \
    -name "$pattern" -size -2000k 2>/dev/null | while read -r file; do
    head -c "$seed_bytes" "$file" >"$2/$(md5sum <<<"$file" | cut -c1-12)"
  done
}

failed=0 summary=()
mkdir -p build/fuzz/findings
for name in "${names[@]}"; do
  program=build/asan/fuzz/fuzz_$name
  learnt=build/fuzz/corpus/$name seeds=build/fuzz/seeds/$name
  mkdir -p "$learnt" "$seeds"
  [ -d "fuzz/corpus/$name" ] && cp -n "fuzz/corpus/$name"/* "$seeds"/ 2>/dev/null
  SharedSeeds "$name" "$seeds"
  log=build/fuzz/$name.log
  if "$program" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -malloc_limit_mb=1024 \
    -max_len="$seed_bytes" -print_final_stats=1 -artifact_prefix="build/fuzz/findings/$name-" \
    "$learnt" "$seeds" >"$log" 2>&1; then
    result=clean
  else
    result=FOUND failed=1
    tail -n 60 "$log"
  fi
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  summary+=("$(printf 'fuzz %-20s %s: %s runs, %s seeds' "$name" "$result" "${runs:-?}" "$(ls "$seeds" | wc -l)")")
done
printf '%s\n' "${summary[@]}"
exit $failed
