"""Chain files: the file itself, every file that its stages run, and how they fit each other."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from solar_plugins.chain.chain_file import BASE_MODEL, Chain, Stage, load_chain
from solar_plugins.chain.resolve import follow_depth, merge_models, resolve
from solar_plugins.check import base, lm_eval_rules, merge, recipe, tokenizer
from solar_plugins.check.files import Files, Made, made_by
from solar_plugins.check.source import YamlFile
from solar_plugins.errors import SolarError, nearest
from solar_plugins.models import model_config
from solar_plugins.recipes import registry
from solar_plugins.recipes.named_data import MOVED, datasets_of
from solar_plugins.recipes.strings import strings


@dataclass
class _Chain:
    """A chain in check.

    Attributes:
        source: Its file.
        chain: None where it does not load; its stages' files are checked all the same.
        made: Which folder each stage makes.
        depths: By stage: the layers of its model, None where they are not known.
        tokens: By stage: what its model has beyond the base's vocabulary, None where not known.
    """

    source: YamlFile
    chain: Chain | None
    made: Made
    depths: dict[str, int | None] = field(default_factory=dict)
    tokens: dict[str, list[str] | None] = field(default_factory=lambda: {BASE_MODEL: []})

    def depth(self, name: str) -> int | None:
        if name != BASE_MODEL or self.chain is None:
            return self.depths.get(name)
        try:
            return model_config.depth_of(self.chain.base_model)
        except SolarError:
            return None  # the recipe that trains it has a finding

    def expect_made(self, below: YamlFile) -> None:
        """Add a finding for each model of a stage's file that no stage makes.

        `from` decides which model goes in, so only those below the chain's own folder matter.
        """
        for place, model in merge.named_models(below.content):
            root = self.made.output_dir
            if root is not None and Path(os.path.normpath(model)).is_relative_to(root):
                Files(Path(below.name), self.made).expect_model(below, place, model)


def check(source: YamlFile, base_model: str | None = None) -> Iterator[tuple[YamlFile, str]]:
    """Check the chain `source` and what its stages run.

    Args:
        base_model: In place of the one that it names.

    Yields:
        Each stage file that could be read, with its findings, and its kind. When the last one has
        come, `source` has the findings of the chain itself.
    """
    chain = _load(source, base_model)
    here = _Chain(source, chain, made_by(source.content))
    for stage in chain.order() if chain else _readable_stages(source):
        try:
            below = YamlFile.read(stage.file)
        except SolarError as error:
            place = ("stages", stage.name, stage.kind)
            kind = "unreadable" if stage.file.is_file() else "missing-file"
            source.add(place, kind, f"{error} Paths count from the chain file's folder.")
            continue
        before = {s.name for s in chain.order(until=stage.name)} - {stage.name} if chain else None
        files = Files(stage.file, here.made, None if before is None else frozenset(before))
        if stage.kind == "train":
            model = chain.base_model if chain and stage.from_ == (BASE_MODEL,) else None
            recipe.check(below, files, base_model_is_given=True, model=model)
            here.expect_made(below)
            if chain is not None:
                depth = recipe.grown_depth(below, here.depth(stage.from_[0]))
                here.depths[stage.name] = depth
        elif stage.kind == "merge":
            _merge(here, stage, below, files)
        elif stage.kind == "evaluate":
            lm_eval_rules.check_evaluation(below, files, model_is_given=True)
        else:
            lm_eval_rules.check_data(below, files)
        if chain is not None:
            _tokens(here, chain, stage, below)
        yield below, stage.kind
    if chain is not None:
        _changed_keys(source, chain)
        check_data(source, chain, chain.data)
        Files(Path(source.name), here.made).expect_model(source, (BASE_MODEL,), chain.base_model)
        if not Path(chain.base_model).is_relative_to(chain.output_dir):
            base.check_terms(source, chain.base_model, chain.name, base_model is not None)
            _own_base(source, chain)


def _own_base(source: YamlFile, chain: Chain) -> None:
    """Say what becomes of another base in a chain that makes its own, as the miniature does."""
    own, output_dir = (str(source.content.get(key)) for key in (BASE_MODEL, "output_dir"))
    trained = [s.name for s in chain.order() if s.kind == "train" and BASE_MODEL in s.from_]
    makers = [stage.name for stage in chain.order() if stage.kind == "data"]
    if trained and makers and Path(own).is_relative_to(output_dir):
        found = {"own": own, "base": chain.base_model, "trained": trained[0], "maker": makers[0]}
        source.say((BASE_MODEL,), "base-model/chain-makes-its-own", True, **found)


def _changed_keys(source: YamlFile, chain: Chain) -> None:
    """Add to the chain `source` what is wrong in the keys that a stage's ``set`` changes."""
    for stage in chain.stages.values():
        if stage.kind != "train" or not stage.set_:
            continue
        try:
            changed = YamlFile(source.name, resolve(chain, stage), {})
        except SolarError:
            continue  # its file, or what it is set to, has a finding of its own
        recipe.check(changed, Files(stage.file), base_model_is_given=True)
        for finding in changed.findings:
            for key in stage.set_:
                if f"{finding.path}.".startswith(f"{key}."):
                    place = ("stages", stage.name, "set", key)
                    source.add(place, finding.kind, finding.message, finding.is_note)


def check_data(source: YamlFile, chain: Chain, names: Iterable[str]) -> None:
    """Add what is wrong in those entries of the chain's `data`: no such file, or nothing reads it.

    Which data sets an evaluation reads is known to lm-eval; what is near a training's is a mistake.
    """
    try:
        as_written = [(s.kind, replace(chain, data={}).recipe(s)) for s in chain.stages.values()]
    except SolarError:
        return  # a stage's file, which has a finding of its own
    trained_on = {e["path"] for kind, r in as_written if kind == "train" for e in datasets_of(r)}
    others = {text for kind, r in as_written if kind != "train" for text in strings(r)}
    evaluates = any(kind == "evaluate" for kind, _ in as_written)
    for name in names:
        file, place = chain.data[name], ("data", name)
        if not Path(file).exists() and not Path(file).is_relative_to(chain.output_dir):
            source.say(place, "missing-file/data", file=file)
        today = MOVED.get(name) if MOVED.get(name) in trained_on else None
        near = f" It is called {today} today." if today else nearest(name, trained_on)
        if name not in {*trained_on, *others} and (near or not evaluates):
            hint = near or f" They read {', '.join(sorted(trained_on))}."
            source.say(place, "unknown-key/data-set", name=name, hint=hint)


def _load(source: YamlFile, base_model: str | None) -> Chain | None:
    # Another base has a folder of its own; the paths of the files are checked as they are written.
    given = source.content.get("output_dir")
    kept = {} if base_model is None or given is None else {"output_dir": given}
    try:
        return load_chain(source.name, base_model, kept, check_files=False)
    except SolarError as error:
        text = str(error).removeprefix(f"{source.name}: ")
        where, _, message = text.partition(": ")
        if not re.fullmatch(r"[\w.-]+", where):
            where, message = "", text
        kind = "unknown-key" if message.startswith("unknown key") else "stage"
        source.add(tuple(where.split(".")) if where else (), kind, message)
        return None


def _readable_stages(source: YamlFile) -> Iterator[Stage]:
    """As many stages as can be made out of a chain that does not load."""
    written: Any = source.content.get("stages")
    for name, value in written.items() if isinstance(written, dict) else ():
        kinds = [k for k in registry.STAGE_KINDS if isinstance(value, dict) and k in value]
        if len(kinds) == 1 and isinstance(value[kinds[0]], str):
            file = Path(os.path.normpath(Path(source.name).parent / value[kinds[0]]))
            yield Stage(str(name), kinds[0], file)


def _merge(here: _Chain, stage: Stage, below: YamlFile, files: Files) -> None:
    """The merge config of a stage, with the stages of `from` in the place of its models."""
    named, given = merge_models(below.content), {}
    if here.chain is not None and len(stage.from_) == 1:
        below.content = copy.deepcopy(below.content)  # as it will be run
        try:
            follow_depth(below.content, here.depth(stage.from_[0]))
        except SolarError as error:
            here.source.add(("stages", stage.name, "from"), "layer-range", str(error))
    if here.chain is not None and len(named) != len(stage.from_):
        models = f"{len(stage.from_)} model{'s' * (len(stage.from_) != 1)}"
        found = {"models": models, "count": str(len(named)), "named": ", ".join(named)}
        place, file = ("stages", stage.name, "from"), str(stage.file)
        here.source.say(place, "stage/number-of-models", file=file, **found)
    elif here.chain is not None:
        given = dict(zip(named, stage.from_, strict=True))

    def depth(model: str) -> int | None:
        return here.depth(given[model]) if model in given else None

    merge.check(below, files, depth, models_are_given=True)
    here.expect_made(below)
    slices = below.content.get("slices")
    if isinstance(slices, list):
        try:
            ranges = [slice_["sources"][0]["layer_range"] for slice_ in slices]
            here.depths[stage.name] = sum(end - first for first, end in ranges)
        except (KeyError, IndexError, TypeError, ValueError):
            pass  # has a finding of its own
    elif named:
        here.depths[stage.name] = depth(named[0])


def _tokens(here: _Chain, chain: Chain, stage: Stage, below: YamlFile) -> None:
    """Note what the stage's model has beyond the base's vocabulary.

    A finding where models are merged whose trainings added different tokens: that shows only when
    all of them are done.
    """
    inputs = [here.tokens.get(name) for name in stage.from_]
    if stage.kind == "train":
        try:
            added = tokenizer.added_tokens(resolve(chain, stage), chain.base_model)
        except SolarError:
            return  # its file, or what it is set to, has a finding of its own
        before = inputs[0]
        here.tokens[stage.name] = None if before is None else [*dict.fromkeys([*before, *added])]
    elif stage.kind == "merge":
        aligns = below.content.get("tokenizer_source") or below.content.get("tokenizer")
        here.tokens[stage.name] = None if aligns else inputs[0]
        for name, tokens in zip(stage.from_, inputs, strict=True):
            if aligns or tokens is None or inputs[0] is None or tokens == inputs[0]:
                continue
            ours, theirs = (" ".join(map(repr, t)) or "none" for t in (inputs[0], tokens))
            found = {"first": stage.from_[0], "ours": ours, "other": name, "theirs": theirs}
            place, file = ("stages", stage.name, "from"), str(stage.file)
            here.source.say(place, "tokenizer/stages-add-others", file=file, **found)
