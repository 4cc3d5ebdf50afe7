#!/usr/bin/env python3
"""Times `octet bench` against programs that print llama-bench's JSON, on the same GGUF, interleaved.

  bench/compare_peers.py --octet build/release/octet --model M.gguf \\
      --peer llama.cpp=/path/llama-bench --peer "ik_llama.cpp=/path/llama-bench -rtr 1" --rounds 3

Each round starts every program once, in turn, so that a slow minute of the machine meets all of them; medians over
rounds are compared. A batched test takes programs that print llama-batched-bench's JSON lines (--batched NAME=…).
Prints a Markdown table; --json FILE keeps every single measurement.
"""
import argparse
import json
import shlex
import statistics
import subprocess
import sys


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def time_octet(args):
    """{test: tokens/s}: pp<prompt>, tg, b<batch>."""
    out = run([args.octet, "bench", "-m", args.model, "--json", "-t", str(args.threads), "-r", str(args.repetitions),
               "-p", *map(str, args.prompts), "-d", "0", "-b", *map(str, args.batches)])
    figures = json.loads(out)["figures"]
    speeds = {}
    for figure in figures:
        kind, _, rest = figure["name"].partition(" ")
        speeds[{"prompt": f"pp{rest}", "batch": f"b{rest}", "decode": "tg"}.get(kind, figure["name"])] = figure["tokens_per_s"]
    return speeds


def time_peer(command, args):
    out = run([*command, "-m", args.model, "-t", str(args.threads), "-p", ",".join(map(str, args.prompts)),
               "-n", str(args.decode), "-r", str(args.repetitions), "-o", "json"])
    speeds = {}
    for test in json.loads(out[out.index("["):]):
        speeds[f"pp{test['n_prompt']}" if test["n_prompt"] else "tg"] = test["avg_ts"]
    return speeds


def time_batched(command, args):
    out = run([*command, "-m", args.model, "-t", str(args.threads), "-c", str(64 * max(args.batches)), "-npp", "16",
               "-ntg", "16", "-npl", ",".join(map(str, args.batches)), "--output-format", "jsonl"])
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return {f"b{row['pl']}": row["speed_tg"] for row in rows}


def named(text):
    name, _, command = text.partition("=")
    return name, shlex.split(command)


def table(samples):
    tests = sorted({test for runs in samples.values() for test in runs}, key=lambda t: (t[0] != "p", t[0] != "t", len(t), t))
    lines = ["| test | " + " | ".join(samples) + " | ratios |", "|---" * (len(samples) + 2) + "|"]
    for test in tests:
        median = {name: statistics.median(runs[test]) for name, runs in samples.items() if runs.get(test)}
        ratios = [f"{median['octet'] / speed:.2f}× {name}" for name, speed in median.items() if name != "octet" and "octet" in median]
        cells = [f"{median[name]:.1f} ({min(runs[test]):.1f}–{max(runs[test]):.1f})" if name in median else "" for name, runs in samples.items()]
        lines.append(f"| {test} | " + " | ".join(cells) + " | " + ", ".join(ratios) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--octet", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--peer", type=named, action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--batched", type=named, action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=2, help="within one start of a program")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompts", type=int, nargs="*", default=[512])
    parser.add_argument("--decode", type=int, default=32)
    parser.add_argument("--batches", type=int, nargs="*", default=[1])
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()

    samples = {"octet": {}} | {name: {} for name, _ in args.peer + args.batched}
    for round_number in range(args.rounds):
        starts = [("octet", lambda: time_octet(args))]
        starts += [(name, lambda c=command: time_peer(c, args)) for name, command in args.peer]
        starts += [(name, lambda c=command: time_batched(c, args)) for name, command in args.batched]
        for name, start in starts:
            for test, speed in start().items():
                samples[name].setdefault(test, []).append(speed)
            print(f"round {round_number + 1}: {name} done", file=sys.stderr, flush=True)
    print(table(samples))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"model": args.model, "samples": samples}, file, indent=2)


if __name__ == "__main__":
    main()
