"""The preference data of a step, loaded by Axolotl, its faults named by their YAML path."""

from __future__ import annotations

import math
from pathlib import Path

from axolotl.common.const import DEFAULT_DATASET_PREPARED_PATH
from axolotl.common.datasets import TrainDatasetMeta, load_preference_datasets
from axolotl.utils.dict import DictDefault

from solar_plugins.errors import SolarError
from solar_plugins.sdpo.step_plan import Step

_IMAGES = ("image", "images")


def prepared_folder(cfg: DictDefault) -> Path:
    """Where Axolotl keeps prepared data."""
    return Path(cfg.dataset_prepared_path or DEFAULT_DATASET_PREPARED_PATH)


def load(cfg: DictDefault, step: Step) -> TrainDatasetMeta:
    """Load the data of the step whose recipe `cfg` is.

    Raises:
        SolarError: data that cannot be read, without rows, with images, or whose pairs are all
            the same answer twice.
    """
    where = f"{step.where}.datasets"
    types = ", ".join(f"{d['path']} as {d.get('type')}" for d in step.datasets)
    paths = ", ".join(str(d["path"]) for d in step.datasets)
    try:
        meta = load_preference_datasets(cfg=cfg)
    except SolarError:
        raise
    except KeyError as error:
        raise SolarError(
            f"{where}: no column {error} in the data ({types}). Choose the `type` that fits the "
            "columns, or rename them."
        ) from error
    except (TypeError, AttributeError, IndexError) as error:
        raise SolarError(
            f"{where}: the columns are not of the kind that their type reads ({types}): {error}. "
            "Choose the `type` that fits them."
        ) from error
    except StopIteration as error:  # of the reader, where a file has no line
        raise SolarError(f"{where}: no rows in {paths}. Put some in, or take it out.") from error
    except (ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SolarError(f"{where}: {reason} ({types}). Correct the entry or the data.") from error
    rows = meta.train_dataset
    if len(rows) == 0:
        raise SolarError(
            f"{where}: no row is left of {paths}. Rows "
            f"longer than sequence_len ({cfg.sequence_len}) are dropped; raise it, or check them."
        )
    missing = [name for name in ("chosen", "rejected") if name not in rows.column_names]
    if missing:
        raise SolarError(
            f"{where}: no column {missing[0]!r} in the data ({types}). A row needs prompt, chosen "
            "and rejected; choose the `type` that makes them of the columns."
        )
    images = [name for name in _IMAGES if name in rows.column_names]
    if images:
        raise SolarError(
            f"{where}: column {images[0]!r} in {paths}. The reference pass reads token ids only; "
            f"remove the column, or train on it with plain DPO."
        )
    if all(a == b for a, b in zip(rows["chosen"], rows["rejected"], strict=True)):
        raise SolarError(
            f"{where}: chosen and rejected are the same in all {len(rows)} rows of {paths}, so "
            "there is nothing to prefer. Check which columns its `type` reads."
        )
    return meta


def chunk(cfg: DictDefault, meta: TrainDatasetMeta, rows: list[int]) -> TrainDatasetMeta:
    """The step that trains on some rows of `meta`; the evaluation set is every chunk's."""
    return TrainDatasetMeta(
        train_dataset=meta.train_dataset.select(rows),
        eval_dataset=meta.eval_dataset,
        total_num_steps=math.ceil(len(rows) * cfg.num_epochs / cfg.batch_size),
    )
