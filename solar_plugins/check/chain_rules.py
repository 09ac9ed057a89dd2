"""Chain files: the file itself, every file that its stages run, and how they fit each other."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from solar_plugins.chain import chain_file
from solar_plugins.chain.resolve import follow_depth, merge_models, resolve
from solar_plugins.check import base_terms, lm_eval_rules, merge, recipe, tokenizer
from solar_plugins.check.files import Files, Made, made_by
from solar_plugins.check.source import Path_, YamlFile
from solar_plugins.errors import SolarError
from solar_plugins.models import model_config
from solar_plugins.recipes import registry


def check(source: YamlFile, base_model: str | None = None) -> Iterator[tuple[YamlFile, str]]:
    """Check the chain `source` and what its stages run.

    Args:
        base_model: In place of the one that it names.

    Yields:
        Each stage file that could be read, with its findings, and its kind. When the last one has
        come, `source` has the findings of the chain itself.
    """
    chain = _load(source, base_model)
    made = made_by(source.content)
    depths: dict[str, int | None] = {}
    tokens: dict[str, list[str] | None] = {chain_file.BASE_MODEL: []}
    for stage in _stages(source, chain):
        try:
            below = YamlFile.read(stage.file)
        except SolarError as error:
            place = ("stages", stage.name, stage.kind)
            kind = "unreadable" if stage.file.is_file() else "missing-file"
            source.add(place, kind, f"{error} Paths count from the chain file's folder.")
            continue
        before = _all_before(chain, stage) if chain else None
        files = Files(stage.file, made, before)
        if stage.kind == "train":
            model = chain.base_model if chain and stage.from_ == (chain_file.BASE_MODEL,) else None
            recipe.check(below, files, base_model_is_given=True, model=model)
            _expect_made(below, made, [(("base_model",), below.content.get("base_model"))])
            depths[stage.name] = _trained_depth(below, stage, chain, depths)
        elif stage.kind == "merge":
            if chain is not None and len(stage.from_) == 1:
                below.content = copy.deepcopy(below.content)  # as it will be run
                try:
                    follow_depth(below.content, _depth_of(stage.from_[0], chain, depths))
                except SolarError as error:
                    source.add(("stages", stage.name, "from"), "layer-range", str(error))
            _merge(source, below, files, stage, chain, depths)
        elif stage.kind == "evaluate":
            lm_eval_rules.check_evaluation(below, files, model_is_given=True)
        else:
            lm_eval_rules.check_data(below)
        if chain is not None:
            _tokens(source, below, stage, chain, tokens)
        yield below, stage.kind
    if chain is not None:
        _changed_keys(source, chain)
        Files(Path(source.name), made).expect_model(source, ("base_model",), chain.base_model)
        if not Path(chain.base_model).is_relative_to(chain.output_dir):
            base_terms.check(source, chain.base_model, chain.name, base_model is not None)


def _expect_made(source: YamlFile, made: Made, models: Iterable[tuple[Path_, Any]]) -> None:
    """Add a finding for each model of a stage's file that no stage makes.

    `from` decides which model goes in, so only those below the chain's own folder are looked at.
    """
    for place, model in models:
        if made.output_dir is None or not isinstance(model, str):
            continue
        if Path(os.path.normpath(model)).is_relative_to(made.output_dir):
            Files(Path(source.name), made).expect_model(source, place, model)


def _changed_keys(source: YamlFile, chain: chain_file.Chain) -> None:
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


def _load(source: YamlFile, base_model: str | None) -> chain_file.Chain | None:
    # Another base has a folder of its own; the paths of the files are checked as they are written.
    given = source.content.get("output_dir")
    kept = {} if base_model is None or given is None else {"output_dir": given}
    try:
        return chain_file.load_chain(source.name, base_model, kept, check_files=False)
    except SolarError as error:
        text = str(error).removeprefix(f"{source.name}: ")
        where, _, message = text.partition(": ")
        if not re.fullmatch(r"[\w.-]+", where):
            where, message = "", text
        kind = "unknown-key" if message.startswith("unknown key") else "stage"
        source.add(tuple(where.split(".")) if where else (), kind, message)
        return None


def _stages(source: YamlFile, chain: chain_file.Chain | None) -> list[chain_file.Stage]:
    """The stages in running order; if the chain does not load, as many as can be made out."""
    if chain is not None:
        return chain.order()
    stages = []
    written: Any = source.content.get("stages")
    for name, value in written.items() if isinstance(written, dict) else ():
        kinds = [k for k in registry.STAGE_KINDS if isinstance(value, dict) and k in value]
        if len(kinds) == 1 and isinstance(value[kinds[0]], str):
            file = Path(os.path.normpath(Path(source.name).parent / value[kinds[0]]))
            stages.append(chain_file.Stage(str(name), kinds[0], file))
    return stages


def _all_before(chain: chain_file.Chain, stage: chain_file.Stage) -> frozenset[str]:
    return frozenset(s.name for s in chain.order(until=stage.name)) - {stage.name}


def _depth_of(name: str, chain: chain_file.Chain, depths: dict[str, int | None]) -> int | None:
    if name != chain_file.BASE_MODEL:
        return depths.get(name)
    try:
        return model_config.depth_of(chain.base_model)
    except SolarError:
        return None  # the recipe that trains it has a finding


def _trained_depth(
    source: YamlFile,
    stage: chain_file.Stage,
    chain: chain_file.Chain | None,
    depths: dict[str, int | None],
) -> int | None:
    """The layers of what the stage trains; a finding if the up-scaling is not possible."""
    if chain is None:
        return None
    return recipe.grown_depth(source, _depth_of(stage.from_[0], chain, depths))


def _merge(
    chain_source: YamlFile,
    source: YamlFile,
    files: Files,
    stage: chain_file.Stage,
    chain: chain_file.Chain | None,
    depths: dict[str, int | None],
) -> None:
    """The merge config of a stage, with the stages of `from` in the place of its models."""
    named = merge_models(source.content)
    if chain is not None and len(named) != len(stage.from_):
        chain_source.add(
            ("stages", stage.name, "from"),
            "stage",
            f"{len(stage.from_)} model{'s' * (len(stage.from_) != 1)} for {len(named)} in "
            f"{stage.file} ({', '.join(named)}). Name one stage for each, in this order.",
        )
        chain = None
    given = dict(zip(named, stage.from_, strict=False)) if chain is not None else {}

    def depth(model: str) -> int | None:
        return _depth_of(given[model], chain, depths) if chain and model in given else None

    merge.check(source, files, depth, models_are_given=True)
    _expect_made(source, files.chain, merge.named_models(source.content))
    if chain is not None:
        depths[stage.name] = _merged_depth(source.content, depth)


def _tokens(
    chain_source: YamlFile,
    source: YamlFile,
    stage: chain_file.Stage,
    chain: chain_file.Chain,
    tokens: dict[str, list[str] | None],
) -> None:
    """Note in `tokens` what the stage's model has beyond the base's vocabulary, None if unknown.

    A finding where models are merged whose trainings added different tokens: that shows only when
    all of them are done.
    """
    inputs = [tokens.get(name) for name in stage.from_]
    if stage.kind == "train":
        try:
            added = tokenizer.added_tokens(resolve(chain, stage), chain.base_model)
        except SolarError:
            return  # its file, or what it is set to, has a finding of its own
        before = inputs[0]
        tokens[stage.name] = None if before is None else list(dict.fromkeys([*before, *added]))
    elif stage.kind == "merge":
        aligns = source.content.get("tokenizer_source") or source.content.get("tokenizer")
        tokens[stage.name] = None if aligns else inputs[0]
        for name, here in zip(stage.from_, inputs, strict=True):
            if aligns or here is None or inputs[0] is None or here == inputs[0]:
                continue
            ours, theirs = (" ".join(map(repr, t)) or "none" for t in (inputs[0], here))
            chain_source.add(
                ("stages", stage.name, "from"),
                "tokenizer",
                f"{stage.from_[0]} adds these tokens to its vocabulary: {ours}; {name} adds "
                f"{theirs}. MergeKit mixes row by row: write `tokenizer_source: union` in "
                f"{stage.file}, or give their recipes the same tokens.",
            )


def _merged_depth(content: dict[str, Any], depth: merge.Depth) -> int | None:
    """How deep the merged model is: the slices stacked, or as its models are."""
    slices = content.get("slices")
    if not isinstance(slices, list):
        named = merge_models(content)
        return depth(named[0]) if named else None
    total = 0
    for slice_ in slices:
        try:
            first, end = slice_["sources"][0]["layer_range"]
            total += end - first
        except (KeyError, IndexError, TypeError, ValueError):
            return None  # has a finding of its own
    return total
