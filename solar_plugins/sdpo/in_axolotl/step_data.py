"""The settings and the preference data of a step, by Axolotl; faults are named by YAML path."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

from axolotl.common.const import DEFAULT_DATASET_PREPARED_PATH
from axolotl.common.datasets import TrainDatasetMeta, load_preference_datasets
from axolotl.utils.dict import DictDefault
from axolotl.utils.schemas.config import AxolotlInputConfig
from axolotl.utils.schemas.enums import CustomSupportedOptimizers
from pydantic import TypeAdapter, ValidationError
from transformers import SchedulerType
from transformers.training_args import OptimizerNames

from solar_plugins import chat
from solar_plugins.errors import SolarError, nearest
from solar_plugins.recipes.columns import CHAT
from solar_plugins.sdpo.args import Step
from solar_plugins.sdpo.preference_rows import Empty, refuse_joined, render_pair, texts_of
from solar_plugins.seams import axolotl as seam
from solar_plugins.seams.trl import starts

_NAMES = {
    "lr_scheduler": [*(kind.value for kind in SchedulerType), "one_cycle", "rex"],
    "optimizer": [kind.value for kind in (*OptimizerNames, *CustomSupportedOptimizers)],
}
"""Axolotl's schema takes any text for these, and the step would fail when its time comes."""


def typed_settings(step: Step) -> dict[str, Any]:
    """A step's settings as Axolotl's schema types them.

    Raises:
        SolarError: a value that the schema refuses.
    """
    values = {}
    for key, value in step.settings.items():
        if value not in _NAMES.get(key, [value]):
            raise SolarError(
                f"{step.where}.{key}: no {key} is called {value!r}."
                f"{nearest(str(value), _NAMES[key]) or ' Known: ' + ', '.join(_NAMES[key]) + '.'}"
            )
        field = AxolotlInputConfig.model_fields[key]
        adapter: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, field])
        try:
            typed = adapter.dump_python(adapter.validate_python(value), exclude_none=True)
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise SolarError(f"{step.where}.{key}: {value!r}. {why}.") from error
        values[key] = [DictDefault(entry) for entry in typed] if key == "test_datasets" else typed
    return values


def prepared_folder(cfg: DictDefault) -> Path:
    """Where Axolotl keeps prepared data."""
    return Path(cfg.dataset_prepared_path or DEFAULT_DATASET_PREPARED_PATH)


def load(cfg: DictDefault, step: Step) -> TrainDatasetMeta:
    """Load the data of the step whose recipe `cfg` is.

    Raises:
        SolarError: data that cannot be read, without rows, with images, with a row that cannot be
            trained on as it is, or whose pairs are all the same answer twice.
    """
    where = f"{step.where}.datasets"
    paths = ", ".join(str(d["path"]) for d in step.datasets)
    try:
        with seam.preference_rows(write_row, {CHAT: chat.load_pairs}):
            meta = load_preference_datasets(cfg=cfg)
    except SolarError as error:
        raise SolarError(f"{step.where}: {error}") from error
    except StopIteration as error:  # of the reader, where a file has no line
        raise SolarError(f"{where}: no rows in {paths}. Put some in, or take it out.") from error
    except (ValueError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SolarError(f"{where}: {reason} ({paths}). Correct the entry or the data.") from error
    rows = meta.train_dataset
    if len(rows) == 0:
        raise SolarError(
            f"{where}: no row is left of {paths}. Rows "
            f"longer than sequence_len ({cfg.sequence_len}) are dropped; raise it, or check them."
        )
    for name in {"image", "images"}.intersection(rows.column_names):
        raise SolarError(
            f"{where}: column {name!r} in {paths}. The reference pass reads token ids only; "
            f"remove the column, or train on it with plain DPO."
        )
    return meta


def write_row(
    write: Any, entry: DictDefault, row: Any, index: int, tokenizer: Any = None
) -> dict[str, Any]:
    """A row of `entry` as it is trained on: `write` is its type's function, see `preference_rows`.

    Raises:
        SolarError: the row cannot be trained on as it is, with its file and number.
    """
    fits = f"Choose the `type` that fits the columns; it is {entry['type']}."
    try:
        texts = texts_of(dict(row), lambda cells: _texts(write, entry, cells, tokenizer))
        if all(isinstance(texts[name], str) for name in ("prompt", "chosen", "rejected")):
            options = starts(tokenizer, texts["prompt"])
            refuse_joined(lambda text: tokenizer(text, **options)["input_ids"], texts)
        return texts
    except SolarError as error:
        fault = str(error)
    except KeyError as error:
        fault = f"no column (or role) {error}. {fits}"
    except (TypeError, AttributeError, IndexError) as error:
        fault = f"not of the kind that its type reads: {error}. {fits}"
    raise SolarError(f"row {index + 1} of {entry['path']}: {fault}")


def _texts(write: Any, entry: DictDefault, cells: dict[str, Any], tokenizer: Any) -> dict[str, Any]:
    written, asked, options = seam.conversation_of(write, dict(cells), tokenizer)
    if len(asked) != 3:
        return written

    def render(messages: list[dict[str, Any]], generate: bool) -> str:
        options["add_generation_prompt"] = generate
        return tokenizer.apply_chat_template(messages, **options)

    chosen, rejected = (entry.get(f"field_{name}") or name for name in ("chosen", "rejected"))
    swapped = {**cells, chosen: cells[rejected], rejected: cells[chosen]}
    prompt, *answers = asked[0], asked[1][-1], asked[2][-1]
    if seam.conversation_of(write, swapped, tokenizer)[1][0] != prompt:
        raise SolarError(f"{rejected}: answers another conversation than {chosen}. Correct it.")
    for message in (*prompt, *answers):
        if isinstance(message["content"], Empty):
            message["content"] = message["content"].unless_null()
    return {**written, **render_pair(render, prompt, *answers)}


def chunk(cfg: DictDefault, meta: TrainDatasetMeta, rows: list[int]) -> TrainDatasetMeta:
    """The step that trains on some rows of `meta`; the evaluation set is every chunk's."""
    return TrainDatasetMeta(
        train_dataset=meta.train_dataset.select(rows),
        eval_dataset=meta.eval_dataset,
        total_num_steps=math.ceil(len(rows) * cfg.num_epochs / cfg.batch_size),
    )
