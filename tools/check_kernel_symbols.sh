#!/usr/bin/env bash
# Checks that kernel files export nothing but their descriptor arrays: a weak symbol (an inline function or
# a template of a header) compiled with AVX-512 flags could be the copy the linker keeps for the whole
# program, which then dies on a machine without AVX-512. At -O0 nothing is inlined away, so all show. The
# reference is compiled with the common flags and may export what it likes.
#   tools/check_kernel_symbols.sh [BUILD_DIR]     default build/release; needs its compile_commands.json
set -euo pipefail
cd "$(dirname "$0")/.."
commands=${1:-build/release}/compile_commands.json
if [ ! -f "$commands" ]; then
  echo "check_kernel_symbols: $commands is missing; run cmake --preset release first" >&2
  exit 2
fi
object=$(mktemp)
trap 'rm -f "$object"' EXIT

checked=0 failed=0
while IFS= read -r line; do
  file=$(sed -E 's/.* -c ([^ "]+)".*/\1/' <<<"$line")
  # The project's own command, at -O0 and into a scratch object.
  command=$(sed -E 's/^ *"command": "(.*)",?$/\1/; s/\\"/"/g; s/ -O[0-3s]/ -O0/g; s/ -fsanitize=[a-z,]+//g' <<<"$line" |
    sed -E "s# -o [^ ]+# -o $object#")
  sh -c "$command"
  bad=$(nm --defined-only "$object" | awk '$2 ~ /[WVuwv]/ || ($2 ~ /[TDBRC]/ && $3 !~ /octet_kernels_/) {print $2, $3}' | c++filt)
  if [ -n "$bad" ]; then
    printf '%s exports:\n%s\n' "${file#"$PWD/"}" "$bad" >&2
    failed=1
  fi
  checked=$((checked + 1))
done < <(grep -v /src/kernels/reference/ "$commands" |
  grep -E '"command":.*-c [^ ]*/src/kernels/[a-z0-9_]+/[a-z0-9_]+\.cc"')

[ "$checked" -gt 0 ] || { echo "check_kernel_symbols: no kernel file in $commands" >&2; exit 2; }
[ "$failed" -eq 0 ] && echo "kernel symbols: $checked files export only their descriptors"
exit "$failed"
