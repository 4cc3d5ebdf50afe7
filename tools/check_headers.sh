#!/usr/bin/env bash
# Every header compiles on its own, and the C ABI's as strict C99. A header that some source includes before anything
# else is compiled on its own by the build, so only the others are looked at here.
set -euo pipefail
cd "$(dirname "$0")/.."

Check() {
  local flags=(-std=c++20 -I. -Iinclude -Isrc -Itests -Iapps/octet -DOCTET_SOURCE_DIR='"."' -Wall -Wextra -Werror)
  case "$(uname -m) $1" in
    "x86_64 src/kernels/x86_"*)
      flags+=(-mavx512f -mavx512bw -mavx512cd -mavx512dq -mavx512vl -mavx512vnni -mfma -mf16c) ;;
  esac
  c++ -fsyntax-only "${flags[@]}" -x c++ - <<<"#include \"$1\"" ||
    { echo "$1: does not compile on its own" >&2; return 1; }
}
export -f Check
# The first include of every source of a library or of the program, as a path from the repository's root. Tests do not
# count: the sanitizers' builds put several into one, and the release build is another stage.
First() {
  git ls-files -z 'src/*.cc' 'apps/*.cc' ':!*_test.cc' | xargs -0 grep -m1 -H '^#include' |
    sed -nE 's/^([^:]*):#include "(.*)"$/\1 \2/p' |
    while read -r source header; do
      for root in src include "${source%/*}"; do
        if [ -f "$root/$header" ]; then echo "$root/$header"; break; fi
      done
    done | sort -u
}
git ls-files 'include/*.h' 'src/*.h' 'tests/*.h' 'apps/*.h' | sort | comm -23 - <(First) |
  xargs -P "$(nproc)" -I{} bash -c 'Check {}'
if [ -f include/octet/octet.h ]; then
  cc -fsyntax-only -x c -std=c99 -pedantic-errors -Wall -Wextra -Werror include/octet/octet.h
fi
echo "headers: each compiles on its own"
