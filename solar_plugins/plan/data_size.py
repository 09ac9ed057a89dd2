"""How many rows and tokens a recipe's datasets have: counted where they are here, else known."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from solar_plugins.flan_filter import args as flan_filter_args
from solar_plugins.flan_filter import task_names
from solar_plugins.recipes import data_recipe as recipes

_SAMPLE = 2000
"""Rows of a local file that are tokenised for its mean length."""

_LETTERS_PER_TOKEN = 4.0
"""English text under a vocabulary of 32,000; used where no tokenizer is at hand."""


@dataclass(frozen=True)
class PublicData:
    """A dataset of the Hub.

    Attributes:
        rows: Of the split that the recipes use.
        tokens_per_row: Prompt and answer; for preference data prompt and answer twice.
        filtered_rows: What our filter leaves of it with the tasks that the recipes name.
        source: Where `rows` comes from. `tokens_per_row` is an assumption of ours for all of them.
    """

    rows: int
    tokens_per_row: int
    source: str
    filtered_rows: int | None = None


# Rows: SOLAR paper, Table 1 ("Total # Samples": Alpaca-GPT4 52K, OpenOrca 2.91M, Orca DPO pairs
# 12.9K, Ultrafeedback Cleaned 60.8K) and the data's own counts on the Hub where they are exact.
PUBLIC = {
    "vicgalle/alpaca-gpt4": PublicData(52_002, 200, "Table 1: 52K"),
    "c-s-ale/alpaca-gpt4-data": PublicData(52_002, 200, "Table 1: 52K"),
    "Open-Orca/OpenOrca": PublicData(4_233_923, 450, "the Hub; Table 1: 2.91M", 4_121_000),
    "ChuGyouk/OpenOrca_Solar_filtered": PublicData(4_121_000, 450, "OpenOrca less about 113K"),
    "Open-Orca/SlimOrca": PublicData(517_982, 450, "the Hub"),
    "Intel/orca_dpo_pairs": PublicData(12_859, 900, "the Hub; Table 1: 12.9K"),
    "allenai/ultrafeedback_binarized_cleaned": PublicData(60_829, 1000, "train_prefs; 60.8K"),
    # 75K + 50K + 15K + 15K rows made from MATH; the 240K made from GSM8K are filtered out.
    "meta-math/MetaMathQA": PublicData(395_000, 250, "the Hub: 395K", 155_000),
}

_MATH_SETS = {"math_instruct.jsonl": 250, "math_alignment.jsonl": 700}
"""Tokens of a row of each file that `synth_math` makes, assumed as above."""


def to_come(recipe: Mapping[str, Any], folder: Path) -> dict[str, PublicData]:
    """What a `synth_math` stage will leave in `folder`, by path: as many rows as it asks for."""
    settings = recipes.read(dict(recipe))
    if not isinstance(settings, recipes.SynthMathRecipe):
        return {}
    rows = (settings.instruct_rows, settings.alignment_rows)
    return {
        str(folder / name): PublicData(count, tokens, "as its stage is asked to make")
        for (name, tokens), count in zip(_MATH_SETS.items(), rows, strict=True)
    }


@dataclass(frozen=True)
class DataSize:
    """The rows of one or more datasets, or what is known of them.

    Attributes:
        rows: None where the data is neither here nor known.
        tokens_per_row: Mean; None likewise.
        notes: Where the numbers come from, one sentence each.
    """

    rows: int | None
    tokens_per_row: float | None
    notes: tuple[str, ...] = ()

    @property
    def tokens(self) -> float | None:
        """All tokens of one pass, or None."""
        if self.rows is None or self.tokens_per_row is None:
            return None
        return self.rows * self.tokens_per_row


Rebase = Callable[[str], str]
"""Where a path of the chain is to be found now (data stages are generated for the plan)."""


def of(
    entries: list[dict[str, Any]],
    rebase: Rebase,
    tokenizer: Path | None,
    is_preference: bool,
    flan_filter: Mapping[str, Any] | None = None,
    known: Mapping[str, PublicData] = PUBLIC,
) -> DataSize:
    """The size of the dataset entries of a recipe, together.

    Args:
        entries: As under Axolotl's `datasets:`.
        rebase: Where a path of the chain lies now.
        tokenizer: A tokenizer.json to count with, if there is one.
        is_preference: Whether each row is a prompt with two answers.
        flan_filter: The recipe's block. Rows that it finds by name are left out; of files here as
            many as of their first rows.
        known: What is known of datasets that are not here.
    """
    sizes = [
        _entry(entry, rebase, tokenizer, is_preference, flan_filter, known) for entry in entries
    ]
    notes = tuple(dict.fromkeys(note for size in sizes for note in size.notes))
    if any(size.rows is None or size.tokens is None for size in sizes) or not sizes:
        return DataSize(None, None, notes)
    rows = sum(size.rows or 0 for size in sizes)
    tokens = sum(size.tokens or 0 for size in sizes)
    return DataSize(rows, tokens / rows if rows else 0.0, notes)


def _entry(
    entry: dict[str, Any],
    rebase: Rebase,
    tokenizer: Path | None,
    is_preference: bool,
    flan_filter: Mapping[str, Any] | None,
    known_sizes: Mapping[str, PublicData],
) -> DataSize:
    path = str(entry.get("path"))
    known = known_sizes.get(path) or known_sizes.get(os.path.normpath(path))
    data_files = entry.get("data_files")
    listed = data_files if isinstance(data_files, list) else [data_files] if data_files else [path]
    here = [Path(rebase(str(name))) for name in listed]
    is_filtered = flan_filter is not None and path in flan_filter["datasets"]
    if all(file.is_file() for file in here):
        rows, found = _read(here)
        kept = _kept(found, path, flan_filter) if is_filtered else found
        around = _around(entry.get("type"))
        size = _measured(
            round(rows * len(kept) / len(found)) if found else rows,
            [_text(row, is_preference, around) for row in kept],
            ", ".join(map(str, listed)),
            tokenizer,
            ends=2 if is_preference else 1,
        )
    elif known is not None:
        rows, kept = known.rows, ""
        if is_filtered and known.filtered_rows is not None:
            rows, kept = known.filtered_rows, f", {known.filtered_rows:,} after the filter"
        note = (
            f"{path}: {known.rows:,} rows ({known.source}){kept}, "
            f"{known.tokens_per_row} tokens each (assumed)"
        )
        size = DataSize(rows, known.tokens_per_row, (note,))
    else:
        return DataSize(None, None, (f"{path}: neither here nor known, its rows are not counted",))
    rows = _part(size.rows or 0, str(entry.get("split") or ""))
    if isinstance(entry.get("shards"), int) and entry["shards"] > 1:
        rows = math.ceil(rows / entry["shards"])
    return DataSize(rows, size.tokens_per_row, size.notes)


def _part(rows: int, split: str) -> int:
    """The rows of a split such as ``train[:100000]``, ``train[10%:]`` or ``train``."""
    inside = re.search(r"\[(-?\d*%?):(-?\d*%?)\]", split)
    if not inside:
        return rows

    def bound(text: str, default: int) -> int:
        if not text:
            return default
        number = round(rows * int(text[:-1]) / 100) if text.endswith("%") else int(text)
        return min(rows, max(0, number if number >= 0 else rows + number))

    return max(0, bound(inside[2], rows) - bound(inside[1], 0))


def _around(type_: Any) -> str:
    """What a user-defined prompt format writes around the fields of a row."""
    if not isinstance(type_, dict):
        return ""
    formats = [type_.get("prompt_format"), type_.get("no_input_format") or type_.get("format")]
    if type_.get("field_system"):
        formats.append(type_.get("system_format"))
    return " ".join(re.sub(r"\{\w+\}", " ", text) for text in formats if isinstance(text, str))


def _kept(rows: list[dict], path: str, flan_filter: Mapping[str, Any]) -> list[dict]:
    """The rows whose name of a task, where they have one, the filter lets pass."""
    block = flan_filter_args.parse(flan_filter)
    wanted = task_names.expand(block.tasks)
    given = block.task_column
    columns = (given.get(path) if isinstance(given, dict) else given, "_task_name", "task_name")

    def name(row: dict) -> str:
        return next((str(row[column]) for column in columns if row.get(column)), "")

    return [row for row in rows if task_names.normalised(name(row)) not in wanted]


def _read(files: list[Path]) -> tuple[int, list[dict]]:
    """How many rows `files` have, and the first of each."""
    rows, found = 0, []
    for file in files:
        if file.suffix == ".parquet":
            import pyarrow.parquet as parquet

            table = parquet.ParquetFile(file)
            rows += table.metadata.num_rows
            batch = next(table.iter_batches(batch_size=_SAMPLE), None)
            found += batch.to_pylist() if batch is not None else []
            continue
        with file.open(encoding="utf-8") as lines:
            written = (line for line in lines if line.strip())
            parsed = [_parse(line) for line in islice(written, _SAMPLE)]
            found += [row for row in parsed if row is not None]
            rows += len(parsed) + sum(1 for _ in written)
    return rows, found


def _measured(
    rows: int, sample: list[str], names: str, tokenizer: Path | None, ends: int
) -> DataSize:
    """The mean length of `sample`, with as many ends of a sequence as Axolotl adds to a row."""
    if not sample:
        return DataSize(rows, None, (f"{names}: no rows that could be read",))
    if tokenizer is not None and tokenizer.is_file():
        from tokenizers import Tokenizer

        encoded = Tokenizer.from_file(str(tokenizer)).encode_batch(sample)
        mean = sum(len(one.ids) for one in encoded) / len(encoded)
        how = "counted"
    else:
        mean = sum(map(len, sample)) / len(sample) / _LETTERS_PER_TOKEN
        how = f"{_LETTERS_PER_TOKEN:g} letters each"
    mean += ends
    return DataSize(rows, mean, (f"{names}: {rows:,} rows, {mean:.0f} tokens each ({how})",))


def _parse(line: str) -> dict | None:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None


def _text(row: dict, is_preference: bool, around: str) -> str:
    """All text of a row; the prompt of a preference pair is read with both answers."""
    answers = " ".join(_strings({k: v for k, v in row.items() if k in ("chosen", "rejected")}))
    rest = " ".join(_strings({k: v for k, v in row.items() if k not in ("chosen", "rejected")}))
    prompt = f"{around} {rest}"
    return f"{prompt} {prompt} {answers}" if is_preference else f"{prompt} {answers}"


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        # A name of a role, task or row is not text that a model reads.
        skip = ("role", "id", "_task_name", "task_name", "type")
        return [text for key, item in value.items() if key not in skip for text in _strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return []
