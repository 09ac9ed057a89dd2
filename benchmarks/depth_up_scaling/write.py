"""Write an up-scaled checkpoint: `solar dus --out`, `mergekit-yaml` passthrough, a plain copy.

    .venv/bin/python benchmarks/depth_up_scaling/write.py

All three end with the same tensors on the same disk, in one run, taking turns. The plain copy reads
a model that is up-scaled already, so it is what the disk and the kernel allow. All run in one
process that has imported everything and has run each of them once; imports are not counted. Two
times are taken: until the command returns, and until the disk has all of it (`sync`; ours syncs by
itself before the folder gets its name, the others do not). The base is random, in bf16 and in
shards, and lies in the page cache. Everything is removed afterwards.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # MergeKit asks the Hub about a folder called owner/name

import torch
import yaml
from mergekit.config import MergeConfiguration
from mergekit.merge import MergeOptions, run_merge
from safetensors import safe_open
from transformers import AutoModelForCausalLM, MistralConfig

sys.path.insert(0, str(Path(__file__).parents[1]))
from environment import environment, told

from solar_plugins.depth_up_scaling import on_disk
from solar_plugins.depth_up_scaling.args import parse
from solar_plugins.depth_up_scaling.mergekit_config import mergekit_config
from solar_plugins.models import base_files

BLOCK = parse({"remove_layers": None})


def write_base(folder: Path, layers: int, hidden: int, intermediate: int) -> None:
    """A random Mistral in bf16, in shards of 1 GB."""
    config = MistralConfig(
        vocab_size=32000,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=max(1, hidden // 256),
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.to_empty(device="cpu")
    for number, parameter in enumerate(model.parameters()):
        # drawing 1.6 billion normal numbers takes a minute; bytes of a pattern copy just the same
        parameter.data.view(torch.int16).random_(generator=torch.Generator().manual_seed(number))
    model.save_pretrained(folder, max_shard_size="1GB")


def ours(base: Path, out: Path) -> None:
    on_disk.write(on_disk.prepare(str(base), BLOCK), out, "benchmark")


def mergekit(base: Path, out: Path) -> None:
    text = mergekit_config(str(base), base_files.read_config(str(base)), BLOCK)
    run_merge(
        MergeConfiguration.model_validate(yaml.safe_load(text)),
        str(out),
        MergeOptions(clone_tensors=True, copy_tokenizer=False, quiet=True),
    )


def measured(write: Callable[[Path, Path], object], source: Path, out: Path) -> dict[str, float]:
    """Run `write`: seconds, and the private memory that it took at most."""
    os.sync()
    gc.collect()
    before, peak, ended = _private_bytes(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.02):
            peak = max(peak, _private_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    write(source, out)
    wall_s = time.perf_counter() - started
    os.sync()
    on_disk_s = time.perf_counter() - started
    ended.set()
    watcher.join()
    return {
        "wall_s": wall_s,
        "on_disk_s": on_disk_s,
        "private_mb": max(0, peak - before) / 1e6,
    }


def _private_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("RssAnon:")[1].split()[0])


def tensor_bytes(folder: Path) -> dict[str, int]:
    """Name -> bytes of every tensor, to see that all three wrote the same."""
    found = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as handle:
            for name in handle.keys():  # noqa: SIM118 (safe_open is no mapping)
                found[name] = handle.get_tensor(name).nbytes
    return found


def same_bits(a: Path, b: Path) -> bool:
    """Whether two folders hold the same tensors, however they are sharded."""

    def opened(folder: Path):
        handles = [safe_open(file, framework="pt") for file in folder.glob("*.safetensors")]
        return {name: handle for handle in handles for name in handle.keys()}  # noqa: SIM118

    ours, theirs = opened(a), opened(b)
    return ours.keys() == theirs.keys() and all(
        torch.equal(
            ours[name].get_tensor(name).view(torch.int16),
            theirs[name].get_tensor(name).view(torch.int16),
        )
        for name in ours
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--intermediate", type=int, default=5632)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to write; default: a temporary folder")
    parser.add_argument("--out", type=Path, help="write the results there as JSON")
    arguments = parser.parse_args()

    folder = Path(tempfile.mkdtemp(prefix="dus_write_", dir=arguments.folder))
    try:
        base, model = folder / "base", folder / "model"
        write_base(base, arguments.layers, arguments.hidden, arguments.intermediate)
        ours(base, model)  # warm-up; also what the plain copy copies
        sizes = tensor_bytes(model)
        mergekit(base, folder / "warm")  # warm-up, and the proof that both write the same
        equal = same_bits(model, folder / "warm")
        shutil.rmtree(folder / "warm")

        peers = {
            "solar dus --out": (ours, base),
            "mergekit-yaml": (mergekit, base),
            "plain copy": (shutil.copytree, model),
        }
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in peers}
        for _ in range(arguments.repeats):
            for name, (write, source) in peers.items():
                out = folder / "out"
                runs[name].append(measured(write, source, out))
                shutil.rmtree(out)
                print(name, runs[name][-1], file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder)

    medians = {
        name: {key: statistics.median(run[key] for run in found) for key in found[0]}
        for name, found in runs.items()
    }
    result = {
        "base_layers": arguments.layers,
        "tensors": len(sizes),
        "gigabytes": round(sum(sizes.values()) / 1e9, 3),
        "same_bits_as_mergekit": equal,
        "runs": runs,
        "medians": medians,
        **environment(),
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{result['gigabytes']} GB, same bits as MergeKit: {equal}\n")
    print("| | returns after, s | on disk after, s | GB/s | private memory, MB | times MergeKit |")
    print("|---|---|---|---|---|---|")
    for name, median in medians.items():
        wall, on_disk = (told([run[key] for run in runs[name]]) for key in ("wall_s", "on_disk_s"))
        print(
            f"| {name} | {wall} | {on_disk} "
            f"| {result['gigabytes'] / median['wall_s']:.2f} | {median['private_mb']:.0f} "
            f"| {medians['mergekit-yaml']['wall_s'] / median['wall_s']:.1f} |"
        )


if __name__ == "__main__":
    main()
