"""What every plugin of ours looks for: that a training learned something, from the rows it names.

Axolotl trains on prepared rows of a file that has changed since, trains the word "None", drops
rows, and ends with success where no token, no step and no update was left.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from axolotl.integrations.base import BasePlugin, PluginManager
from axolotl.utils.dict import DictDefault
from axolotl.utils.logging import get_logger
from datasets import Dataset, DatasetDict
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from solar_plugins import atomic, run_record
from solar_plugins.errors import SolarError
from solar_plugins.models.training_checkpoints import newest_in, refuse_other_processes
from solar_plugins.recipes.registry import plugins_of
from solar_plugins.seams import axolotl as axolotl_seam
from solar_plugins.seams import datasets as datasets_seam
from solar_plugins.watch import content, learned, masks
from solar_plugins.watch.rows import (
    RowCount,
    count,
    empty_texts,
    refuse_gaps,
    refusing_gaps,
    same_answers,
    without_labels,
)

LOG = get_logger("axolotl.solar_plugins.watch")

RECORD = "training"
COUNT = "solar_rows.json"
"""Beside prepared data: where their rows went."""
_EMPTY = "{}: no rows. Put some in, or remove the entry."
_MASKED = (
    "datasets: none of {} rows has a token to train on: all labels are masked. Look at "
    "train_on_inputs, roles_to_train, train_on_eos and the format or chat template."
)


class WatchedPlugin(BasePlugin):
    """The base of our plugins: with any of them, Axolotl has the one `Watch` of the process."""

    def __init__(self) -> None:
        super().__init__()
        # Before the plugin that is being loaded, so that the data are seen before it acts.
        PluginManager.get_instance().plugins.setdefault("solar_plugins.watch", WATCH)


class Watch(BasePlugin):
    """Watches the trainings whose recipe names a plugin of ours.

    Attributes:
        filter_data: The FLAN filter's, where the recipe names it: points the config's entries at
            filtered copies before any plugin loads data, in whatever order `plugins` has them.
            Returns the rows that were removed, by the path of the copy.
    """

    def __init__(self) -> None:
        super().__init__()
        self._cfg: Any = None
        self._is_training_split = True
        self._counts: list[RowCount] = []
        self.filter_data: Callable[[DictDefault], dict[str, int]] | None = None
        self._filtered: dict[str, int] = {}
        self._current: RowCount | None = None
        self._entry: Any = None
        self._said = 0
        self.steps = 0

    # The hooks of Axolotl

    def register(self, cfg: dict) -> None:
        self._cfg = self.filter_data = None
        if plugins_of(cfg):
            axolotl_seam.watch_data(self)
            datasets_seam.watch_filters(self._dropped)
            datasets_seam.know_files_by_any_change()

    def load_datasets(self, cfg: DictDefault, preprocess: bool = False) -> None:
        self._watch(cfg)
        self._counts, self.steps = [], 0
        if self._cfg is not None and not preprocess:
            self._begin_training(cfg)
        self._filtered = self.filter_data(cfg) if self.filter_data else {}

    def _begin_training(self, cfg: DictDefault) -> None:
        if run_record.is_first_process():
            run_record.path(cfg.output_dir, RECORD).unlink(missing_ok=True)
        if kept := content.set_aside_old_work(cfg):
            LOG.warning(f"the rows have changed: what was trained on the old ones is now in {kept}")
        if not cfg.sdpo:  # which resumes by itself
            resumes = cfg.resume_from_checkpoint
            newest = cfg.auto_resume_from_checkpoints and newest_in(Path(cfg.output_dir))
            refuse_other_processes(Path(resumes) if resumes else newest or None, cfg.world_size)

    def post_trainer_create(self, cfg: DictDefault, trainer: Trainer) -> None:
        """Refuse what cannot learn; sDPO asks again for each of its steps."""
        if not plugins_of(cfg):
            return
        rows = trainer.train_dataset
        if not any(parameter.requires_grad for parameter in trainer.model.parameters()):
            found = f"{cfg.unfrozen_parameters} matches no parameter"
            model = type(trainer.model).__name__
            raise SolarError(f"unfrozen_parameters: {found} of {model}: nothing would be trained.")
        if not isinstance(rows, Dataset):
            return
        if not self._counts:  # with skip_prepare_dataset nothing is saved
            self._finish(self._current or RowCount(len(rows)), len(rows))
        one, before = self._counts[-1], self._said
        if not cfg.rl and "labels" in rows.column_names:
            tokenizer = getattr(trainer.processing_class, "tokenizer", trainer.processing_class)
            lost = without_labels(rows, tokenizer)
            if lost == len(rows):
                raise SolarError(_why_not_trained(cfg) or _MASKED.format(len(rows)))
            one.drop("Zero Trainable", lost)
        self._current = None
        if one.dropped.total() != before:  # by the labels, or by TRL
            self._say(one)

    def add_callbacks_post_trainer(
        self, cfg: DictDefault, trainer: Trainer
    ) -> list[TrainerCallback]:
        return [_Judge(self, cfg)] if plugins_of(cfg) else []

    def post_train_unload(self, cfg: DictDefault) -> None:
        if plugins_of(cfg) and run_record.is_first_process():
            run_record.write(cfg.output_dir, RECORD, self.facts())

    def facts(self) -> dict[str, Any]:
        """What is known of the training: its steps, and where its rows went."""
        return {"steps": self.steps, "rows": [one.facts() for one in self._counts]}

    # What Axolotl does with data, see `seams.axolotl.DataWatcher`

    def content(self, cfg: Any, entries: Any, tokenizer: str) -> str | None:
        self._watch(cfg)
        self._is_training_split = entries is cfg.datasets
        return None if self._cfg is None else content.of_prepared(cfg, entries, tokenizer)

    def begin(self, cfg: Any, folder: Path, found: Any) -> None:
        self._current = None
        if self._cfg is None or not self._is_training_split:
            return
        if not isinstance(found, Dataset):
            removed = sum(self._filtered.get(entry["path"], 0) for entry in cfg.datasets or ())
            self._current = RowCount(removed)
            self._current.drop("FLAN", removed)
            return
        try:
            facts = json.loads((folder / COUNT).read_text(encoding="utf-8"))
            one = RowCount(facts["read"])
            one.dropped.update(facts["dropped"])
            one.other_texts = facts.get("other_texts", 0)
        except FileNotFoundError:  # prepared in another way
            one = RowCount(len(found))
        self._finish(one, len(found))
        self._current = one

    def loading(self, entry: Any, load: Callable[[], Any]) -> Any:
        try:
            return self.loaded(entry, load())
        except (StopIteration, ValueError) as error:  # how `datasets` says that a file has no row
            is_empty = isinstance(error, StopIteration) or "no data" in str(error)
            if self._cfg is None or self._cfg.sdpo or not is_empty:
                raise
            raise SolarError(_EMPTY.format(entry["path"])) from error

    def loaded(self, entry: Any, rows: Any) -> Any:
        """Look at the rows of a source; returns those to go on with."""
        self._entry = entry
        if self._cfg is None:
            return rows
        rl = str(getattr(self._cfg.rl, "value", self._cfg.rl) or "")
        split = entry.get("split") or ("train" if self._is_training_split else "test")
        part = rows.get(split) if isinstance(rows, DatasetDict) else rows
        if not isinstance(part, Dataset):
            return rows if part is None else refusing_gaps(rows, entry, rl)
        if len(part) == 0:
            raise SolarError(_EMPTY.format(entry["path"]))
        refuse_gaps(part, entry, rl, _load_one)
        if self._current is not None:
            self._current.read += count(part, {} if rl else entry)
            self._current.drop("Empty Text", empty_texts(part, entry))
        return rows

    def streamed(self, rows: Any) -> Any:
        if self._cfg is None:
            return rows
        named = self._cfg.pretraining_dataset or self._cfg.datasets
        entry = named[0] if isinstance(named, list) else {"path": named}
        entry = {"type": "pretrain", **{key: value for key, value in entry.items() if value}}
        return refusing_gaps(rows, entry, "")

    def tokenised(self, strategy: Any, rows: Any, tokens: Any) -> None:
        answers_of = axolotl_seam.answers_of(strategy)
        if self._current is None or answers_of is None or len(rows) != len(tokens):
            return
        length = self._cfg.sequence_len
        found = masks.other_texts(strategy.tokenizer, rows, tokens, answers_of, length)
        if found:
            self._current.other_texts += found.rows
            LOG.warning(f"datasets: {self._entry['path']}: {found.line()}")

    def prepared(self, rows: Any) -> None:
        if self._current is not None and isinstance(rows, Dataset):
            if same := same_answers(rows):
                names = ", ".join(str(entry["path"]) for entry in self._cfg.datasets)
                fault = f"chosen and rejected are the same in {same} of {len(rows)} rows of {names}"
                if same == len(rows):
                    raise SolarError(f"{fault}: nothing to prefer. Look at the columns of `type`.")
                LOG.warning(f"{fault}: nothing is learned from them.")
            lost = self._current.read - self._current.dropped.total() - len(rows)
            is_double = self._cfg.dataset_exact_deduplication
            self._current.drop("Deduplication" if is_double else "Preparation", max(0, lost))
            self._finish(self._current, len(rows))

    def saved(self, folder: Path) -> None:
        if self._current is not None:
            atomic.write_json(folder / COUNT, self._current.facts())

    # Counting

    def _watch(self, cfg: Any) -> None:
        self._cfg = cfg if plugins_of(cfg) else None

    def _dropped(self, name: str | None, before: int, after: int) -> None:
        if self._current is not None and " eval " not in (name or ""):
            self._current.drop(name, before - after)
            if before and not after and (why := _why_not_trained(self._cfg)):
                raise SolarError(why)

    def _finish(self, one: RowCount, rows: int) -> None:
        one.trained = rows
        self._counts.append(one)
        self._say(one)

    def _say(self, one: RowCount) -> None:
        self._said = one.dropped.total()
        warning = one.warning(self._cfg)
        if run_record.is_first_process():
            LOG.info(one.line())
            if warning:
                LOG.warning(warning)


WATCH = Watch()


class _Judge(TrainerCallback):
    """Judges a training at its end, before its model is saved."""

    def __init__(self, watch: Watch, cfg: DictDefault) -> None:
        self._watch = watch
        self._cfg = cfg
        self._before: dict[str, Any] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        rows = _size(given["train_dataloader"])
        if rows is not None and len(given["train_dataloader"]) == 0:
            learned.refuse_no_steps(self._cfg, rows, args.world_size)
        # A training that goes on from its last checkpoint may have nothing left to do; ReLoRA
        # begins its adapter anew.
        is_new = state.global_step == 0 and not self._cfg.relora
        self._before = learned.sums(given["model"]) if is_new else None

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        if state.global_step == 0:
            learned.refuse_no_steps(self._cfg, _size(given["train_dataloader"]), args.world_size)
        if self._before is not None:
            learned.refuse_unlearned(self._cfg, state.log_history, self._before, given["model"])
        self._watch.steps += state.global_step


def _size(loader: Any) -> int | None:
    """The rows that a loader reads; None for a stream."""
    rows: Any = getattr(loader, "dataset", None)
    return len(rows) if hasattr(rows, "__len__") else None


def _load_one(entry: Any) -> Any:
    return axolotl_seam.load_rows(DictDefault(entry))


def _why_not_trained(cfg: Any) -> str | None:
    """Why supervised rows have nothing to train on, where the rows show it."""
    for number, entry in enumerate([] if cfg.rl else cfg.datasets or []):
        loaded = _load_one(entry)
        if isinstance(loaded, DatasetDict):
            loaded = loaded[entry.split or "train"]
        rows = list(loaded.take(min(len(loaded), 1000)))
        if why := learned.why_nothing_is_trained(entry, rows):
            return f"datasets[{number}]: {entry['path']}: no token is trained: {why}"
    return None
