"""Which columns hold the task and the prompt, and both of a batch of rows as Arrow arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from solar_plugins.errors import SolarError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

TASK_COLUMNS = ("_task_name", "task_name")
"""Where FLAN's public copies keep the task: Open-Orca/FLAN, and conceptofmind's copies."""

PROMPT_COLUMNS = (
    ("conversations",),  # SlimOrca, ShareGPT
    ("messages",),
    ("inputs",),  # FLAN
    ("question",),  # OpenOrca
    ("instruction", "input"),  # Alpaca
    ("instruction",),
    ("prompt",),
    ("query",),
    ("chosen",),  # pairs of whole conversations, such as trl-lib/ultrafeedback_binarized
)
"""Shapes of prompts; the first that fits is taken."""

EXAMPLE_CHARACTERS = 400

_USERS = ("human", "user")
_SPEAKER = (("from", "value"), ("role", "content"))


def find_columns(
    source: str,
    names: Sequence[str],
    task_column: str | None,
    prompt_columns: tuple[str, ...] | None,
    recovers: bool,
) -> tuple[str | None, tuple[str, ...]]:
    """Choose the columns of `source` that are read; all others pass through unseen.

    Args:
        task_column, prompt_columns: what the user asked for, or None.
        recovers: there is an index, so that the task can be found in the prompt.

    Returns:
        The column of the task, or None; and those of the prompt, none where it is not read.

    Raises:
        SolarError: a column that was asked for is not there, or nothing names a row's task.
    """
    there = f"its columns are {', '.join(names)}" if names else "it has no row"
    asked = [("task_column", task_column), *(("prompt_column", c) for c in prompt_columns or ())]
    for key, column in asked:
        if column is not None and column not in names:
            raise SolarError(
                f"flan_filter.{key}: {source} has no column {column!r}; {there}."
                f"{nearest(column, names)}"
            )
    task = task_column or next((column for column in TASK_COLUMNS if column in names), None)
    shapes = [prompt_columns] if prompt_columns else PROMPT_COLUMNS
    found = (shape for shape in shapes if recovers and all(column in names for column in shape))
    prompt = next(found, ())
    if task is None and not recovers:
        raise SolarError(
            f"flan_filter.datasets: {source} names no task per row ({there}). Write "
            "task_column if one of them does; for data without names, such as "
            "Open-Orca/OpenOrca, build an index (solar flan-index --from benchmarks --out "
            "flan.index) and write index: flan.index (--index)."
        )
    if task is None and not prompt:
        raise SolarError(
            f"flan_filter.prompt_column: no column of {source} is known to hold the prompt "
            f"({there}). Write prompt_column: NAME (--prompt-column)."
        )
    return task, prompt


def prompts_of(batch: TableRows | JsonRows, columns: tuple[str, ...]) -> pa.Array:
    """The prompt of each row, large_binary; null where the row has none.

    It is the texts of `columns`, one after the other; of a column of conversations, which are lists
    of turns, those of the user.

    Raises:
        SolarError: a column does not hold text, or turns of a conversation.
    """
    import pyarrow as pa
    from pyarrow import compute

    parts = [batch.texts(name) for name in columns]
    if len(parts) == 1:
        return parts[0]
    newline, null = (pa.scalar(text, pa.large_binary()) for text in (b"\n", None))
    joined = compute.binary_join_element_wise(*parts, newline, null_handling="skip")
    is_null = np.all([part.is_null() for part in parts], axis=0)
    return compute.if_else(pa.array(is_null), null, joined)


class TableRows:
    """A batch of rows of a Parquet or Arrow file."""

    invalid_utf8 = 0  # seen where the prompts are counted

    def __init__(self, table: pa.Table, source: str) -> None:
        self.table, self.source = table, source

    def __len__(self) -> int:
        return len(self.table)

    def names(self, column: str) -> pa.Array:
        return self.table.column(column).combine_chunks()

    def texts(self, column: str) -> pa.Array:
        import pyarrow as pa
        from pyarrow import compute

        values = self.names(column)
        kind = values.type
        if is_text(kind):
            return as_bytes(values)
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        is_turn = is_list and pa.types.is_struct(kind.value_type)
        fields = {field.name: field.type for field in kind.value_type} if is_turn else {}
        pairs = (pair for pair in _SPEAKER if all(is_text(fields.get(name)) for name in pair))
        pair = next(pairs, None)
        if pair is None:
            raise _no_text(column, self.source, kind)
        flat = values.flatten()
        user = compute.is_in(flat.field(pair[0]).cast(pa.string()), pa.array(_USERS))
        rows = compute.list_parent_indices(values).filter(user).to_numpy(zero_copy_only=False)
        texts = as_bytes(flat.field(pair[1]).filter(user))
        offsets = np.searchsorted(rows, np.arange(len(values) + 1)).astype(np.int64)
        grouped = pa.LargeListArray.from_arrays(pa.array(offsets), texts.fill_null(b""))
        return compute.binary_join(grouped, pa.scalar(b"\n", pa.large_binary()))

    def row(self, position: int) -> dict:
        """The texts of one row, each as far as an example shows it."""
        import pyarrow as pa

        row = {name: self.table.column(name)[position] for name in self.table.column_names}
        kinds = (pa.StringScalar, pa.LargeStringScalar)
        return {k: beginning(v) for k, v in row.items() if v.is_valid and isinstance(v, kinds)}

    def kept(self, stays: pa.BooleanArray) -> pa.Table:
        return self.table if stays.true_count == len(self) else self.table.filter(stays)


class JsonRows:
    """A batch of lines of JSON, each beside the object that it holds."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines: list[bytes] = []
        self.rows: list[dict] = []
        self.bytes = self.invalid_utf8 = 0

    def __len__(self) -> int:
        return len(self.lines)

    def add(self, line: bytes, row: dict, is_utf8: bool) -> None:
        self.lines.append(line)
        self.rows.append(row)
        self.bytes += len(line)
        self.invalid_utf8 += not is_utf8

    def names(self, column: str) -> pa.Array:
        import pyarrow as pa

        try:
            return pa.array([row.get(column) for row in self.rows])
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise SolarError(
                f"flan_filter.task_column: {column!r} of {self.source} holds values of several "
                "kinds. Name a column of task names."
            ) from error

    def texts(self, column: str) -> pa.Array:
        import pyarrow as pa

        texts = [self._text(row.get(column), column) for row in self.rows]
        return pa.array(texts, pa.large_binary())

    def row(self, position: int) -> dict:
        return {k: v for k, v in self.rows[position].items() if isinstance(v, str)}

    def kept(self, stays: pa.BooleanArray) -> list[bytes]:
        lines = zip(self.lines, stays.to_pylist(), strict=True)
        return [line if line.endswith(b"\n") else line + b"\n" for line, stay in lines if stay]

    def _text(self, value: Any, column: str) -> bytes | None:
        if value is None:
            return None
        texts = [value]
        if not isinstance(value, str):
            turns = value if isinstance(value, list) else [value]
            if not all(isinstance(turn, dict) for turn in turns):
                raise _no_text(column, self.source, type(value).__name__)
            pairs = ((turn.get(who), turn.get(what)) for turn in turns for who, what in _SPEAKER)
            texts = [str(text) for who, text in pairs if who in _USERS and text is not None]
        return "\n".join(texts).encode("utf-8", errors="surrogatepass")


def _no_text(column: str, source: str, kind: object) -> SolarError:
    return SolarError(
        f"flan_filter.prompt_column: {column!r} of {source} holds {kind}, not text. Name the "
        "column of the prompt."
    )


def is_text(kind: pa.DataType | None) -> bool:
    """Whether a column of this type holds texts, or nothing."""
    import pyarrow.types as types

    if kind is None:
        return False
    kind = kind.value_type if types.is_dictionary(kind) else kind
    tests = (types.is_string, types.is_large_string, types.is_string_view, types.is_null)
    return any(test(kind) for test in tests)


def as_bytes(texts: pa.Array) -> pa.Array:
    """Texts as large_binary, without asking whether they are valid UTF-8."""
    import pyarrow as pa

    if pa.types.is_dictionary(texts.type):
        texts = texts.dictionary_decode()
    if pa.types.is_string_view(texts.type):
        texts = texts.cast(pa.binary_view())
    return texts.cast(pa.large_binary())


def beginning(text: pa.Scalar) -> str:
    """As much of a text as an example shows; what is not UTF-8 is shown as U+FFFD."""
    shown = text.as_buffer()[: 4 * EXAMPLE_CHARACTERS].to_pybytes()
    return shown.decode("utf-8", errors="replace")


def buffer_of(prompts: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bytes of a large_binary array and where each value begins and ends, without copying."""
    _, offsets, data = prompts.buffers()
    places = np.frombuffer(offsets, np.int64)[prompts.offset : prompts.offset + len(prompts) + 1]
    begins, ends = places[:-1], places[1:]
    if prompts.null_count:
        ends = np.where(prompts.is_null().to_numpy(zero_copy_only=False), begins, ends)
    text = np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8)
    return text, begins, ends
