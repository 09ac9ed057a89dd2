"""The chain file: which stage comes after which, and which model goes into which.

Each stage points to a plain file of the tool that runs it (Axolotl, MergeKit, lm-eval) and says
with ``from`` whose model goes in:

    name: solar-10.7b-instruct
    base_model: mistralai/Mistral-7B-v0.1
    output_dir: ./outputs/solar-10.7b
    stages:
      cpt:       {train: cpt.yml}
      sft_v3:    {train: sft_v3.yml, from: cpt}
      sft_v4:    {train: sft_v4.yml, from: cpt}
      sft_v3_v4: {merge: ../mergekit_configs/sft_v3_v4.yml, from: [sft_v3, sft_v4]}
      slower:    {train: sft_v4.yml, from: cpt, set: {learning_rate: 1.0e-5}}

``set`` changes keys of the plain file for this stage (dotted for nested ones), as
``--set STAGE.KEY=VALUE`` does on the command line, which comes last.

``data`` reads data sets from files of your own with the same columns, in every stage:

    data:
      HuggingFaceFW/fineweb-edu: ./text.jsonl   # what a recipe has as a data set's path
      allenai/ai2_arc: ./h6/arc_challenge       # or an lm-eval task: a folder of SPLIT.jsonl

``revisions`` names the commit of a model or data set of the Hub, wherever a stage starts from or
trains on it; `solar run` finds out those that nothing names, and keeps them in the run folder.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from solar_plugins.errors import SolarError, nearest
from solar_plugins.evaluation import paper
from solar_plugins.recipes import extends, named_data
from solar_plugins.recipes.registry import STAGE_KINDS

BASE_MODEL = "base_model"
"""The name of the chain's own base model in a stage's ``from``."""

REQUIRED_KEYS = ("name", "base_model", "output_dir", "stages")
CHAIN_KEYS = (*REQUIRED_KEYS, "data", "revisions", "seed", "remove_checkpoints")
STAGE_KEYS = (*STAGE_KINDS, "from", "after", "set")
STAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Stage:
    """One stage of a chain.

    Attributes:
        from_: The stages whose models go in (`BASE_MODEL` for the chain's base model), in order.
            A stage that trains, merges or evaluates and has no ``from`` gets the base model.
        set_: Keys of the plain file that are changed for this stage, dotted for nested ones.
    """

    name: str  # its key under ``stages``; its output lies at ``<output_dir>/<name>``
    kind: str  # one of `STAGE_KINDS`
    file: Path  # the plain file that it runs, relative to the working directory
    from_: tuple[str, ...] = ()
    after: tuple[str, ...] = ()  # must be done before; their models are not inputs
    set_: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs(self) -> tuple[str, ...]:
        """The stages that must be done before this one, without `BASE_MODEL`."""
        names = dict.fromkeys((*self.from_, *self.after))
        return tuple(name for name in names if name != BASE_MODEL)


@dataclass(frozen=True)
class Chain:
    """A chain file, checked. Each stage's own file is read once, when `recipe` first needs it.

    Attributes:
        written_output_dir: ``output_dir`` as the file has it. Recipes name paths below it; where
            ``output_dir`` was overridden, those paths are moved along (see `rebase`).
        settings: ``{stage: {dotted key: value}}``, what ``set`` and then ``--set`` asked for.
    """

    name: str
    base_model: str  # Hub id, or a folder relative to the working directory
    output_dir: Path  # relative to the working directory
    stages: dict[str, Stage]  # in the order of the file
    seed: int | None  # of every train and data stage; None leaves the recipes' own
    path: Path
    written_output_dir: Path
    remove_checkpoints: bool = False  # Axolotl's ``checkpoint-N``, once the stage is verified
    data: Mapping[str, str] = field(default_factory=dict)  # data set -> the file or folder read
    revisions: Mapping[str, str] = field(default_factory=dict)  # Hub id -> commit
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    _read: dict[Path, dict[str, Any]] = field(default_factory=dict, repr=False, compare=False)

    def recipe(self, stage: Stage) -> dict[str, Any]:
        """What the file of `stage` holds with its settings, before `resolve` fills in models.

        Raises:
            SolarError: the file is not readable, or a setting leads through a plain value.
        """
        if stage.file not in self._read:
            self._read[stage.file] = extends.read_mapping(stage.file)
        recipe = copy.deepcopy(self._read[stage.file])
        for dotted, value in self.settings.get(stage.name, {}).items():
            set_key(recipe, dotted, copy.deepcopy(value), stage)
        return self.rebase(named_data.from_files(stage.kind, recipe, self.data))

    def order(self, until: str | None = None) -> list[Stage]:
        """The stages, each after what it needs; ties as in the file.

        Args:
            until: Only this stage and what it needs; or, by its name in the paper's tables
                (``SFT v2``), what makes a row's model, and the evaluation of this one model.

        Raises:
            SolarError: the chain has neither such a stage nor such a row.
        """
        ahead, evaluation = list(self.stages) if until is None else [until], None
        if until is not None and until not in self.stages:
            model = self._model_of_row(until)
            scores = (s for s in self.stages.values() if s.kind == "evaluate" and model in s.from_)
            evaluation = next((replace(stage, from_=(model,)) for stage in scores), None)
            ahead = [model, *(evaluation.after if evaluation else ())]
        wanted = {BASE_MODEL}
        while ahead:
            name = ahead.pop()
            if name not in wanted:
                wanted.add(name)
                ahead.extend(self.stages[name].needs)
        left = [stage for stage in self.stages.values() if stage.name in wanted]
        ordered: dict[str, Stage] = {}
        while left:
            stage = next(stage for stage in left if ordered.keys() >= set(stage.needs))
            ordered[stage.name] = stage
            left.remove(stage)
        return [*ordered.values(), *([evaluation] if evaluation else [])]

    def _model_of_row(self, name: str) -> str:
        made = (*self.stages, BASE_MODEL)
        model = next((stage for stage in paper.stages_of_row(name) if stage in made), None)
        if model is None:
            rows = dict.fromkeys(row.model for row in paper.ROWS if set(row.stages) & set(made))
            ours = "; its rows of the paper's tables: " + ", ".join(rows) if rows else ""
            raise SolarError(
                f"--until: {self.path} has no stage {name!r}."
                f"{nearest(name, [*self.stages, *rows])} "
                f"Its stages: {', '.join(self.stages)}{ours}."
            )
        return model

    def stage(self, name: str, where: str = "stage") -> Stage:
        """The stage called `name`; `where` begins the error's line if there is none."""
        if name not in self.stages:
            raise SolarError(
                f"{where}: {self.path} has no stage {name!r}.{nearest(name, self.stages)} "
                f"Its stages: {', '.join(self.stages)}."
            )
        return self.stages[name]

    def model_path(self, stage: str) -> str:
        """Where the model of `stage` is found: its folder, or the base model's id or folder."""
        if stage == BASE_MODEL:
            return self.base_model
        return str(self.output_dir / self.stage(stage).name)

    def pinned_path(self, stage: str) -> str:
        """`model_path`, of a base whose commit is known as ``NAME@COMMIT``, as MergeKit has it."""
        path = self.model_path(stage)
        return f"{path}@{self.revisions[path]}" if path in self.revisions else path

    def rebase(self, value: Any) -> Any:
        """`value` with each path in it below the file's own ``output_dir`` moved along."""
        if isinstance(value, dict):
            return {key: self.rebase(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.rebase(item) for item in value]
        if not isinstance(value, str) or self.output_dir == self.written_output_dir:
            return value
        written = Path(os.path.normpath(value))
        if "\n" in value or not written.is_relative_to(self.written_output_dir):
            return value
        return str(self.output_dir / written.relative_to(self.written_output_dir))


def load_chain(
    path: str | Path,
    base_model: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    check_files: bool = True,
) -> Chain:
    """Read and check the chain file `path`.

    Args:
        base_model: Replaces the file's ``base_model``; the outputs then go to a folder named after
            it, beside the file's own, unless `overrides` name one.
        overrides: Chain keys (``{"output_dir": "/big/disk"}``) and keys of a stage's plain file
            (``{"cpt.learning_rate": 1e-5}``, dotted further for nested blocks).
        check_files: Whether a stage file that does not exist is an error here.

    Raises:
        SolarError: anything about the file that cannot be run, as one line.
    """
    path, overrides = Path(path), overrides or {}
    content = extends.read_mapping(path)
    written = content.get("output_dir")
    asked = _apply(content, overrides)
    if base_model is not None:
        if "output_dir" not in overrides and base_model != content.get("base_model"):
            content["output_dir"] = extends.folder_for(written, base_model)
        content["base_model"] = base_model
    _check(path, content)
    names = list(map(str, content["stages"]))
    stages = {
        name: _stage(path, name, value, names)
        for name, value in zip(names, content["stages"].values(), strict=True)
    }
    for name, settings in asked.items():
        if name not in stages:
            raise SolarError(
                f"--set {name}.{next(iter(settings))}: {path} has no stage {name!r}."
                f"{nearest(name, stages)}"
            )
    _refuse_cycles(path, stages)
    for stage in stages.values() if check_files else ():
        if not stage.file.is_file():
            beside = stage.file.parent.glob("*")
            raise SolarError(
                f"{path}: stages.{stage.name}.{stage.kind}: no such file: {stage.file}."
                f"{nearest(stage.file.name, sorted(entry.name for entry in beside))} "
                f"The path counts from the chain file's folder."
            )
    settings = {name: {**stage.set_, **asked.get(name, {})} for name, stage in stages.items()}
    chain = Chain(
        name=content["name"],
        base_model=content["base_model"],
        output_dir=Path(os.path.normpath(content["output_dir"])),
        stages=stages,
        seed=content.get("seed"),
        path=path,
        written_output_dir=Path(
            os.path.normpath(extends.written_output_dir(path, written or content["output_dir"]))
        ),
        remove_checkpoints=content.get("remove_checkpoints", False),
        data=content.get("data", {}),
        revisions=content.get("revisions", {}),
        settings={name: values for name, values in settings.items() if values},
    )
    # A data stage may make the base model; then it moves along with the other outputs.
    return chain if base_model else replace(chain, base_model=chain.rebase(chain.base_model))


def _apply(content: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Change the keys of the chain `content`; those of stages are returned by stage."""
    settings: dict[str, dict[str, Any]] = {}
    known = [key for key in CHAIN_KEYS if key != "stages"]
    for key, value in overrides.items():
        head, _, rest = key.partition(".")
        if rest and head in ("data", "revisions"):
            content[head] = {**content.get(head, {}), rest: value}
        elif rest:
            settings.setdefault(head, {})[rest] = value
        elif key in known:
            content[key] = value
        else:
            raise SolarError(
                f"--set {key}: not a key of a chain.{nearest(key, known)} Write one of "
                f"{', '.join(known)}, or STAGE.KEY for a key of a stage's own file."
            )
    return settings


def _check(path: Path, content: dict[str, Any]) -> None:
    _refuse_unknown(f"{path}: ", content, CHAIN_KEYS, f"A chain has {', '.join(CHAIN_KEYS)}.")
    for key in REQUIRED_KEYS:
        if key not in content:
            raise SolarError(f"{path}: {key}: missing. A chain has {', '.join(REQUIRED_KEYS)}.")
    for key in ("name", "base_model", "output_dir"):
        if not isinstance(content[key], str) or not content[key].strip():
            raise SolarError(f"{path}: {key}: {content[key]!r} found. A text is needed.")
    seed = content.get("seed")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or seed < 0):
        raise SolarError(f"{path}: seed: {seed!r} found. A whole number from 0 up is needed.")
    remove = content.get("remove_checkpoints", False)
    if not isinstance(remove, bool):
        raise SolarError(f"{path}: remove_checkpoints: {remove!r} found. Write true or false.")
    for key, form in (("data", "DATA SET: FILE OR FOLDER"), ("revisions", "HUB ID: COMMIT")):
        given = content.get(key, {})
        if not isinstance(given, dict) or not all(isinstance(to, str) for to in given.values()):
            raise SolarError(f"{path}: {key}: {given!r} found. Write {{{form}}}.")
    if not isinstance(content["stages"], dict) or not content["stages"]:
        raise SolarError(f"{path}: stages: no stage found. Write NAME: {{train: FILE}} below it.")


def _refuse_unknown(where: str, given: Iterable, known: tuple[str, ...], keys: str) -> None:
    for key in given:
        if key not in known:
            raise SolarError(f"{where}{key}: unknown key.{nearest(str(key), known)} {keys}")


def _stage(path: Path, name: str, value: Any, names: list[str]) -> Stage:
    where = f"{path}: stages.{name}"
    if not STAGE_NAME.fullmatch(name) or name == BASE_MODEL:
        raise SolarError(
            f"{where}: not a name for a stage. Use letters, digits, '_' and '-', "
            f"and not the word {BASE_MODEL}."
        )
    if not isinstance(value, dict):
        raise SolarError(f"{where}: {value!r} found. Write {{train: FILE, from: STAGE}}.")
    keys = f"A stage has one of {', '.join(STAGE_KINDS)}, and from, after, set."
    _refuse_unknown(f"{where}.", value, STAGE_KEYS, keys)
    kinds = [kind for kind in STAGE_KINDS if kind in value]
    if len(kinds) != 1:
        found = " and ".join(kinds) if kinds else "no kind"
        raise SolarError(f"{where}: {found} found. Exactly one of {', '.join(STAGE_KINDS)}.")
    kind = kinds[0]
    if not isinstance(value[kind], str) or not value[kind]:
        raise SolarError(f"{where}.{kind}: {value[kind]!r} found. The name of a file is needed.")
    from_ = _names(where, "from", value, [*names, BASE_MODEL])
    after = _names(where, "after", value, names)
    if kind == "data" and from_:
        raise SolarError(f"{where}.from: a data stage takes no model. Write after: instead.")
    if kind == "train" and len(from_) > 1:
        raise SolarError(
            f"{where}.from: {len(from_)} models found. Training starts from one; merge them first."
        )
    if kind != "data" and not from_:
        from_ = (BASE_MODEL,)
    set_ = value.get("set") or {}
    if not isinstance(set_, dict) or not all(isinstance(key, str) for key in set_):
        raise SolarError(f"{where}.set: {set_!r} found. Write {{KEY: VALUE}} of {value[kind]}.")
    return Stage(name, kind, Path(os.path.normpath(path.parent / value[kind])), from_, after, set_)


def _names(where: str, key: str, value: dict, known: list[str]) -> tuple[str, ...]:
    names = value.get(key, [])
    names = names if isinstance(names, list) else [names]
    for name in names:
        if name not in known:
            raise SolarError(
                f"{where}.{key}: no stage {name!r}.{nearest(str(name), known)} "
                f"Stages: {', '.join(known)}."
            )
    return tuple(names)


def _refuse_cycles(path: Path, stages: dict[str, Stage]) -> None:
    try:
        TopologicalSorter({stage.name: stage.needs for stage in stages.values()}).prepare()
    except CycleError as error:
        # graphlib lists each stage after the one it needs.
        raise SolarError(
            f"{path}: stages: {' -> '.join(error.args[1])} is a circle, none of them can be first. "
            f"Take one of these from: or after: out."
        ) from None


def set_key(recipe: dict[str, Any], dotted: str, value: Any, stage: Stage) -> None:
    """Change the key `dotted` of the file of `stage`, whose content is `recipe`; SolarError if a
    parent of the key is not a block of keys."""
    *parents, last = dotted.split(".")
    target: Any = recipe
    for at, part in enumerate(parents, 1):
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            raise SolarError(
                f"set {stage.name}.{dotted}: {'.'.join(parents[:at])} of {stage.file} "
                f"is not a block of keys."
            )
    target[last] = value
