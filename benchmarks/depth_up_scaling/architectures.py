"""Depth up-scaling on every causal language model of transformers, and MergeKit's beside it.

    .venv/bin/python benchmarks/depth_up_scaling/architectures.py             # all, a few minutes
    .venv/bin/python benchmarks/depth_up_scaling/architectures.py llama mamba # these anew

For each architecture of the library's own mapping a tiny random model is up-scaled and judged by
`tests/depth_up_scaling/coverage_judge.py` (which says what right means), in every layout with every
init; where it is right, MergeKit's passthrough is judged by the same rule. Writes
architectures.json and the table in the plugin's README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch
from mergekit.config import MergeConfiguration
from mergekit.merge import MergeOptions, run_merge
from transformers import AutoModelForCausalLM
from transformers.utils import logging

sys.path.append(str(Path(__file__).resolve().parents[1]))
sys.path.append(str(Path(__file__).resolve().parents[2] / "tests" / "depth_up_scaling"))

from coverage_judge import NOT_BUILT, REFUSED, RIGHT, WRONG, expected_tensors, judge, tiny_base
from environment import environment
from tiny_architectures import ARCHITECTURES, LAYERS, VARIANTS

from solar_plugins.depth_up_scaling.layer_map import layer_map, ranges_of
from solar_plugins.depth_up_scaling.structure import layer_lists

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
README = ROOT / "solar_plugins" / "depth_up_scaling" / "README.md"
BEGIN, END = "<!-- table of architectures -->", "<!-- end of the table -->"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="architectures (model types); all by default")
    options = parser.parse_args()
    # its kernels want a GPU; without it transformers has a way in PyTorch
    sys.modules["fla"] = None
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    out, rows = HERE / "architectures.json", {}
    if options.names:
        rows = json.loads(out.read_text())["architectures"]
    for name in options.names or [*ARCHITECTURES, *VARIANTS]:
        rows[name] = row(name)
        print(name, {k: v for k, v in rows[name].items() if v}, flush=True)
    for what in ("outcome", "identity", "mergekit"):
        print(what, dict(Counter(r[what] for r in rows.values() if r[what])))
    out.write_text(json.dumps({**environment(), "architectures": rows}, indent=1) + "\n")
    write_readme(rows)


def row(name: str) -> dict:
    """What came of one architecture, ours and MergeKit's."""
    with tempfile.TemporaryDirectory() as folder:
        verdict = judge(name, Path(folder) / "ours")
        merged, why = mergekit(name, Path(folder)) if verdict.outcome == RIGHT else ("", "")
    return {
        "outcome": verdict.outcome,
        "reason": verdict.reason,
        "remove_layers": verdict.remove_layers,
        "identity": verdict.identity,
        "identity_reason": verdict.identity_reason,
        "layouts": verdict.layouts,
        "mergekit": merged,
        "mergekit_reason": why,
    }


def mergekit(name: str, folder: Path) -> tuple[str, str]:
    """MergeKit's passthrough on the same base: right, fails (it says so) or wrong (it does not)."""
    source, out = folder / "base", folder / "merged"
    base = tiny_base(name, source)
    layers = layer_map(LAYERS, 3)
    slices = [
        {"sources": [{"model": str(source), "layer_range": list(pair)}]}
        for pair in ranges_of(layers)
    ]
    try:
        run_merge(
            MergeConfiguration.model_validate(
                {"slices": slices, "merge_method": "passthrough", "dtype": "float32"}
            ),
            str(out),
            MergeOptions(clone_tensors=True, copy_tokenizer=False, quiet=True, cuda=False),
        )
    except Exception as error:  # whatever stops the merge
        return "fails", _line(error).replace(str(source), "BASE")
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            out, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # a folder that mergekit left as a model and that is none
        return WRONG, f"cannot be loaded: {_line(error)}"
    if model.config.get_text_config().num_hidden_layers != len(layers):
        return WRONG, "the config says another depth"
    if not (lists := layer_lists(base, model)):
        return WRONG, "no list of layers has grown"
    left = [f"{kind}: {sorted(names)[0]}" for kind, names in info.items() if names]
    if left:
        return WRONG, left[0]
    found = model.state_dict()
    expected = expected_tensors(found, base, lists, layers)
    differ = [k for k in found if expected[k] is None or not torch.equal(found[k], expected[k])]
    if differ:
        return WRONG, f"another tensor: {differ[0]}"
    kinds = base.config.get_text_config().to_dict().get("layer_types")
    grown = model.config.get_text_config().to_dict().get("layer_types")
    if kinds and grown != [kinds[j] for j in layers]:
        return WRONG, "layer_types do not follow the layers"
    return RIGHT, ""


def write_readme(rows: dict[str, dict]) -> None:
    """The table in the plugin's README, between its two marks."""
    counts = {
        what: Counter(row[what] for row in rows.values())
        for what in ("outcome", "identity", "mergekit")
    }
    ours, identity, theirs = counts["outcome"], counts["identity"], counts["mergekit"]
    tried = len(rows) - ours[NOT_BUILT]
    lines = [
        BEGIN,
        f"{len(rows)} architectures and variants, {tried} of them tried: right {ours[RIGHT]}, "
        f"refused {ours[REFUSED]}, wrong {ours[WRONG]}; {ours[NOT_BUILT]} not built. "
        f"`init: identity`: right {identity[RIGHT]}, refused {identity[REFUSED]}, "
        f"wrong {identity[WRONG]}. MergeKit 0.1.5's passthrough where ours is right: right "
        f"{theirs[RIGHT]}, fails {theirs['fails']}, exits 0 with a wrong model {theirs[WRONG]}.",
        "",
        *_layouts(rows),
        "",
        "| architecture | copy | identity: what starts at zero | MergeKit |",
        "|---|---|---|---|",
    ]
    for name, found in sorted(rows.items()):
        copy = found["outcome"]
        if copy != RIGHT:
            copy = f"{copy}: {_short(found['reason'])}"
        elif found["remove_layers"] != 3:
            copy = f"{copy} (m = {found['remove_layers']} of {LAYERS})"
        silent = found["identity_reason"]
        if found["identity"] not in ("", RIGHT):
            silent = f"{found['identity']}: {_short(silent)}"
        theirs = found["mergekit"]
        if found["mergekit_reason"]:
            theirs = f"{theirs}: {_short(found['mergekit_reason'])}"
        lines.append(f"| {name} | {copy} | {silent} | {theirs} |")
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(before + "\n".join([*lines, END]) + after, encoding="utf-8")


def _layouts(rows: dict[str, dict]) -> list[str]:
    """A table of the other layouts: counts, and the reasons of what is refused."""
    lines = ["| layout, init | right | refused | wrong | refused are |", "|---|---|---|---|---|"]
    for kind in next(row["layouts"] for row in rows.values() if row["layouts"]):
        found = {name: row["layouts"].get(kind, "") for name, row in rows.items()}
        count = Counter(outcome.partition(":")[0] for outcome in found.values())
        refused = ", ".join(name for name, o in sorted(found.items()) if o.startswith(REFUSED))
        lines.append(f"| {kind} | {count[RIGHT]} | {count[REFUSED]} | {count[WRONG]} | {refused} |")
    return lines


def _short(reason: str) -> str:
    """The reason without path and advice, as a cell of a table."""
    for start in ("base_model: ", "depth_up_scaling: ", "depth_up_scaling.init: "):
        reason = reason.removeprefix(start)
    for advice in (" Choose ", " Depth up-scaling is ", " Write "):
        reason = reason.partition(advice)[0]
    return reason[:140].replace("|", "/").rstrip(" .")


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


if __name__ == "__main__":
    main()
