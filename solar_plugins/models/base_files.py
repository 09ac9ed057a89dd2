"""The files of a base model: where to find them, and which are copied to a deeper model."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from solar_plugins.errors import SolarError
from solar_plugins.models import model_config

CONFIG = "config.json"

# Tokenizers, chat templates, processors and generation settings have many names, and licences must
# be copied too. Weights in any format and the other files of a training run are left out.
_SUFFIXES = {".json", ".jinja", ".txt", ".model", ".tiktoken", ".vocab", ".spm"}
_LICENCES = re.compile(r"(licen[cs]e|notice|use_policy|copying)", re.IGNORECASE)
_LEFT_OUT = re.compile(
    r"config\.json|.*\.index\.json|trainer_state\.json|.*results\.json|adapter_.*|params\.json"
    r"|quantiz\w*config\.json|training_args.*|README.*|debug\.log|requirements.*\.txt|tokens_.*\.txt",
    re.IGNORECASE,
)
_TOKENIZER = re.compile(
    r"tokenizer.*|.*vocab.*|merges\.txt|.*\.(model|tiktoken|spm)|tekken\.json", re.IGNORECASE
)
_TEMPLATES = "additional_chat_templates"


def wanted(weights: bool = True) -> list[str]:
    """Patterns of the files that are downloaded of a model: safetensors and the small ones."""
    small = [*(f"*{suffix}" for suffix in sorted(_SUFFIXES)), "*.py", "README.md"]
    small += ["*LICENSE*", "*NOTICE*", "*USE_POLICY*"]
    return [*small, *(["model*.safetensors", "adapter_model*.safetensors"] if weights else [])]


def find_base(base: str, weights: bool = True) -> Path:
    """The folder of a base: `base` itself, or the snapshot of a Hub id (downloaded unless cached).

    Only the files that `wanted` names are downloaded.

    Raises:
        SolarError: not found locally or on the Hub.
    """
    if Path(base).is_dir():
        return Path(base)
    from huggingface_hub import snapshot_download

    name, revision = model_config.split_revision(base)
    options = {"revision": revision, "allow_patterns": wanted(weights)}
    return Path(_from_hub(base, "the model", snapshot_download, name, **options))


def read_config(base: str) -> dict[str, Any]:
    """``config.json`` of a folder, or of a model on the Hub (from its cache when offline).

    Raises:
        SolarError: it is missing, or not a JSON object.
    """
    if Path(base).is_dir():
        file = Path(base) / CONFIG
        if not file.is_file():
            raise SolarError(f"base_model: {base} holds no {CONFIG}. Name a model's folder.")
    else:
        from huggingface_hub import hf_hub_download

        name, revision = model_config.split_revision(base)
        what, options = f"its {CONFIG}", {"revision": revision}
        file = Path(_from_hub(base, what, hf_hub_download, name, CONFIG, **options))
    return model_config.read(file)


def check_out(out: str | Path, base: str | Path, key: str = "--out") -> None:
    """Require that a model may be written to `out`.

    Raises:
        SolarError: `out` is not empty, or lies in the base's folder.
    """
    out = Path(out)
    check_outside(out, base, key)
    if out.is_symlink() and not out.exists():
        raise SolarError(f"{key}: {out} is a broken link. Name another folder.")
    if out.exists() and not out.is_dir():
        raise SolarError(f"{key}: {out} is a file. Name a folder that does not exist yet.")
    if out.is_dir() and any(out.iterdir()):
        raise SolarError(
            f"{key}: {out} exists and is not empty, and nothing is overwritten. "
            "Name another folder, or remove this one."
        )


def check_outside(out: str | Path, base: str | Path, key: str = "--out") -> None:
    """Require that `out` is not in the base's own folder, which stays unchanged.

    Raises:
        SolarError: it is.
    """
    inside, base = Path(out).resolve(), Path(base)
    if base.is_dir() and base.resolve() in (inside, *inside.parents):
        raise SolarError(
            f"{key}: {out} lies in the base's own folder, which stays unchanged. "
            "Name a folder outside it."
        )


def hub_id(base: str, folder: Path) -> str | None:
    """The Hub id of a base, if it has one: as named, or by the place of `folder` in the cache."""
    if not Path(base).is_dir():
        return model_config.split_revision(base)[0]
    for part in folder.absolute().parts:
        if part.startswith("models--"):
            return part.removeprefix("models--").replace("--", "/", 1)
    return None


def copy_side_files(folder: Path, out: Path, code: bool) -> bool:
    """Copy the files of a base other than its config and weights.

    Args:
        folder: the base.
        out: the new model.
        code: also copy the Python files, which the config of a model with its own code names.

    Returns:
        Whether they include a tokenizer.
    """
    tokenizer = False
    for file in sorted(folder.iterdir()):
        name = file.name
        if not file.is_file() or name.startswith(".") or _LEFT_OUT.fullmatch(name):
            continue
        if file.suffix in _SUFFIXES or _LICENCES.match(name) or (code and file.suffix == ".py"):
            shutil.copyfile(file, out / name)
            tokenizer |= bool(_TOKENIZER.fullmatch(name)) and name != "tokenizer_config.json"
    if (folder / _TEMPLATES).is_dir():
        shutil.copytree(folder / _TEMPLATES, out / _TEMPLATES)
    return tokenizer


def _from_hub(base: str, what: str, fetch: Any, *arguments: Any, **options: Any) -> str:
    from huggingface_hub.errors import HFValidationError, HTTPError, LocalEntryNotFoundError

    try:
        return fetch(*arguments, **options)
    except (HTTPError, HFValidationError, LocalEntryNotFoundError, RuntimeError) as error:
        # huggingface_hub's second try without a network ends in "the client has been closed"
        raise SolarError(
            f"base_model: {base}: not found locally, and {what} could not be downloaded from the "
            f"Hub ({type(error).__name__}). Name a folder, or a Hub id that you can reach."
        ) from None
