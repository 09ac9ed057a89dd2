"""What a chain takes from the Hub, brought to this machine: `solar run CHAIN --download-only`.

Each tool loads what its stages name as it will again without network (HF_HUB_OFFLINE=1): models,
data sets and the items of benchmarks are then in the Hub's caches (HF_HOME). A stream is in no
cache; as many of its first rows as the training can read are written to a file.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from solar_plugins import atomic
from solar_plugins.chain.chain_file import BASE_MODEL, Chain
from solar_plugins.chain.missing_inputs import is_local
from solar_plugins.chain.resolve import resolve
from solar_plugins.errors import SolarError
from solar_plugins.models import base_files
from solar_plugins.recipes import global_batch, named_data
from solar_plugins.report.provenance import taken_by
from solar_plugins.sharing.fetch import hub_errors

LETTERS_PER_TOKEN = 6  # more than English has, so that the file is long enough


def of_chain(chain: Chain, folder: Path) -> dict[tuple[str, str], Callable[[], object]]:
    """What to bring, ``model``, ``data``, ``stream`` or ``tasks`` and its name, and how.

    Args:
        folder: Where the rows of streams go, see `file_of_stream`.
    """
    found: dict[tuple[str, str], Callable[[], object]] = {}
    for stage in chain.order():
        recipe = resolve(chain, stage)
        base = chain.base_model if BASE_MODEL in stage.from_ else None
        for kind, name, revision in taken_by(stage.kind, recipe, base):
            if kind == "model" and not is_local(name):
                revision = revision or chain.revisions.get(name)
                pinned = f"{name}@{revision}" if revision else name
                found["model", pinned] = partial(base_files.find_base, pinned)
        for place, entry in named_data.places_of(recipe) if stage.kind == "train" else ():
            name = str(entry["path"])
            if is_local(name) or "/" not in name:  # json, with its own data_files
                continue
            if place.startswith("pretraining"):
                file = file_of_stream(folder, name)
                found["stream", name] = partial(_first_rows, entry, recipe, file)
            else:
                part = (name, entry.get("name"), entry.get("split"))
                found["data", " ".join(filter(None, part))] = partial(_rows, entry)
        if stage.kind == "evaluate":
            found["tasks", stage.name] = partial(_items, recipe, chain.base_model)
    return found


def file_of_stream(folder: Path, name: str) -> Path:
    """Where the rows of the stream `name` are written."""
    return folder / f"{name.replace('/', '--')}.jsonl"


def _rows(entry: dict[str, Any]) -> None:
    from axolotl.utils.dict import DictDefault

    from solar_plugins.seams import axolotl as seam

    with hub_errors(str(entry["path"])):
        try:
            seam.load_rows(DictDefault(entry))
        except ValueError as error:  # Axolotl: not on the Hub, not in a cloud, not here
            raise SolarError(f"{entry['path']}: {' '.join(str(error).split())}") from None


def _first_rows(entry: dict[str, Any], recipe: dict[str, Any], file: Path) -> None:
    """Write the rows of a stream until there are enough documents, and enough letters."""
    if file.is_file():
        return
    from datasets import load_dataset

    sequences = int(recipe["max_steps"]) * global_batch.of(recipe, 1)
    letters = sequences * int(recipe.get("sequence_len") or 512) * LETTERS_PER_TOKEN
    column, count = str(entry.get("text_column") or "text"), 0
    options = {key: entry[key] for key in ("name", "split", "revision") if entry.get(key)}
    with hub_errors(str(entry["path"])), atomic.new_file(file) as out:
        for row in load_dataset(entry["path"], streaming=True, **options):
            out.write(f"{json.dumps({column: row[column]}, ensure_ascii=False)}\n".encode())
            letters -= len(row[column])
            count += 1
            if letters <= 0 and count >= sequences:
                break


def _items(recipe: dict[str, Any], base_model: str) -> None:
    from solar_plugins.evaluation import harness

    with tempfile.TemporaryDirectory(prefix="solar-tasks-") as folder:
        file = Path(folder) / "tasks.yml"
        file.write_text(yaml.safe_dump(recipe), encoding="utf-8")
        config = harness.read_config(file, base_model)
        manager = harness.task_manager(config, file)
        for _, entry in harness.single_tasks(config.tasks, manager):
            harness.load_tasks(entry, config, manager)
