"""What in chains, recipes, merge and evaluation configs of a stranger has to be allowed.

A key passes if it is in `harmless.KEYS`, and a text if it has a harmless form. Anything else is a
risk; all other rules only give a known risk its precise name. The rules apply at every
depth and to every kind of file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import solar_plugins
from solar_plugins.check.source import Path_, dotted, walk
from solar_plugins.check.tool_schemas import known
from solar_plugins.recipes.registry import STAGE_KINDS
from solar_plugins.sharing.trust import harmless, templates
from solar_plugins.sharing.trust.risk import Risk

_ARGUMENT_KEYS = ("model_args", "gen_kwargs", "model_kwargs", "optim_args")
"""Their value may be ``a=b,c=d``: keys as well."""

_LM_EVAL_MODELS = ("hf", "hf-auto", "huggingface", "hf-multimodal", "vllm")
_PICKLE_LOADERS = ("pandas", "pickle", "generator", "spark", "cache", "sql", "hdf5")
_PICKLE_SUFFIXES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".dill", ".npy")
_CODE_SUFFIXES = (".py", ".pyc", ".so", ".sh", ".ipynb")
_ABSOLUTE = re.compile(r"(/|~|\\\\|[A-Za-z]:[\\/]|file:)")
_VARIABLE = re.compile(r"\$\{?[A-Za-z_]\w*|%[A-Za-z_]\w*%|\$\(\(")
_COMMAND = re.compile(r"\$\(|`|&&|\|\||;\s*\w|\|\s*(ba|z|da)?sh\b|>\s*/|\b(curl|wget|rm|bash) -")
_HARMLESS_TEXT = re.compile(r"[\w ./@:+,=\[\]()%*#?~^-]*")
"""Names, Hub ids, relative paths, numbers, splits such as ``train[:5%]``."""

# What fsspec opens besides the stores that Axolotl names: files of this machine, other machines,
# what is inside an archive, one address behind another.
_ADDRESS = re.compile(
    r"(?<![\w+.-])(?!(https?|hf|s3|gs|gcs|az|abfs|oci)://)[a-z][\w+.-]*://|::|\b(file|local):", re.I
)
_REMOTE_STORES = ("s3://", "gs://", "gcs://", "az://", "abfs://", "oci://", "ftp://", "ssh://")
_OFF = (None, False, "", 0, "false", "False", "no", "off", "none", "disabled", "offline")


def risks_of(
    content: Any, file: str, kind: str | None, lines: Mapping[Path_, int] = MappingProxyType({})
) -> Iterator[Risk]:
    """Every risk in what a YAML or JSON file of a pack holds.

    Args:
        content: The mapping.
        file: Its name in the pack.
        kind: Which tool reads it, see `solar_plugins.check.kind_of`; ``deepspeed`` for JSON.
        lines: The line of each place.
    """
    for place, key, value in values_of(content):
        risks = list(_key_risks(place, key, value, kind))
        is_key = isinstance(place[-1], str)
        if is_key and not risks and value is not None and _is_first_unknown(place):
            risks = [("unknown_setting", value)]
        if isinstance(value, str) and value not in _OFF:
            risks += _text_risks(place, key, value, file)
        for risk, found in risks:
            shown = "a block" if isinstance(found, dict) else str(found)
            yield Risk(file, lines.get(place, 0), risk, dotted(place), shown)


def values_of(value: Any) -> Iterator[tuple[Path_, str, Any]]:
    """Every value at every depth, with the nearest key above it; a mapping in a list is none."""
    for place, item in walk(value):
        keys = [_plain(part) for part in place if isinstance(part, str)]
        if place and not (isinstance(place[-1], int) and isinstance(item, dict)):
            yield place, keys[-1] if keys else "", item


def _plain(key: Any) -> str:
    """The key that is set; a chain's ``set:`` and the command line dot the blocks before it."""
    return str(key).strip().lower().replace("-", "_").rsplit(".", 1)[-1].lstrip("_")


def _is_first_unknown(place: Path_) -> bool:
    """Whether the last key is not known to be harmless, and all blocks around it are."""
    return not _is_known(place) and _is_known(place[:-1])


def _is_known(place: Path_) -> bool:
    """Whether every key is known: harmless, a name of the author's, or a risk with a name."""
    block = ""
    for part in place:
        if isinstance(part, int):
            continue
        for name in [part] if block in harmless.NAMED_BY_USER else part.split("."):
            if block in harmless.NAMED_BY_USER:
                block = ""
            elif name in harmless.KEYS or harmless.named_risk(_plain(name)):
                block = name
            else:
                return False
    return True


def _key_risks(place: Path_, key: str, value: Any, kind: str | None) -> Iterator[tuple[str, Any]]:
    if value in _OFF or (isinstance(value, list | dict) and not value):
        return
    named, (risk, fine) = harmless.named_risk(key), harmless.VALUES.get(key, ("", ".*"))
    if named or not re.fullmatch(fine, str(value), re.DOTALL):
        yield named or risk, value
    elif key == "plugins" and isinstance(place[-1], str):
        for name in value if isinstance(value, list) else [value]:
            if not _is_harmless_plugin(str(name)):
                yield "plugin", name
    elif _deepspeed_key(place, kind) not in (None, *harmless.DEEPSPEED):
        yield "deepspeed", value
    elif kind == "evaluate" and place == ("model",) and str(value) not in _LM_EVAL_MODELS:
        yield "upload", value
    elif kind == "evaluate" and key == "tasks" and re.search(r"[/\\]|\.ya?ml$", str(value)):
        yield "code", value
    elif key in ("optimizer", "lr_scheduler") and isinstance(value, str):
        if value not in (*known("axolotl")["optimizers"], *known("axolotl")["schedulers"]):
            yield "unknown_setting", value
    elif key in _ARGUMENT_KEYS and isinstance(value, str):
        for argument in value.split(","):
            name = argument.partition("=")[0].strip()
            if name not in harmless.KEYS and name != "trust_remote_code":
                yield "unknown_setting", argument


def _text_risks(place: Path_, key: str, value: str, file: str) -> Iterator[tuple[str, str]]:
    """What is not harmless in a text; its precise name where there is one."""
    if "trust_remote_code" in value.replace("-", "_") and key != "trust_remote_code":
        yield "trust_remote_code", value
    if key == "type" and not _is_harmless_type(value):
        yield "code", value
    if key == "ds_type" and value not in harmless.LOADERS:
        yield ("pickle" if value in _PICKLE_LOADERS else "dataset_script"), value
    if key in ("path", "dataset_path") and value in _PICKLE_LOADERS:
        yield "pickle", value
    if value.endswith(_CODE_SUFFIXES) or ".py#" in value:
        yield "dataset_script", value
    if value.lower().endswith(_PICKLE_SUFFIXES):
        yield "pickle", value
    if key.startswith("doc_to_") or key in ("description", "gen_prefix"):  # a task's templates
        fault = templates.fault(value, sandboxed=False)
        if fault:
            yield "code", fault
        return
    if key in ("chat_template", "chat_template_jinja") and ("{" in value or "\n" in value):
        fault = templates.fault(value)
        if fault:
            yield "template", fault
        return
    if key == "chat_template_jinja" and not value.endswith(".jinja"):
        yield "template", f"{value} is not called .jinja, so it was not read"
    if any(_plain(part) in harmless.TEXT_KEYS for part in place if isinstance(part, str)):
        if re.search(r"\{\w*[.\[]", value) or "__" in value:
            yield "template", value
        return
    if _VARIABLE.search(value):
        yield "environment", value
    elif _COMMAND.search(value):
        yield "shell", value
    elif not _HARMLESS_TEXT.fullmatch(value) and not _ABSOLUTE.match(value):
        yield "unknown_setting", value
    if key.endswith(("_dir", "_path")) and value.startswith(_REMOTE_STORES):
        yield "upload", value
    if key == "deepspeed" and "://" in value:
        yield "deepspeed", value
    if _ADDRESS.search(value):
        yield "path", value
        return
    # lm-eval takes its model as a=b,c=d and MergeKit an adapter as model+lora.
    if any(_leads_outside(part, place, file) for part in re.split(r"[,=+]", value)):
        yield "path", value


def _deepspeed_key(place: Path_, kind: str | None) -> str | None:
    """The top key of a DeepSpeed config that a place in a recipe or in that config itself sets."""
    parts = [part for key in place for part in str(key).split(".")]
    if kind != "deepspeed":
        parts = parts[parts.index("deepspeed") + 1 :] if "deepspeed" in parts else []
    return parts[0] if parts and not isinstance(place[0], int) else None


def _is_harmless_plugin(name: str) -> bool:
    if name in [f"solar_plugins.{ours}" for ours in solar_plugins.__all__]:
        return True
    return name in known("axolotl")["plugins"] and name.split(".")[2] in harmless.PLUGINS


def _is_harmless_type(name: str) -> bool:
    """Whether a ``type`` is a dataset format of Axolotl or ours, or a single word.

    Axolotl imports any other module that a dataset's type names.
    """
    base = name.split(":")[0]
    if any(base in types for types in known("axolotl")["dataset_types"].values()):
        return True
    harmless_form = r"\w+|solar_plugins(\.\w+)+|(bradley_terry|messages)(\.\w+){1,2}"
    return re.fullmatch(harmless_form, base) is not None


def _leads_outside(value: str, place: Path_, file: str) -> bool:
    """Whether a path is absolute, or climbs above the project's folder.

    What a chain runs and what a file extends counts from its own folder, all else from the root.
    """
    if value in ("/", "~") and not str(place[-1]).endswith(("_dir", "path", "model")):
        return False
    if _ABSOLUTE.match(value):
        return True
    if ".." not in value.replace("\\", "/").split("/"):
        return False
    from_own_folder = place[0] in ("extends", "include")
    from_own_folder |= place[0] == "stages" and place[-1] in STAGE_KINDS
    start = os.path.dirname(file) if from_own_folder else ""
    return os.path.normpath(os.path.join(start, value)).startswith("..")
