#!/usr/bin/env bash
# clang-tidy with the checks of .clang-tidy, all of them errors, over the program's own sources.
#   tools/tidy.sh             every file under src/ and apps/ except tests
#   tools/tidy.sh FILE…       these files
# Needs compile_commands.json of the release build.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t files < <(if [ $# -gt 0 ]; then printf '%s\n' "$@"; else git ls-files 'src/*.cc' 'apps/*.cc' ':!*_test.cc'; fi)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! printf '%s\0' "${files[@]}" |
  xargs -0 -P "$(nproc)" -n 1 clang-tidy -p build/release --quiet >"$log" 2>/dev/null; then
  grep -v '^$' "$log"
  echo "clang-tidy: the lines above are errors (.clang-tidy says which checks are on)" >&2
  exit 1
fi
echo "clang-tidy: ${#files[@]} files without a finding"
