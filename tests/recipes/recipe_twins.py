"""Small stand-ins for the public datasets: the same columns, splits and folder layout.

Column names and types as on the Hugging Face Hub; contents are made up.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from solar_plugins.flan_filter.build_index import build

METAMATH_TYPES = [
    f"{source}_{kind}"
    for source in ("MATH", "GSM")
    for kind in ("AnsAug", "Rephrased", "SV", "FOBAR")
]


def alpaca_gpt4() -> list[dict]:
    return [
        {
            "instruction": f"Alpaca instruction {i}",
            "input": f"alpaca input {i}" if i % 2 else "",
            "output": f"alpaca {{output}} {i}",  # braces: data is no format string
        }
        for i in range(8)
    ]


def openorca() -> list[dict]:
    """Open-Orca/OpenOrca, what the filter leaves of it: no row has a task name."""
    return [
        {
            "id": f"flan.{i}",
            "system_prompt": f"Orca system {i}." if i % 3 else "",
            "question": f"Orca question {i}?",
            "response": f"orca response {i}",
        }
        for i in range(82)
    ]


GSM8K_QUESTION = (
    "Orca Anna bakes 12 pies and eats 3 of them. How many pies are left for the others?"
)


GSM8K_TEST_QUESTION = "Anna paints 9 doors a day and rests on 2 days of each week that she works."
FLAN_PROMPT = f"{GSM8K_QUESTION} Let us think."


def openorca_with_flan() -> list[dict]:
    """The same with one row of FLAN's `cot_gsm8k` in the middle."""
    rows = openorca()
    return [*rows[:40], {**rows[0], "id": "cot.7", "question": FLAN_PROMPT}, *rows[40:]]


def metamath() -> list[dict]:
    return [
        {
            "type": METAMATH_TYPES[i % 8],
            "query": f"{METAMATH_TYPES[i % 8]} query {i}",
            "original_question": f"original {i}",
            "response": f"metamath response {i} The answer is: {i}",
        }
        for i in range(48)
    ]


def metamath_with_test() -> list[dict]:
    """The same with one row of another type that shows a test item of GSM8K."""
    rows = metamath()
    prompt = f"{GSM8K_TEST_QUESTION} How many in all?"
    return [*rows[:10], {**rows[0], "query": prompt}, *rows[10:]]


def orca_dpo_pairs() -> list[dict]:
    """Intel/orca_dpo_pairs, what the filter leaves of it."""
    return [
        {
            "system": f"Pair system {i}." if i % 3 else "",
            "question": f"Pair question {i}?",
            "chosen": f"pair better {i}",
            "rejected": f"pair worse {i}",
        }
        for i in range(6)
    ]


def orca_dpo_pairs_with_flan() -> list[dict]:
    rows = orca_dpo_pairs()
    return [*rows[:3], {**rows[0], "question": FLAN_PROMPT}, *rows[3:]]


def ultrafeedback_with_flan() -> list[dict]:
    return ultrafeedback_cleaned(FLAN_PROMPT)


def ultrafeedback_cleaned(*more: str) -> list[dict]:
    """Both conversations hold the prompt; `messages` repeats the chosen one."""
    rows = []
    for i, prompt in enumerate([*(f"Ultra prompt {i}?" for i in range(6)), *more]):
        better = [
            {"content": prompt, "role": "user"},
            {"content": f"ultra better {i}", "role": "assistant"},
        ]
        worse = [better[0], {"content": f"ultra worse {i}", "role": "assistant"}]
        rows.append(
            {
                "source": "evol_instruct",
                "prompt": prompt,
                "prompt_id": f"{i:064x}",
                "chosen": better,
                "rejected": worse,
                "messages": better,
                "score_chosen": 8.0,
                "score_rejected": 5.5,
            }
        )
    return rows


def math_alignment() -> list[dict]:
    return [
        {"prompt": f"Math prompt {i}?", "chosen": f"math better {i}", "rejected": f"math worse {i}"}
        for i in range(6)
    ]


def fineweb_edu() -> list[dict]:
    return [
        {
            "text": f"Web document {i}. " * 20,
            "id": f"<urn:uuid:{i}>",
            "dump": "CC-MAIN-2024-10",
            "url": "https://example.org",
            "file_path": "s3://example",
            "language": "en",
            "language_score": 0.9,
            "token_count": 80,
            "score": 3.1,
            "int_score": 3,
        }
        for i in range(12)
    ]


TWINS = {
    "llm-wizard/alpaca-gpt4-data": (alpaca_gpt4, "train"),
    "Open-Orca/OpenOrca": (openorca_with_flan, "train"),
    "meta-math/MetaMathQA": (metamath_with_test, "train"),
    "Intel/orca_dpo_pairs": (orca_dpo_pairs_with_flan, "train"),
    "allenai/ultrafeedback_binarized_cleaned": (ultrafeedback_with_flan, "train_prefs"),
    "./outputs/solar-10.7b/synth_math/math_alignment.jsonl": (math_alignment, "train"),
    "HuggingFaceFW/fineweb-edu": (fineweb_edu, "train"),
}


def write_twins(folder: Path) -> dict[str, str]:
    """Write all twins; gives each dataset's name in the recipes -> its folder here."""
    places = {}
    for name, (rows, split) in TWINS.items():
        place = folder / Path(name).stem
        (place / "data").mkdir(parents=True)
        table = pa.Table.from_pylist(rows())
        parquet.write_table(table, place / "data" / f"{split}-00000-of-00001.parquet")
        places[name] = str(place)
    card = "---\nconfigs:\n- config_name: sample-10BT\n  data_files: data/*\n---\n"
    (folder / "fineweb-edu" / "README.md").write_text(card, encoding="utf-8")
    places["./outputs/solar-10.7b/flan_index/flan.index"] = str(_write_index(folder))
    return places


def _write_index(folder: Path) -> Path:
    """What `solar flan-index` builds, from an item of GSM8K's training and one of its test."""
    target = folder / "flan.index"
    place = folder / "benchmarks" / "gsm8k"
    place.mkdir(parents=True)
    for split, question in (("train", GSM8K_QUESTION), ("test", GSM8K_TEST_QUESTION)):
        item = {"question": question, "answer": "12-3=<<12-3=9>>9\n#### 9"}
        (place / f"{split}.jsonl").write_text(json.dumps(item) + "\n", encoding="utf-8")
    build([str(place.parent)], target, folder / "parts", lambda name, rows: None)
    return target
