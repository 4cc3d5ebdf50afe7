#!/usr/bin/env python3
"""Checks who includes whom: ARCHITECTURE.md, "Who may include whom". Prints file:line of each breach.

The rules are here, once; CMakeLists.txt links accordingly. A module that is not in the table is an error,
so that a new one gets its row on the day it appears.
"""
import pathlib
import re
import sys

MODULES = {
    "base": "",
    "cpu": "base",
    "quant": "base",
    "kernels": "cpu quant",
    "tensor": "base quant",
    "io": "base quant tensor",
    "ops": "base cpu quant kernels tensor",
    "text": "base io",
    "model": "base cpu quant tensor ops io",
    "sample": "base tensor text",
    "constrain": "base io text",
    "engine": "base cpu tensor model sample text constrain",
    "train": "base cpu tensor ops io text model",
    "ptq": "base cpu quant tensor ops io text model",
    "eval": "base text model engine",
    "perf": "base cpu quant kernels tensor ops io model",
    "service": "base",
    "server": "base io text constrain engine service",
    "cluster": "base model engine train",
    "api": "base cpu quant kernels tensor io ops text model sample constrain engine train ptq eval perf service server cluster",
}
MODULES = {name: set(below.split()) | {name} for name, below in MODULES.items()}

# Third-party headers, by the first part of their path, and the rooms that may see them.
THIRD_PARTY = {
    "fmt": "*",
    "tl": "include server",
    "spdlog": "base",
    "hwloc.h": "cpu",
    "nlohmann": "io text sample constrain train ptq api eval server apps test tests",
    "boost": "server",
    "zlib.h": "io tests",
    "sqlite3.h": "service",
    "openssl": "service server",
    "sentencepiece_processor.h": "text",
    "sentencepiece_trainer.h": "text",
    "sentencepiece_model.pb.h": "text",
    "CLI": "apps",
    "toml++": "apps",
    "histedit.h": "apps",
    "gtest": "test",
    "gmock": "test",
    "benchmark": "bench",
    "immintrin.h": "kernels cpu",
    "cpuid.h": "cpu",
    # C's, in the C interface and its example.
    "stddef.h": "include",
    "stdint.h": "include",
    "stdio.h": "examples tests",
    "stdio.h": "examples tests",
    "stdlib.h": "examples tests",
    # The operating system's.
    "sys": "base cpu io service api apps test tests",
    "asm": "cpu",
    "linux": "cpu",
    "unistd.h": "base cpu io service api apps test tests",
    "fcntl.h": "base cpu io service test tests",
    "sched.h": "cpu",
    "pthread.h": "cpu",
    "arpa": "tests",
    "netinet": "api tests",
    "netdb.h": "api",
    "poll.h": "apps tests",
    "pty.h": "tests",
    "termios.h": "apps",
    "signal.h": "apps tests",
}

# Public headers of plain options live below the facade, in the module that reads them.
PUBLIC = {
    "octet/error.h": {"base"},
    "octet/version.h": {"base", "server"},
    "octet/progress.h": {"base"},
    "octet/sampling.h": {"sample"},
    "octet/chat.h": {"text", "server"},
    "octet/constraint.h": {"constrain", "engine", "server"},
    "octet/generation.h": {"engine"},
    "octet/convert.h": {"ptq"},
    "octet/train_tokenizer.h": {"text"},
    "octet/quantize.h": {"ptq"},
    "octet/accounts.h": {"service"},
}
FACADE_ROOMS = {"include", "api", "apps", "tests", "fuzz", "bench", "examples"}

# A kernel file is compiled with its instruction set's flags; a std header with templates or inline functions
# would leak that code into the whole program through weak symbols (ARCHITECTURE.md, "Adding a kernel").
KERNEL_STD = {"cstddef", "cstdint", "cmath", "cstring", "cfloat", "climits", "immintrin.h", "math.h", "string.h"}
KERNEL_OWN = ("kernels/kernel.h", "cpu/isa.h", "base/f16.h", "quant/")
# A folder whose compiler flags include all of another's (cmake/OctetModules.cmake) may share its headers.
ISA_BUILDS_ON = {"x86_avx_vnni": ["x86_avx2"], "x86_avx512": ["x86_avx2"], "x86_avx512_vnni": ["x86_avx512"],
                 "x86_avx512_bf16": ["x86_avx512"], "x86_amx_int8": ["x86_avx512_vnni"], "x86_amx_bf16": ["x86_amx_int8", "x86_avx512_bf16"]}

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
SOURCES = {".cc", ".h", ".c", ".inc", ".def"}


def room_of(path):
    """(room, is_test): a module's name, or include, apps, tests, fuzz, bench."""
    parts = path.parts
    is_test = path.stem.endswith("_test") or path.stem.endswith("_testing")
    return (parts[1] if parts[0] == "src" else parts[0]), is_test


def builds_on(isa, header):
    """Whether `header` is of a folder that `isa` builds on."""
    return any(header.startswith(f"kernels/{other}/") or builds_on(other, header) for other in ISA_BUILDS_ON.get(isa, []))


def breach(root, path, header, angled):
    """Why `path` may not include `header`, or None."""
    room, is_test = room_of(path)
    first = header.split("/")[0]
    # The reference kernels are compiled with the common flags and may include what any module may.
    in_isa_folder = room == "kernels" and len(path.parts) > 3 and path.parts[2] != "reference"
    if angled:
        if in_isa_folder and header not in KERNEL_STD:
            return f"a kernel file may include only {', '.join(sorted(KERNEL_STD))} of the system's headers"
        if "/" not in header and not header.endswith(".h"):
            return None  # the standard library
        if first not in THIRD_PARTY:
            return f"<{header}> is not a header this project knows; add it to tools/check_includes.py"
        rooms = THIRD_PARTY[first].split()
        here = {room} | ({"test"} if is_test or room == "tests" else set())
        return None if "*" in rooms or here & set(rooms) else f"<{first}> belongs to: {', '.join(rooms)}"
    if header == "command_list.inc" or header == "kernel_list.inc" or "/" not in header:
        return None  # generated, or a neighbour in the same folder
    if first == "octet":
        if not (root / "include" / header).is_file():
            return f"include/{header} does not exist"
        rooms = FACADE_ROOMS | PUBLIC.get(header, set())
        return None if room in rooms else f"{header} is for: {', '.join(sorted(rooms))}"
    if first == "support" and (is_test or room in {"tests", "fuzz", "bench"}):
        return None
    if first not in MODULES:
        return f'"{header}" is of no known module'
    if not (root / "src" / header).is_file():
        return f"src/{header} does not exist"
    if room in {"include", "apps", "examples"}:
        return f"{room}/ includes only include/octet"
    if room in {"tests", "fuzz", "bench"}:
        return None
    if in_isa_folder:
        same_folder = pathlib.PurePath(header).parent == path.parent.relative_to("src")
        shared = same_folder or builds_on(path.parent.name, header)
        fits = shared or header.startswith(KERNEL_OWN) or header.startswith("kernels/reference/")
        return None if fits else f"a kernel file may include {', '.join(KERNEL_OWN)} and its own folder"
    if first in MODULES[room] or (is_test and first == "base"):
        return None
    return f"{room} may include {', '.join(sorted(MODULES[room] - {room})) or 'nothing'}, not {first}"


def check(root):
    """All breaches under root, as "file:line: why" lines."""
    found = []
    files = 0
    for top in ("include", "src", "apps", "tests", "fuzz", "bench", "examples"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix not in SOURCES or not path.is_file():
                continue
            files += 1
            relative = path.relative_to(root)
            room, _ = room_of(relative)
            if top == "src" and room not in MODULES:
                found.append(f"{relative}:1: src/{room} is not in the table of tools/check_includes.py")
                continue
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                match = INCLUDE.match(line)
                why = match and breach(root, relative, match[1] or match[2], match[2] is not None)
                if why:
                    found.append(f"{relative}:{number}: {why}")
    return found, files


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
    root = root if root.is_dir() else root.parent.parent
    found, files = check(root)
    for line in found:
        print(line)
    if found:
        print(f"include rules: {len(found)} breaches", file=sys.stderr)
        return 1
    print(f"include rules: {files} files keep them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
