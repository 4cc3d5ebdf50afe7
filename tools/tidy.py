#!/usr/bin/env python3
"""clang-tidy with the checks of .clang-tidy, all of them errors, over the program's own sources.

  tools/tidy.py             every file under src/ and apps/ except tests
  tools/tidy.py FILE...     these files

Needs compile_commands.json of the release build. Exit code 1 on a finding.

Most of clang-tidy's time goes into the standard headers, once a source file. So files that the build compiles with the
same flags are checked a few at once, through a source that includes them (tools/unity.py). Where they do not fit into
one, or something is found, each is checked by itself, as the build sees it: what is reported never depends on its
neighbours.
"""
import collections
import concurrent.futures
import json
import os
import shlex
import subprocess
import sys
import tempfile

import unity

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build", "release")
BATCH_FILES = 8


def sources(arguments):
    if arguments:
        return [os.path.abspath(a) for a in arguments]
    listed = subprocess.run(["git", "ls-files", "src/*.cc", "apps/*.cc", ":!*_test.cc"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.split()
    return [os.path.join(ROOT, name) for name in listed]


def compile_flags():
    """Flags of every file of the build, without compiler, output and the file itself."""
    with open(os.path.join(BUILD, "compile_commands.json")) as f:
        commands = json.load(f)
    flags = {}
    for command in commands:
        words = shlex.split(command["command"])
        while not words[0].startswith("-"):  # ccache, compiler
            words.pop(0)
        kept, skip = [], False
        for word in words:
            if skip or word in ("-c", command["file"]):
                skip = False
            elif word == "-o":
                skip = True
            else:
                kept.append(word)
        flags[command["file"]] = tuple(kept)
    return flags


def tidy(arguments):
    """Output of clang-tidy, empty without findings."""
    done = subprocess.run(["clang-tidy", "--quiet", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 0 and "warning:" not in done.stdout:
        return ""
    return done.stdout.strip() or done.stderr.strip()


def check(batch, flags, folder):
    if len(batch) > 1:
        together = os.path.join(folder, f"batch_{abs(hash(tuple(batch)))}.cc")
        with open(together, "w") as f:
            f.write(unity.unite(batch))
        config = f"--config-file={os.path.join(ROOT, '.clang-tidy')}"
        # An included source is a header to clang-tidy, and findings in headers are kept by name.
        if not tidy([config, together, "--", "-Wno-pragma-once-outside-header", *flags]):
            return ""
    return "\n".join(filter(None, (tidy(["-p", BUILD, name]) for name in batch)))


def main():
    files, flags = sources(sys.argv[1:]), compile_flags()
    unknown = [name for name in files if name not in flags]
    if unknown:
        sys.exit(f"clang-tidy: {unknown[0]} is not part of {BUILD}; configure it again with cmake --preset release")
    groups = collections.defaultdict(list)
    for name in files:
        groups[os.path.dirname(name), flags[name]].append(name)
    batches = [(group[i:i + BATCH_FILES], key[1]) for key, group in groups.items()
               for i in range(0, len(group), BATCH_FILES)]
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        findings = list(filter(None, pool.map(lambda b: check(b[0], b[1], folder), batches)))
    if findings:
        print("\n".join(findings), flush=True)
        sys.exit("clang-tidy: the lines above are errors (.clang-tidy says which checks are on)")
    print(f"clang-tidy: {len(files)} files without a finding")


if __name__ == "__main__":
    main()
