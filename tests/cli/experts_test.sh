# octet experts: which experts see which texts.
. "$(dirname "$0")/expect.sh"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$OCTET" run "Once upon a time" -n 200 -q --ignore-eos >"$folder/story.txt"
printf 'One.\n<|endoftext|>\n1 2 3 4 5 6 7\n' >"$folder/numbers.txt"

Run "$OCTET" experts "story=$folder/story.txt" "numbers=$folder/numbers.txt" --plot "$folder/experts.svg" -q
ExpectCode 0
ExpectNoErrors
ExpectOutput "numbers: "
ExpectOutput "at random: 12.5 % same first, 46.4 % any in common"
grep -q ">numbers</text>" "$folder/experts.svg" || Fail "no picture"
# Every token goes to two of the eight, whatever it says.
Run "$OCTET" experts "story=$folder/story.txt" --json -q --max-tokens 64 -c 32
ExpectCode 0
ExpectOutput '"tokens":64,'
ExpectOutput '"same_first":['
Run "$OCTET" experts "$folder/story.txt"
ExpectCode 1
ExpectErrors "expected NAME=PATH"
Run "$OCTET" experts "empty=/dev/null"
ExpectCode 1
ExpectErrors "at least 2 are needed"
Finish
