"""The files that make up a chain: all that is needed to read and run it, but data and models.

Names in a pack are paths from the folder that the recipes' own paths count from (the working
directory), so that the unpacked folder runs as it is.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from solar_plugins import shipped
from solar_plugins.chain.chain_file import Chain, load_chain
from solar_plugins.errors import SolarError
from solar_plugins.recipes import extends
from solar_plugins.recipes.named_data import datasets_of
from solar_plugins.sharing import redact
from solar_plugins.sharing.trust import archive, safe_yaml
from solar_plugins.sharing.trust.names import check_name
from solar_plugins.sharing.trust.recipe_risks import values_of

_TEXT = (".yml", ".yaml", ".json", ".jinja", ".md", ".txt")
_EXTENDS_SHIPPED = re.compile(r"^(extends:[ \t]*)['\"]?([\w/-]+)['\"]?(?=[ \t]*(?:#|$))", re.M)
_WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npz")


@dataclass
class Contents:
    """What goes into a pack.

    Attributes:
        root: The folder that names count from.
        chain: The chain file's name.
        tiny: The name of the same chain at tiny size, if there is one.
        files: Name -> bytes.
        left_out: Local things that recipes name and that are not packed, with the reason.
    """

    root: Path
    chain: str
    tiny: str | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def collect(chain_file: Path, include: tuple[str, ...] = ()) -> Contents:
    """The files of the chain `chain_file`, and of its twin in ``tiny/`` beside it.

    Args:
        chain_file: The chain; its recipes' paths count from the working directory.
        include: More files to take along, such as a small dataset.

    Raises:
        SolarError: a file is missing, lies outside the working directory, holds a secret or an
            absolute path, or cannot be read.
    """
    if "stages" not in extends.read_mapping(chain_file):
        raise SolarError(
            f"{chain_file}: not a chain. A pack holds one; for a recipe alone write name, "
            f"base_model, output_dir and stages: {{sft: {{train: {chain_file.name}}}}}."
        )
    root = Path.cwd()
    contents = Contents(root, _name(chain_file, root, str(chain_file)))
    _add_chain(contents, chain_file)
    twin = chain_file.parent / "tiny" / chain_file.name
    if chain_file.absolute().parent.name == "tiny":
        contents.tiny = contents.chain
    elif twin.is_file():
        contents.tiny = _name(twin, root, str(twin))
        _add_chain(contents, twin)
    for extra in include:
        path = Path(extra)
        for file in shipped.files_in(path) if path.is_dir() else [path]:
            _add(contents, file, "--include")
    _refuse_secrets(contents)
    for name in contents.files:
        contents.left_out.pop(name, None)
    contents.files = dict(sorted(contents.files.items()))
    return contents


def _add_chain(contents: Contents, chain_file: Path) -> None:
    chain = load_chain(chain_file)
    _add(contents, chain_file, str(chain_file))
    for stage in chain.stages.values():
        _add(contents, stage.file, f"{chain_file}: stages.{stage.name}")
        recipe = extends.read_mapping(stage.file)
        data = {str(entry["path"]) for entry in datasets_of(recipe)}
        for _, key, value in values_of(recipe):
            if isinstance(value, str):
                _add_named(contents, chain, str(stage.file), key, value, value in data)


def _add_named(
    contents: Contents, chain: Chain, source: str, key: str, value: str, is_data: bool
) -> None:
    """Take along what a recipe names, where it is a text file of this folder."""
    if not value or len(value) > 400 or "\n" in value or "\0" in value:
        return
    path = Path(value)
    if path.is_absolute() and path.is_relative_to(contents.root):
        path = path.relative_to(contents.root)
    if not path.exists() or os.path.normpath(path) == "." or _below(path, chain.output_dir):
        return
    if key == "include_path" and path.is_dir():
        target = shipped.own_tasks(path)
        for file in shipped.files_in(path):
            if target is None:
                _add(contents, file, source)
            else:
                contents.files[f"{target}/{file.relative_to(path)}"] = file.read_bytes()
    elif path.is_file() and path.suffix in _TEXT and not is_data:
        _add(contents, path, source)
    elif is_data or "/" in value or path.is_dir():
        what = "data" if is_data else "a folder" if path.is_dir() else "no recipe"
        contents.left_out[os.path.normpath(path)] = what


def _add(contents: Contents, path: Path, source: str) -> None:
    name = _name(path, contents.root, source)
    if path.suffix.lower() in _WEIGHTS:
        raise SolarError(f"{source}: {name}: weights or a pickle. A pack never has either.")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise SolarError(f"{source}: {path}: no such file.") from None
    if len(data) > archive.MAX_FILE_BYTES:
        raise SolarError(f"{name}: more than {archive.MAX_FILE_BYTES >> 20} MiB, too much to pack.")
    data = _portable(name, data, contents.root)
    if contents.files.setdefault(name, data) != data:
        raise SolarError(
            f"{source}: {path} would be {name} in the pack, which another file is already. "
            f"Rename yours."
        )
    if path.suffix in (".yml", ".yaml") and shipped.TASKS_FOLDER not in name.split("/"):
        for extended in extends.extended(path):
            _add(contents, extended, name)


def _name(path: Path, root: Path, source: str) -> str:
    """The name of a file in the pack: its path from the working directory.

    A shipped recipe that is extended has the name that it has in the repository, as its own paths
    expect: the pack holds all that it needs, whatever version somebody has installed.
    """
    ours = _shipped_name(path, root)
    if ours is not None:
        return ours
    normal = Path(os.path.normpath(root / path))
    if not normal.is_relative_to(root):
        raise SolarError(
            f"{source}: {path} lies outside {root}, from which paths count. "
            f"Move it there, or run solar pack in the folder above."
        )
    if not normal.resolve().is_relative_to(root.resolve()):
        raise SolarError(f"{source}: {path} is a link out of {root}. Put a copy there.")
    name = normal.relative_to(root).as_posix()
    check_name(name, source)
    return name


def _shipped_name(path: Path, root: Path) -> str | None:
    here = (root / path).resolve()
    if here.is_relative_to(root.resolve()) or not shipped.is_ours(here):
        return None
    return here.relative_to(shipped.root()).as_posix()


def _portable(name: str, data: bytes, root: Path) -> bytes:
    """A text whose paths hold elsewhere: below the root relative, and our lm-eval tasks beside it.

    Raises:
        SolarError: an absolute path is left.
    """
    if not name.endswith((".yml", ".yaml", ".json")) or shipped.TASKS_FOLDER in name.split("/"):
        return data
    text = safe_yaml.as_text(data, name)
    text, _ = shipped.with_own_tasks(text)
    text = _EXTENDS_SHIPPED.sub(lambda match: _extends_file(match, name), text)
    for absolute in {str(root), str(root.resolve())}:
        if len(absolute) > 1:
            text = text.replace(f"{absolute}/", "./")
    if name.endswith(".json"):
        return text.encode()
    read = safe_yaml.read(text.encode(), name)
    content, lines = read.content, read.lines
    for place, _, value in values_of(content):
        if not isinstance(value, str):
            continue
        is_path = value.startswith(("/", "~/")) and not any(c.isspace() for c in value)
        if is_path and len(value) > 1:
            where = ".".join(map(str, place))
            raise SolarError(
                f"{name}:{lines.get(place, 0)}: {where}: {value} is a path of this machine. "
                f"Write one that counts from {root}, or a Hub id."
            )
    return text.encode()


def _extends_file(match: re.Match[str], name: str) -> str:
    """``extends: solar`` as ``extends: ./recipes/solar.yml``, which the pack holds."""
    file = extends.shipped_file(match[2])
    if file is None:
        return match[0]
    target = file.relative_to(shipped.root()).as_posix()
    written = os.path.relpath(target, os.path.dirname(name) or ".")
    return f"{match[1]}{written if written.startswith('.') else f'./{written}'}"


def _refuse_secrets(contents: Contents) -> None:
    for name, data in contents.files.items():
        found = redact.secrets_in(data.decode("utf-8", errors="replace"))
        if found:
            raise SolarError(
                f"{name}:{found[0].line}: holds {found[0].what}. Nothing was packed; take it out "
                f"(log in with `hf auth login`, or set the variable where you run), and revoke it "
                f"if others have seen it."
            )


def _below(path: Path, folder: Path) -> bool:
    return Path(os.path.normpath(path.absolute())).is_relative_to(folder.absolute())
