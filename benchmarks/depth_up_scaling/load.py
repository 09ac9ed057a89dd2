"""From a base on disk to the up-scaled model in memory, against the two other ways there.

    .venv/bin/python benchmarks/depth_up_scaling/load.py --folder /tmp/dus_load

A random Llama of 1.6B parameters (bf16, four shards, 32 layers) becomes one of 48 layers:

- ours: `from_pretrained(base)` inside `up_scaled_loading` as the plugin does it, which has read the
  base's config and compared base and model without weights when it read the recipe;
- ours, with all checks: the same with these inside the clock (and the comparison made once, with
  the model that is loaded);
- plain: `from_pretrained` of a checkpoint that has the 48 layers already;
- mergekit: `mergekit-yaml` (passthrough, --clone-tensors), then plain;
- the other layouts and inits (`OTHERS`), each beside a plain load of a checkpoint of its depth.

With --device ours and plain are also measured until the model is on it (cuda).

Every measurement is a process of its own, forked after all imports, so that neither imports nor an
earlier model count; each has built a model without weights before its clock starts. The parent's
objects are frozen before each fork: a full garbage collection in the child would copy their pages
(0.4 s and 160 MB, in whichever way it happens to fall). Files are in the page cache. The ways
alternate; the median of each is reported with the lowest and the highest. MergeKit's time is its
own and that of the disk that it writes to, and differs between machines by more than all else here.
Needs about 15 GB of disk, which is given back at the end unless --keep, and 12 GB of memory.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import multiprocessing
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # MergeKit asks the Hub about a folder called owner/name

import torch
from mergekit.config import MergeConfiguration
from mergekit.merge import MergeOptions, run_merge
from safetensors.torch import save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

sys.path.append(str(Path(__file__).resolve().parents[1]))
from environment import environment, told

from solar_plugins.depth_up_scaling import on_disk
from solar_plugins.depth_up_scaling.args import parse
from solar_plugins.depth_up_scaling.growth import grow
from solar_plugins.depth_up_scaling.layer_map import interleave, layer_map, ranges_of, repeat
from solar_plugins.depth_up_scaling.remap import up_scaled_loading
from solar_plugins.depth_up_scaling.tensor_plan import blueprint
from solar_plugins.seams.transformers import skeleton

LAYERS, REMOVED, SHARDS = 32, 8, 4
LAYER_MAP = layer_map(LAYERS, REMOVED)
TWICE = {"layout": "repeat", "times": 2}
OTHERS = {
    "overlap, identity": (LAYER_MAP, "identity"),
    "interleave, copy": (interleave(LAYERS, 2), "copy"),
    "interleave, identity": (interleave(LAYERS, 2), "identity"),
    "interleave, average": (interleave(LAYERS, 2), "average"),
    "interleave, optimal_transport": (interleave(LAYERS, 2), "optimal_transport"),
    "repeat, copy": (repeat(LAYERS, 2), "copy"),
}
HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("dus_load"), help="for the models")
    parser.add_argument("--repeat", type=int, default=5, help="times each load is measured")
    parser.add_argument("--writes", type=int, default=2, help="of these, how many write as well")
    parser.add_argument("--others", type=int, default=1, help="times the others load: minutes")
    parser.add_argument("--merges", type=int, default=2, help="times mergekit runs (0: see --keep)")
    parser.add_argument("--hidden", type=int, default=2048, help="hidden size (2048: 1.6B)")
    parser.add_argument("--device", help="move the model there too: cuda")
    parser.add_argument("--out", type=Path, default=HERE / "load.json")
    parser.add_argument("--keep", action="store_true", help="leave the models on disk")
    options = parser.parse_args()
    base, merged = options.folder / "base", options.folder / "merged"
    doubled = options.folder / "doubled"
    if not (base / "config.json").is_file():
        write_base(base, options.hidden)

    noted = options.folder / "merges.json"  # MergeKit's runs on this folder so far
    merges = json.loads(noted.read_text()) if noted.is_file() else []
    for _ in range(options.merges):
        shutil.rmtree(merged, ignore_errors=True)
        merges.append(in_child(merge, base, merged))
        noted.write_text(json.dumps(merges))
        print("mergekit", merges[-1], flush=True)
    if not doubled.is_dir():
        on_disk.write(on_disk.prepare(str(base), parse(TWICE)), doubled, "")
    for file in [*base.iterdir(), *merged.iterdir(), *doubled.iterdir()]:
        if file.is_file():
            read_anew(file)

    ways = {"ours": (ours, base), "all": (ours_with_all_checks, base), "plain": (plain, merged)}
    others = {
        name: (functools.partial(ours, layers=layers, init=init), base)
        for name, (layers, init) in OTHERS.items()
    }
    ways |= {**others, "plain, 64 layers": (plain, doubled)}
    runs: dict[str, list[dict]] = {}
    for round_ in range(options.repeat + 1):
        touches = ("none", "read", "write") if round_ <= options.writes else ("none", "read")
        touches += (options.device,) if options.device else ()
        for touch in touches:
            for way, (prepare, folder) in ways.items():
                if way not in ("ours", "plain") and touch != "none":
                    continue
                if way in others and not 1 <= round_ <= options.others:
                    continue
                result = in_child(measured, prepare, folder, touch)
                if round_:  # the first round warms up
                    runs.setdefault(f"{way}, {touch}", []).append(result)
        print("round", round_, flush=True)
    report(options.out, runs, merges, base)
    if not options.keep:
        shutil.rmtree(options.folder)


def read_anew(file: Path) -> None:
    """Read `file` into the page cache from disk, so that both ways find pages of one kind there.

    Pages that were written lie in the cache in other pieces than pages that were read ahead, and
    are mapped at another speed.
    """
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    with file.open("rb") as stream:
        while stream.read(1 << 24):
            pass


def write_base(folder: Path, hidden: int) -> None:
    """A random base in shards, its tensors of normal numbers."""
    folder.mkdir(parents=True)
    config = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=hidden * 11 // 4,
        num_hidden_layers=LAYERS,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=32000,
        dtype="bfloat16",
        architectures=["LlamaForCausalLM"],
    )
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in LlamaForCausalLM(config).state_dict().items()}
    names, weight_map = list(shapes), {}
    for index in range(SHARDS):
        part = names[index * len(names) // SHARDS : (index + 1) * len(names) // SHARDS]
        file = f"model-{index + 1:05d}-of-{SHARDS:05d}.safetensors"
        tensors = {k: torch.empty(shapes[k], dtype=torch.bfloat16).normal_(std=0.02) for k in part}
        save_file(tensors, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(part, file))
    index_file = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index_file))
    config.save_pretrained(folder)


def ours(folder: Path, layers=LAYER_MAP, init="copy") -> Callable[[], PreTrainedModel]:
    growth = grow(AutoConfig.from_pretrained(folder), layers, init)
    known = blueprint(LlamaForCausalLM, growth)

    def load():
        with up_scaled_loading(growth, known):
            return AutoModelForCausalLM.from_pretrained(
                folder, config=growth.config, dtype=torch.bfloat16
            )

    return load


def ours_with_all_checks(folder: Path) -> Callable[[], PreTrainedModel]:
    skeleton(LlamaForCausalLM, AutoConfig.from_pretrained(folder))

    def load():
        growth = grow(AutoConfig.from_pretrained(folder), LAYER_MAP)
        with up_scaled_loading(growth):
            return AutoModelForCausalLM.from_pretrained(
                folder, config=growth.config, dtype=torch.bfloat16
            )

    return load


def plain(folder: Path) -> Callable[[], PreTrainedModel]:
    skeleton(LlamaForCausalLM, AutoConfig.from_pretrained(folder))
    return lambda: AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)


def merge(base: Path, out: Path) -> dict:
    start = time.perf_counter()
    slices = [
        {"sources": [{"model": str(base), "layer_range": list(pair)}]}
        for pair in ranges_of(LAYER_MAP)
    ]
    run_merge(
        MergeConfiguration.model_validate(
            {"slices": slices, "merge_method": "passthrough", "dtype": "bfloat16"}
        ),
        str(out),
        MergeOptions(
            clone_tensors=True,
            copy_tokenizer=False,
            quiet=True,
            cuda=False,
            out_shard_size=1_200_000_000,  # as many shards as the base has
        ),
    )
    wall = time.perf_counter() - start
    return {"wall_s": wall, "written_bytes": sum(f.stat().st_size for f in out.iterdir())}


def measured(prepare: Callable, folder: Path, touch: str) -> dict:
    """Seconds until the model is there (and touched), what it owns, what it wrote."""
    load = prepare(folder)
    device = None if touch in ("none", "read", "write") else torch.zeros(1, device=touch).device
    before, written = private_bytes(), written_bytes()
    start, cpu = time.perf_counter(), time.process_time()
    model = load()
    if device is not None:
        model.to(device)
        if device.type == "cuda":
            torch.cuda.synchronize()
    private, written = private_bytes() - before, written_bytes() - written
    with torch.no_grad():
        for parameter in model.parameters():
            if touch == "read":
                parameter.sum()
            elif touch == "write":
                parameter.mul_(1)
    return {
        "wall_s": time.perf_counter() - start,
        "cpu_s": time.process_time() - cpu,
        "private_bytes": private,
        "written_bytes": written,
        "layers": model.config.num_hidden_layers,
    }


def in_child(function, *arguments) -> dict:
    """The function's result, from a forked process of its own."""
    context = multiprocessing.get_context("fork")
    gc.collect()
    gc.freeze()
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=lambda: send.send(function(*arguments)))
    child.start()
    send.close()  # so that a child that fails ends the wait
    result = receive.recv()
    child.join()
    return result


def private_bytes() -> int:
    """Memory that this process alone has and could not get back from a file."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no Private_Dirty in smaps_rollup")


def written_bytes() -> int:
    """Bytes that this process sent to a disk."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["write_bytes"])


def report(out: Path, runs: dict[str, list[dict]], merges: list[dict], base: Path) -> None:
    config = AutoConfig.from_pretrained(base)
    with torch.device("meta"):
        layer = LlamaForCausalLM(config).model.layers[0]
    repeated = (len(LAYER_MAP) - LAYERS) * sum(p.numel() * 2 for p in layer.parameters())

    def values(key: str, field: str) -> list[float]:
        return [run[field] for run in runs[key]]

    def median(key: str, field: str) -> float:
        return statistics.median(values(key, field))

    extra = median("ours, none", "private_bytes")
    rows = [("", "ours", "plain, already up-scaled", "ours / plain")]
    touches = {"none": "load"}
    touches |= {touch: f"load and {touch} every parameter" for touch in ("read", "write")}
    measured_too = {run.rpartition(", ")[2] for run in runs} - {*touches}
    touches |= {device: f"load and move to {device}" for device in measured_too}
    compared = [("ours", touch, name) for touch, name in touches.items()]
    compared.insert(1, ("all", "none", "all checks and load"))
    for way, touch, name in compared:
        if f"{way}, {touch}" not in runs:  # --writes 0
            continue
        for field, what in (("wall_s", "s"), ("cpu_s", "CPU seconds")):
            sides = [f"{way}, {touch}", f"plain, {touch}"]
            ours, plain = (median(side, field) for side in sides)
            both = (told(values(side, field), 3) for side in sides)
            rows.append((f"{name}, {what}", *both, f"{ours / plain:.2f}"))
    for name, (layers, _) in OTHERS.items():
        if f"{name}, none" not in runs:
            continue
        beside = "plain" if len(layers) == len(LAYER_MAP) else "plain, 64 layers"
        sides = [f"{name}, none", f"{beside}, none"]
        ours, plain = (median(side, "wall_s") for side in sides)
        both = (told(values(side, "wall_s"), 3) for side in sides)
        rows.append((f"load, {name} ({len(layers)} layers), s", *both, f"{ours / plain:.2f}"))
    plain_private = median("plain, none", "private_bytes")
    rows.append(("private memory, MB", f"{extra / 1e6:.1f}", f"{plain_private / 1e6:.1f}", ""))
    rows.append(("the same, of the repeated layers' bytes", f"{extra / repeated:.1%}", "", ""))
    rows.append(("bytes written", f"{median('ours, none', 'written_bytes'):.0f}", "0", ""))
    merged = told([run["wall_s"] for run in merges], 1)
    rows.append(("mergekit-yaml before that load, s", "", merged, ""))
    rows.append(("bytes that mergekit wrote", "", f"{merges[0]['written_bytes']:,}", ""))
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---|---|---|---|")
    table = "\n".join(lines) + "\n"
    print(table)
    result = {
        **environment(),
        "model": f"Llama, hidden {config.hidden_size}, {LAYERS} -> {len(LAYER_MAP)}, bf16",
        "repeated_bytes": repeated,
        "runs": runs,
        "merges": merges,
    }
    out.write_text(json.dumps(result, indent=2) + "\n")
    out.with_suffix(".md").write_text(table)


if __name__ == "__main__":
    main()
