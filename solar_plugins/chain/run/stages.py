"""What a stage's process does. Each function runs in a child, see `solar_plugins.chain.run.worker`.

The tools are imported inside: the parent never has them, the server has them already.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from solar_plugins.chain import data_stage
from solar_plugins.chain.run import launcher, run_folder
from solar_plugins.chain.training.metrics import MetricsFile
from solar_plugins.chain.verify.files import check_evaluation, check_run_records
from solar_plugins.check.merge import refuse_unfit_models
from solar_plugins.errors import SolarError
from solar_plugins.models import model_config
from solar_plugins.recipes import extends, yaml_file

_OF_A_STACK = {"merge_method", "base_model", "slices", "dtype"}
_EXCEPTION = re.compile(r"^(?:\[rank\d+\]: ?)?((?:error: |[\w.]*(?:Error|Exception)\b:? ?).*)")


def train(resolved: Path) -> None:
    """`axolotl train` in this process: ``axolotl.cli.train.do_cli``."""
    from axolotl.cli.train import do_cli

    # 0: tokenise in this process. Any other number makes `datasets` start processes that import
    # everything again, which costs more than they save where the work is small.
    os.environ.setdefault("AXOLOTL_DATASET_NUM_PROC", "0")
    # do_cli also reads the command line, which is that of `solar run` here.
    sys.argv = ["axolotl", str(resolved)]
    do_cli(config=str(resolved))


def launch(command: list[str], log: Path) -> None:
    """Another program that does the stage; SolarError with the log's last exception if it fails."""
    before = log.stat().st_size
    # Axolotl starts `accelerate` and `torchrun` by name: those of this environment, also where it
    # is not activated, unless a job script brings its own.
    given = os.environ.get(launcher.LAUNCHERS_VARIABLE)
    folders = [given, str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    search = os.pathsep.join(folder for folder in folders if folder)
    status = subprocess.run(command, check=False, env={**os.environ, "PATH": search}).returncode
    if status != 0:
        raise SolarError(last_exception(log, before) or f"{command[0]}: exit status {status}.")


def last_exception(log: Path, start: int = 0) -> str | None:
    """The last line of the log, from byte `start` on, that names an exception."""
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    # The launcher's own report of a dead child comes last and says nothing of the cause.
    noise = ("ChildFailedError", "CalledProcessError")
    named = (_EXCEPTION.match(line.strip()) for line in reversed(lines))
    causes = (match[1] for match in named if match and not any(n in match[1] for n in noise))
    return next((cause.removeprefix("error: ") for cause in causes), None)


def merge(resolved: Path, folder: Path, temporary: Path) -> dict[str, Any]:
    """`mergekit-yaml` in this process, into a new folder that then takes its place.

    A model that is only stacked on itself is written by our own up-scaling, see
    `stacked_ranges`.

    Returns:
        ``{"donor": model}``: the one that gave config, tokenizer and chat template.
    """
    text = resolved.read_text(encoding="utf-8")
    content = yaml_file.parse(text, resolved)
    stack = stacked_ranges(content)
    with _new_folder(folder, temporary) as new:
        if stack is None:
            for difference in refuse_unfit_models(resolved, content):
                print(difference)
            donor = _merge_with_mergekit(content, text, new)
        else:
            from solar_plugins.depth_up_scaling import args, on_disk

            donor, ranges = stack
            up_scaling = on_disk.prepare(donor, args.parse({"layer_ranges": ranges}))
            spans = ",".join(f"{start}-{end}" for start, end in ranges)
            command = f"solar dus {donor} --layer-ranges {spans} --out {folder}"
            on_disk.write(up_scaling, new, command)
    print(f"Config, tokenizer and chat template are those of {donor}, where {resolved} names none.")
    return {"donor": donor}


def _merge_with_mergekit(content: dict[str, Any], text: str, out: Path) -> str:
    """Merge as `content` says into `out`; returns the model that gave the config."""
    import torch
    from mergekit.common import ModelReference
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    class InOrder(MergeConfiguration):
        """MergeKit's own list comes from a set, and config, tokenizer and vocabulary from it."""

        def referenced_models(self) -> list[ModelReference]:
            models = [self.base_model] if self.base_model else []
            for part in (self, *(self.modules or {}).values()):
                sources = [source for slice_ in part.slices or () for source in slice_.sources]
                models += [entry.model for entry in [*(part.models or ()), *sources]]
            return list(dict.fromkeys(models))

    config = InOrder.model_validate(content)
    donor = str(config.referenced_models()[0])
    adapters = out.parent / f"{out.name}.adapters"  # what MODEL+ADAPTER makes
    shutil.rmtree(adapters, ignore_errors=True)
    options = MergeOptions(
        cuda=torch.cuda.is_available(),
        # A slice that is used twice would else be one tensor under two names.
        clone_tensors=bool(config.slices),
        copy_tokenizer=True,
        lora_merge_cache=str(adapters),
        quiet=True,
    )
    options.apply_global_options()
    run_merge(config, str(out), options, config_source=text)
    shutil.rmtree(adapters, ignore_errors=True)
    return donor


def stacked_ranges(config: dict[str, Any]) -> tuple[str, list[list[int]]] | None:
    """The one model that a MergeKit config stacks on itself, and the ranges of its layers.

    MergeKit 0.1.5 leaves a wrong or unreadable config behind a stack on most architectures.
    None where the config asks for more than a stack (another dtype than the model is stored in,
    parameters, a tokenizer), or stacks no more layers than the model has.
    """
    if config.get("merge_method") != "passthrough" or set(config) - _OF_A_STACK:
        return None
    models, ranges = {str(config["base_model"])} if config.get("base_model") else set(), []
    for slice_ in config.get("slices") or []:
        match slice_:
            case {
                "sources": [{"model": str(model), "layer_range": [int(), int()] as pair, **more}]
            }:
                if more or len(slice_) > 1:
                    return None
                models.add(model)
                ranges.append(list(pair))
            case _:
                return None
    if len(models) != 1:
        return None
    (model,) = models
    base = model_config.find(model)
    deep = model_config.depth(base) if base else None
    if base is None or deep is None or sum(end - start for start, end in ranges) <= deep:
        return None
    stored = base.get("dtype") or base.get("torch_dtype")
    return (model, ranges) if config.get("dtype") in (None, stored) else None


def evaluate(
    resolved: Path, models: dict[str, str], folder: Path, metrics: Path, gpus: int, log: Path
) -> None:
    """lm-eval on each of `models`, ``{name: path}``; one result file per model, whole or not there.

    Each of `gpus` gets a copy of the model and its share of the items.
    """
    from solar_plugins.evaluation import backend, h6, harness

    folder.mkdir(parents=True, exist_ok=True)
    progress = MetricsFile(metrics)
    for number, (name, path) in enumerate(models.items()):
        progress.write_step(number, len(models))
        out = folder / f"{name}.json"
        if out.exists():  # by an attempt with the same fingerprint that was interrupted
            continue
        config = harness.read_config(resolved, path)
        spread = backend.on_all_gpus(config, gpus)
        if spread.needs_launch(config.model):
            arguments = [str(resolved), path, str(out), name]
            launch(spread.launch_command("solar_plugins.evaluation.h6", arguments), log)
        else:
            h6.evaluate_model(resolved, path, out, name, backend=spread)
    progress.write_step(len(models), len(models))


def generate(resolved: Path, folder: Path, temporary: Path, parts: Path) -> dict[str, Any]:
    """A data stage: a generator's files, in a new folder that then takes its place; `parts` keeps
    what a stopped attempt has paid for."""
    recipe = extends.read_mapping(resolved)
    with _new_folder(folder, temporary) as new:
        return data_stage.generate(recipe, new, parts)


def check(kind: str, recipe: dict[str, Any], folder: Path, names: list[str]) -> dict[str, Any]:
    """Verify what a stage left, of an evaluation the results of the models `names`; returns
    ``{"facts": …, "outputs": manifest}``, or raises SolarError for the first thing not sound."""
    facts: dict[str, Any] = {}
    if kind in ("train", "merge"):
        from solar_plugins.chain.verify.model import check_model

        facts = check_model(folder, recipe.get("base_model") if kind == "train" else None)
        if kind == "train":
            facts["proofs"] = check_run_records(folder, recipe)
            if not facts.get("adapter"):  # whose FLOPs are not those of full training
                facts["planned"] = _planned(recipe, folder, **facts["proofs"]["stage"])
    elif kind == "data":
        data_stage.check(recipe, folder)
    elif kind == "evaluate":
        facts["h6"] = {n: check_evaluation(folder / f"{n}.json")["h6"] for n in names}
    outputs = run_folder.manifest(folder)
    if not outputs:
        raise SolarError(f"{folder}: the stage left no file.")
    return {"facts": facts, "outputs": outputs}


def _planned(
    recipe: dict[str, Any], folder: Path, world_size: int, device: str, **_: Any
) -> dict[str, float | None] | None:
    """What `solar plan` says of the training that left `folder`; None for an architecture that
    transformers itself does not have."""
    from solar_plugins.plan import data_size, gpu_specs, model_size, training_run

    try:
        size = model_size.of(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except SolarError:
        return None
    data = data_size.DataReader(folder / "tokenizer.json")
    runs = training_run.of_recipe(recipe, size, world_size, data)
    gpu = gpu_specs.of_device(device)
    hours = gpu and training_run.hours(runs, world_size * gpu.flops * gpu_specs.UTILISATION)
    numbers = {name: training_run.total(runs, name) for name in ("steps", "tokens", "flops")}
    return {**numbers, "hours": hours}


@contextmanager
def _new_folder(folder: Path, temporary: Path) -> Iterator[Path]:
    """A folder of the same name below `temporary` that takes the place of `folder` at the end."""
    new = temporary / folder.name
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    yield new
    if folder.is_dir():
        folder.rmdir()  # empty, or the stage would not have been started
    os.rename(new, folder)
