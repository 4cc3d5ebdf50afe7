#!/usr/bin/env python3
"""Several sources as one, so that the headers they share are read once.

  tools/unity.py OUT FILE...     writes the source OUT that includes the files

Each file's headers come first, as they are. Then the files, in which names that several of them define for themselves
(in their anonymous namespaces) are told apart by macros. A name that one file defines for itself and another uses as
a member of something does not survive this and has to be called otherwise; the compiler says so.
"""
import collections
import os
import re
import sys

# What stands at the start of a line, where anonymous namespaces have it: a type, a function's definition, constants.
TYPE_OR_FUNCTION = re.compile(r"^(?:(?:struct|class|enum class|enum) (\w+)\b.*\{|using (\w+) =|"
                              r"(?!using|return|namespace|constexpr|const)[\w:][\w:<>,&* ]*?[ *&](\w+)\()", re.MULTILINE)
SAME_NAME = re.compile(r"^using (\w+) = [\w:]+::\1;", re.MULTILINE)  # as often as one likes
CONSTANTS = re.compile(r"^(?:constexpr|const|inline|static) .*$", re.MULTILINE)
CONSTANT = re.compile(r"\b(\w+)(?: =|\[|\{|\()")
INCLUDE = re.compile(r'#include (<[^>]+>|"[^"]+\.h")')


def headers(text):
    """Includes outside any condition, in order."""
    found, depth = [], 0
    for line in text.splitlines():
        if line.startswith(("#if", "#ifdef", "#ifndef")):
            depth += 1
        elif line.startswith("#endif"):
            depth -= 1
        elif depth == 0 and (include := INCLUDE.match(line)):
            found.append(include.group(0))
    return found


def local_names(text):
    names = {next(filter(None, groups)) for groups in TYPE_OR_FUNCTION.findall(text)}
    names -= set(SAME_NAME.findall(text))
    for line in CONSTANTS.findall(text):
        names.update(name for name in CONSTANT.findall(line) if name[0].isupper() or re.match("k[A-Z]", name))
    return names


def unite(files):
    """Text of a source that stands for all of them."""
    lines, names = {}, []
    for name in files:
        with open(name) as f:
            text = f.read()
        lines.update(dict.fromkeys(headers(text)))
        names.append(local_names(text))
    lines = list(lines)
    owners = collections.Counter(n for of_file in names for n in of_file)
    for i, name in enumerate(files):
        shared = sorted(n for n in names[i] if owners[n] > 1)
        lines += [f"#define {n} {n}_{i}" for n in shared]
        lines.append(f'#include "{os.path.abspath(name)}"')
        lines += [f"#undef {n}" for n in shared]
    return "\n".join(lines) + "\n"


def main():
    out, files = sys.argv[1], sys.argv[2:]
    with open(out, "w") as f:
        f.write(unite(files))


if __name__ == "__main__":
    main()
