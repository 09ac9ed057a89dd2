"""Axolotl plugin: filter datasets before they are tokenised."""

from __future__ import annotations

from functools import lru_cache
from gzip import BadGzipFile
from pathlib import Path

from axolotl.common.const import DEFAULT_DATASET_PREPARED_PATH
from axolotl.utils.data.shared import load_dataset_with_config
from axolotl.utils.dict import DictDefault
from axolotl.utils.logging import get_logger
from datasets import Dataset, DatasetDict
from datasets.exceptions import DatasetGenerationError
from pyarrow import ArrowInvalid

from solar_plugins import atomic, run_record
from solar_plugins.errors import SolarError, show_errors_in_one_line
from solar_plugins.flan_filter.args import FlanFilterBlock, is_same, parse
from solar_plugins.flan_filter.audit import refuse_empty, report
from solar_plugins.flan_filter.filtered_copy import content_digest, filtered_copy
from solar_plugins.recipes.named_data import places_of
from solar_plugins.recipes.registry import is_named
from solar_plugins.seams.datasets import fingerprint
from solar_plugins.watch.plugin import WATCH, WatchedPlugin

LOG = get_logger("axolotl.solar_plugins.flan_filter")

PLUGIN = "FlanFilterPlugin"


class FlanFilterPlugin(WatchedPlugin):
    """Removes rows of benchmark-derived FLAN tasks (SOLAR 10.7B, section 4.1 and Table 8).

    Before any plugin or Axolotl loads data, it writes a filtered copy of each named dataset and
    points its entry at the copy; sDPO's steps have theirs in `cfg.datasets`, one after the other.
    """

    def __init__(self) -> None:
        super().__init__()
        self._audits: list[dict] = []

    def get_input_args(self) -> str:
        return "solar_plugins.flan_filter.args.FlanFilterArgs"

    def register(self, cfg: dict) -> None:
        show_errors_in_one_line()
        if not is_named(cfg, PLUGIN):
            return
        parse(cfg.get("flan_filter")).refuse_unreached(cfg)
        WATCH.filter_data = self.filter_data

    def filter_data(self, cfg: DictDefault) -> dict[str, int]:
        """Filter the data of `cfg`, and write the audit.

        Returns:
            Path of a filtered copy -> rows that were removed.
        """
        block = parse(cfg.flan_filter)
        removed: dict[str, int] = {}
        self._audits = []
        for key in ("datasets", "test_datasets"):
            given = cfg[key] or ()
            places = [f"{key}[{number}]" for number in range(len(given))]
            if key == "datasets" and cfg.sdpo:
                of_steps = (place for place, _ in places_of({"sdpo": cfg.sdpo}))
                places = [place for place in of_steps if "].datasets" in place]
            entries: list[DictDefault] = []
            for entry, place in zip(given, places, strict=True):
                if not any(is_same(entry.path, path) for path in block.datasets):
                    entries.append(entry)
                    continue
                names = entry.name if isinstance(entry.name, list) else [entry.name]
                for name in names:
                    one = DictDefault({**entry, "name": name})
                    copy, audit = self._filter(cfg, block, one, place)
                    removed[str(copy)] = audit["rows_removed"]
                    # The copy is the rows that `split`, `name`, `data_files` and `revision` chose;
                    # `shards` stays, so that a random sample is taken of what the filter left.
                    chosen = {"path": str(copy), "ds_type": "parquet", "split": "train"}
                    gone = dict.fromkeys(("name", "data_files", "revision"))
                    entries.append(DictDefault({**one, **gone, **chosen}))
            if entries:
                cfg[key] = entries
        if not block.allow_empty:
            # A held-out set may be too small to hold one.
            trained = [one for one in self._audits if not one["entry"].startswith("test_")]
            refuse_empty(trained or self._audits, block.tasks)
        if run_record.is_first_process():
            facts, page = report(self._audits)
            beside = Path(cfg.output_dir) / "solar"
            atomic.write_json(beside / "flan_filter_audit.json", facts)
            atomic.write_text(beside / "flan_filter_audit.md", page)
        return removed

    def post_train_unload(self, cfg: DictDefault) -> None:
        """Write the run record; `post_train` comes before the model is saved."""
        if not is_named(cfg, PLUGIN) or not run_record.is_first_process():
            return
        counts = ("rows_in", "rows_removed", "rows_out")
        facts, _ = report(self._audits)
        sources = {
            a["entry"]: {key: a[key] for key in ("source", *counts[:2])} for a in self._audits
        }
        tasks = list(dict.fromkeys(task for audit in self._audits for task in audit["tasks"]))
        totals = {key: facts[key] for key in counts}
        run_record.write(
            cfg.output_dir, "flan_filter", {**totals, "datasets": sources, "tasks": tasks}
        )

    def _filter(
        self, cfg: DictDefault, block: FlanFilterBlock, entry: DictDefault, place: str
    ) -> tuple[Path, dict]:
        """The filtered copy of the entry at `place`, and its audit, which is added to the run's."""
        folder = Path(cfg.dataset_prepared_path or DEFAULT_DATASET_PREPARED_PATH) / "flan_filter"
        # Axolotl's defaults; it evaluates preference data on `train` too.
        split = entry.split or ("test" if place.startswith("test_") and not cfg.rl else "train")
        load = lru_cache(lambda: _load(entry, cfg, place, split))
        local = Path(entry.path)
        is_local = local.exists() and not entry.data_files
        rows = content_digest(local) if is_local else fingerprint(load())
        identity = str([rows, split, entry.name])
        target, audit, worked = filtered_copy(load, folder, entry.path, identity, block)
        audit = {"entry": place, **audit}
        self._audits.append(audit)
        LOG.info(
            f"FLAN filter: {place}: {audit['source']}: {audit['rows_in']} rows in, "
            f"{audit['rows_removed']} removed, {audit['rows_out']} out "
            f"({'written to' if worked else 'already in'} {target})"
        )
        return target, audit


def _load(entry: DictDefault, cfg: DictDefault, place: str, split: str) -> Dataset:
    """The rows that Axolotl would read for this entry."""
    try:
        loaded = WATCH.loaded(entry, load_dataset_with_config(entry, cfg.hf_use_auth_token))
    except (DatasetGenerationError, ArrowInvalid, EOFError, BadGzipFile) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise SolarError(f"{place}: {entry.path} is damaged or mixed: {reason[:300]}") from error
    if not isinstance(loaded, DatasetDict):
        return loaded
    if split not in loaded:
        raise SolarError(
            f"{place}: {entry.path} has no split {split!r}. Write split: with one of "
            f"{', '.join(loaded)}."
        )
    return loaded[split]
