#!/usr/bin/env python3
"""Times training steps of the same Mixtral in Octet and in PyTorch, interleaved, and prints a Markdown table.

  bench/compare_pytorch.py --octet build/release/bench/train_step --rounds 3 [--json FILE]
      [--dim 512] [--layers 8] [--heads 8] [--kv-heads 2] [--ffn 1024] [--experts 8] [--vocab 8192]
      [--batch 4] [--context 512] [--steps 3] [--threads 2] [--programs octet-bf16,torch-bf16,…]

Each round starts every program once, in turn, so that a slow minute of the machine meets all of them; medians over
rounds are compared. PyTorch needs Debian's python3-torch and libopenblas0-pthread, OPENBLAS_CORETYPE unset. Its model is
written as Hugging Face's: a loop over experts that gathers their tokens, attention in plain products, AdamW over all
parameters, eager. In bf16 its weights and optimiser are bf16 too, which is the fastest it does; Octet's stay float32.
Octet's line also has its share of what bf16 products do in registers (AMX tiles, or vdpbf16ps without them), and where there are tiles of
2 × 2 blocks of them with loads, measured between its steps.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

SHAPE = ("dim", "layers", "heads", "kv_heads", "ffn", "experts", "vocab", "batch", "context", "steps", "threads")


def torch_worker(args, bf16):
    """Runs in a process of its own; prints a line of JSON."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    head_dim = args.dim // args.heads

    class RmsNorm(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(args.dim))

        def forward(self, x):
            wide = x.float()
            return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)).to(x.dtype)

    def linear(inputs, outputs):
        return nn.Linear(inputs, outputs, bias=False)

    def turn(x, cos, sin):
        half = x.shape[-1] // 2
        return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.o = linear(args.dim, args.heads * head_dim), linear(args.heads * head_dim, args.dim)
            self.k, self.v = (linear(args.dim, args.kv_heads * head_dim) for _ in range(2))

        def forward(self, x, cos, sin, mask):
            b, n, _ = x.shape
            q = turn(self.q(x).view(b, n, args.heads, head_dim).transpose(1, 2), cos, sin)
            k = turn(self.k(x).view(b, n, args.kv_heads, head_dim).transpose(1, 2), cos, sin)
            v = self.v(x).view(b, n, args.kv_heads, head_dim).transpose(1, 2)
            group = args.heads // args.kv_heads
            k, v = (y.repeat_interleave(group, dim=1) for y in (k, v))
            scores = q @ k.transpose(2, 3) / head_dim**0.5 + mask
            weights = functional.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)
            return self.o((weights @ v).transpose(1, 2).reshape(b, n, -1))

    class Expert(nn.Module):
        def __init__(self):
            super().__init__()
            self.w1, self.w3, self.w2 = linear(args.dim, args.ffn), linear(args.dim, args.ffn), linear(args.ffn, args.dim)

        def forward(self, x):
            return self.w2(functional.silu(self.w1(x)) * self.w3(x))

    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = linear(args.dim, args.experts)
            self.experts = nn.ModuleList(Expert() for _ in range(args.experts))

        def forward(self, x):
            b, n, d = x.shape
            x = x.reshape(-1, d)
            logits = self.gate(x)
            weights, chosen = torch.topk(functional.softmax(logits, dim=1, dtype=torch.float32), 2, dim=-1)
            weights = (weights / weights.sum(dim=-1, keepdim=True)).to(x.dtype)
            out = torch.zeros_like(x)
            mask = functional.one_hot(chosen, num_classes=args.experts).permute(2, 1, 0)
            for e, expert in enumerate(self.experts):
                choice, rows = torch.where(mask[e])
                out.index_add_(0, rows, expert(x[rows]) * weights[rows, choice, None])
            return out.view(b, n, d), logits

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.attn_norm, self.attn, self.ffn_norm, self.ffn = RmsNorm(), Attention(), RmsNorm(), Experts()

        def forward(self, x, cos, sin, mask):
            x = x + self.attn(self.attn_norm(x), cos, sin, mask)
            y, logits = self.ffn(self.ffn_norm(x))
            return x + y, logits

    class Mixtral(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(args.vocab, args.dim)
            self.layers = nn.ModuleList(Layer() for _ in range(args.layers))
            self.norm, self.head = RmsNorm(), linear(args.dim, args.vocab)

        def forward(self, ids):
            n = ids.shape[1]
            x = self.embed(ids)
            frequency = 1e4 ** (-torch.arange(0, head_dim, 2).float() / head_dim)
            angle = torch.outer(torch.arange(n).float(), frequency).repeat(1, 2)
            cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
            mask = torch.full((n, n), float("-inf"), dtype=x.dtype).triu(1)
            routers = []
            for layer in self.layers:
                x, logits = layer(x, cos, sin, mask)
                routers.append(logits)
            return self.head(self.norm(x)), torch.cat(routers)

    def balance(logits):
        probabilities = functional.softmax(logits, dim=-1, dtype=torch.float32)
        chosen = torch.topk(probabilities, 2, dim=-1).indices
        load = functional.one_hot(chosen, args.experts).float().mean(0)
        return args.experts * (load * probabilities.mean(0)).sum()

    model = Mixtral()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.02)
    if bf16:
        model = model.to(torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1)
    seconds, loss = [], None
    for step in range(args.steps + 1):
        ids = torch.randint(args.vocab, (args.batch, args.context))
        start = time.perf_counter()
        optimizer.zero_grad()
        logits, routers = model(ids)
        loss = functional.cross_entropy(logits[:, :-1].reshape(-1, args.vocab).float(), ids[:, 1:].reshape(-1))
        (loss + 0.01 * balance(routers)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step > 0:  # the first pays for memory
            seconds.append(time.perf_counter() - start)
    tokens = args.batch * args.context
    print(json.dumps({"program": "torch", "version": torch.__version__, "precision": "bf16" if bf16 else "f32",
                      "parameters": sum(p.numel() for p in model.parameters()),
                      "tokens_per_s": tokens / statistics.median(seconds),
                      "best_tokens_per_s": tokens / min(seconds), "loss": float(loss)}))


def command_of(name, args):
    program, precision = name.split("-")
    shape = [text for key in SHAPE for text in (f"--{key.replace('_', '-')}", str(getattr(args, key)))]
    if program == "octet":
        return [args.octet, *shape, "--precision", precision]
    return [sys.executable, __file__, *shape, "--worker", precision]


def run(name, args):
    environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
    environment["OMP_NUM_THREADS"] = str(args.threads)
    done = subprocess.run(command_of(name, args), capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        sys.exit(f"{name}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def table(samples):
    def median(name, key):
        return statistics.median(run[key] for run in samples[name])

    speeds = {name: median(name, "tokens_per_s") for name in samples}
    peers = [speed for name, speed in speeds.items() if name.startswith("torch")]
    lines = ["| program | tokens/s | × the better PyTorch | share of bf16 in registers | share of tiles with loads |",
             "|---|---|---|---|---|"]
    for name in samples:
        ratio = f"{speeds[name] / max(peers):.1f}" if peers else ""
        shares = ["", ""]
        if name == "octet-bf16":
            values = [median(name, key) for key in ("share_registers", "share_loads")]
            shares = [f"{100 * value:.0f} %" if value > 0 else "" for value in values]
        lines.append(f"| {name} | {speeds[name]:.0f} | {ratio} | {shares[0]} | {shares[1]} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--octet", default="build/release/bench/train_step")
    parser.add_argument("--programs", default="octet-bf16,torch-bf16,octet-f32,torch-f32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    parser.add_argument("--worker", choices=["f32", "bf16"], help=argparse.SUPPRESS)
    defaults = (512, 8, 8, 2, 1024, 8, 8192, 4, 512, 3, 2)
    for key, value in zip(SHAPE, defaults):
        parser.add_argument(f"--{key.replace('_', '-')}", type=int, default=value)
    args = parser.parse_args()
    if args.worker:
        torch_worker(args, args.worker == "bf16")
        return
    samples = {name: [] for name in args.programs.split(",")}
    for _ in range(args.rounds):
        for name in samples:
            samples[name].append(run(name, args))
            print(f"{name}: {samples[name][-1]['tokens_per_s']:.0f} tokens/s", file=sys.stderr)
    print(table(samples))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"arguments": vars(args), "samples": samples}, file, indent=1)


if __name__ == "__main__":
    main()
