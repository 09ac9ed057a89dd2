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
"""The model that each is compared with."""

Items = Sequence[tuple[float, ...]]


def main(run: Path) -> None:
    """Print the tables of held-out data and of H6."""
    results = _results(run / "held_out")
    print("| model | text | against | answers | against | pairs: likelier | per byte | reward |")
    print("|---|---|---|---|---|---|---|---|")
    for model, result in results.items():
        before = results.get(BEFORE.get(model, ""))
        cells = []
        for task in ("held_out_text", "held_out_answers"):
            loss = result["losses"][task]
            change = _change(loss["items"], before["losses"][task]["items"]) if before else ""
            cells += [f"{loss['value']:.4f} ± {loss['stderr']:.4f}", change]
        pairs = result["other"]["held_out_pairs"]
        for metric in ("acc", "acc_norm"):
            value, error = (pairs["values"][f"{metric}{part},none"] for part in ("", "_stderr"))
            cells.append(f"{100 * value:.0f} ± {100 * error:.0f}")
        cells.append(_reward(pairs, before["other"]["held_out_pairs"]) if before else "")
        print(f"| {' | '.join([model, *cells])} |")
    print(f"\n| model | {' | '.join(benchmark.title for benchmark in BENCHMARKS)} | H6 |")
    print(f"|---{'|---' * (len(BENCHMARKS) + 1)}|")
    for model, result in _results(run / "h6").items():
        scores = {task["benchmark"]: task for task in result["tasks"].values()}
        of = [(scores[one.key]["value"], scores[one.key]["stderr"]) for one in BENCHMARKS]
        cells = [
            f"{100 * v:.1f} ± {100 * e:.1f}" for v, e in (*of, (result["h6"], result["h6_stderr"]))
        ]
        print(f"| {' | '.join([model, *cells])} |")


def _results(folder: Path) -> dict[str, dict[str, Any]]:
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
