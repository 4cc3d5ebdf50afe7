#!/usr/bin/env bash
# Every C and C++ file is as clang-format leaves it. `tools/check_format.sh --fix` makes it so.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=(--dry-run -Werror)
[ "${1:-}" = --fix ] && mode=(-i)
git ls-files -z '*.cc' '*.h' '*.c' | xargs -0 -P "$(nproc)" -n 16 clang-format "${mode[@]}"
[ "${1:-}" = --fix ] || echo "clang-format: $(git ls-files '*.cc' '*.h' '*.c' | wc -l) files as they should be"
