"""`solar pack`: one file with everything that is needed to read, check and repeat a chain.

Names in a pack are paths from the folder that the recipes' own paths count from (the working
directory), so that the unpacked folder runs as it is. Data and models stay where they are.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from solar_plugins import shipped
from solar_plugins.chain.chain_file import Chain, load_chain
from solar_plugins.chain.run.run_folder import RunFolder
from solar_plugins.errors import SolarError
from solar_plugins.recipes import extends
from solar_plugins.recipes.named_data import datasets_of
from solar_plugins.sharing import redact
from solar_plugins.sharing.lock import write_lock
from solar_plugins.sharing.trust import archive, safe_yaml
from solar_plugins.sharing.trust.file_risks import LOCK, RUN_FOLDER, is_task
from solar_plugins.sharing.trust.harmless import TEXT_KEYS
from solar_plugins.sharing.trust.names import check_name
from solar_plugins.sharing.trust.recipe_risks import values_of
from solar_plugins.sharing.unpack import Pack, opened

_TEXT = (".yml", ".yaml", ".json", ".jinja", ".md", ".txt")
_EXTENDS_SHIPPED = re.compile(r"^(extends:[ \t]*)['\"]?([\w/-]+)['\"]?(?=[ \t]*(?:#|$))", re.M)
_WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npz")
_AUDITS = ("solar/flan_filter.json", "solar/flan_filter_audit.json", "solar/flan_filter_audit.md")
_SNAPSHOT = re.compile(r"/(?:models|datasets)--([\w.-]+?)--([\w.-]+)/")


def make_pack(chain_file: Path, include: tuple[str, ...] = ()) -> tuple[Pack, list[str]]:
    """The pack of a chain and of its twin in ``tiny/``; paths count from the working directory.

    Args:
        include: More files and folders to take along, such as a small dataset.

    Returns:
        The pack, and a line for every secret that a run's products held, and for every local thing
        that recipes name and that is not packed.

    Raises:
        SolarError: the chain does not load; a file is missing, lies outside the working directory,
            holds a secret or an absolute path, or cannot be read.
    """
    if "stages" not in extends.read_mapping(chain_file):
        way = f"name, base_model, output_dir and stages: {{sft: {{train: {chain_file.name}}}}}"
        raise SolarError(f"{chain_file}: not a chain. Write one for it: {way}.")
    made = _Collector(Path.cwd())
    chain = made.add_chain(chain_file)
    twin, tiny = chain_file.parent / "tiny" / chain_file.name, None
    if chain_file.absolute().parent.name == "tiny":
        tiny = chain
    elif twin.is_file():
        tiny = made.add_chain(twin)
    for extra in map(Path, include):
        for file in shipped.files_in(extra) if extra.is_dir() else [extra]:
            made.add(file, "--include")
    for name, data in made.files.items():
        for found in redact.secrets_in(data.decode("utf-8", errors="replace"))[:1]:
            way = "Take it out (`hf auth login`, or a variable, will do) and revoke it if seen."
            raise SolarError(f"{name}:{found.line}: holds {found.what}. Nothing was packed. {way}")
    lines = _take_products(made, load_chain(chain), RUN_FOLDER)
    if tiny not in (None, chain):
        lines += _take_products(made, load_chain(tiny), f"{RUN_FOLDER}tiny/")
    lines += [
        f"not packed: {name} ({what}); the lock has its digest"
        for name, what in made.left_out.items()
        if name not in made.files
    ]
    made.files[LOCK] = write_lock(chain, tiny, made.files)
    # what others would refuse, we do not write
    pack = opened(chain, dict(sorted(made.files.items())))
    known = {*made.left_out, *pack.lock.models.local, *pack.lock.datasets.local}
    for name in pack.declared.local:
        if name not in known:
            lines.append(f"not packed: {name} (--include takes a small file along)")
    return pack, lines


class _Collector:
    """The files that make up a chain.

    Attributes:
        root: The folder that names count from.
        files: Name -> bytes.
        left_out: Local things that recipes name and that are not packed, with what they are.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, bytes] = {}
        self.left_out: dict[str, str] = {}

    def add_chain(self, chain_file: Path) -> str:
        """Take a chain and all that its stages name; returns its name."""
        chain = load_chain(chain_file)
        name = self.add(chain_file, str(chain_file))
        for stage in chain.stages.values():
            self.add(stage.file, f"{chain_file}: stages.{stage.name}")
            recipe = extends.read_mapping(stage.file)
            data = {str(entry["path"]) for entry in datasets_of(recipe)}
            for _, key, value in values_of(recipe):
                if isinstance(value, str):
                    self._add_named(chain, str(stage.file), key, value, value in data)
        return name

    def _add_named(self, chain: Chain, source: str, key: str, value: str, is_data: bool) -> None:
        """Take along what a recipe names, where it is a text file of this folder."""
        if not value or len(value) > 400 or "\n" in value or "\0" in value:
            return
        path = Path(value)
        if path.is_absolute() and path.is_relative_to(self.root):
            path = path.relative_to(self.root)
        normal = os.path.normpath(path)
        made = Path(os.path.abspath(path)).is_relative_to(chain.output_dir.absolute())
        if not path.exists() or normal == "." or made:
            return
        if key == "include_path" and path.is_dir():
            target = shipped.own_tasks(path)
            for file in shipped.files_in(path):
                if target is None:
                    self.add(file, source)
                else:
                    self.files[f"{target}/{file.relative_to(path)}"] = file.read_bytes()
        elif path.is_file() and path.suffix in _TEXT and not is_data:
            self.add(path, source)
        elif is_data or "/" in value or path.is_dir():
            is_what = "data" if is_data else "a folder" if path.is_dir() else "no recipe"
            self.left_out[normal] = is_what

    def add(self, path: Path, source: str) -> str:
        """Take a file, and what it extends; returns its name."""
        name = self._name(path, source)
        if path.suffix.lower() in _WEIGHTS:
            raise SolarError(f"{source}: {name}: weights or a pickle. A pack never has either.")
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise SolarError(f"{source}: {path}: no such file.") from None
        if len(data) > archive.MAX_FILE_BYTES:
            most = archive.MAX_FILE_BYTES >> 20
            raise SolarError(f"{name}: more than {most} MiB, too much to pack.")
        if name.endswith((".yml", ".yaml", ".json")):
            text = safe_yaml.as_text(data, name, is_recipe=not name.endswith(".json"))
            data = self._portable(name, text).encode()
        if self.files.setdefault(name, data) != data:
            raise SolarError(f"{source}: {path} would be {name}, as another file. Rename yours.")
        if name.endswith((".yml", ".yaml")) and not is_task(safe_yaml.read(data, name).content):
            for extended in extends.extended(path):
                self.add(extended, name)
        return name

    def _name(self, path: Path, source: str) -> str:
        """The name of a file in the pack: its path from the working directory.

        A shipped recipe that is extended has the name that it has in the repository, as its own
        paths expect: the pack holds all that it needs, whatever version somebody has installed.
        """
        here, root = (self.root / path).resolve(), self.root.resolve()
        if not here.is_relative_to(root) and shipped.is_ours(here):
            return here.relative_to(shipped.root()).as_posix()
        normal = Path(os.path.normpath(self.root / path))
        if not normal.is_relative_to(self.root):
            way = "Move it there, or run solar pack in the folder above."
            raise SolarError(f"{source}: {path} lies outside {self.root}. {way}")
        if not here.is_relative_to(root):
            raise SolarError(f"{source}: {path} is a link out of {self.root}. Put a copy there.")
        name = normal.relative_to(self.root).as_posix()
        check_name(name, source)
        return name

    def _portable(self, name: str, text: str) -> str:
        """A text whose paths hold elsewhere: relative ones, and our lm-eval tasks beside it.

        Raises:
            SolarError: an absolute path is left.
        """
        text, _ = shipped.with_own_tasks(text)
        text = _EXTENDS_SHIPPED.sub(lambda match: _extends_file(match, name), text)
        for absolute in {str(self.root), str(self.root.resolve())}:
            if len(absolute) > 1:
                text = text.replace(f"{absolute}/", "./")
        if name.endswith(".json"):
            return text
        read = safe_yaml.read(text.encode(), name)
        for place, key, value in values_of(read.content):
            is_text = key in TEXT_KEYS or key.startswith("doc_to_")
            if isinstance(value, str) and re.fullmatch(r"(/|~/)\S+", value) and not is_text:
                where = f"{name}:{read.lines.get(place, 0)}: {'.'.join(map(str, place))}"
                found = f"{value} is a path of this machine"
                raise SolarError(f"{where}: {found}. {self._instead(value)}")
        return text

    def _instead(self, value: str) -> str:
        """What to write for a path of this machine."""
        if cached := _SNAPSHOT.search(value):
            return f"Write the Hub id that it was fetched from: {cached[1]}/{cached[2]}."
        name = os.path.basename(value.rstrip("/"))
        link = f"ln -s {value} {name}, then ./{name}"
        return f"Write a Hub id, or a path in {self.root}; a link will do: {link}."


def _extends_file(match: re.Match[str], name: str) -> str:
    """``extends: solar`` as ``extends: ./recipes/solar.yml``, which the pack holds."""
    file = extends.shipped_file(match[2])
    if file is None:
        return match[0]
    target = file.relative_to(shipped.root()).as_posix()
    written = os.path.relpath(target, os.path.dirname(name) or ".")
    return f"{match[1]}{written if written.startswith('.') else f'./{written}'}"


def _take_products(made: _Collector, chain: Chain, where: str) -> list[str]:
    """Take what the run of `chain` left, safe to share, into the folder `where` of the pack.

    Returns:
        A line for everything that was blacked out.
    """
    from solar_plugins.report.write import write_report

    run = RunFolder(chain.output_dir)
    if not (run.hidden / "run.json").is_file():
        return []
    products: dict[str, Path] = {}
    for stage in chain.order():
        place = run.stage(stage.name)
        if stage.kind == "evaluate":
            for model in stage.from_:
                products[f"results/{stage.name}/{model}.json"] = place / f"{model}.json"
        elif stage.kind == "train":
            for audit in _AUDITS:
                products[f"audit/{stage.name}/{Path(audit).name}"] = place / audit
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        # written anew: an old one may be from halfway
        products |= {file.name: file for file in write_report(chain.output_dir, folder)}
        for product, path in products.items():
            if path.is_file():
                name = f"{where}{product}"
                text, secrets = redact.shareable(
                    path.read_text(encoding="utf-8", errors="replace"), made.root
                )
                lines += [f"{name}:{one.line}: {one.what}: blacked out" for one in secrets]
                made.files[name] = text.encode()
    return lines
