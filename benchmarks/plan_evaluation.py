"""Items of H6's six tasks and the tokens of their prompts, for `solar plan`'s hours of evaluation.

    .venv/bin/python benchmarks/real/model.py outputs/smollm2-135m-instruct
    .venv/bin/python benchmarks/plan_evaluation.py outputs/smollm2-135m-instruct h6

`h6` holds arc_challenge, hellaswag, mmlu, truthfulqa_mc, winogrande and gsm8k with their public
columns, as for `make real`. Prompts are written as lm-eval 0.4.11's tasks write them, with the
leaderboard's number of examples, drawn at random (of HellaSwag and WinoGrande from the validation
split, whose items are as long as those of train); MMLU's and TruthfulQA's are fixed. The first 200
items of each task are tokenised, of MMLU three of each subject, weighted by the subject's size in
`mmlu/subject_sizes.json`. A pass is a prompt with one of its answers; the letters of MMLU are one
pass, since lm-eval groups answers of a token. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any

from environment import environment
from tokenizers import Tokenizer

SEED = 0
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a folder with tokenizer.json")
    parser.add_argument("h6", type=Path, help="the folder with the items")
    parser.add_argument("--items", type=int, default=200, help="of each task")
    asked = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(asked.model / "tokenizer.json"))

    def read(name: str) -> list[Row]:
        with (asked.h6 / f"{name}.jsonl").open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    tasks = {}
    for write in (arc_challenge, hellaswag, truthfulqa_mc2, winogrande, gsm8k):
        passes = [list(each) for each in write(read, random.Random(SEED), asked.items)]
        tasks[write.__name__] = {
            "passes": round(fmean(map(len, passes)), 2),
            "tokens": round(fmean(_lengths(tokenizer, [text for each in passes for text in each]))),
        }
    sizes = json.loads((asked.h6 / "mmlu" / "subject_sizes.json").read_text(encoding="utf-8"))
    means = {s: fmean(_lengths(tokenizer, mmlu(read, s, asked.items))) for s in sizes}
    tokens = sum(size * means[subject] for subject, size in sizes.items()) / sum(sizes.values())
    tasks["mmlu"] = {"passes": 1.0, "tokens": round(tokens)}
    print(
        json.dumps({"environment": environment(), "items": asked.items, "tasks": tasks}, indent=2)
    )


def _lengths(tokenizer: Tokenizer, texts: Iterable[str]) -> list[int]:
    """Tokens that are read of each text: the last one is not."""
    return [len(one.ids) - 1 for one in tokenizer.encode_batch(list(texts))]


Read = Callable[[str], list[Row]]


def arc_challenge(read: Read, rng: random.Random, items: int) -> Iterator[Iterable[str]]:
    train = read("arc_challenge/train")

    def asked(row: Row, answer: str = "") -> str:
        return f"Question: {row['question']}\nAnswer:{answer}"

    def answered(row: Row) -> str:
        texts = row["choices"]["text"]
        return asked(row, f" {texts[row['choices']['label'].index(row['answerKey'])]}")

    for row in read("arc_challenge/test")[:items]:
        prompt = "\n\n".join([*map(answered, rng.sample(train, 25)), asked(row)])
        yield (f"{prompt} {text}" for text in row["choices"]["text"])


def hellaswag(read: Read, rng: random.Random, items: int) -> Iterator[Iterable[str]]:
    rows = read("hellaswag/validation")

    def clean(text: str) -> str:
        return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")

    def asked(row: Row) -> str:
        return clean(f"{row['activity_label']}: {row['ctx']}")

    def answered(row: Row) -> str:
        return f"{asked(row)} {clean(row['endings'][int(row['label'])])}"

    for row in rows[:items]:
        prompt = "\n\n".join([*map(answered, rng.sample(rows, 10)), asked(row)])
        yield (f"{prompt} {clean(ending)}" for ending in row["endings"])


def mmlu(read: Read, subject: str, items: int) -> Iterator[str]:
    def asked(row: Row, answer: str = "") -> str:
        choices = "".join(f"{a}. {b}\n" for a, b in zip("ABCD", row["choices"], strict=True))
        return f"{row['question'].strip()}\n{choices}Answer:{answer}"

    of_it = [row for row in read("mmlu/dev") if row["subject"] == subject]
    examples = [asked(row, f" {'ABCD'[int(row['answer'])]}") for row in of_it]
    head = "The following are multiple choice questions (with answers) about "
    head += f"{subject.replace('_', ' ')}.\n\n"
    rows = [row for row in read("mmlu/test") if row["subject"] == subject]
    for row in rows[: max(1, items // 57)]:
        yield head + "\n\n".join([*examples, f"{asked(row)} A"])


def truthfulqa_mc2(read: Read, _: random.Random, items: int) -> Iterator[Iterable[str]]:
    spec = find_spec("lm_eval")
    assert spec is not None
    file = Path(str(spec.origin)).parent / "tasks/truthfulqa/truthfulqa_mc1.yaml"
    (examples,) = re.findall(r"prompt_qa = '(.*?)'%}", file.read_text(encoding="utf-8"), re.S)
    examples = examples.replace("\\n", "\n")
    for row in read("truthfulqa_mc/validation")[:items]:
        prompt = f"{examples}\n\nQ: {row['question']}\nA:"
        yield (f"{prompt} {text}" for text in row["mc2_targets"]["choices"])


def winogrande(read: Read, rng: random.Random, items: int) -> Iterator[Iterable[str]]:
    rows = read("winogrande/validation")

    def whole(row: Row, option: str) -> str:
        return row["sentence"].replace("_", row[f"option{option}"])

    for row in rows[:items]:
        examples = [whole(each, each["answer"]) for each in rng.sample(rows, 5)]
        yield ("\n\n".join([*examples, whole(row, option)]) for option in "12")


def gsm8k(read: Read, rng: random.Random, items: int) -> Iterator[Iterable[str]]:
    train = read("gsm8k/train")
    for row in read("gsm8k/test")[:items]:
        shown = [f"Question: {e['question']}\nAnswer: {e['answer']}" for e in rng.sample(train, 5)]
        yield ["\n\n".join([*shown, f"Question: {row['question']}\nAnswer:"])]


if __name__ == "__main__":
    main()
