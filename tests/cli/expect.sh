# Sourced by the tests of this folder: run a command, look at what it prints, end with Finish.
set -u
# Small, and its words are known by heart; the model inside the program has a test of its own.
export OCTET_MODEL="${OCTET_SOURCE_DIR:-$(dirname "${BASH_SOURCE[0]}")/../..}/models/stories260k-mixtral.gguf"
failures=0
output="" errors="" code=0

# Run COMMAND…: keeps its stdout in $output, its stderr in $errors, its exit code in $code.
Run() {
  local file
  file=$(mktemp)
  output=$("$@" 2>"$file")
  code=$?
  errors=$(cat "$file")
  rm -f "$file"
}

Fail() {
  echo "FAILED line ${BASH_LINENO[1]}: $1" >&2
  printf -- '--- exit code %s\n--- stdout\n%s\n--- stderr\n%s\n' "$code" "$output" "$errors" >&2
  failures=$((failures + 1))
}

ExpectCode() { [ "$code" -eq "$1" ] || Fail "expected exit code $1"; }
ExpectOutput() { [[ "$output" == *"$1"* ]] || Fail "expected on stdout: $1"; }
ExpectErrors() { [[ "$errors" == *"$1"* ]] || Fail "expected on stderr: $1"; }
ExpectNoErrors() { [ -z "$errors" ] || Fail "expected nothing on stderr"; }
ExpectEqual() { [ "$1" == "$2" ] || Fail "expected '$2', got '$1'"; }

Finish() {
  [ "$failures" -eq 0 ] || exit 1
}
