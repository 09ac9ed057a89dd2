"""Rows of a folder of real data for chain.yml: `python data.py DATA FOLDER`.

Which rows are trained on and which are held out is drawn with one seed. The public columns stay;
where a file has others, they are written as the data set that it stands for has them.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from solar_plugins import atomic
from solar_plugins.recipes import rows

SEED = 2312
HELD_OUT = {"answers": 40, "pairs": 24}
LETTERS = {"article": 600, "pair": 1_500}  # of a pair: prompt and longer answer
ITEMS = {"arc_challenge": 50, "hellaswag": 50, "truthfulqa_mc": 25, "winogrande": 100, "gsm8k": 10}
NO_TRAIN_SPLIT, EXAMPLES = ("hellaswag", "winogrande"), 10
ITEMS_OF_A_SUBJECT = 2  # of MMLU's 57

Row = dict[str, Any]


def main(source: Path, folder: Path) -> None:
    """Write all files of chain.yml's `data` to `folder`."""
    rng = random.Random(SEED)
    write(folder / "pretrain.jsonl", drawn(rng, read(source / "text/c4_demo.jsonl")))
    articles = read(source / "text/wikitext2_test.jsonl")
    write(
        folder / "held_out_text.jsonl",
        ({"text": row["text"][: LETTERS["article"]]} for row in articles),
    )

    answers = drawn(rng, read(source / "sft/alpaca_en_demo.jsonl"))
    held_out = HELD_OUT["answers"]
    write(folder / "held_out_answers.jsonl", answers[:held_out])
    write(folder / "instructions.jsonl", answers[held_out:])

    pairs = drawn(rng, list(_pairs(read(source / "preference/dpo_en_demo.jsonl"))))
    held_out = HELD_OUT["pairs"]
    half = (held_out + len(pairs)) // 2
    write(folder / "held_out_pairs.jsonl", pairs[:held_out])
    write(folder / "pairs_1.jsonl", pairs[held_out:half])
    write(folder / "pairs_2.jsonl", map(_as_messages, pairs[half:]))

    for name, items in ITEMS.items():
        for file in sorted((source / "h6" / name).glob("*.jsonl")):
            found = [as_on_the_hub(row) for row in drawn(rng, read(file))]
            write(folder / "h6" / name / file.name, found[:items])
            if name in NO_TRAIN_SPLIT:  # which lm-eval opens for examples, also where it shows none
                write(folder / "h6" / name / "train.jsonl", found[items : items + EXAMPLES])
    for file in (source / "h6/mmlu").glob("*.jsonl"):
        by_subject: dict[str, list[Row]] = {}
        for row in read(file):
            by_subject.setdefault(row["subject"], []).append(row)
        found = [row for subject in by_subject.values() for row in subject[:ITEMS_OF_A_SUBJECT]]
        write(folder / "h6/mmlu" / file.name, found)


def _pairs(given: Iterable[Row]) -> Iterator[Row]:
    """The pairs of one turn, short enough, in the columns of Intel/orca_dpo_pairs."""
    for row in given:
        turns = {turn["from"]: turn["value"] for turn in row["conversations"]}
        is_one_turn = len(turns) == len(row["conversations"]) and set(turns) <= {"system", "human"}
        chosen, rejected = row["chosen"]["value"], row["rejected"]["value"]
        letters = sum(map(len, turns.values())) + max(len(chosen), len(rejected))
        if is_one_turn and chosen and rejected and letters <= LETTERS["pair"]:
            prompt = {"system": turns.get("system", ""), "question": turns["human"]}
            yield {**prompt, "chosen": chosen, "rejected": rejected}


def _as_messages(pair: Row) -> Row:
    """A pair in the columns of allenai/ultrafeedback_binarized_cleaned."""
    before = [{"role": "system", "content": pair["system"]}] * bool(pair["system"])
    before.append({"role": "user", "content": pair["question"]})
    answers = {
        name: [*before, {"role": "assistant", "content": pair[name]}]
        for name in ("chosen", "rejected")
    }
    return {"prompt": pair["question"], **answers}


def as_on_the_hub(item: Row) -> Row:
    """An item with the two parts of HellaSwag's context, which the folder has as one."""
    return {**item, "ctx_a": item["ctx"], "ctx_b": ""} if "ctx" in item else item


def drawn(rng: random.Random, all_rows: Sequence[Row]) -> list[Row]:
    return rng.sample(all_rows, len(all_rows))


def read(file: Path) -> list[Row]:
    return list(rows.read(file))


def write(file: Path, content: Iterable[Row]) -> None:
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in content)
    if not file.is_file() or file.read_text(encoding="utf-8") != text:  # an evaluation goes on
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(file, text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
