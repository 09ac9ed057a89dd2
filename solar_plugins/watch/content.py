"""What prepared data were made from, as a digest of contents.

Axolotl knows prepared data by what the recipe says: a local file whose rows were replaced has the
same name, and the old rows would be trained. A data set of the Hub is known by its name and
``revision`` alone, as Axolotl has it.
"""

from __future__ import annotations

import glob
import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from solar_plugins import run_record
from solar_plugins.recipes.named_data import datasets_of

_TOKENIZER = ("*token*.json", "*.jinja", "vocab*", "merges.txt", "*.model")
_SETTINGS = (
    *("excess_length_strategy", "min_sample_len", "eval_sequence_len", "rl", "seed"),
    *("shuffle_merged_datasets", "shuffle_before_merging_datasets"),
)
"""Keys that decide which rows are prepared, and that Axolotl's own key leaves out."""
_OLD_WORK = ("checkpoint-*", "step_*", "sdpo_*")


def of_prepared(cfg: Mapping[str, Any], entries: Iterable[Any], tokenizer: str) -> str:
    """A digest of all that decides what the prepared rows of `entries` are, but the recipe's text.

    Args:
        cfg: The recipe.
        entries: Its ``datasets`` or ``test_datasets``; their order counts.
        tokenizer: Hub id or folder.
    """
    entries = [dict(entry) for entry in entries]
    templates = [str(one.get("chat_template_jinja") or "") for one in (cfg, *entries)]
    tokens = [path for pattern in _TOKENIZER for path in sorted(Path(tokenizer).glob(pattern))]
    parts = [
        _digest(_files_of(cfg, entries)),
        _digest([*tokens, *(Path(name) for name in templates if len(name) < 4096)]),
        {key: str(cfg.get(key)) for key in _SETTINGS},
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def set_aside_old_work(cfg: Mapping[str, Any]) -> Path | None:
    """Move away what an earlier training in `output_dir` left, if a file has other rows since.

    Checkpoints and finished steps of sDPO would else be gone on from: the new rows would not be
    trained. Every process of a training may call this at the same time. Files that the recipe names
    now and did not name before are a change of the recipe, which others judge.

    Returns:
        Where the old work is now; None if there is none.
    """
    output = Path(str(cfg["output_dir"]))
    output.mkdir(parents=True, exist_ok=True)
    now = {str(file): _digest([file]) for file in _files_of(cfg, datasets_of(cfg))}
    goes_on = cfg.get("sdpo") or cfg.get("auto_resume_from_checkpoints")
    kept = None
    with FileLock(str(output / "data.lock")):
        before = (run_record.read(output, "data") or {}).get("files", {})
        changed = [file for file, digest in now.items() if before.get(file, digest) != digest]
        old = [path for pattern in _OLD_WORK for path in output.glob(pattern)]
        if changed and old and goes_on:
            kept = output / f"of_other_rows_{before[changed[0]][:8]}"
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir()
            for path in old:
                path.rename(kept / path.name)
        run_record.write(output, "data", {"files": now})
    (output / "data.lock").unlink(missing_ok=True)
    return kept


def local_files(entry: Mapping[str, Any], leave_out: Iterable[Path] = ()) -> list[Path]:
    """The files on this machine that a dataset entry names, in the order in which it does.

    Args:
        leave_out: Folders that a training writes to.
    """
    path, named = Path(str(entry.get("path"))), entry.get("data_files")
    if isinstance(named, Mapping):
        named = [name for names in named.values() for name in _listed(names)]
    if not named:
        return _files(path, leave_out)
    # Axolotl counts data_files from the working directory, `datasets` some from the folder.
    patterns = [str(root) for name in _listed(named) for root in (Path(name), path / str(name))]
    found = [Path(name) for pattern in patterns for name in sorted(glob.glob(pattern))]
    return [file for one in dict.fromkeys(found) for file in _files(one, leave_out)]


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(name) for name in value]


def _files(path: Path, leave_out: Iterable[Path]) -> list[Path]:
    if path.is_file():
        return [path]
    written = [folder.resolve() for folder in leave_out]
    return [
        file
        for file in sorted(path.rglob("*") if path.is_dir() else [])
        if file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
        and not any(file.resolve().is_relative_to(folder) for folder in written)
    ]


def _files_of(cfg: Mapping[str, Any], entries: Iterable[Mapping[str, Any]]) -> list[Path]:
    keys = ("output_dir", "dataset_prepared_path")
    written = [Path(str(cfg[key])) for key in keys if cfg.get(key)]
    return [file for entry in entries for file in local_files(entry, written)]


def _digest(files: Iterable[Path]) -> str:
    digests = []
    for file in files:
        if file.is_file():
            stat = file.stat()
            digests.append(_sha256(file, stat.st_size, stat.st_ctime_ns))
    return hashlib.sha256("".join(digests).encode()).hexdigest()


@lru_cache(maxsize=4096)
def _sha256(file: Path, size: int, changed_ns: int) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
