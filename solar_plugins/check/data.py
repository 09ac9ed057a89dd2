"""The datasets of a recipe: named as Axolotl reads them, of a known type, with what it needs.

Axolotl looks for the file, the type and the columns when it loads and tokenises, after the model's
config and the tokenizer. Some it never finds: a missing output of a user-defined type trains on
empty answers, a null cell on the word "None", a second streamed dataset on nothing.
"""

from __future__ import annotations

import glob
import os
import string
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import util
from pathlib import Path
from typing import Any

from solar_plugins.check import data_files
from solar_plugins.check.data_files import Rows
from solar_plugins.check.files import Files
from solar_plugins.check.finding import RULES, suggestion
from solar_plugins.check.keys import unknown_name
from solar_plugins.check.source import Path_, YamlFile, at, short
from solar_plugins.check.tool_schemas import known
from solar_plugins.installed import is_missing
from solar_plugins.recipes.columns import CHAT, Fault, RowReader
from solar_plugins.recipes.named_data import FORMATS, MOVED

LISTS = ("datasets", "test_datasets", "pretraining_dataset")

_TYPES = {"": "sft", "dpo": "dpo", "ipo": "dpo", "simpo": "dpo", "kto": "kto", "orpo": "orpo"}
"""By ``rl``: which of Axolotl's folders of prompt strategies reads the data."""

_SAMPLE = 1000  # rows whose tokens are counted
_MANY = 0.1  # share of rows lost as too long that is worth a word


def lists_of(recipe: dict[str, Any]) -> list[Path_]:
    """The place of every list of dataset entries of a recipe, those of the steps of sDPO too."""
    places: list[Path_] = [(key,) for key in LISTS if key in recipe]
    steps = at(recipe, ("sdpo", "steps"))
    for index, step in enumerate(steps if isinstance(steps, list) else []):
        keys = LISTS[:2] if isinstance(step, dict) else ()
        places += [("sdpo", "steps", index, key) for key in keys if key in step]
    return places


def check(source: YamlFile, files: Files) -> list[tuple[Path_, Any]]:
    """Add what is wrong in the datasets of the recipe `source`.

    Returns:
        The ``type`` of each entry, with its place.
    """
    types = []
    for place in lists_of(source.content):
        entries = at(source.content, place)
        if place == ("pretraining_dataset",) and isinstance(entries, str | dict):
            entries = [entries if isinstance(entries, dict) else {"path": entries}]
        if entries in (None, []) and place[-1] == "datasets":
            if not source.content.get("pretraining_dataset"):
                source.say(place, "missing-key/datasets")
        elif entries is not None and not (
            isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
        ):
            source.say(place, "wrong-value/datasets", found=short(entries))
        else:
            for index, entry in enumerate(entries or []):
                types.append(((*place, index, "type"), entry.get("type")))
                _Entry(source, (*place, index), entry).check(files)
            if place[-1] == "test_datasets":
                _held_out(source, place, entries or [])
    return types


def _held_out(source: YamlFile, place: Path_, entries: list[dict[str, Any]]) -> None:
    """Rows to evaluate on that are trained as well: their loss says nothing of other texts."""

    def rows(entry: dict[str, Any], split: str) -> tuple[str, ...]:
        split = "train" if os.path.isfile(str(entry.get("path"))) else split
        named = [str(entry.get(key)) for key in ("path", "name", "data_files", "shards_idx")]
        return (*named, str(entry.get("split") or split))

    trained = at(source.content, (*place[:-1], "datasets"))
    trained = [one for one in trained if isinstance(one, dict)] if isinstance(trained, list) else []
    known_rows = {rows(entry, "train"): index for index, entry in enumerate(trained)}
    for index, entry in enumerate(entries):
        same = known_rows.get(rows(entry, "test"))
        if same is not None:
            source.say((*place, index), "data/trained-rows", True, same=same)


class _Entry:
    """One dataset entry of the recipe `source`, at `place`."""

    def __init__(self, source: YamlFile, place: Path_, entry: dict[str, Any]) -> None:
        recipe = source.content
        self.source, self.place, self.entry = source, place, entry
        self.path, self.rl = str(entry.get("path") or ""), str(recipe.get("rl") or "")
        # Streams are loaded by `datasets` itself, all others by Axolotl's own function.
        packs = bool(recipe.get("streaming") and recipe.get("sample_packing"))
        self.is_stream = place[0] == "pretraining_dataset" or (packs and place[0] == "datasets")

    def say(self, where: str | Path_, what: str, is_note: bool = False, /, **values: Any) -> None:
        where = (where,) if isinstance(where, str) else where
        what = what if "/" in what else f"data/{what}"
        self.source.say((*self.place, *where), what, is_note, **{"path": self.path, **values})

    def check(self, files: Files) -> None:
        if not self.path:
            self.say((), "missing-key/path")
            return
        if today := MOVED.get(self.path):
            self.say("path", "moved", True, today=today, new_value=today)
        before = len(self.source.findings)
        if self.place[0] == "pretraining_dataset" and self.place[-1] != 0:
            self.say((), "no-effect/second-stream")
            return
        self._form(files)
        self._type()
        self._formats()
        if len(self.source.findings) == before:
            self._rows()

    def _form(self, files: Files) -> None:
        """Whether local files are named in the way that this key takes."""
        path, given = self.path, self.entry.get("data_files")
        names = data_files.named_files(self.entry)
        is_loader = path in FORMATS and not os.path.exists(path)
        in_files = is_loader and bool(given)
        for name in names if in_files else [path]:
            place = "data_files" if in_files else "path"
            if name.startswith("~"):
                self.say(place, "home", name=name, whole=os.path.expanduser(name))
            elif any(mark in name for mark in "*?[") and "://" not in name:
                if not in_files:
                    self.say(place, "pattern", name=name)
                elif not glob.glob(name):
                    self.say(place, "missing-file/pattern", name=name)
            else:
                files.expect_data(self.source, (*self.place, place), name)
        if is_loader and not given:
            self.say("path", "format-in-stream" if self.is_stream else "format")
        loader = data_files.loader_of(path)
        if self.is_stream and loader and (os.path.isfile(path) or "://" not in path):
            self.say("path", "file-of-stream", loader=loader)
        elif not self.is_stream and is_loader and given:
            kind = "" if self.rl else f" and `ds_type: {path}`"
            way = ", and as an entry of its own ".join(f"`path: {name}`{kind}" for name in names)
            self.say("path", "format-with-files", way=way)
        elif not self.is_stream and given and os.path.isdir(path):
            for name in names:
                if not os.path.exists(name) and (Path(path) / name).is_file():
                    self.say("data_files", "other-folder", name=name, whole=Path(path) / name)
        read_as = self.entry.get("ds_type")
        is_other = isinstance(read_as, str) and loader not in (None, "text", read_as)
        if is_other and os.path.isfile(path):
            self.say("ds_type", "loader", new_value=loader, found=read_as, loader=loader)
        self._split()

    def _split(self) -> None:
        """A single file has one split; those of a folder are in the names of its files."""
        split, path = self.entry.get("split"), Path(self.path)
        is_file = path.is_file() or (self.is_stream and self.path in FORMATS)
        if not isinstance(split, str):
            return
        name = split.partition("[")[0]
        strange = [part for part in split.split("+") if part.partition("[")[0].strip() != "train"]
        if is_file and strange:
            fix = split.replace(name, "train", 1) if "+" not in split else "train"
            self.say("split", "one-split", new_value=fix, found=strange[0].partition("[")[0])
        elif path.is_dir() and name in ("test", "validation") and not self.entry.get("data_files"):
            words = ("test", "eval") if name == "test" else ("val", "dev")
            inside = [f.relative_to(path).as_posix().lower() for f in path.rglob("*")]
            # A README.md may name the splits, and a saved dataset has no others.
            names_itself = {"readme.md", "state.json", "dataset_dict.json"} & {*inside}
            if not names_itself and not any(word in file for word in words for file in inside):
                self.say("split", "no-split", name=name)

    def _type(self) -> None:
        """Axolotl looks for the type when it loads the data, after the model was fetched."""
        name = self.entry.get("type")
        if not isinstance(name, str) or self.rl not in _TYPES:
            return
        if name == CHAT and self.rl and self.place[0] != "sdpo":
            return self.say("type", "type-of-sdpo", rl=self.rl, name=name)
        names = known("axolotl")["dataset_types"][_TYPES[self.rl]]
        base = name.split(":")[0]
        if base in names or base.startswith(("bradley_terry.", "messages.", "ebft")):
            return
        module = base.rpartition(".")[0]
        if module and util.find_spec(module.split(".")[0]) is not None:
            return  # somebody's own strategy, named by its dotted path
        found = f"Axolotl has no dataset type {name!r}."
        unknown_name(self.source, (*self.place, "type"), found, base, names)

    def _formats(self) -> None:
        """The prompt formats of a user-defined type.

        A format without its placeholder trains on prompts without the question, in silence; an
        unknown one is a KeyError when the data are tokenised.
        """
        kind = self.entry.get("type")
        for key, names in RULES["placeholders"].items():
            needed, *_ = placeholders = names.split()
            text = kind.get(key) if isinstance(kind, Mapping) else None
            if not isinstance(text, str):
                continue
            here = ("type", key)
            try:
                fields = [name for _, name, _, _ in string.Formatter().parse(text) if name]
            except ValueError as error:
                self.say(here, "wrong-value/format", fault=error, text=text)
                continue
            strange = [name for name in fields if name not in placeholders]
            for name in strange:
                _, hint = suggestion(name, placeholders)
                has = ", ".join(f"{{{n}}}" for n in sorted(placeholders))
                self.say(here, "wrong-value/placeholder", name=name, has=has, hint=hint)
            if needed not in fields and not strange:
                self.say(here, "wrong-value/no-placeholder", needed=needed, text=short(text))

    def _rows(self) -> None:
        """What the data have, against what is read from them."""
        entry = self.entry
        if self.place[0] == "pretraining_dataset":
            entry = {"type": "pretrain", **entry}
        reader = RowReader(entry, self.rl, bool(self.source.content.get("train_on_inputs")))
        lengths: list[bool] = []
        try:
            for rows in data_files.find(entry):
                if self._columns(reader, rows):
                    self._cells(reader, rows)
                    lengths += self._lengths(reader, rows, _SAMPLE - len(lengths))
        except data_files.UnreadableData as error:
            self.say("path", "unreadable", fault=error)
        except ModuleNotFoundError as error:  # the light install
            self.say("path", "not-read", True, why=is_missing(str(error.name)))
        if lost := sum(lengths):
            length = self.source.content.get("sequence_len") or 512  # as Axolotl takes it
            values = {"lost": lost, "rows": len(lengths), "length": length}
            if lost == len(lengths):
                self.say("path", "all-too-long", **values)
            elif lost > _MANY * len(lengths):
                self.say("path", "too-long", True, **values)

    def _columns(self, reader: RowReader, rows: Rows) -> bool:
        """Whether the data have all columns that are read; a finding for each that they lack."""
        recipe, missing = self.source.content, False
        reads_any = self.rl or self.is_stream or recipe.get("skip_prepare_dataset")
        if self.entry.get("type") is None and not reads_any and "input_ids" not in rows.columns:
            found = "empty" if "type" in self.entry else "missing"
            self.say("type", "missing-key/type", found=found)
            return False
        for column in reader.columns:
            if column.may_be_missing or any(name in rows.columns for name in column.names):
                continue
            missing = True
            name = column.names[0]
            meant, hint = suggestion(name, rows.columns)
            fix = meant if column.key[-1].startswith("field") else None
            has = {"names": " or ".join(map(repr, column.names)), "has": ", ".join(rows.columns)}
            where = {"where": rows.where, "hint": hint}
            self.say(column.key, "no-column", new_value=fix, **has, **where)
        if missing or not self.rl or self.entry.get("type") != "chat_template.default":
            return not missing
        # UltraFeedback and its like keep prompt and chosen answer in `messages`.
        if "field_messages" in self.entry or not {"messages", "prompt"} <= set(rows.columns):
            return True
        self.say("type", "both-answers", new_value="chat_template.argilla_chat")
        return False

    def _cells(self, reader: RowReader, rows: Rows) -> None:
        """A finding for each kind of fault in the cells, with the rows that have it."""
        found: dict[Fault, list[int]] = {}
        for number, row in enumerate(rows.rows, 1):
            for fault in reader.faults(row):
                found.setdefault(fault, []).append(number)
        part = "" if rows.is_whole else f" (the first {len(rows.rows)} rows were read)"
        for fault, numbers in found.items():
            which = f"row{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers[:3]))}"
            more = f" and {len(numbers) - 3} more" if len(numbers) > 3 else ""
            if len(numbers) == len(rows.rows) > 1:
                which, more = f"all {len(numbers)} rows", ""
            which, where = which + more, rows.where + part
            self.say(
                fault.column.key, "rows", fault.is_note, which=which, where=where, fault=fault.text
            )

    def _lengths(self, reader: RowReader, rows: Rows, most: int) -> list[bool]:
        """For up to `most` rows: whether a row is surely dropped as too long for the training."""
        recipe = self.source.content
        length, kind = recipe.get("sequence_len") or 512, self.entry.get("type")
        model = recipe.get("tokenizer_config") or self.source.base_model
        strategy = str(recipe.get("excess_length_strategy") or "drop").lower()
        is_cut = self.is_stream or kind == "completion" or strategy == "truncate"
        if is_cut or not isinstance(length, int) or not isinstance(model, str):
            return []
        texts = [reader.texts(row) for row in rows.rows[: max(most, 0)]]
        # A token has at least one byte, so the tokenizer is loaded only for long rows.
        if all(len(text.encode()) <= length for row in texts for text in row):
            return [False] * len(texts)
        count = _token_counter(model)
        return [any(count(text) > length for text in row) for row in texts] if count else []


@lru_cache(maxsize=4)
def _token_counter(model: str) -> Callable[[str], int] | None:
    """Counts the tokens of a text; None where the tokenizer, or its library, is not here."""
    from huggingface_hub import try_to_load_from_cache

    try:
        from tokenizers import Tokenizer
    except ImportError:
        return None
    file: Any = Path(os.path.expanduser(model)) / "tokenizer.json"
    try:
        file = file if file.is_file() else try_to_load_from_cache(model, "tokenizer.json")
        tokenizer = Tokenizer.from_file(str(file))
    except Exception:  # which is what `tokenizers` itself raises
        return None  # not on this machine, or not one of this library
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
