"""What a run of chain.yml measured, as tables in Markdown: `python table.py outputs/real`.

Differences are taken item by item, so that their standard errors are those of the same items.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from solar_plugins.evaluation.benchmarks import BENCHMARKS, ratio_stderr

BEFORE = {"dus": "base_model", "control": "base_model", "cpt": "base_model", "sft_v3": "cpt",
          "sft_v4": "cpt", "sft_v3_v4": "cpt", "cand_1": "sft_v3", "cand_2": "sft_v3_v4",
          "instruct": "sft_v3_v4"}  # fmt: skip
"""The model that each is compared with; on text, all are compared with the base."""

Items = Sequence[tuple[float, ...]]
Result = dict[str, Any]


def main(run: Path) -> None:
    """Print the tables of held-out text, of answers and pairs, and of H6."""
    _print("model", "text, bits per byte", "change")
    texts = _results(run / "text_loss")
    for model, result in texts.items():
        before = texts.get("base_model") if model in BEFORE else None
        _print(model, *_loss("held_out_text", result, before))
    print()
    _print("model", "answers, bits per byte", "change", "likelier", "per byte", "reward")
    both = _results(run / "answers_and_pairs")
    for model, result in both.items():
        before, pairs = both.get(BEFORE.get(model, "")), result["other"]["held_out_pairs"]
        wins = [_percent(pairs["values"], metric) for metric in ("acc", "acc_norm")]
        reward = _reward(pairs, before["other"]["held_out_pairs"]) if before else ""
        _print(model, *_loss("held_out_answers", result, before), *wins, reward)
    print()
    _print("model", *(benchmark.title for benchmark in BENCHMARKS), "H6")
    for model, result in _results(run / "h6").items():
        scores = {task["benchmark"]: task for task in result["tasks"].values()}
        of = [(scores[one.key]["value"], scores[one.key]["stderr"]) for one in BENCHMARKS]
        of.append((result["h6"], result["h6_stderr"]))
        _print(model, *(f"{100 * value:.1f} ± {100 * error:.1f}" for value, error in of))


def _print(first: str, *cells: str) -> None:
    """A row in Markdown, and the line below it if it is the heading."""
    print(f"| {' | '.join([first, *cells])} |")
    if first == "model":
        print(f"|---{'|---' * len(cells)}|")


def _loss(task: str, result: Result, before: Result | None) -> tuple[str, str]:
    loss = result["losses"][task]
    change = _change(loss["items"], before["losses"][task]["items"]) if before else ""
    return f"{loss['value']:.4f} ± {loss['stderr']:.4f}", change


def _percent(values: dict[str, float], metric: str) -> str:
    return f"{100 * values[f'{metric},none']:.0f} ± {100 * values[f'{metric}_stderr,none']:.0f}"


def _results(folder: Path) -> dict[str, Result]:
    files = {name: folder / f"{name}.json" for name in ("base_model", *BEFORE)}
    return {n: json.loads(f.read_text(encoding="utf-8")) for n, f in files.items() if f.is_file()}


def _change(items: Items, before: Items) -> str:
    """Bits per byte now minus before, item by item."""
    both = [(now[0] - then[0], now[1]) for now, then in zip(items, before, strict=True)]
    change = sum(a for a, _ in both) / sum(b for _, b in both)
    return f"{change:+.4f} ± {ratio_stderr(both):.4f}"


def _reward(pairs: dict[str, Any], before: dict[str, Any]) -> str:
    """How often DPO's reward, the change of the log-likelihood, is higher for the chosen answer."""
    gained = [
        float(now[0] - then[0] > now[1] - then[1])
        for now, then in zip(pairs["items"], before["items"], strict=True)
    ]
    return f"{100 * fmean(gained):.0f} ± {100 * stdev(gained) / len(gained) ** 0.5:.0f}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
