"""The YAML block ``flan_filter:``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, field_validator, model_validator

from solar_plugins.errors import SolarError, nearest
from solar_plugins.flan_filter import task_names
from solar_plugins.flan_filter.evidence import DECONTAMINATION
from solar_plugins.recipes import typed_block
from solar_plugins.recipes.named_data import places_of
from solar_plugins.watch.args import WatchedArgs

if TYPE_CHECKING:
    from solar_plugins.flan_filter.index_file import Index


RULE = 2
"""Counts up when the same filter on the same rows would give another copy."""


class FlanFilterBlock(BaseModel):
    """What to remove, and from which datasets, before anything is tokenised."""

    model_config = {"extra": "forbid"}

    tasks: str | list[str] = Field(
        default=task_names.SOLAR,
        description="`solar` (the ten tasks of the paper's Table 8), `related` (tasks of the same "
        "benchmarks that it leaves out), a list of task names as the data spells them, or all: "
        "[solar, related, cot_esnli]",
    )
    datasets: list[str] = Field(
        min_length=1,
        description="which entries of `datasets`, `test_datasets` and `sdpo.steps[].datasets` to "
        "filter, each by its `path`",
    )
    task_column: str | dict[str, str] | None = Field(
        default=None,
        description="the column that names each row's task, for all datasets or as "
        "{dataset path: column}; without it `_task_name` or `task_name` is looked for",
    )
    index: str | None = Field(
        default=None,
        description="file of `solar flan-index`, by which rows without a task name are recognised",
    )
    prompt_column: str | list[str] | dict[str, str | list[str]] | None = Field(
        default=None,
        description="the column (or columns) of the prompt, for all datasets or as {dataset path: "
        "column}; without it conversations, inputs, question, instruction + input or prompt is "
        "looked for",
    )
    decontaminate: bool | list[str] = Field(
        default=False,
        description="beyond the paper: also remove rows that share 13 words in a row with an item "
        "of H6's test splits, from all of `datasets` or from those listed here (needs an index "
        "that was built from the splits)",
    )
    allow_empty: bool = Field(
        default=False,
        description="accept a dataset from which nothing is removed, and task names that no row "
        "carries",
    )

    @field_validator("tasks")
    @classmethod
    def _tasks_are_names(cls, tasks: str | list[str]) -> str | list[str]:
        task_names.expand(tasks)
        return tasks

    @model_validator(mode="after")
    def _fits_together(self) -> FlanFilterBlock:
        by_path = {"task_column": dict, "prompt_column": dict, "decontaminate": list}
        for key, kind in by_path.items():
            paths = getattr(self, key)
            for path in paths if isinstance(paths, kind) else ():
                if path not in self.datasets:
                    raise ValueError(
                        f"{key} names {path!r}, which is not in flan_filter.datasets."
                        f"{nearest(path, self.datasets)}"
                    )
        if self.decontaminate and self.index is None:
            raise ValueError(
                "decontaminate needs an index. Write index: flan.index (--index), a file that "
                "solar flan-index --from benchmarks --out flan.index builds."
            )
        return self

    def columns_of(self, path: str) -> tuple[str | None, tuple[str, ...] | None]:
        """The task's and the prompt's columns of the dataset `path`; None: to be looked for."""

        def asked(columns: Any) -> Any:
            if not isinstance(columns, dict):
                return columns
            return next((one for named, one in columns.items() if is_same(named, path)), None)

        prompt = asked(self.prompt_column)
        prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt or ())
        return asked(self.task_column), prompts or None

    def decontaminates(self, path: str) -> bool:
        """Whether rows of the dataset `path` are compared with H6's test splits."""
        given = self.decontaminate
        return given if isinstance(given, bool) else any(is_same(path, one) for one in given)

    def refuse_unreached(self, recipe: Mapping[str, Any]) -> None:
        """Refuse a path that no entry of `recipe` has, or one that the filter does not reach.

        Raises:
            SolarError: with the path's place in the block.
        """
        places = list(places_of(recipe))
        paths = list(dict.fromkeys(str(entry["path"]) for _, entry in places))
        for number, path in enumerate(self.datasets):
            where = f"flan_filter.datasets[{number}]"
            of_path = [place for place, entry in places if is_same(str(entry["path"]), path)]
            if not of_path:
                raise SolarError(
                    f"{where}: no entry of datasets, test_datasets or sdpo.steps has the path "
                    f"{path!r}.{nearest(path, paths)} Paths: {', '.join(paths) or 'none'}."
                )
            for place in of_path:
                if not _REACHED.match(place):
                    raise SolarError(
                        f"{where}: {path!r} is {place}, which is not filtered. Filter the file "
                        "with solar filter IN OUT, and name OUT there."
                    )

    def digest(self, source: str, rows: str) -> str:
        """What a copy of the dataset `source` depends on, where `rows` identifies its rows."""
        import xxhash

        index = self.opened_index
        facts = [
            RULE,
            rows,
            sorted(task_names.expand(self.tasks)),
            index.digest if index else None,
            self.decontaminates(source),
            *self.columns_of(source),
        ]
        return xxhash.xxh3_128_hexdigest(json.dumps(facts).encode())

    @cached_property
    def opened_index(self) -> Index | None:
        """The index that `index` names, or None.

        Raises:
            SolarError: it cannot be read, or holds no test split and `decontaminate` needs one.
        """
        from solar_plugins.flan_filter import index_file

        index = index_file.read_index(self.index) if self.index else None
        if index and self.decontaminate and DECONTAMINATION not in index.facts["texts"]:
            raise SolarError(
                f"flan_filter.decontaminate: {index.path} holds no test split. Build one from the "
                "benchmarks' test splits too: solar flan-index --from benchmarks --out "
                "flan.index, or a DIR with gsm8k/test.jsonl, mmlu/test.jsonl, …"
            )
        return index


class FlanFilterArgs(WatchedArgs):
    """The keys that the plugin adds to an Axolotl recipe."""

    flan_filter: FlanFilterBlock | None = Field(
        default=None,
        description="remove rows of benchmark-derived FLAN tasks (SOLAR 10.7B, Table 8)",
    )


_WRITE = {
    "": "The recipe names solar_plugins.FlanFilterPlugin: write flan_filter: {tasks: solar, "
    "datasets: [PATH]} with the path of an entry of datasets or of a step of sdpo.",
    "datasets": "Write the path of each entry of datasets to filter, e.g. [Open-Orca/OpenOrca].",
}

_REACHED = re.compile(r"(test_)?datasets\b|sdpo\.steps\[\d+\]\.datasets\b")


def is_same(path: str, other: str) -> bool:
    """Whether two entries' paths are one."""
    return os.path.normpath(path) == os.path.normpath(other)


def parse(block: Any) -> FlanFilterBlock:
    """The block `flan_filter:` of a recipe, checked.

    Raises:
        SolarError: something in it is missing, unknown or of the wrong kind.
    """
    return typed_block.read(FlanFilterBlock, block, "flan_filter", _WRITE)
