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
from solar_plugins.chain.run.passthrough_as_upscaling import stacked_ranges
from solar_plugins.chain.verify.files import check_evaluation, check_run_records
from solar_plugins.check.merge import refuse_unfit_models
from solar_plugins.errors import SolarError
from solar_plugins.recipes import extends, yaml_file

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
    """Another program that does the stage; its output goes to the log.

    Raises:
        SolarError: it ended with another exit status than 0; the line is the log's last exception.
    """
    before = log.stat().st_size
    # Axolotl starts `accelerate` and `torchrun` by name: those of this environment, also where it
    # is not activated, unless a job script brings its own.
    given = os.environ.get(launcher.LAUNCHERS_VARIABLE)
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    search = os.pathsep.join([given, *folders] if given else folders)
    environment = {**os.environ, "PATH": search}
    status = subprocess.run(command, check=False, env=environment).returncode
    if status != 0:
        raise SolarError(last_exception(log, before) or f"{command[0]}: exit status {status}.")


def last_exception(log: Path, start: int = 0) -> str | None:
    """The last line of the log, from byte `start` on, that names an exception."""
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    # The launcher's own report of a dead child comes last and says nothing of the cause.
    noise = ("ChildFailedError", "CalledProcessError")
    for line in reversed(lines):
        match = _EXCEPTION.match(line.strip())
        if match and not any(word in line for word in noise):
            return match[1].removeprefix("error: ")
    return None


def merge(resolved: Path, folder: Path, temporary: Path) -> None:
    """`mergekit-yaml` in this process, into a new folder that then takes its place.

    A model that is only stacked on itself is written by our own up-scaling, see `stacking`.
    """
    text = resolved.read_text(encoding="utf-8")
    content = yaml_file.parse(text, resolved)
    stack = stacked_ranges(content)
    with _new_folder(folder, temporary) as new:
        if stack is None:
            refuse_unfit_models(resolved, content)
            _merge_with_mergekit(content, text, new)
        else:
            from solar_plugins.depth_up_scaling import args, on_disk

            model, ranges = stack
            up_scaling = on_disk.prepare(model, args.parse({"layer_ranges": ranges}))
            spans = ",".join(f"{start}-{end}" for start, end in ranges)
            command = f"solar dus {model} --layer-ranges {spans} --out {folder}"
            on_disk.write(up_scaling, new, command)


def _merge_with_mergekit(content: dict[str, Any], text: str, out: Path) -> None:
    import torch
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    config = MergeConfiguration.model_validate(content)
    options = MergeOptions(
        cuda=torch.cuda.is_available(),
        # A slice that is used twice would else be one tensor under two names.
        clone_tensors=bool(config.slices),
        copy_tokenizer=True,
        quiet=True,
    )
    options.apply_global_options()
    run_merge(config, str(out), options, config_source=text)


def evaluate(
    resolved: Path, models: dict[str, str], folder: Path, metrics: Path, gpus: int, log: Path
) -> None:
    """lm-eval on each model; one result file per model, whole or not there.

    Args:
        models: ``{name: path}``.
        gpus: How many there are: each gets a copy of the model and its share of the items.
        log: Where the output of this process goes.
    """
    from solar_plugins.evaluation import backend, h6, harness

    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, path) in enumerate(models.items()):
        write_step(metrics, number, len(models))
        out = folder / f"{name}.json"
        if out.exists():  # by an attempt with the same fingerprint that was interrupted
            continue
        config = harness.read_config(resolved, path)
        spread = backend.on_all_gpus(config, gpus)
        if spread.needs_launch(config.model):
            arguments = [str(resolved), path, str(out), name]
            launch(spread.launch_command("solar_plugins.evaluation.rank", arguments), log)
        else:
            h6.evaluate_model(resolved, path, out, name, backend=spread)
    write_step(metrics, len(models), len(models))


def generate(resolved: Path, folder: Path, temporary: Path, parts: Path) -> dict[str, Any]:
    """A data stage: files of a generator of ours, in a new folder that then takes its place.

    Args:
        parts: Where a generator keeps what a stopped attempt has paid for.
    """
    recipe = extends.read_mapping(resolved)
    with _new_folder(folder, temporary) as new:
        return data_stage.generate(recipe, new, parts)


def check(kind: str, recipe: dict[str, Any], folder: Path, names: list[str]) -> dict[str, Any]:
    """Verify what a stage left, and list its files.

    Args:
        names: Of an evaluation, the models.

    Returns:
        ``{"facts": …, "outputs": manifest}``.

    Raises:
        SolarError: the first thing that is not sound.
    """
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
    """What `solar plan` says of the training that left `folder`, to be set beside what it took.

    Returns:
        Steps, tokens, FLOPs and hours, None where not known; None for an architecture that
        transformers itself does not have.
    """
    from solar_plugins.plan import data_size, gpu_specs, model_size, training_run

    try:
        size = model_size.of(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except SolarError:
        return None
    data = data_size.DataReader(folder / "tokenizer.json")
    work = training_run.of_recipe(recipe, size, world_size, data)
    most = gpu_specs.of_device(device)
    seconds = most and work.seconds(world_size * most * gpu_specs.UTILISATION)
    numbers = {name: work.total(name) for name in ("steps", "tokens", "flops")}
    return {**numbers, "hours": seconds and seconds / 3600}


def write_step(metrics: Path, step: int, of: int) -> None:
    """Note how far the stage is, for the table that `solar run` shows."""
    metrics.parent.mkdir(parents=True, exist_ok=True)
    metrics.with_suffix(".step").write_text(f"{step} {of}\n", encoding="utf-8")


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
