"""What a training on a CPU takes alone and beside another busy process, by how its threads wait.

    .venv/bin/python benchmarks/busy_machine.py [--rounds 3]

A step of a small and of a larger Llama, each in a process of its own, with threads that wait as
`solar run` has them (they spin 1,000 times), by OpenMP's default, and in two other ways: alone,
beside a loop that keeps one core busy, and beside the same training. On a quiet machine; the ways
alternate. Prints medians as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from environment import environment

MODELS = {  # hidden size, layers, vocabulary, sequences, length, steps
    "demo": (128, 12, 900, 8, 64, 15),
    "135M": (576, 8, 49152, 1, 256, 5),
}
WAYS: dict[str, dict[str, str]] = {
    "default": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "spins 1000 times": {"GOMP_SPINCOUNT": "1000"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
BUSY = [sys.executable, "-c", "while True: pass"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--train", choices=MODELS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        print(step_s(*MODELS[options.train]))
        return
    found: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for model in MODELS:
            for way, variables in WAYS.items():
                alone = started(model, variables)
                found.setdefault(f"{model}, {way}, alone", []).append(seconds(alone))
                busy = subprocess.Popen(BUSY)
                beside = seconds(started(model, variables))
                busy.kill()
                busy.wait()
                found.setdefault(f"{model}, {way}, beside a loop", []).append(beside)
                two = [started(model, variables) for _ in range(2)]
                slower = max(map(seconds, two))
                found.setdefault(f"{model}, {way}, two at once", []).append(slower)
    medians = {name: statistics.median(each) for name, each in found.items()}
    ratios = {
        name: round(value / medians[f"{name.rpartition(',')[0]}, alone"], 2)
        for name, value in medians.items()
    }
    result = {"step_s": medians, "against_alone": ratios, "rounds": found, **environment()}
    print(json.dumps(result, indent=2))


def started(model: str, variables: dict[str, str]) -> subprocess.Popen[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    command = [sys.executable, __file__, "--train", model]
    return subprocess.Popen(
        command,
        env={**known, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def seconds(process: subprocess.Popen[str]) -> float:
    """What the process says of its steps."""
    return float(process.communicate()[0].split()[-1])


def step_s(
    hidden: int, layers: int, vocabulary: int, sequences: int, length: int, steps: int
) -> float:
    """Seconds a training step; two steps before warm up."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        vocab_size=vocabulary,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    tokens = torch.randint(0, vocabulary, (sequences, length))
    start = 0.0
    for number in range(steps + 2):
        if number == 2:
            start = time.perf_counter()
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return (time.perf_counter() - start) / steps


if __name__ == "__main__":
    main()
