"""What the filter removed and why, with examples for a person to check."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from solar_plugins.errors import SolarError, nearest
from solar_plugins.flan_filter import task_names
from solar_plugins.flan_filter.benchmarks import BENCHMARKS
from solar_plugins.flan_filter.evidence import (
    COVERED,
    INSTANCE_TEXT,
    NEAR,
    REASONS,
)
from solar_plugins.render import render

if TYPE_CHECKING:
    from solar_plugins.flan_filter.index_file import Index

EXAMPLES_PER_REASON = 20
KEPT_TASKS_SHOWN = 50
NAMES_RECORDED = 20_000

PRECEDENT = (113_000, 4_233_923)
"""Rows removed and rows in of ChuGyouk/OpenOrca_Solar_filtered, a published filtered OpenOrca."""


_PASS = ("source", "tasks", "task_column", "prompt_columns", "the index")


@dataclass
class Audit:
    """Counts and examples of one pass over one dataset; `facts` is what is kept of it.

    Attributes:
        tasks: those that were to be removed, as reported.
        index: path and digest of the index and what it knows of each task; None without one.
        rows_unnamed: rows whose task is null or blank, or that have no task column.
        rows_without_prompt: rows whose prompt is null, of those where it was asked for; kept.
        rows_invalid_utf8: rows whose prompt is not valid UTF-8; compared byte for byte.
        removed: task -> reason -> rows.
        examples: task -> reason -> up to `EXAMPLES_PER_REASON` rows.
        spellings: task -> how the data spells it -> rows.
        kept: task name as the data spells it -> rows, for rows that stay.
        near: rows that stay and came near a threshold, and rows of related tasks: kind -> rows.
        near_examples: kind -> up to `EXAMPLES_PER_REASON` rows.
    """

    source: str
    tasks: list[str]
    task_column: str | None
    prompt_columns: list[str]
    index: dict | None = None
    rows_in: int = 0
    rows_unnamed: int = 0
    rows_without_prompt: int = 0
    rows_invalid_utf8: int = 0
    removed: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    examples: dict[str, dict[str, list]] = field(default_factory=lambda: defaultdict(_lists))
    spellings: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    kept: Counter[str] = field(default_factory=Counter)
    near: Counter[str] = field(default_factory=Counter)
    near_examples: dict[str, list] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def merge(cls, parts: Iterable[dict]) -> Audit:
        """The audit of several passes over parts of one dataset, as if it had been one pass.

        Args:
            parts: `facts` of each, in the order of the rows: their numbers count on.

        Raises:
            SolarError: there is none, or they are not of one filter on one dataset.
        """
        merged: Audit | None = None
        for facts in parts:
            try:
                part = cls(**{one.name: facts[one.name] for one in fields(cls)})
            except KeyError as error:
                raise SolarError(
                    f"Audit.merge: an audit without {error}. Of a file that solar filter --audit "
                    "wrote, give an entry of its `datasets`."
                ) from error
            columns = (part.task_column, part.prompt_columns)
            merged = merged or cls(part.source, part.tasks, *columns, part.index)
            for key, one, other in zip(_PASS, merged._pass(), part._pass(), strict=True):
                if one != other:
                    raise SolarError(
                        f"Audit.merge: {key} is {one!r} in one audit and {other!r} in another. "
                        "Merge those of one filter on one dataset."
                    )
            merged._add(part)
        if merged is None:
            raise SolarError("Audit.merge: there is no audit.")
        return merged

    def _pass(self) -> tuple:
        digest = (self.index or {}).get("digest")
        return self.source, self.tasks, self.task_column, self.prompt_columns, digest

    def _add(self, part: Audit) -> None:
        def extend(known: dict[str, list], more: dict[str, list]) -> None:
            for kind, rows in more.items():
                for row in rows[: EXAMPLES_PER_REASON - len(known[kind])]:
                    known[kind].append({**row, "row": row["row"] + self.rows_in})

        extend(self.near_examples, part.near_examples)
        for task, reasons in part.examples.items():
            extend(self.examples[task], reasons)
        for mine, others in ((self.removed, part.removed), (self.spellings, part.spellings)):
            for task, counts in others.items():
                mine[task].update(counts)
        self.near.update(part.near)
        for name, number in part.kept.items():
            self.count_kept(name, number)
        for name in ("rows_in", "rows_unnamed", "rows_without_prompt", "rows_invalid_utf8"):
            setattr(self, name, getattr(self, name) + getattr(part, name))

    def count_kept(self, name: str, rows: int) -> None:
        """Count rows of a task that stays, unless too many names are counted already."""
        if name in self.kept or len(self.kept) < NAMES_RECORDED:
            self.kept[name] += rows

    def facts(self) -> dict:
        """The audit as plain JSON values."""
        rows_removed = sum(sum(reasons.values()) for reasons in self.removed.values())
        by_reason = sum(self.removed.values(), Counter())
        stems = {task_names.stem(name) for name in self.tasks}
        known = {task_names.normalised(task) for task in (self.index or {}).get("tasks", ())}
        unseen = [task for task in self.tasks if task_names.normalised(task) not in known]
        # The share of each task's rows that can be found without a name, counted over FLAN's
        # templates: those that show the item. Tasks whose rows of FLAN are in the index are whole.
        shown = {task: some / all_ for task, some, all_ in _templates()}
        shown |= dict.fromkeys((self.index or {}).get("joined", ()), 1.0)
        shown |= dict.fromkeys(unseen, 0.0)
        ceilings = {task: round(shown[task], 3) for task in self.tasks if task in shown}
        return {
            **vars(self),
            "rows_removed": rows_removed,
            "rows_out": self.rows_in - rows_removed,
            "share_removed": round(rows_removed / max(self.rows_in, 1), 6),
            "share_removed_precedent": round(PRECEDENT[0] / PRECEDENT[1], 6),
            "removed_by_reason": {key: by_reason[key] for key in REASONS if by_reason[key]},
            "near_misses": sorted(name for name in self.kept if task_names.stem(name) in stems),
            "unseen_tasks": unseen if self.index else [],
            "recall_ceilings": ceilings if self.index else {},
            "kept": dict(sorted(self.kept.items(), key=lambda one: (-one[1], one[0]))),
            "recall_ceiling": recall_ceiling(self.index is not None),
        }


def _lists() -> dict[str, list]:
    return defaultdict(list)


def report(datasets: list[dict]) -> tuple[dict, str]:
    """The facts of a run's audits as one JSON value and one Markdown page."""
    ceiling = recall_ceiling(any(facts["index"] is not None for facts in datasets))
    counts = ("rows_in", "rows_removed", "rows_out")
    totals = {key: sum(facts[key] for facts in datasets) for key in counts}
    page = render(
        __file__,
        "audit.md",
        ceiling=ceiling,
        datasets=datasets,
        precedent=PRECEDENT,
        tasks_shown=KEPT_TASKS_SHOWN,
    )
    return {**totals, "recall_ceiling": ceiling, "datasets": datasets}, page


def recall_ceiling(recovers: bool) -> list[str]:
    """What the filter cannot see, as sentences."""
    facts = {"templates": [*_templates()], "covered": COVERED, "near": NEAR}
    return render(__file__, "recall_ceiling.txt", recovers=recovers, **facts).splitlines()


def _templates() -> Iterator[tuple[str, int, int]]:
    """FLAN's tasks, how many of their templates show a text of the item, and all of them."""
    for benchmark in BENCHMARKS:
        for task, (some, all_) in benchmark.templates.items():
            yield task, some, all_


def clipped(text: str, characters: int = 60) -> str:
    """`text`, cut to `characters` with an ellipsis."""
    return text if len(text) <= characters else text[: characters - 1] + "…"


def refuse_empty(datasets: list[dict], tasks: str | list[str]) -> None:
    """Refuse a filter that did nothing, which is how a wrong column or name shows.

    Each dataset must lose a row. The words ``solar`` and ``related`` are satisfied by any of their
    tasks; a task that was asked for by its own name must be met in one of the datasets. An item's
    text does not tell its tasks apart, so that one of them is met where another is reported.

    Args:
        datasets: the facts of each one's audit.

    Raises:
        SolarError: a dataset lost no row, or a task that was asked for by name was never met.
    """
    way_out = "Correct it, or write allow_empty: true (--allow-empty) if that is expected."
    met: set[str] = set()
    known: list[str] = []
    for facts in datasets:
        met |= set(facts["removed"])
        by_text = {task for task, why in facts["removed"].items() if INSTANCE_TEXT in why}
        for benchmark in BENCHMARKS:
            if by_text & set(benchmark.templates):
                met |= set(benchmark.templates)
        known += [*facts["kept"], *(facts["index"] or {}).get("tasks", ())]
    known += task_names.SOLAR_TASKS
    _refuse_other(tasks, met, known, "no row is of task", way_out)
    for facts in datasets:
        if facts["rows_removed"] == 0:
            raise SolarError(
                f"flan_filter.datasets: none of the {facts['rows_in']:,} rows of "
                f"{facts['source']} is of a listed task ({_what_was_read(facts)}). {way_out}"
            )


def refuse_unknown(tasks: str | list[str], index: Index | None) -> None:
    """Refuse, before any row is read, a task that neither Table 8 nor the index knows.

    Only where the index is all there is: a column may name tasks that we have never heard of.

    Raises:
        SolarError: a task is unknown.
    """
    if index is not None:
        known = [*task_names.SOLAR_TASKS, *task_names.RELATED_TASKS, *index.tasks]
        found = f"neither Table 8 nor {index.path} knows the task"
        _refuse_other(tasks, known, known, found, f"Its tasks are {', '.join(index.tasks)}.")


def _refuse_other(
    tasks: str | list[str], met: Iterable[str], known: list[str], found: str, way_out: str
) -> None:
    """Refuse a task that was asked for by its own name and is not one of `met`."""
    there = {task_names.normalised(name) for name in met}
    there |= {task_names.SOLAR, task_names.RELATED}
    for name in [tasks] if isinstance(tasks, str) else tasks:
        if task_names.normalised(name) not in there:
            near = nearest(name, known)
            raise SolarError(f"flan_filter.tasks: {found} {name!r}.{near} {way_out}")


def _what_was_read(facts: dict) -> str:
    """The values themselves show whether it is the wrong column."""
    read = []
    if facts["task_column"]:
        seen = ", ".join(clipped(name) for name in list(facts["kept"])[:3])
        examples = f", for example {seen}" if seen else ""
        read.append(
            f"column {facts['task_column']!r}: {len(facts['kept']):,} task names{examples}; "
            f"{facts['rows_unnamed']:,} rows unnamed"
        )
    if facts["prompt_columns"]:
        read.append(
            f"prompts of {', '.join(map(repr, facts['prompt_columns']))}, "
            f"{facts['rows_without_prompt']:,} of them null"
        )
    return "; ".join(read)
