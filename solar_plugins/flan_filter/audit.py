"""What the filter removed and why, with examples for a person to check."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from solar_plugins.flan_filter import task_names
from solar_plugins.flan_filter.benchmarks import benchmarks
from solar_plugins.flan_filter.evidence import (
    COVERED,
    DECONTAMINATION,
    FLAN_INPUTS,
    INSTANCE_TEXT,
    NEAR,
    NIV2_DEFINITION,
    REASONS,
)

EXAMPLES_PER_REASON = 20
KEPT_TASKS_RECORDED = 20_000
KEPT_TASKS_SHOWN = 50

PRECEDENT = (113_000, 4_233_923)
"""Rows removed and rows in of ChuGyouk/OpenOrca_Solar_filtered, a published filtered OpenOrca."""


@dataclass
class Audit:
    """Counts and examples of one pass over one dataset.

    Attributes:
        source: the dataset, as the recipe or the command line names it.
        tasks: the tasks that were to be removed, as reported.
        task_column, prompt_columns: the columns that were read.
        index: path and digest of the index and what it knows of each task; None without one.
        rows_in: rows read.
        rows_unnamed: rows whose task is null or blank, or that have no task column.
        rows_without_prompt: rows whose prompt is null, of those where it was asked for; kept.
        rows_invalid_utf8: rows whose prompt is not valid UTF-8; compared byte for byte.
        removed: task -> reason -> rows.
        examples: task -> reason -> up to `EXAMPLES_PER_REASON` rows.
        spellings: task -> how the data spells it -> rows.
        kept: task name as the data spells it -> rows, for rows that stay.
        near: rows that stay and came near a threshold, and rows of related tasks: kind -> rows.
        near_examples: kind -> up to `EXAMPLES_PER_REASON` rows.
        near_misses: names that stayed and differ from a listed task in the version only.
    """

    source: str
    tasks: list[str]
    task_column: str | None = None
    prompt_columns: list[str] = field(default_factory=list)
    index: dict | None = None
    rows_in: int = 0
    rows_unnamed: int = 0
    rows_without_prompt: int = 0
    rows_invalid_utf8: int = 0
    removed: dict[str, Counter[str]] = field(default_factory=dict)
    examples: dict[str, dict[str, list[dict]]] = field(default_factory=dict)
    spellings: dict[str, Counter[str]] = field(default_factory=dict)
    kept: Counter[str] = field(default_factory=Counter)
    near: Counter[str] = field(default_factory=Counter)
    near_examples: dict[str, list[dict]] = field(default_factory=dict)
    near_misses: list[str] = field(default_factory=list)

    @property
    def rows_removed(self) -> int:
        return sum(sum(reasons.values()) for reasons in self.removed.values())

    @property
    def rows_out(self) -> int:
        return self.rows_in - self.rows_removed

    def remove(self, task: str, reason: str, rows: int = 1) -> None:
        """Count `rows` removed as `task`."""
        self.removed.setdefault(task, Counter())[reason] += rows

    def keep(self, name: str, rows: int) -> None:
        """Count `rows` kept of the task `name`; past a bound, new names are not recorded."""
        if name in self.kept or len(self.kept) < KEPT_TASKS_RECORDED:
            self.kept[name] += rows

    def examples_of(self, task: str, reason: str) -> list[dict] | None:
        """Where an example of this kind goes, or None when there are enough."""
        rows = self.examples.setdefault(task, {}).setdefault(reason, [])
        return rows if len(rows) < EXAMPLES_PER_REASON else None

    def stays_near(self, kind: str, example: dict) -> None:
        """Count a row that stays, and keep it as an example while there are few."""
        self.near[kind] += 1
        rows = self.near_examples.setdefault(kind, [])
        if len(rows) < EXAMPLES_PER_REASON:
            rows.append(example)

    def by_reason(self) -> dict[str, int]:
        """Rows removed per reason, for the reasons that were met."""
        total: Counter[str] = Counter()
        for reasons in self.removed.values():
            total.update(reasons)
        return {reason: total[reason] for reason in REASONS if total[reason]}

    def ceilings(self) -> dict[str, float]:
        """The share of each task's rows that can be found without a name, 0 to 1.

        Counted over FLAN's templates: those that show a text of the item. Tasks whose rows of FLAN
        are in the index are complete.
        """
        if self.index is None:
            return {}
        shown = {
            task: some / all_
            for benchmark in benchmarks().values()
            for task, (some, all_) in benchmark.TEMPLATES.items()
        }
        shown.update(dict.fromkeys(self.index["joined"], 1.0))
        shown.update(dict.fromkeys(self.unseen_tasks(), 0.0))
        return {task: round(shown[task], 3) for task in self.tasks if task in shown}

    def unseen_tasks(self) -> list[str]:
        """Listed tasks of which the index holds no text or input."""
        if self.index is None:
            return []
        known = {task_names.normalised(task) for task in self.index["tasks"]}
        return [task for task in self.tasks if task_names.normalised(task) not in known]

    def to_json(self) -> dict:
        """Plain JSON values; `from_json` reads them back."""
        share = self.rows_removed / self.rows_in if self.rows_in else 0.0
        return {
            "source": self.source,
            "task_column": self.task_column,
            "prompt_columns": self.prompt_columns,
            "index": self.index,
            "tasks": self.tasks,
            "rows_in": self.rows_in,
            "rows_removed": self.rows_removed,
            "rows_out": self.rows_out,
            "share_removed": round(share, 6),
            "share_removed_precedent": round(PRECEDENT[0] / PRECEDENT[1], 6),
            "rows_unnamed": self.rows_unnamed,
            "rows_without_prompt": self.rows_without_prompt,
            "rows_invalid_utf8": self.rows_invalid_utf8,
            "removed_by_reason": self.by_reason(),
            "removed": {task: dict(reasons) for task, reasons in self.removed.items()},
            "spellings": {task: dict(names) for task, names in self.spellings.items()},
            "near": dict(self.near),
            "near_examples": self.near_examples,
            "near_misses": self.near_misses,
            "unseen_tasks": self.unseen_tasks(),
            "recall_ceilings": self.ceilings(),
            "examples": self.examples,
            "kept": dict(self.kept.most_common()),
            "recall_ceiling": recall_ceiling(self.index is not None),
        }

    @classmethod
    def from_json(cls, facts: dict) -> Audit:
        audit = cls(facts["source"], facts["tasks"])
        for name in (
            *("task_column", "prompt_columns", "index", "rows_in", "rows_unnamed"),
            *("rows_without_prompt", "rows_invalid_utf8", "examples"),
            *("near_examples", "near_misses"),
        ):
            setattr(audit, name, facts[name])
        audit.removed = {task: Counter(counts) for task, counts in facts["removed"].items()}
        audit.spellings = {task: Counter(counts) for task, counts in facts["spellings"].items()}
        audit.kept, audit.near = Counter(facts["kept"]), Counter(facts["near"])
        return audit


def recall_ceiling(recovers: bool) -> list[str]:
    """What the filter cannot see, as sentences."""
    sentences = [
        "By name: every row whose task column names a listed task, in either print of Table 8, and "
        "nothing else. The same items under the name of another task are kept; what the source "
        "mislabelled cannot be seen."
    ]
    if not recovers:
        return [*sentences, "Rows without a name are kept and counted as unnamed."]
    shown = ", ".join(
        f"{task} {some} of {all_}"
        for benchmark in benchmarks().values()
        for task, (some, all_) in benchmark.TEMPLATES.items()
        if some < all_
    )
    return [
        *sentences,
        f"{FLAN_INPUTS}: complete for the tasks whose rows of FLAN are in the index.",
        f"{NIV2_DEFINITION} and {INSTANCE_TEXT}: only rows that show the definition or the item. "
        f"FLAN's templates that show it: all but these: {shown}. The rest (an answer alone, 'write "
        "a question you would see in a school textbook') no text match can find: only the join "
        "with FLAN's rows does.",
        f"A chain of thought or passage counts from {COVERED:.0%} of its words on; from {NEAR:.0%} "
        "on the row is listed as near. A short text counts with a second sign (options, the rest "
        "of the sentence, or next to nothing else in the prompt).",
        f"{INSTANCE_TEXT} cannot tell tasks apart that show the same text, nor an item that "
        "another collection shows under another name.",
        f"{DECONTAMINATION}, where asked for: prompts only, not responses.",
    ]


def clipped(text: str, characters: int = 60) -> str:
    """`text`, cut to `characters` with an ellipsis."""
    return text if len(text) <= characters else text[: characters - 1] + "…"
