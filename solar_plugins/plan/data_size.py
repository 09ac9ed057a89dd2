"""How many rows and tokens a recipe's datasets have: counted in local files, else looked up."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import NormalDist, fmean
from typing import Any

from solar_plugins.flan_filter import args as flan_filter_args
from solar_plugins.flan_filter import task_names
from solar_plugins.models import chat_template
from solar_plugins.recipes import data_recipe as recipes
from solar_plugins.recipes.columns import CHAT
from solar_plugins.recipes.strings import strings

_SAMPLE = 2000
"""Rows of a local file that are tokenised for its mean length."""

_LETTERS_PER_TOKEN = 4.0
"""English text under a vocabulary of 32,000; used where there is no tokenizer."""

_ANSWERS = ("chosen", "rejected")
_NO_TEXT = ("role", "id", "_task_name", "task_name", "type")
"""Keys of names of roles, tasks and rows, which no model reads."""


@dataclass(frozen=True)
class PublicData:
    """A dataset that is not in a local file."""

    rows: int  # of the split that the recipes use
    tokens_per_row: int  # assumed; for preference data prompt and answer twice
    source: str  # of `rows`
    filtered_rows: int | None = None  # what our filter leaves with the tasks of the recipes
    spread: float = 1.6  # see `DataSize`; that of Alpaca-GPT4's rows


# Rows: SOLAR paper, Table 1 ("Total # Samples": Alpaca-GPT4 52K, OpenOrca 2.91M, Orca DPO pairs
# 12.9K, Ultrafeedback Cleaned 60.8K) and the data's own counts on the Hub where they are exact.
PUBLIC = {
    "vicgalle/alpaca-gpt4": PublicData(52_002, 200, "Table 1: 52K"),
    "llm-wizard/alpaca-gpt4-data": PublicData(52_002, 200, "Table 1: 52K"),
    "Open-Orca/OpenOrca": PublicData(4_233_923, 450, "the Hub; Table 1: 2.91M", 4_121_000),
    "ChuGyouk/OpenOrca_Solar_filtered": PublicData(4_121_000, 450, "OpenOrca less about 113K"),
    "Open-Orca/SlimOrca": PublicData(517_982, 450, "the Hub"),
    "Intel/orca_dpo_pairs": PublicData(12_859, 900, "the Hub; Table 1: 12.9K"),
    "allenai/ultrafeedback_binarized_cleaned": PublicData(60_829, 1000, "train_prefs; 60.8K"),
    # 75K + 50K + 15K + 15K rows made from MATH; the 240K made from GSM8K are filtered out.
    "meta-math/MetaMathQA": PublicData(395_000, 250, "the Hub: 395K", 155_000),
    # 10e9 tokens of GPT-2's vocabulary are 11 to 12e9 of one of 32,000; the spread is C4's.
    "HuggingFaceFW/fineweb-edu": PublicData(9_672_101, 1150, "sample-10BT on the Hub", spread=3.8),
}


def to_come(recipe: Mapping[str, Any], folder: Path) -> dict[str, PublicData]:
    """The files that a `synth_math` stage will leave in `folder`, by path; empty for others."""
    asked = recipes.read(dict(recipe))
    if not isinstance(asked, recipes.SynthMathRecipe):
        return {}
    rows = {
        "math_instruct": (asked.instruct_rows, 250),
        "math_alignment": (asked.alignment_rows, 700),
    }
    source = "as its stage is asked to make"
    return {str(folder / f"{name}.jsonl"): PublicData(*of, source) for name, of in rows.items()}


@dataclass(frozen=True)
class DataSize:
    """The size of one or more datasets; None where the data is neither local nor known."""

    rows: int | None
    tokens_per_row: float | None  # mean
    notes: tuple[str, ...] = ()  # where the numbers come from
    spread: float = 1.0  # mean of the squared lengths over the square of their mean

    @property
    def tokens(self) -> float | None:
        """All tokens of one pass, or None."""
        if self.rows is None or self.tokens_per_row is None:
            return None
        return self.rows * self.tokens_per_row

    def document(self, length: int) -> float:
        """Mean tokens of the document that a token is in, where documents are cut at `length`.

        Lengths are taken to be lognormal; a token is in a long document more often than in a short
        one.
        """
        mean, variance = self.tokens_per_row or length, math.log(max(self.spread, 1 + 1e-9))
        past = (math.log(length / mean) - variance / 2) / math.sqrt(variance)
        below = NormalDist().cdf
        whole = mean * self.spread * below(past - math.sqrt(variance))
        return whole + length * (1 - below(past))


@dataclass(frozen=True)
class DataReader:
    """How the datasets of a chain are measured.

    Attributes:
        tokenizer: A tokenizer.json to count with, if there is one.
        rebase: Maps a path of the chain to its present place (worlds are generated for the plan).
        known: Sizes of datasets that are not in local files.
    """

    tokenizer: Path | None = None
    rebase: Callable[[str], str] = str
    known: Mapping[str, PublicData] = field(default_factory=PUBLIC.copy)

    def size(self, recipe: Mapping[str, Any]) -> DataSize:
        """The size of all datasets of one training run, together.

        Rows that the recipe's FLAN filter finds by name are left out; in local files their share
        is that among the first rows.
        """
        entries = recipe.get("datasets") or recipe.get("pretraining_dataset") or []
        entries = [entries] if isinstance(entries, dict) else entries
        sizes = [self._entry(entry, recipe) for entry in entries]
        notes = tuple(dict.fromkeys(note for size in sizes for note in size.notes))
        if not sizes or any(size.tokens is None for size in sizes):
            return DataSize(None, None, notes)
        rows = sum(size.rows or 0 for size in sizes)
        tokens = sum(size.tokens or 0 for size in sizes)
        squares = sum((s.tokens or 0) * (s.tokens_per_row or 0) * s.spread for s in sizes)
        spread = squares * rows / tokens**2 if tokens else 1.0
        return DataSize(rows, tokens / rows if rows else 0.0, notes, spread)

    def _entry(self, entry: dict[str, Any], recipe: Mapping[str, Any]) -> DataSize:
        path = str(entry.get("path"))
        known = self.known.get(path) or self.known.get(os.path.normpath(path))
        named = entry.get("data_files") or path
        names = list(map(str, named if isinstance(named, list) else [named]))
        files = [Path(self.rebase(name)) for name in names]
        block = recipe.get("flan_filter")
        if block is not None and path not in block["datasets"]:
            block = None
        tokens: float | None
        spread = known.spread if known else 1.0
        if all(file.is_file() for file in files):
            rows, tokens, spread, note = self._local(files, entry, block, recipe)
            note = f"{', '.join(names)}: {note}"
        elif known is not None:
            rows, tokens, kept = known.rows, known.tokens_per_row, ""
            if block is not None:
                kept = ", before the filter"
            if block is not None and known.filtered_rows is not None:
                rows, kept = known.filtered_rows, f", {known.filtered_rows:,} after the filter"
            counted = f"{known.rows:,} rows ({known.source}){kept}"
            note = f"{path}: {counted}, {tokens} tokens each (assumed)"
        else:
            return DataSize(None, None, (f"{path}: neither local nor known, rows not counted",))
        rows = part_of_split(rows, str(entry.get("split") or ""))
        if isinstance(entry.get("shards"), int) and entry["shards"] > 1:
            rows = math.ceil(rows / entry["shards"])
        return DataSize(rows, tokens, (note,), spread)

    def _local(
        self,
        files: list[Path],
        entry: dict[str, Any],
        block: Mapping[str, Any] | None,
        recipe: Mapping[str, Any],
    ) -> tuple[int, float | None, float, str]:
        """Rows of `files`, mean and spread of their lengths with the ends of sequences that Axolotl
        adds, and how they were counted."""
        rows = 0
        found: list[dict] = []
        for file in files:
            count, first = _read(file)
            rows, found = rows + count, found + first
        kept = found if block is None else list(_unfiltered(found, str(entry["path"]), block))
        if found:
            rows = round(rows * len(kept) / len(found))
        if not kept:
            return rows, None, 1.0, "no rows that could be read"
        frame, is_preference = _prompt_frame(entry.get("type"), recipe), bool(recipe.get("rl"))
        texts = [_text(row, is_preference, frame) for row in kept]
        if self.tokenizer is not None and self.tokenizer.is_file():
            from tokenizers import Tokenizer

            encoded = Tokenizer.from_file(str(self.tokenizer)).encode_batch(texts)
            lengths, how = [float(len(one.ids)) for one in encoded], "counted"
        else:
            lengths = [len(text) / _LETTERS_PER_TOKEN for text in texts]
            how = f"{_LETTERS_PER_TOKEN:g} letters each"
        lengths = [tokens + (2 if is_preference else 1) for tokens in lengths]
        mean = fmean(lengths)
        spread = fmean(tokens**2 for tokens in lengths) / mean**2
        return rows, mean, spread, f"{rows:,} rows, {mean:.0f} tokens each ({how})"


def part_of_split(rows: int, split: str) -> int:
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


def _prompt_frame(type_: Any, recipe: Mapping[str, Any]) -> str:
    """What a user-defined format, or a chat template in a file, writes around a row's question."""
    if not isinstance(type_, dict):
        file = Path(str(recipe.get("chat_template_jinja")))
        if not str(type_).startswith(("chat_template", CHAT)) or not file.is_file():
            return ""
        asked = [{"role": "user", "content": " "}]
        with suppress(Exception):  # whatever a template raises, it is not counted here
            text = file.read_text(encoding="utf-8")
            return chat_template.render(text, asked, add_generation_prompt=True)
        return ""
    formats = [type_.get("prompt_format"), type_.get("no_input_format") or type_.get("format")]
    if type_.get("field_system"):
        formats.append(type_.get("system_format"))
    return " ".join(re.sub(r"\{\w+\}", " ", text) for text in formats if isinstance(text, str))


def _unfiltered(rows: list[dict], path: str, flan_filter: Mapping[str, Any]) -> Iterator[dict]:
    """The rows whose task name, where they have one, the filter does not remove."""
    block = flan_filter_args.parse(flan_filter)
    removed = task_names.expand(block.tasks)
    given = block.task_column
    columns = (given.get(path) if isinstance(given, dict) else given, "_task_name", "task_name")
    for row in rows:
        name = next((str(row[column]) for column in columns if row.get(column)), "")
        if task_names.normalised(name) not in removed:
            yield row


def _read(file: Path) -> tuple[int, list[dict]]:
    """How many rows `file` has, and the first of them."""
    if file.suffix == ".parquet":
        import pyarrow.parquet as parquet

        table = parquet.ParquetFile(file)
        batch = next(table.iter_batches(batch_size=_SAMPLE), None)
        return table.metadata.num_rows, batch.to_pylist() if batch is not None else []
    with file.open(encoding="utf-8") as lines:
        written = (line for line in lines if line.strip())
        first = list(islice(written, _SAMPLE))
        count = len(first) + sum(1 for _ in written)
    rows = []
    for line in first:
        with suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return count, [row for row in rows if isinstance(row, dict)]


def _text(row: dict, is_preference: bool, frame: str) -> str:
    """All text of a row; the prompt of a preference pair is read with both answers."""
    answers = " ".join(strings({k: v for k, v in row.items() if k in _ANSWERS}, _NO_TEXT))
    prompt = f"{frame} {' '.join(strings(row, {*_ANSWERS, *_NO_TEXT}))}"
    return f"{prompt} {prompt} {answers}" if is_preference else f"{prompt} {answers}"
