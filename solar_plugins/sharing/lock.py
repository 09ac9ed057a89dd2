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
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from solar_plugins import __version__
from solar_plugins.chain.chain_file import BASE_MODEL, Chain, Stage, load_chain
from solar_plugins.chain.missing_inputs import is_local
from solar_plugins.chain.resolve import merge_models, resolve
from solar_plugins.chain.run.fingerprint import TOOLS, tool_version
from solar_plugins.chain.run.record import DONE, Record
from solar_plugins.chain.run.run_folder import RunFolder
from solar_plugins.errors import SolarError
from solar_plugins.recipes import global_batch
from solar_plugins.recipes.named_data import datasets_of
from solar_plugins.sharing import digests
from solar_plugins.sharing.pack_files import Contents
from solar_plugins.sharing.trust.file_risks import LOCK, read_json
from solar_plugins.sharing.trust.names import check_name, printable

FORMAT = 1
_RERUN_VERSIONS = ("python", "solar_plugins", *sorted({n for t in TOOLS.values() for n in t}))


_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Revision = Annotated[str, Field(pattern=r"^[\w][\w.+-]*(/[\w][\w.+-]*)*$", max_length=200)]
_Text = Annotated[str, Field(max_length=400)]


def _inside(name: str) -> str:
    check_name(name, "lock")
    return name


_Name = Annotated[str, AfterValidator(_inside)]
_HubId = Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$", max_length=200)]


class LockedFile(BaseModel):
    """A file of the pack."""

    sha256: _Sha256
    size: int


class LockedLocal(BaseModel):
    """A model or dataset that lies beside the recipes; the digest is None if it was not there."""

    source: Literal["local"]
    sha256: _Sha256 | None


class LockedHub(BaseModel):
    """A repository of the Hub; the revision is None where it could not be known."""

    source: Literal["hub"]
    revision: _Revision | None
    pinned: _Revision | None


class LockedStage(BaseModel):
    """A stage, with the digests of what it made where it was run."""

    kind: _Text
    outputs: dict[_Name, _Sha256] = {}


class LockedInputs(BaseModel):
    """Models or datasets by name; what is local has a name that stays inside the folder."""

    local: dict[_Name, LockedLocal]
    hub: dict[_HubId, LockedHub]


class Lock(BaseModel):
    """``solar.lock.json``."""

    format: Literal[1]
    name: _Text
    chain: _Name
    tiny: _Name | None
    versions: dict[_Text, _Text | None]
    models: LockedInputs
    datasets: LockedInputs
    stages: dict[_Name, LockedStage]
    tiny_stages: dict[_Name, LockedStage] = {}
    files: dict[_Name, LockedFile]


def versions() -> dict[str, str | None]:
    """The versions here of everything that a run's weights depend on."""
    found: dict[str, str | None] = {name: tool_version(name) for name in _RERUN_VERSIONS}
    return {**found, "python": platform.python_version(), "solar_plugins": __version__}


def write_lock(contents: Contents, products: Mapping[str, bytes]) -> bytes:
    """The lock of `contents`, with `products`, the files that a run left.

    Paths count from the working directory.
    """
    chain = load_chain(contents.chain)
    models, datasets = _inputs(chain)
    lock: dict[str, Any] = {
        "format": FORMAT,
        "name": chain.name,
        "chain": contents.chain,
        "tiny": contents.tiny,
        "versions": _versions_of_run(chain) or versions(),
        "models": models,
        "datasets": datasets,
        "stages": _stages(chain),
    }
    if contents.tiny and contents.tiny != contents.chain:
        twin = load_chain(contents.tiny)
        lock["tiny_versions"] = _versions_of_run(twin) or versions()
        lock["tiny_stages"] = _stages(twin)
    lock["files"] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for name, data in sorted({**contents.files, **products}.items())
    }
    return (json.dumps(lock, indent=1, allow_nan=False) + "\n").encode()


def read_lock(files: Mapping[str, bytes], source: str) -> dict[str, Any]:
    """The lock of a pack, with the files of the pack verified against it.

    Raises:
        SolarError: it is missing or not a lock file, or a file is missing, changed or not listed.
    """
    if LOCK not in files:
        raise SolarError(f"{source}: has no {LOCK}. `solar pack` writes one; this is not a pack.")
    lock = parse_lock(files[LOCK], source)
    listed = lock["files"]
    for name in files:
        if name != LOCK and name not in listed:
            raise SolarError(f"{source}: {name}: in the pack but not in its {LOCK}.")
    for name, entry in listed.items():
        if name not in files:
            raise SolarError(f"{source}: {name}: in {LOCK} but not in the pack.")
        if hashlib.sha256(files[name]).hexdigest() != entry["sha256"]:
            raise SolarError(f"{source}: {name}: does not have the digest that {LOCK} lists.")
    return lock


def parse_lock(data: bytes, source: str) -> dict[str, Any]:
    """The lock in `data`, its shape checked.

    Raises:
        SolarError: it is not a lock file of a known format.
    """
    lock = read_json(data, f"{source}: {LOCK}")
    if not isinstance(lock, dict) or lock.get("format") != FORMAT:
        raise SolarError(f"{source}: {LOCK}: not a lock of format {FORMAT}.")
    try:
        Lock.model_validate(lock)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = printable(".".join(map(str, first["loc"])))
        raise SolarError(f"{source}: {LOCK}: {where}: {printable(first['msg'])}.") from None
    lock.setdefault("tiny_stages", {})
    for key in ("chain", "tiny"):
        if lock[key] is not None and lock[key] not in lock["files"]:
            raise SolarError(f"{source}: {LOCK}: {key}: names a file that is not in the pack.")
    return lock


def _inputs(chain: Chain) -> tuple[dict[str, Any], dict[str, Any]]:
    """Every model and dataset that the chain takes from elsewhere."""
    models: dict[str, Any] = {"local": {}, "hub": {}}
    datasets: dict[str, Any] = {"local": {}, "hub": {}}

    def note(where: dict[str, Any], name: Any, kind: str, pinned: str | None = None) -> None:
        if not isinstance(name, str) or not name:
            return
        if is_local(name) or os.path.exists(name):
            if not _made_here(name, chain):
                where["local"][os.path.normpath(name)] = digests.of_path(Path(name))
        else:
            where["hub"][name] = digests.of_hub(name, kind, pinned)

    for stage in chain.order():
        recipe = resolve(chain, stage)
        if BASE_MODEL in stage.from_:
            pinned = recipe.get("revision_of_model")
            note(models, chain.base_model, digests.HUB_MODEL, pinned)
        if stage.kind == "merge":
            for name in merge_models(recipe):
                note(models, name, digests.HUB_MODEL)
        elif stage.kind == "train":
            note(models, recipe.get("tokenizer_config"), digests.HUB_MODEL)
            for entry in datasets_of(recipe):
                note(datasets, entry["path"], digests.HUB_DATASET, entry.get("revision"))
    return models, datasets


def _made_here(name: str, chain: Chain) -> bool:
    return Path(os.path.normpath(name)).is_relative_to(chain.output_dir)


def _stages(chain: Chain) -> dict[str, Any]:
    folder = RunFolder(chain.output_dir)
    return {
        stage.name: _stage(chain, stage, folder.read_record(stage.name)) for stage in chain.order()
    }


def _stage(chain: Chain, stage: Stage, record: Record | None) -> dict[str, Any]:
    recipe = resolve(chain, stage)
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


def _versions_of_run(chain: Chain) -> dict[str, Any] | None:
    """The versions that the run of `chain` was made with, from its own note."""
    note = RunFolder(chain.output_dir).hidden / "run.json"
    if not note.is_file():
        return None
    made = json.loads(note.read_text(encoding="utf-8")).get("versions")
    return {**versions(), **made} if isinstance(made, dict) else None
