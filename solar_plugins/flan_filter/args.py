"""The YAML block ``flan_filter:``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from solar_plugins.errors import SolarError, nearest
from solar_plugins.flan_filter import task_names
from solar_plugins.watch.args import WatchedArgs


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
        description="which entries of `datasets:` to filter, each by its `path`",
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
    decontaminate: bool = Field(
        default=False,
        description="beyond the paper: also remove rows that share 13 words in a row with an item "
        "of H6's test splits (needs an index that was built from them)",
    )
    allow_empty: bool = Field(
        default=False,
        description="accept a dataset from which nothing is removed, and task names that no row "
        "carries",
    )

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, block: Any) -> Any:
        if isinstance(block, dict):
            for key in block:
                if key not in cls.model_fields:
                    known = ", ".join(cls.model_fields)
                    raise ValueError(
                        f"{key} is not a key of this block.{nearest(str(key), cls.model_fields)} "
                        f"The keys are {known}."
                    )
        return block

    @field_validator("tasks")
    @classmethod
    def _tasks_are_names(cls, tasks: str | list[str]) -> str | list[str]:
        task_names.expand(tasks)
        return tasks

    @model_validator(mode="after")
    def _columns_are_for_filtered_datasets(self) -> FlanFilterBlock:
        asked = {"task_column": self.task_column, "prompt_column": self.prompt_column}
        for key, columns in asked.items():
            for path in columns if isinstance(columns, dict) else ():
                if path not in self.datasets:
                    raise ValueError(
                        f"{key} names {path!r}, which is not in flan_filter.datasets."
                        f"{nearest(path, self.datasets)}"
                    )
        return self

    @model_validator(mode="after")
    def _decontamination_has_an_index(self) -> FlanFilterBlock:
        if self.decontaminate and self.index is None:
            raise ValueError(
                "decontaminate needs an index. Write index: flan.index, a file that "
                "solar flan-index --from benchmarks --out flan.index builds."
            )
        return self

    def column_of(self, path: str) -> str | None:
        """The column that was named for the dataset `path`, or None if it is to be looked for."""
        if isinstance(self.task_column, dict):
            return self.task_column.get(path)
        return self.task_column

    def prompt_columns_of(self, path: str) -> tuple[str, ...] | None:
        """The prompt's columns of the dataset `path`, or None if they are to be looked for."""
        asked = self.prompt_column
        columns = asked.get(path) if isinstance(asked, dict) else asked
        return (columns,) if isinstance(columns, str) else tuple(columns or ()) or None


class FlanFilterArgs(WatchedArgs):
    """The keys that the plugin adds to an Axolotl recipe."""

    flan_filter: FlanFilterBlock | None = Field(
        default=None,
        description="remove rows of benchmark-derived FLAN tasks (SOLAR 10.7B, Table 8)",
    )


def parse(block: Any) -> FlanFilterBlock:
    """The block `flan_filter:` of a recipe, checked.

    Raises:
        SolarError: something in it is missing, unknown or of the wrong kind.
    """
    if not isinstance(block, dict):
        raise SolarError(
            "flan_filter: the recipe loads solar_plugins.FlanFilterPlugin and has no such block. "
            "Write flan_filter: {tasks: solar, datasets: [PATH]} with the path of an entry of "
            "datasets."
        )
    try:
        return FlanFilterBlock.model_validate(dict(block))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["flan_filter", *(str(part) for part in first["loc"][:1])])
        message = first["msg"].removeprefix("Value error, ").removeprefix(f"{where}: ")
        if first["type"] == "missing":
            message = (
                f"{where} is missing. Write the path of each entry of datasets to filter, "
                "for example flan_filter: {tasks: solar, datasets: [Open-Orca/OpenOrca]}."
            )
            raise SolarError(message) from error
        raise SolarError(f"{where}: {message}") from error
