"""The run folder: what was run, with what, and what came out.

    <output_dir>/<stage>/                     model, evaluation results or data
    <output_dir>/.solar/run.json              whose run this is
    <output_dir>/.solar/stages/<stage>.json   one record per stage
    <output_dir>/.solar/{resolved,logs,metrics,prepared}/

A stage counts as done because of its record and because its files are the recorded ones, never
because its folder exists.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from solar_plugins import atomic
from solar_plugins.chain.chain_file import Chain
from solar_plugins.chain.run.record import Record
from solar_plugins.errors import SolarError

NOT_OUTPUT = (
    *("checkpoint-*", "incomplete-checkpoint-*", "debug.log", "runs", "wandb", "mlruns"),
    "README.md",  # the model card, which is written anew when there are new scores
)
"""What a training leaves in its folder for resuming, or for people; not handed on."""


class RunFolder:
    """The files below one ``output_dir``."""

    def __init__(self, output_dir: Path) -> None:
        self.output_dir = output_dir
        self.hidden = output_dir / ".solar"

    def stage(self, name: str) -> Path:
        return self.output_dir / name

    def resolved(self, name: str) -> Path:
        return self.hidden / "resolved" / f"{name}.yml"

    def log(self, name: str) -> Path:
        return self.hidden / "logs" / f"{name}.log"

    def metrics(self, name: str) -> Path:
        return self.hidden / "metrics" / f"{name}.jsonl"

    def prepared(self, name: str, fingerprint: str) -> Path:
        """Tokenised data of a training with these inputs."""
        return self.hidden / "prepared" / name / fingerprint[:12]

    def parts(self, name: str) -> Path:
        """What a data stage keeps of an attempt that was stopped."""
        return self.hidden / "parts" / name

    @property
    def temporary(self) -> Path:
        """For outputs that are made whole elsewhere and moved; emptied at every start."""
        return self.hidden / "temporary"

    def _record_path(self, name: str) -> Path:
        return self.hidden / "stages" / f"{name}.json"

    def read_record(self, name: str) -> Record | None:
        """The record of a stage, None if it was never started; SolarError if not readable."""
        path = self._record_path(name)
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            # The folder may have been moved since.
            return Record.from_json(value, (self._note() or {}).get("output_dir", self.output_dir))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SolarError(
                f"{path}: not a record that this version of solar_plugins can read ({error}). "
                f"Delete it together with {self.stage(name)} to make the stage again."
            ) from None

    def write_record(self, record: Record) -> None:
        atomic.write_json(self._record_path(record.stage), record.to_json())

    def upgrade_records(self) -> None:
        """Write the records of earlier versions anew, while the old ``output_dir`` is known."""
        for path in sorted((self.hidden / "stages").glob("*.json")):
            with contextlib.suppress(SolarError):  # of another chain; whoever runs that reads why
                record = self.read_record(path.stem)
                if record and "version" not in json.loads(path.read_text(encoding="utf-8")):
                    atomic.write_json(path, record.to_json())

    def set_aside(self, name: str) -> Path:
        """Move a stage's folder and record to ``<stage>.previous-<time>``; returns the folder."""
        stem = f"{name}.previous-{time.strftime('%Y%m%d-%H%M%S')}"
        names = (stem, *(f"{stem}-{number}" for number in range(2, 1000)))  # twice in a second
        kept = next(path for each in names if not (path := self.output_dir / each).exists())
        record = self._record_path(name)
        os.rename(self.stage(name), kept)
        if record.exists():
            os.rename(record, record.with_name(f"{kept.name}.json"))
        return kept

    def _note(self) -> dict[str, Any] | None:
        """What `write_run` wrote, empty where nothing was run; None if that is not readable."""
        try:
            note = json.loads((self.hidden / "run.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            return None
        return note if isinstance(note, dict) and "chain" in note else None

    def claim(self, chain: Chain) -> None:
        """Raise SolarError unless the folder is new or of `chain`."""
        note = self._note()
        if note is None:
            raise SolarError(
                f"{self.hidden / 'run.json'}: not the note of a run. Choose another output_dir."
            )
        if note and note["chain"] != chain.name:
            raise SolarError(
                f"{self.output_dir}: is the folder of the chain {note['chain']!r} "
                f"({note.get('chain_file')}), not of {chain.name!r}. "
                f"Choose another one: --set output_dir=FOLDER."
            )

    def write_run(self, chain: Chain, chain_text: str, versions: dict[str, str | None]) -> None:
        """Note whose run this is, and keep the chain as it is run."""
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        note = {
            "chain": chain.name,
            "chain_file": str(chain.path),
            "base_model": chain.base_model,
            "output_dir": str(chain.output_dir),
            "created": (self._note() or {}).get("created", now),
            "versions": versions,
        }
        atomic.write_json(self.hidden / "run.json", note)
        atomic.write_text(self.hidden / "chain.yml", chain_text)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder until the process is gone; SolarError if another process holds it."""
        self.hidden.mkdir(parents=True, exist_ok=True)
        with (self.hidden / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise SolarError(
                    f"{self.output_dir}: another solar run (process {file.read().strip()}) "
                    f"is at work here. Wait for it, or end it."
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield


def output_files(folder: Path) -> list[Path]:
    """The files of a stage's folder that are its output, without `NOT_OUTPUT`, sorted."""

    def is_output(path: Path) -> bool:
        parts = path.relative_to(folder).parts
        return not any(fnmatch(part, name) for part in parts for name in NOT_OUTPUT)

    return [path for path in sorted(folder.rglob("*")) if path.is_file() and is_output(path)]


def manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Size, sha256 and modification time of every output file in `folder`."""
    return {
        str(path.relative_to(folder)): {
            "size": path.stat().st_size,
            "sha256": sha256(path),
            "mtime_ns": path.stat().st_mtime_ns,
        }
        for path in output_files(folder)
    }


def refuse_changed(folder: Path, outputs: dict[str, dict[str, Any]]) -> None:
    """Raise SolarError for the first recorded file that is gone or changed.

    Size and modification time decide; of a file with another time the sha256 is compared.
    """
    for name, then in outputs.items():
        path = folder / name
        status = path.stat() if path.exists() else None
        if status is None:
            found = "gone since"
        elif status.st_size != then["size"]:
            found = f"{status.st_size} bytes, but {then['size']} when"
        elif status.st_mtime_ns == then["mtime_ns"] or cached_sha256(path) == then["sha256"]:
            continue
        else:
            found = "its content changed since"
        raise SolarError(
            f"{path}: {found} its stage was done. "
            f"Restore it, or delete {folder} and solar run makes the stage again."
        )


def sha256(path: Path) -> str:
    """The file's SHA-256, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def cached_sha256(path: Path) -> str:
    """`sha256`; in this process the same file is read once, unless its size or time changes."""
    status = path.stat()
    return _sha256_of(path.resolve(), status.st_size, status.st_mtime_ns)


@cache
def _sha256_of(path: Path, size: int, mtime_ns: int) -> str:
    return sha256(path)
