"""What the filter removed, told so that a person can check it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

EXAMPLES_PER_REASON = 20
KEPT_TASKS_RECORDED = 20_000
KEPT_TASKS_SHOWN = 50

BY_TASK_NAME = "task_name"
"""Reason code: the row's task column names a task of the list."""

RECALL_CEILING = (
    "By task name the filter finds every row whose task column names a listed task, in either "
    "print of Table 8, and nothing else. Rows without a task name are kept and counted here as "
    "unnamed; the same benchmark items under the name of a task that is not listed are kept too. "
    "What the source itself mislabelled cannot be seen."
)


@dataclass
class Audit:
    """Counts and examples of one pass over one dataset.

    Attributes:
        source: the dataset, as the recipe or the command line names it.
        task_column: the column that was read.
        tasks: the tasks that were to be removed, as reported.
        rows_in: rows read.
        rows_unnamed: rows whose task is null or blank; they are kept.
        removed: task -> reason -> rows.
        examples: task -> up to `EXAMPLES_PER_REASON` rows: ``{"row", "task_name", "text"}``.
        spellings: task -> how the data spells it -> rows.
        kept: task name as the data spells it -> rows, for rows that stay.
        near_misses: names that stayed and differ from a listed task in the version only.
    """

    source: str
    task_column: str
    tasks: list[str]
    rows_in: int = 0
    rows_unnamed: int = 0
    removed: dict[str, Counter[str]] = field(default_factory=dict)
    examples: dict[str, list[dict]] = field(default_factory=dict)
    spellings: dict[str, Counter[str]] = field(default_factory=dict)
    kept: Counter[str] = field(default_factory=Counter)
    near_misses: list[str] = field(default_factory=list)

    @property
    def rows_removed(self) -> int:
        return sum(sum(reasons.values()) for reasons in self.removed.values())

    @property
    def rows_out(self) -> int:
        return self.rows_in - self.rows_removed

    def remove(self, task: str, spelling: str, rows: int) -> None:
        """Count `rows` removed because their task column says `spelling`, which is `task`."""
        self.removed.setdefault(task, Counter())[BY_TASK_NAME] += rows
        self.spellings.setdefault(task, Counter())[spelling] += rows

    def keep(self, name: str, rows: int) -> None:
        """Count `rows` kept of the task `name`; past a bound, new names are not recorded."""
        if name in self.kept or len(self.kept) < KEPT_TASKS_RECORDED:
            self.kept[name] += rows

    def wants_example(self, task: str) -> bool:
        return len(self.examples.get(task, ())) < EXAMPLES_PER_REASON

    def to_json(self) -> dict:
        """Plain JSON values; `from_json` reads them back."""
        return {
            "source": self.source,
            "task_column": self.task_column,
            "tasks": self.tasks,
            "rows_in": self.rows_in,
            "rows_removed": self.rows_removed,
            "rows_out": self.rows_out,
            "rows_unnamed": self.rows_unnamed,
            "removed": {task: dict(reasons) for task, reasons in self.removed.items()},
            "spellings": {task: dict(names) for task, names in self.spellings.items()},
            "near_misses": self.near_misses,
            "examples": self.examples,
            "kept": dict(self.kept.most_common()),
            "recall_ceiling": RECALL_CEILING,
        }

    @classmethod
    def from_json(cls, facts: dict) -> Audit:
        audit = cls(facts["source"], facts["task_column"], facts["tasks"])
        audit.rows_in, audit.rows_unnamed = facts["rows_in"], facts["rows_unnamed"]
        audit.removed = {task: Counter(counts) for task, counts in facts["removed"].items()}
        audit.spellings = {task: Counter(counts) for task, counts in facts["spellings"].items()}
        audit.examples, audit.kept = facts["examples"], Counter(facts["kept"])
        audit.near_misses = facts["near_misses"]
        return audit

    def to_markdown(self) -> str:
        """The same as tables."""
        share = 100 * self.rows_removed / self.rows_in if self.rows_in else 0.0
        lines = [
            f"## {self.source}",
            "",
            f"Task column `{self.task_column}`: {self.rows_in:,} rows in, {self.rows_out:,} out, "
            f"{self.rows_removed:,} removed ({share:.2f} %), {self.rows_unnamed:,} unnamed.",
            "",
            "| task | reason | rows removed | spelt in the data |",
            "|---|---|---:|---|",
        ]
        for task in self.tasks:
            spelt = ", ".join(f"`{name}`" for name in self.spellings.get(task, ())) or "(absent)"
            for reason, rows in self.removed.get(task, {BY_TASK_NAME: 0}).items():
                lines.append(f"| `{task}` | {reason} | {rows:,} | {spelt} |")
        if self.near_misses:
            names = ", ".join(f"`{name}`" for name in self.near_misses)
            lines += ["", f"Kept, although only the version differs from a listed task: {names}."]
        lines += ["", f"The {KEPT_TASKS_SHOWN} most frequent tasks that stay:", ""]
        lines += ["| task | rows |", "|---|---:|"]
        shown = self.kept.most_common(KEPT_TASKS_SHOWN)
        lines += [f"| `{name}` | {rows:,} |" for name, rows in shown]
        for task, rows in self.examples.items():
            lines += ["", f"### Removed as `{task}`: {len(rows)} examples", ""]
            lines += [f"- row {row['row']:,}: {_one_line(row['text'])}" for row in rows]
        return "\n".join(lines) + "\n"


def report(audits: list[Audit]) -> tuple[dict, str]:
    """The audits of a run as one JSON value and one Markdown page."""
    facts = {
        "rows_in": sum(audit.rows_in for audit in audits),
        "rows_removed": sum(audit.rows_removed for audit in audits),
        "rows_out": sum(audit.rows_out for audit in audits),
        "recall_ceiling": RECALL_CEILING,
        "datasets": [audit.to_json() for audit in audits],
    }
    head = f"# FLAN filter\n\nWhat this filter can and cannot see: {RECALL_CEILING}\n"
    return facts, "\n".join([head, *(audit.to_markdown() for audit in audits)])


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
