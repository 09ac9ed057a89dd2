"""The lock: what a chain was packed with, so that others can tell whether theirs is the same.

``solar.lock.json`` holds the digest of every file of the pack, revision or digest of every model
and dataset, the tools' versions, seed and effective batch of every stage, and, where the chain was
run, the digest of what came out.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from solar_plugins import __version__, atomic
from solar_plugins.chain.chain_file import BASE_MODEL, Chain, Stage, load_chain
from solar_plugins.chain.missing_inputs import is_local
from solar_plugins.chain.resolve import resolve
from solar_plugins.chain.run.fingerprint import TOOLS, tool_version
from solar_plugins.chain.run.record import DONE, Record
from solar_plugins.chain.run.run_folder import RunFolder, output_files, sha256
from solar_plugins.check.source import TEXTS
from solar_plugins.errors import SolarError
from solar_plugins.models import hub
from solar_plugins.recipes import global_batch
from solar_plugins.report.provenance import taken_by
from solar_plugins.sharing.trust.file_risks import LOCK, read_json
from solar_plugins.sharing.trust.names import check_name, printable

FORMAT = 1
_RERUN_VERSIONS = ("python", "solar_plugins", *sorted({n for t in TOOLS.values() for n in t}))

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Revision = Annotated[str, Field(pattern=r"^[\w][\w.+-]*(/[\w][\w.+-]*)*$", max_length=200)]
_Text = Annotated[str, Field(max_length=400)]
_HubId = Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$", max_length=200)]


def _inside(name: str) -> str:
    check_name(name, "lock")
    return name


_Name = Annotated[str, AfterValidator(_inside)]


class LockedFile(BaseModel):
    """A file of the pack."""

    sha256: _Sha256
    size: int


class LockedInput(BaseModel):
    """A model or dataset: what lies beside the recipes has a digest, what the Hub has a revision.

    None is what was not there, or could not be known.
    """

    source: Literal["local", "hub"]
    sha256: _Sha256 | None = None
    revision: _Revision | None = None


class LockedInputs(BaseModel):
    """Models or datasets by name; what is local has a name that stays inside the folder."""

    local: dict[_Name, LockedInput]
    hub: dict[_HubId, LockedInput]


class LockedStage(BaseModel, extra="allow"):
    """A stage, with the digests of what it made where it was run."""

    kind: _Text
    outputs: dict[_Name, _Sha256] = {}


class Lock(BaseModel, extra="allow"):
    """``solar.lock.json``; that of a run folder holds models and data sets alone."""

    format: Literal[1]
    name: _Text
    chain: _Name
    tiny: _Name | None = None
    versions: dict[_Text, _Text | None] = {}
    models: LockedInputs
    datasets: LockedInputs
    stages: dict[_Name, LockedStage] = {}
    tiny_stages: dict[_Name, LockedStage] = {}
    files: dict[_Name, LockedFile] = {}


def versions() -> dict[str, str | None]:
    """The versions here of everything that a run's weights depend on."""
    found: dict[str, str | None] = {name: tool_version(name) for name in _RERUN_VERSIONS}
    return {**found, "python": platform.python_version(), "solar_plugins": __version__}


def write_lock(chain_file: str, tiny: str | None, files: Mapping[str, bytes]) -> bytes:
    """The lock of the pack of a chain; paths count from the working directory.

    Args:
        tiny: The same chain at tiny size, if there is one.
        files: All other files of the pack.
    """
    chain = hold(load_chain(chain_file), keep=False)[0]
    lock: dict[str, Any] = {
        "format": FORMAT,
        "name": chain.name,
        "chain": chain_file,
        "tiny": tiny,
        "versions": _versions_of_run(chain),
        **_inputs(chain),
        "stages": {stage.name: _stage(chain, stage) for stage in chain.order()},
    }
    if tiny and tiny != chain_file:
        twin = load_chain(tiny)
        lock["tiny_versions"] = _versions_of_run(twin)
        lock["tiny_stages"] = {stage.name: _stage(twin, stage) for stage in twin.order()}
    lock["files"] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for name, data in sorted(files.items())
    }
    return (json.dumps(lock, indent=1, allow_nan=False) + "\n").encode()


def _parsed(data: bytes, source: str) -> Lock:
    content = read_json(data, f"{source}: {LOCK}")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise SolarError(f"{source}: {LOCK}: not a lock of format {FORMAT}.")
    try:
        return Lock.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = printable(".".join(map(str, first["loc"])))
        raise SolarError(f"{source}: {LOCK}: {where}: {printable(first['msg'])}.") from None


def read_lock(data: bytes, source: str) -> Lock:
    """The lock in `data`.

    Raises:
        SolarError: it is not a lock file of a known format.
    """
    lock = _parsed(data, source)
    for key, name in (("chain", lock.chain), ("tiny", lock.tiny)):
        if name is not None and name not in lock.files:
            raise SolarError(f"{source}: {LOCK}: {key}: names a file that is not in the pack.")
    return lock


def digest_of(path: Path) -> str | None:
    """SHA-256 of a file, or of the names and digests of a folder's files; None if not there.

    Training checkpoints in a folder do not count.
    """
    if path.is_file():
        return sha256(path)
    if not path.is_dir():
        return None
    total = hashlib.sha256()
    for file in output_files(path):
        total.update(f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n".encode())
    return total.hexdigest()


def hold(chain: Chain, keep: bool = True) -> tuple[Chain, list[str], list[str]]:
    """Hold every model and data set of the Hub that `chain` takes to one commit.

    In this order: what a recipe or the chain names, the lock of the run folder, that of an unpacked
    pack, the local cache, the Hub, which is asked about what is not in a lock yet.

    Args:
        keep: Write what is new to the run folder's lock.

    Returns:
        The chain with all commits in `revisions`; what cannot be had, with the way out; what has
        moved or is not known.

    Raises:
        SolarError: a lock cannot be read, or the run folder is another chain's.
    """
    folder, silence = RunFolder(chain.output_dir), None
    locked = {**_locked(Path(LOCK)), **_locked(folder.hidden / LOCK)}
    found, faults, notes, unknown = dict(locked), list[str](), list[str](), list[str]()
    for (kind, name), pinned in _taken(chain).items():
        if not is_of_hub(name, chain):
            continue
        known, cached = locked.get((kind, name)), hub.cached_commit(name, kind)
        commit = pinned or known or cached
        if not silence and (commit is None or (pinned and pinned != known)):
            info, fault, silence = hub.ask(name, kind, pinned, is_here=cached is not None)
            if fault:
                values = {"model": name, "page": hub.page(name, kind), "revision": pinned}
                faults.append(TEXTS["base-model"][fault].format(**values))
            elif info is not None and info.id.lower() != name.lower():
                notes.append(TEXTS["data"]["moved"].format(path=name, today=info.id))
            commit = getattr(info, "sha", None) or commit
        if commit is None:
            unknown.append(name)
        elif not (pinned and silence):  # else it is looked for the next time
            found[kind, name] = commit
    if silence and unknown:
        notes.append(f"not pinned, no commit is known ({silence}): {', '.join(unknown)}")
    if keep and not faults and found != locked:
        folder.claim(chain)
        lock: dict[str, Any] = {"format": FORMAT, "name": chain.name, "chain": chain.path.name}
        lock |= {kind: {"local": {}, "hub": {}} for kind in ("models", "datasets")}
        for (kind, name), commit in found.items():
            lock[f"{kind}s"]["hub"][name] = {"source": "hub", "revision": commit}
        atomic.write_json(folder.hidden / LOCK, lock)
    commits = {name: commit for (_, name), commit in found.items()}
    return replace(chain, revisions={**commits, **chain.revisions}), faults, notes


def _locked(file: Path) -> dict[tuple[str, str], str]:
    """The commits in a lock file, by kind and name; none where there is no such file."""
    lock = _parsed(file.read_bytes(), str(file.parent)) if file.is_file() else None
    every = (("model", lock.models.hub), ("dataset", lock.datasets.hub)) if lock else ()
    return {(kind, n): e.revision for kind, them in every for n, e in them.items() if e.revision}


def _taken(chain: Chain) -> dict[tuple[str, str], str | None]:
    """Kind and name of every model and dataset that the chain takes from elsewhere, with the
    revision that it names."""
    found: dict[tuple[str, str], str | None] = {}
    for stage in chain.order():
        base = chain.base_model if BASE_MODEL in stage.from_ else None
        for kind, name, pinned in taken_by(stage.kind, resolve(chain, stage), base):
            found[kind, name] = found.get((kind, name)) or pinned or chain.revisions.get(name)
    return found


def is_of_hub(name: str, chain: Chain) -> bool:
    """Whether a model or data set is neither here nor made by a stage."""
    made_here = Path(os.path.normpath(name)).is_relative_to(chain.output_dir)
    return not (made_here or is_local(name) or os.path.exists(name))


def _inputs(chain: Chain) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]]
    found = {kind: {"local": {}, "hub": {}} for kind in ("models", "datasets")}
    for (kind, name), commit in _taken(chain).items():
        local, on_hub = found[f"{kind}s"].values()
        if is_of_hub(name, chain):
            on_hub[name] = {"source": "hub", "revision": commit}
        elif not Path(os.path.normpath(name)).is_relative_to(chain.output_dir):
            place = os.path.relpath(name)
            if place.startswith(".."):
                way = f"Copy it into the project, or name a {kind} on the Hub."
                raise SolarError(f"{chain.path}: {name} is outside the project. {way}")
            local[place] = {"source": "local", "sha256": digest_of(Path(name))}
    return found


def _stage(chain: Chain, stage: Stage) -> dict[str, Any]:
    recipe, record = resolve(chain, stage), RunFolder(chain.output_dir).read_record(stage.name)
    entry: dict[str, Any] = {"kind": stage.kind, "from": list(stage.from_)}
    if stage.kind == "train":
        entry |= _batch(recipe, record)
    if stage.kind in ("train", "data"):
        entry["seed"] = recipe.get("seed")
    if record is not None and record.state == DONE:
        entry["outputs"] = {name: file["sha256"] for name, file in record.outputs.items()}
        if record.facts.get("h6"):
            entry["h6"] = record.facts["h6"]
    return entry


def _batch(recipe: dict[str, Any], record: Record | None) -> dict[str, Any]:
    """Sequences per optimizer step: a run on other hardware has to keep this number."""
    proofs = record.facts.get("proofs", {}) if record is not None else {}
    world = proofs.get("stage", {}).get("world_size")
    steps = global_batch.accumulation_steps(recipe, world or 1)
    is_declared = recipe.get(global_batch.KEY) is not None
    return {
        "micro_batch_size": int(recipe.get("micro_batch_size") or 1),
        "gradient_accumulation_steps": steps if world or not is_declared else None,
        "world_size": world,
        "effective_batch": global_batch.of(recipe, world or 1) if world or is_declared else None,
        "sequence_len": recipe.get("sequence_len"),
    }


def _versions_of_run(chain: Chain) -> dict[str, Any]:
    """The versions that the run of `chain` was made with, from its own note; else those here."""
    note = RunFolder(chain.output_dir).hidden / "run.json"
    made = json.loads(note.read_text(encoding="utf-8")).get("versions") if note.is_file() else None
    return {**versions(), **made} if isinstance(made, dict) else versions()
