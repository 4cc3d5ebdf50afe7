# Help, and mistakes on the command line that have an obvious correction.
. "$(dirname "$0")/expect.sh"

Run "$OCTET" --version
ExpectCode 0
[[ "$output" =~ ^octet\ [0-9]+\.[0-9]+\.[0-9]+$ ]] || Fail "expected a version"

Run "$OCTET"
ExpectCode 2
ExpectErrors "Usage: octet"

Run "$OCTET" help
ExpectCode 0
ExpectNoErrors
ExpectOutput "Usage: octet [options] COMMAND"
whole=$output
Run "$OCTET" --help
ExpectEqual "$output" "$whole"

# Every command has help, the same by both ways of asking, and a description in the list.
commands=$(sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' <<<"$whole")
[ "$(wc -l <<<"$commands")" -ge 2 ] || Fail "expected commands in the help"
for command in $commands; do
  Run "$OCTET" help "$command"
  ExpectCode 0
  ExpectOutput "Usage: octet $command"
  by_name=$output
  Run "$OCTET" "$command" --help
  ExpectEqual "$output" "$by_name"
done
undescribed=$(sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) *$/\1/p' <<<"$whole")
ExpectEqual "$undescribed" ""

Run "$OCTET" hepl
ExpectCode 2
ExpectErrors "did you mean 'help'?"
Run "$OCTET" help completoin
ExpectErrors "did you mean 'completion'?"
Run "$OCTET" qqqqqq
ExpectCode 2
ExpectErrors "there is no command 'qqqqqq'; \`octet help\` lists them all"
Run "$OCTET" completion --hlep
ExpectCode 2
ExpectErrors "there is no option --hlep (did you mean --help?)"
Finish
