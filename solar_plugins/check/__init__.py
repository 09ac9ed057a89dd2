"""`solar check`: what is wrong in chains, recipes and merge configs, before anything runs.

Axolotl drops unknown keys and plugins that do not import; MergeKit writes models without layers
and exits 0. Here both are findings, with the file, the line and what to write.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from solar_plugins.chain.chain_file import Chain
from solar_plugins.chain.resolve import resolve
from solar_plugins.check import base, chain_rules, lm_eval_rules, merge, recipe, values
from solar_plugins.check.files import Files, forget_folders
from solar_plugins.check.finding import KINDS, RULES, Finding
from solar_plugins.check.source import YamlFile
from solar_plugins.errors import SolarError, nearest
from solar_plugins.models import model_config
from solar_plugins.recipes import extends, yaml_file

__all__ = ["KINDS", "Finding", "check_files", "check_settings", "faults_of", "files_in", "kind_of"]

_MARKS = {kind: keys.split() for kind, keys in RULES["kinds"].items()}
_CLOUD = {"project_name", "gpu"}


def kind_of(content: dict, nearness: Sequence[bool] = (False, True)) -> str | None:
    """Which tool reads a file: ``chain``, ``merge``, ``evaluate``, ``data`` or ``train``.

    A misspelt key still counts where nothing else speaks (``merge_methd``). ``cloud`` is Axolotl's
    description of rented machines, which nothing is checked in.
    """
    if set(content) >= _CLOUD:
        return "cloud"
    for near in nearness:
        for kind, marks in _MARKS.items():
            for key in content:
                if key in marks or (near and nearest(str(key), marks)):
                    return kind
    return None


def files_in(folder: Path) -> list[Path]:
    """The files below `folder` that `check_files` reads: no other YAML, nothing in hidden folders.

    A file that is not readable is among them, but for those of lm-eval's tasks, whose
    ``!function`` tags name code.

    Raises:
        SolarError: there is none.
    """
    files = []
    for path in sorted(folder.rglob("*.y*ml")):
        if path.is_file() and not any(n.startswith(".") for n in path.relative_to(folder).parts):
            try:
                is_ours = kind_of(yaml_file.read_plain(path), nearness=(False,)) is not None
            except SolarError as error:
                is_ours = "!function" not in str(error)
            files += [path] * is_ours
    if not files:
        raise SolarError(f"{folder}: no chain, recipe, merge config or lm-eval config is below it.")
    return files


def check_files(
    paths: Sequence[str | Path],
    with_axolotl: bool = True,
    base_model: str | None = None,
    gpus: int | None = None,
) -> Iterator[Finding]:
    """What is wrong in `paths`, the quick checks of all files before Axolotl is imported.

    Args:
        paths: Chains, Axolotl recipes, MergeKit configs, lm-eval configs, data recipes.
        with_axolotl: Whether recipes also go through Axolotl's own validators, which costs the
            time that importing Axolotl takes (about a quarter of a minute).
        base_model: In place of the one that chains and recipes name.
        gpus: How many the recipes are to be trained on, where that is known.
    """
    forget_folders()
    recipes: dict[str, tuple[YamlFile, bool]] = {}  # by file: chains lead to the same ones
    reported: set[Finding] = set()

    def new(findings: Sequence[Finding]) -> Iterator[Finding]:
        for finding in sorted(set(findings) - reported):
            reported.add(finding)
            yield finding

    for path in paths:
        for source, kind, in_chain in _quick(Path(path), base_model, gpus):
            yield from new(source.findings)
            if kind == "train":
                recipes.setdefault(source.name, (source, in_chain))
    if not with_axolotl or not recipes:
        return
    from solar_plugins.check import axolotl_rules

    for source, in_chain in recipes.values():
        source.guard(partial(axolotl_rules.check, source, in_chain, gpus))
        yield from new(source.findings)


def faults_of(path: str | Path, text: str) -> set[tuple[str, ...]]:
    """What is wrong in the file `path` if it had this text: kinds, YAML paths and messages."""
    source, _, _ = next(iter(_quick(Path(path), text=text)))
    return {(f.kind, f.path, f.message) for f in source.findings if not f.is_note}


def check_settings(chain: Chain) -> Iterator[Finding]:
    """What is wrong in the keys of trainings that ``set`` and ``--set STAGE.KEY=VALUE`` give, and
    in what ``--set data.NAME=FILE`` does."""
    in_file = extends.read_mapping(chain.path).get("data", {})
    given = YamlFile("--set", {}, {})
    chain_rules.check_data(given, chain, [n for n in chain.data if chain.data[n] != in_file.get(n)])
    yield from given.findings
    for name, settings in chain.settings.items():
        stage = chain.stages[name]
        # What stands in the chain file is checked with it.
        settings = {k: v for k, v in settings.items() if stage.set_.get(k) != v}
        if stage.kind != "train" or not settings:
            continue
        source = YamlFile(f"set {name}", resolve(chain, stage), {})
        recipe.check(source, Files(stage.file), base_model_is_given=True)
        for finding in sorted(set(source.findings)):
            if any(f"{finding.path}.".startswith(f"{key}.") for key in settings):
                yield finding


def _quick(
    path: Path, base_model: str | None = None, gpus: int | None = None, text: str | None = None
) -> Iterator[tuple[YamlFile, str, bool]]:
    """Each file that `path` leads to, with its findings, its kind, and whether a chain runs it."""
    try:
        source = YamlFile.read(path, text)
    except SolarError as error:
        yield _unreadable(path, str(error)), "", False
        return
    kind, files = kind_of(source.content), Files(path)
    stages: list[tuple[YamlFile, str, bool]] = []

    def rules() -> None:
        if kind == "chain":
            for below, its_kind in chain_rules.check(source, base_model):
                stages.append((below, its_kind, True))
                if its_kind == "train" and gpus is not None:
                    values.check_batch(below, gpus)
        elif kind == "train":
            if base_model is not None:
                source.content = {**source.content, "base_model": base_model}
                base.check_terms(source, base_model)
            recipe.check(source, files, gpus=gpus)
        elif kind == "merge":
            merge.check(source, files, model_config.depth_of)
        elif kind == "evaluate":
            lm_eval_rules.check_evaluation(source, files)
        elif kind == "data":
            lm_eval_rules.check_data(source, files)
        elif kind is None:
            source.say((), "unreadable/no-kind")

    source.guard(rules)
    yield source, kind or "", False  # a chain's own findings first, they explain the others
    yield from stages


def _unreadable(path: Path, text: str) -> YamlFile:
    """A file that could not be read, with the one finding that says why."""
    source = YamlFile(str(path), {}, {})
    where, _, message = text.removeprefix(str(path)).partition(": ")
    line = int(where[1:]) if where[1:].isdigit() else 0
    kind = "missing-file" if message.startswith("no such file") else "unreadable"
    source.findings.append(Finding(str(path), line, "", message, kind))
    return source
