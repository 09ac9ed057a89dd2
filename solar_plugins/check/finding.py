"""What a check found: one line for people, one mapping for machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Fix:
    """An unambiguous correction: the text to write in place of the characters [start, end).

    Attributes:
        place: What it changes.
        target: The place that it writes: another one where a key is renamed.
    """

    start: int
    end: int
    text: str
    place: tuple[str | int, ...] = ()
    target: tuple[str | int, ...] = ()


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong in a file.

    Attributes:
        file: The file as it was named, or as the chain names it.
        line: Counted from 1; 0 where the fault has no line (a file that is missing).
        path: YAML path of what is wrong (``datasets[0].path``), or "" for the whole file.
        message: What was found, what is needed, what to write.
        kind: One of `KINDS`, for machines that want to sort findings.
        is_note: Nothing is wrong with the file, but something has to be done before it can run.
        column: Counted from 1; 0 where the fault has no line.
        fix: The correction, where only one is possible.
    """

    file: str
    line: int
    path: str
    message: str
    kind: str
    is_note: bool = False
    column: int = 0
    fix: Fix | None = field(default=None, compare=False)

    @property
    def text(self) -> str:
        """``file:line:column: yaml.path: message``, without the parts that are not known."""
        counted = [str(number) for number in (self.line, self.column) if number]
        where = ":".join([self.file, *counted])
        note = "note" if self.is_note else ""
        return ": ".join(part for part in (where, self.path, note, self.message) if part)

    def as_dict(self) -> dict:
        """The finding as plain JSON values."""
        return asdict(self)


KINDS = {
    "unreadable": "the file is not YAML, or not the kind of YAML that any of the tools reads",
    "unknown-key": "a key that the tool drops without a word",
    "deprecated-key": "a key that the tool will drop, or has dropped",
    "wrong-value": "a value of the wrong type, out of range, or unknown to the tool",
    "missing-key": "a key that the tool cannot do without",
    "missing-file": "a file or folder that is not there",
    "no-effect": "a setting that the tool reads and then does nothing with",
    "data": "data without what the recipe reads from it",
    "tokenizer": "a tokenizer, its special tokens and the chat template do not fit each other",
    "model": "models that do not fit what is done with them",
    "base-model": "a base model that cannot be fetched, or whose licence asks for something",
    "plugin": "a plugin that does not import; Axolotl would train on without it",
    "layer-range": "layers that the model does not have, or none at all",
    "stage": "stages that do not fit each other",
    "refused": "the tool's own validation says no",
    "warning": "the tool's own validation warns of it",
}
