"""The paper's Table 9: has a model seen the benchmarks' test items?

For each of 100 items, the reference model continues the item's first words 100 times. If the target
model finds hardly any of these neighbours likelier than the item itself (fewer than one in ten:
"result < 0.1"), the item looks memorised. The share of such items is the test's result; from 0.9 on
the benchmark was probably trained on (Table 9's caption).

Items are those of the published test, swj0419/detect-pretrain-code-contamination at commit 616114e
(`src/eval.py`): a question and its right answer. It has no GSM8K; ours: the answer is the whole
worked solution. All neighbours are written before any is read, so that one model at a time is in
memory, and each item is kept as soon as it is done.
"""

from __future__ import annotations

import hashlib
import math
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from solar_plugins import atomic
from solar_plugins.errors import SolarError, nearest
from solar_plugins.evaluation import neighbours
from solar_plugins.evaluation.benchmarks import CONTAMINABLE, Benchmark
from solar_plugins.evaluation.neighbours import LoadedModel
from solar_plugins.evaluation.paper import CONTAMINATION_THRESHOLD
from solar_plugins.evaluation.result_file import ItemLog, check_model, name_of, settings_digest
from solar_plugins.recipes.data_recipe import ContaminationRecipe
from solar_plugins.recipes.rows import Source

MEMORISED_BELOW = 0.1
PREFIX_SHARE = 0.4


@dataclass(frozen=True)
class ContaminationSettings:
    """How the test is made, see `solar contamination --help`; the published test's defaults."""

    items: int = 100
    neighbours: int = 100
    seed: int = 0
    batch_size: int = 32
    dtype: str = "float32"
    device: str = "cpu"


def measure_contamination(
    model: Path | str,
    reference: Path | str,
    out_json: Path,
    benchmarks: Sequence[str] = tuple(CONTAMINABLE),
    places: Mapping[str, str] | None = None,
    settings: ContaminationSettings = ContaminationSettings(),
    advance: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> dict:
    """Test `model` and write the result to `out_json`.

    Args:
        out_json: next to it `<name>.neighbours.jsonl` keeps what the reference wrote, for other
            models with the same reference and settings, and `<name>.partial.jsonl` exists while
            items are missing.
        benchmarks: keys of `benchmarks.CONTAMINABLE`.
        places: key -> file or folder with that benchmark's items, where not from the Hub.
        advance: called with the name of the phase, the number of items done, and of all items.

    Returns:
        The content of `out_json`. `not_run` has the cause of each benchmark that could not be read.

    Raises:
        SolarError: a model or a benchmark's name is wrong, or no benchmark could be read.
    """
    check_model(model)
    check_model(reference)
    places = places or {}
    chosen = {key: benchmark(key) for key in (*benchmarks, *places)}
    items: dict[str, str] = {}
    names: dict[str, list[str]] = {}
    sources, not_run = {}, {}
    for key in benchmarks:
        try:
            texts, sources[key] = read_texts(chosen[key], places.get(key), settings.items)
        except SolarError as error:
            not_run[key] = str(error)
            continue
        # An item's name in the logs does not change with the other items or benchmarks.
        names[key] = [f"{key}/{hashlib.sha256(t.encode()).hexdigest()[:16]}" for t in texts]
        items |= zip(names[key], texts, strict=True)
    if not names:
        raise SolarError(" ".join(not_run.values()))
    of_each = {name: value for name, value in asdict(settings).items() if name != "items"}
    by_reference = {"reference": str(reference), "settings": of_each}
    written_key = settings_digest(by_reference, ours={out_json})
    written = ItemLog(out_json.with_name(f"{out_json.stem}.neighbours.jsonl"), written_key)
    by_target = {"model": str(model), "neighbours": written_key}
    partial_file = out_json.with_name(f"{out_json.stem}.partial.jsonl")
    read = ItemLog(partial_file, settings_digest(by_target, ours={out_json}))

    def write_item(loaded: LoadedModel, item: str) -> list[str]:
        sizes = settings.neighbours, settings.batch_size
        # A seed of its own for each item, so that none depends on which were done before it.
        seed = hashlib.sha256(f"{settings.seed}:{item}".encode()).digest()[:4]
        start, new_tokens = prefix(items[item])
        return neighbours.sample_neighbours(
            loaded, start, new_tokens, *sizes, int.from_bytes(seed, "big")
        )

    def read_item(loaded: LoadedModel, item: str) -> float:
        found = written.items[item]
        return neighbours.share_below(loaded, items[item], found, settings.batch_size)

    for place, log, what, do in (
        (reference, written, "neighbours written", write_item),
        (model, read, "items tested", read_item),
    ):
        missing = [item for item in items if item not in log.items]
        if not missing:
            continue
        loaded = neighbours.load(str(place), settings.dtype, settings.device)
        for number, item in enumerate(missing, start=len(items) - len(missing) + 1):
            log.add(item, do(loaded, item))
            advance(what, number, len(items))
        del loaded  # before the next one is loaded

    found = {key: summary([read.items[name] for name in ours]) for key, ours in names.items()}
    result = {
        "model": name_of(model),
        "model_path": str(model),
        "reference": str(reference),
        "threshold": CONTAMINATION_THRESHOLD,
        "benchmarks": {key: {**one, "source": sources[key]} for key, one in found.items()},
        "not_run": not_run,
        "settings": asdict(settings),
        "sampling": neighbours.SAMPLING,
        "harness": {name: version(name) for name in ("transformers", "torch")},
    }
    atomic.write_json(out_json, result)
    partial_file.unlink(missing_ok=True)
    return result


def of_recipe(recipe: ContaminationRecipe, out_json: Path, parts: Path) -> dict[str, float]:
    """The test as a stage of a chain; returns the share of each benchmark.

    Args:
        parts: a folder that keeps the items of an attempt that was stopped; removed at the end.

    Raises:
        SolarError: a benchmark could not be read, or as `measure_contamination`.
    """
    parts.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    settings = ContaminationSettings(recipe.items, recipe.neighbours, recipe.seed, device=device)
    models, places = (recipe.model, recipe.reference), recipe.benchmarks
    result = measure_contamination(*models, parts / out_json.name, tuple(places), places, settings)
    if result["not_run"]:
        raise SolarError(" ".join(result["not_run"].values()))
    atomic.write_json(out_json, result)
    shutil.rmtree(parts)
    return {key: one["share_below_0_1"] for key, one in result["benchmarks"].items()}


def contaminated(result: Mapping) -> list[str]:
    """The benchmarks of a result whose share is at the threshold or above."""
    found = result["benchmarks"].items()
    return [key for key, entry in found if entry["share_below_0_1"] >= result["threshold"]]


def summary(shares: list[float]) -> dict:
    """One benchmark's result from the shares of its items, with the standard error of a share."""
    n = len(shares)
    share = sum(one < MEMORISED_BELOW for one in shares) / n
    stderr = math.sqrt(share * (1 - share) / n)
    return {"share_below_0_1": share, "stderr": stderr, "n": n, "items": shares}


def benchmark(key: str) -> Benchmark:
    """
    Raises:
        SolarError: the contamination test does not support that benchmark.
    """
    if key not in CONTAMINABLE:
        raise SolarError(
            f"{key}: the contamination test knows {', '.join(CONTAMINABLE)}."
            f"{nearest(key, CONTAMINABLE)}"
        )
    return CONTAMINABLE[key]


def item_text(key: str, row: dict) -> str | None:
    """Question, a blank and the right answer of one row of the benchmark `key`.

    None where the published test leaves the row out. The miniature's rows differ from the public
    ones: ARC's choices are a list as MMLU's, and TruthfulQA has `mc2_targets` with one true answer.
    """
    if key == "gsm8k":
        return f"{row['question']} {row['answer']}"
    if key == "truthfulqa":
        targets = row.get("mc1_targets") or row["mc2_targets"]
        choices, answer = targets["choices"], list(targets["labels"]).index(1)
    elif key == "arc" and not isinstance(row["choices"], list):
        if row["answerKey"] not in ("A", "B", "C", "D"):  # some rows count 1 to 4, or have an E
            return None
        choices, answer = row["choices"]["text"], "ABCD".index(row["answerKey"])
    else:
        choices, answer = row["choices"], row["answer"]
    return f"{row['question']} {choices[answer]}"


def read_texts(chosen: Benchmark, place: str | None, count: int) -> tuple[list[str], dict]:
    """The first `count` items after the published test's own shuffle, and facts of their source.

    Args:
        place: file, folder or id with the benchmark's own columns; None for the Hub's.

    Raises:
        SolarError: the benchmark cannot be read.
    """
    assert chosen.items is not None
    name, config, split = chosen.items
    if place is not None and Path(place, "test.jsonl").is_file():  # the miniature's layout
        split = "test"
    source = Source(place or name, split, config)
    texts = []
    for row in source:
        try:
            text = item_text(chosen.key, row)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise SolarError(
                f"{source.name}: row {source.count} is not an item of {chosen.title} "
                f"({type(error).__name__}: {error}). Its columns are {', '.join(row)}"
            ) from error
        if text is not None and len(text.split()) > 1:  # one word leaves nothing to continue
            texts.append(text)
    if not texts:
        raise SolarError(f"{source.name}: no item of {chosen.title} found. Give another file")
    random.Random(0).shuffle(texts)
    return texts[:count], source.facts()


def prefix(text: str) -> tuple[str, int]:
    """The first 40 % of the words, rounded up, and as many new tokens as words are left.

    >>> prefix("what eats the cat ? a dog")
    ('what eats the', 4)
    """
    words = text.split()
    length = math.ceil(len(words) * PREFIX_SHARE)
    return " ".join(words[:length]), len(words) - length
