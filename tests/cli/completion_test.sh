# The scripts that `octet completion` prints: the shells accept them, and they complete.
. "$(dirname "$0")/expect.sh"

Run "$OCTET" completion tcsh
ExpectCode 2
ExpectErrors "tcsh"

script=$(mktemp)
trap 'rm -f "$script"' EXIT
"$OCTET" completion bash >"$script"
Run bash -n "$script"
ExpectCode 0
ExpectNoErrors
. "$script"

# Complete WORD…: what bash offers for the last word, sorted, on one line.
Complete() {
  COMP_WORDS=("$@")
  COMP_CWORD=$(($# - 1))
  COMPREPLY=()
  _octet 2>/dev/null
  code=0 output=$(printf '%s\n' "${COMPREPLY[@]:-}" | sort | tr '\n' ' ' | sed 's/ *$//')
}
Complete octet compl
ExpectEqual "$output" "completion"
Complete octet completion ""
ExpectEqual "$output" "bash fish zsh"
Complete octet completion z
ExpectEqual "$output" "zsh"
Complete octet help hel
ExpectEqual "$output" "help"
Complete octet completion --h
ExpectEqual "$output" "--help"
Complete octet nothing ""
ExpectEqual "$output" ""

# Every command of the help is offered.
for command in $("$OCTET" help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
  Complete octet "$command"
  [[ " $output " == *" $command "* ]] || Fail "expected $command to be offered"
done

if command -v zsh >/dev/null; then
  "$OCTET" completion zsh >"$script"
  Run zsh -n "$script"
  ExpectCode 0
  ExpectNoErrors
else
  echo "skipped: zsh is not installed"
fi
if command -v fish >/dev/null; then
  "$OCTET" completion fish >"$script"
  Run fish -c "source $script; complete -C 'octet completion z'"
  ExpectOutput "zsh"
  ExpectNoErrors
else
  echo "skipped: fish is not installed"
fi
Finish
