#!/usr/bin/env bash
# Every header compiles on its own, and the C ABI's as strict C99.
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
git ls-files -z 'include/*.h' 'src/*.h' 'tests/*.h' 'apps/*.h' | xargs -0 -P "$(nproc)" -I{} bash -c 'Check {}'
if [ -f include/octet/octet.h ]; then
  cc -fsyntax-only -x c -std=c99 -pedantic-errors -Wall -Wextra -Werror include/octet/octet.h
fi
echo "headers: each compiles on its own"
