"""How many rows the filter finds, how many it must not find, and what no text match can find.

    .venv/bin/python benchmarks/flan_filter/recall.py

GSM8K and the six tasks that must stay are FLAN's own files (shared/data/flan_cot); the other four
benchmarks are of public shape and invented (`tests/flan_filter/benchmark_twins.py`), in full
number. All are rendered in the forms of FLAN's templates (`flan_renderings.py`), each form once, so
that the ceiling is that of these forms; FLAN's own, by the number of its templates, is given beside
it. Writes JSON and prints a table.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "flan_filter"))
sys.path.insert(0, str(ROOT / "benchmarks"))

import benchmark_twins  # noqa: E402
import flan_renderings  # noqa: E402
from environment import environment  # noqa: E402
from find_in import MUST_STAY, cot_file, index_of, removed  # noqa: E402

from solar_plugins.flan_filter.benchmarks import BENCHMARKS  # noqa: E402
from solar_plugins.flan_filter.matcher import Matcher  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=4_000, help="items rendered per split")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()

    gsm8k = cot_file("gsm8k")
    items = benchmark_twins.items()
    items["gsm8k"] = [
        {"question": row["q"], "answer": f"{row['r']}\n#### {row['a']}"} for row in gsm8k
    ]
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        index = index_of(benchmark_twins.write(Path(folder) / "benchmarks", items))
    matcher = Matcher(index)

    recall: dict[str, dict] = {}
    for place, rows in items.items():
        some = rows if place == "gsm8k" else rng.sample(rows, min(len(rows), arguments.items))
        rendered = [one for row in some for one in flan_renderings.render(place, row, rng)]
        gone = removed(matcher, [one.prompt for one in rendered])
        counts: dict[str, Counter] = {}
        for number, one in enumerate(rendered):
            count = counts.setdefault(one.task, Counter())
            count["rows"] += 1
            count["show a text"] += one.shows
            count["removed"] += number in gone
            count["removed of those"] += one.shows and number in gone
        for task, count in counts.items():
            recall[task] = {
                **count,
                "recall_where_shown": count["removed of those"] / count["show a text"],
                "recall_of_all": count["removed"] / count["rows"],
                "ceiling_of_these_forms": count["show a text"] / count["rows"],
            }

    for benchmark in BENCHMARKS:
        for task, (some, all_) in benchmark.templates.items():
            if task in recall:
                recall[task]["ceiling_of_flans_templates"] = some / all_

    forms = [
        *flan_renderings.COT,
        *flan_renderings.INVERTED_QUESTION,
        *flan_renderings.INVERTED_REASONING,
        *flan_renderings.INVERTED_ANSWER,
    ]
    stay = {}
    for task in MUST_STAY:
        prompts = [form.format(**row) for row in cot_file(task) for form in forms]
        stay[task] = {"prompts": len(prompts), "removed": len(removed(matcher, prompts))}
    wrong = sum(one["removed"] for one in stay.values())
    result = {
        "recall": recall,
        "must_stay": stay,
        "false_removals_per_10000": 1e4 * wrong / sum(one["prompts"] for one in stay.values()),
        **environment(),
    }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print("| task | rows | show a text | removed of those | of all | ceiling | FLAN's ceiling |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for task, one in recall.items():
        print(
            f"| `{task}` | {one['rows']:,} | {one['show a text']:,} | "
            f"{one['recall_where_shown']:.2%} | {one['recall_of_all']:.2%} | "
            f"{one['ceiling_of_these_forms']:.2%} | {one['ceiling_of_flans_templates']:.0%} |"
        )
    for task, one in stay.items():
        print(f"| {task} (must stay) | {one['prompts']:,} | | {one['removed']:,} | |")


if __name__ == "__main__":
    main()
