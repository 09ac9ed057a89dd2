"""Steps, tokens, memory, disk and hours of every stage of a chain."""

from __future__ import annotations

import contextlib
import io
import math
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from solar_plugins.chain.chain_file import BASE_MODEL, Chain, Stage, load_chain
from solar_plugins.chain.data_stage import generate
from solar_plugins.chain.resolve import merge_models, resolve
from solar_plugins.depth_up_scaling import args as depth_up_scaling_args
from solar_plugins.depth_up_scaling import as_llama
from solar_plugins.errors import SolarError
from solar_plugins.models import model_config
from solar_plugins.plan import data_size, evaluation, gpu_specs, memory, model_size, training_run
from solar_plugins.plan.training_step import CannotRun
from solar_plugins.quiet import quiet
from solar_plugins.recipes import global_batch, registry

GIB = memory.GIB


@dataclass(frozen=True)
class Machine:
    """One node, with memory and dense FLOP/s of each GPU; without GPU, those of the machine."""

    gpus: int  # and training processes; one on a machine without GPU
    gpu_bytes: float
    peak_flops: float = gpu_specs.GPUS["h100"].flops
    utilisation: float = gpu_specs.UTILISATION  # on full sequences, recomputation included
    is_cpu: bool = False
    gpu_watts: float | None = None  # the most that a GPU draws


def machine_of(gpu: str | None) -> Machine:
    """One GPU of `gpu_specs.PRESETS`, or ``cpu``; None: the first GPU here, else the CPU.

    A GPU that is not in the list counts as the slowest one that is.
    """
    import torch

    if gpu is None and torch.cuda.is_available():
        found = torch.cuda.get_device_properties(0)
        slowest = min(known.flops for known in gpu_specs.GPUS.values())
        of_device = gpu_specs.of_device(found.name)
        return Machine(1, found.total_memory, of_device.flops if of_device else slowest)
    spec = gpu_specs.preset(gpu or "cpu")
    return Machine(1, spec.memory_gib * GIB, spec.flops, is_cpu=spec.cuda_name == "")


@dataclass
class StagePlan:
    """One stage. None: not known; the notes say why."""

    stage: str
    kind: str
    layers: int | None = None
    parameters: int | None = None
    rows: int | None = None
    steps: int | None = None
    global_batch: int | None = None
    tokens: int | None = None
    flops: float | None = None
    gpu_gib: float | None = None
    states_gib: float | None = None
    activations_gib: float | None = None
    process_gib: float | None = None
    cpu_gib: float | None = None
    zero_stage: int | None = None
    disk_gib: float | None = None
    checkpoints_gib: float | None = None
    writing_gib: float | None = None  # and those beside them while the stage runs
    hours: float | None = None
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class ChainPlan:
    """A chain's stages and their sums."""

    chain: Chain
    machine: Machine
    stages: list[StagePlan]
    measured: float | None = None  # how many times as long as estimated its own steps took

    @property
    def disk_gib(self) -> float:
        """All files of the chain after the last stage."""
        return sum((s.disk_gib or 0) + (s.checkpoints_gib or 0) for s in self.stages)

    @property
    def peak_disk_gib(self) -> float:
        """The most at any time, while a stage writes a checkpoint."""
        done = accumulate((s.disk_gib or 0) + (s.checkpoints_gib or 0) for s in self.stages)
        return max(gib + (s.writing_gib or 0) for gib, s in zip(done, self.stages, strict=True))

    @property
    def hours(self) -> float | None:
        """All trainings together; None if one of them is not known."""
        return self.hours_of("train")

    def hours_of(self, kind: str) -> float | None:
        """All stages of a kind together; None if one of them is not known."""
        found = [stage.hours for stage in self.stages if stage.kind == kind]
        return None if None in found else sum(hours for hours in found if hours is not None)

    @property
    def energy_kwh(self) -> float | None:
        """What the GPUs draw at most in the hours that are known; None without GPUs."""
        watts, hours = self.machine.gpu_watts, sum(stage.hours or 0 for stage in self.stages)
        return watts * self.machine.gpus * hours / 1000 if watts else None

    @property
    def fits(self) -> bool:
        """Whether no stage has a warning."""
        return not any(s.warnings for s in self.stages)

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return {
            "chain": self.chain.name,
            "base_model": self.chain.base_model,
            "gpus": self.machine.gpus,
            "is_cpu": self.machine.is_cpu,
            "gpu_memory_gib": self.machine.gpu_bytes / GIB,
            "peak_tflops": self.machine.peak_flops / 1e12,
            "utilisation": self.machine.utilisation,
            "measured": self.measured,
            "stages": list(map(asdict, self.stages)),
            "disk_gib": self.disk_gib,
            "peak_disk_gib": self.peak_disk_gib,
            "hours": self.hours,
            "evaluation_hours": self.hours_of("evaluate"),
            "energy_kwh": self.energy_kwh,
            "fits": self.fits,
        }


def plan_chain(path: str | Path, machine: Machine, base_model: str | None = None) -> ChainPlan:
    """Plan the chain file `path` for `machine`.

    A miniature world is generated into a temporary folder (seconds), so that its rows are counted
    and not guessed; other data stages, which read the Hub, count as their recipes ask.

    Raises:
        SolarError: the chain cannot be read, or the base model's config.json is not found.
    """
    chain = load_chain(path, base_model=base_model)
    with tempfile.TemporaryDirectory(prefix="solar-plan-") as temporary:
        planner = _Planner(chain, machine, Path(temporary))
        stages = [planner.stage(stage) for stage in chain.order()]
    return ChainPlan(chain, machine, stages)


def at_measured_rate(plan: ChainPlan, metrics: Mapping[str, list[dict[str, Any]]]) -> None:
    """Scale the hours of `plan` by the time that the steps of its own run took: the median of its
    trainings. sDPO's pass for the reference is no step, so its stages are scaled and not measured.

    Args:
        metrics: By stage, the records of its trainer: `step` and `time_s`, the seconds since the
            start.

    Raises:
        SolarError: no training of the chain has two records yet.
    """
    factors = []
    for stage in plan.stages:
        records = metrics.get(stage.stage) or [{}]
        first, last = records[0], records[-1]
        steps = last.get("step", 0) - first.get("step", 0)
        if stage.hours and stage.steps and steps > 0 and "sdpo_step" not in last:
            hours = (last["time_s"] - first["time_s"]) / steps * stage.steps / 3600
            factors.append(hours / stage.hours)
    if not factors:
        found = f"{plan.chain.output_dir}: no training of this chain has logged two steps yet"
        raise SolarError(f"{found}. Run a part of it first: solar run {plan.chain.path}.")
    plan.measured = statistics.median(factors)
    for stage in plan.stages:
        stage.hours = stage.hours and stage.hours * plan.measured


class _Planner:
    """Plans the stages of a chain in order; each stage's recipe is resolved once.

    Attributes:
        configs: The config.json content of each stage's model; None where it is not known.
        data: What is known of the chain's data.
    """

    def __init__(self, chain: Chain, machine: Machine, temporary: Path) -> None:
        self.machine = machine
        self.chain, stages = chain, chain.order()
        self.recipes = {stage.name: resolve(chain, stage) for stage in stages}
        moved: dict[Path, Path] = {}  # worlds that do not exist yet, and where each is generated
        known = dict(data_size.PUBLIC)
        for stage in stages:
            recipe, folder = self.recipes[stage.name], chain.output_dir / stage.name
            if stage.kind == "data":
                known |= data_size.to_come(recipe, folder)
            if recipe.get("generator") == "miniature_world" and not folder.is_dir():
                moved[folder] = temporary / stage.name
                with quiet(), contextlib.redirect_stderr(io.StringIO()):  # progress bars
                    generate(recipe, moved[folder])

        def present(path: str) -> str:
            above = next((folder for folder in moved if Path(path).is_relative_to(folder)), None)
            return str(moved[above] / Path(path).relative_to(above)) if above else path

        base = present(chain.base_model)
        config = model_config.find(base)
        if config is None:
            raise SolarError(
                f"base_model: {chain.base_model} is neither a folder with a config.json nor in "
                "the Hub's cache, so its sizes are not known here. Download it once (hf download "
                f"{chain.base_model} config.json), or name a local folder."
            )
        self.configs: dict[str, dict[str, Any] | None] = {BASE_MODEL: config}
        self.data = data_size.DataReader(Path(base) / "tokenizer.json", present, known)

    def stage(self, stage: Stage) -> StagePlan:
        plan = StagePlan(stage.name, stage.kind)
        if stage.kind == "evaluate":
            self._evaluate(plan, stage)
        if stage.kind in ("data", "evaluate"):
            return plan
        recipe, config = self.recipes[stage.name], self.configs.get(stage.from_[0])
        if config is None:
            plan.notes.append("the config of its input model is not known")
            return plan
        trained_share = 1.0
        if stage.kind == "merge":
            config = self._merged(recipe, stage, config)
        elif registry.is_named(recipe, "DepthUpScalingPlugin"):
            depth = model_config.required_depth(config, recipe["base_model"])
            block = depth_up_scaling_args.parse(recipe.get("depth_up_scaling"))
            config = {**config, **as_llama.of_recipe(recipe, config, recipe["base_model"])}
            grown = model_size.with_layers(config, block.layer_map(depth))
            if block.train == "added":
                kept = model_size.of(config).parameters / model_size.of(grown).parameters
                trained_share = 1 - kept
                plan.notes.append(
                    f"{100 * trained_share:.0f} % of the weights are trained; the hours are those "
                    "of training all"
                )
            config = grown
        self.configs[stage.name] = config
        size = model_size.of(config)
        plan.layers, plan.parameters = size.layers, size.parameters
        if stage.kind == "merge":
            width = 4 if "32" in str(recipe.get("dtype")) else 2
            plan.disk_gib = size.parameters * width / GIB
            plan.notes.append("on the CPU, a few minutes and one copy of the model's weights")
        else:
            self._train(plan, recipe, config, size, trained_share)
        return plan

    def _evaluate(self, plan: StagePlan, stage: Stage) -> None:
        recipe, share = self.recipes[stage.name], self.machine.utilisation
        configs = [self.configs.get(name) for name in stage.from_]
        found = [evaluation.flops(recipe, model_size.of(c)) for c in configs if c]
        models = f"{len(configs)} model{'s' * (len(configs) != 1)} to evaluate"
        known = [each for each in found if each]
        if len(known) < len(configs):
            plan.notes.append(f"{models}; these hours are not planned")
            return
        work = sum(read + written * share / evaluation.WRITING for read, written in known)
        plan.hours = work / (self.machine.gpus * self.machine.peak_flops * share) / 3600
        answers = f"GSM8K's answers at {evaluation.WRITING:.0%} of the peak (assumed)"
        plan.notes.append(f"{models}, prompts as measured on 200 items a task, {answers}")

    def _merged(
        self, recipe: dict[str, Any], stage: Stage, config: dict[str, Any]
    ) -> dict[str, Any]:
        """The config of a merge: stacked slices, or the first model's."""
        if not recipe.get("slices"):
            return config
        inputs = dict(zip(merge_models(recipe), stage.from_, strict=False))
        layers: list[int] = []
        for slice_ in recipe["slices"]:
            source = slice_["sources"][0]
            if self.configs.get(inputs[source["model"].partition("+")[0]]) != config:
                raise SolarError(
                    f"{stage.file}: slices: layers of different models cannot be planned yet."
                )
            layers += range(*source["layer_range"])
        if layers == list(range(model_config.depth(config) or 0)):
            return config
        return model_size.with_layers(config, layers)

    def _train(
        self,
        plan: StagePlan,
        recipe: dict[str, Any],
        config: dict[str, Any],
        size: model_size.ModelSize,
        trained_share: float,
    ) -> None:
        machine, gpus = self.machine, self.machine.gpus
        setups = [(memory.read_setup(run, gpus), run) for run in training_run.recipes_of(recipe)]
        setup, largest = max(setups, key=lambda each: each[0].step.sequences * each[0].step.length)
        plan.notes += memory.left_out(recipe)
        plan.zero_stage = setup.zero_stage
        try:
            need = memory.estimate(config, setup, gpus, trained_share)
            plan.states_gib, plan.activations_gib = need.states / GIB, need.activations / GIB
            plan.process_gib = memory.PROCESS / GIB
            plan.gpu_gib, plan.cpu_gib = need.gpu / GIB, need.cpu / GIB
            if need.gpu > machine.gpu_bytes:
                change = memory.what_fits(config, largest, gpus, machine.gpu_bytes, trained_share)
                needed, there = _told_apart(plan.gpu_gib, machine.gpu_bytes / GIB)
                place = "on this machine" if machine.is_cpu else "per GPU"
                plan.warnings.append(
                    f"{needed} GiB {place} needed, {there} available. "
                    + (f"It fits with {change}." if change else "No setting makes it fit.")
                )
        except CannotRun as reason:
            plan.notes.append(f"memory per GPU is not known, the model does not run here: {reason}")
        if recipe.get("adapter"):
            plan.notes.append("an adapter is trained: disk is that of full training")
        plan.global_batch = global_batch.of(recipe, gpus)
        try:
            global_batch.accumulation_steps(recipe, gpus)
        except SolarError as error:
            plan.warnings.append(f"{error}")
        runs = training_run.of_recipe(recipe, size, gpus, self.data)
        plan.notes += dict.fromkeys(
            note for run in runs for note in run.notes if note not in plan.notes
        )
        for name in ("rows", "steps", "tokens", "flops"):
            setattr(plan, name, training_run.total(runs, name))
        plan.hours = training_run.hours(runs, gpus * machine.peak_flops * machine.utilisation)
        _disk(plan, recipe, size.parameters, setup.step.weights, len(runs))
        if self.chain.remove_checkpoints:
            plan.writing_gib = (plan.writing_gib or 0) + (plan.checkpoints_gib or 0)
            plan.checkpoints_gib = 0.0


def _told_apart(needed: float, available: float) -> tuple[str, str]:
    """Both numbers with as few decimals as show which one is larger.

    >>> _told_apart(80.3, 40), _told_apart(8.04, 8)
    (('80', '40'), ('8.04', '8.00'))
    """
    digits = next((n for n in range(9) if f"{needed:.{n}f}" != f"{available:.{n}f}"), 9)
    return f"{needed:.{digits}f}", f"{available:.{digits}f}"


def _disk(
    plan: StagePlan, recipe: dict[str, Any], parameters: int, weights: str, runs: int
) -> None:
    """Weights of the stage (of each step with sDPO), and the checkpoints that are kept."""
    width = 4 if weights == "float32" else 2
    copies = 1
    if runs > 1:
        copies += runs
        plan.notes.append(f"sDPO keeps the model of each of its {runs} steps")
    plan.disk_gib = parameters * width * copies / GIB
    saved = _checkpoints(recipe, plan.steps)
    kept = min(saved, int(recipe.get("save_total_limit") or saved))
    # Adam's two moments in float32, and float32 copies of the weights where they are bf16.
    state = 0 if recipe.get("save_only_model") else (8 if width == 4 else 12)
    checkpoint = parameters * (width + state) / GIB
    plan.checkpoints_gib = kept * runs * checkpoint
    plan.writing_gib = checkpoint if saved > kept else 0  # the Trainer removes after it has saved
    if saved > 3 and not recipe.get("save_total_limit"):
        plan.notes.append(f"save_total_limit is not set: {saved} checkpoints stay")


def _checkpoints(recipe: dict[str, Any], steps: int | None) -> int:
    """How many checkpoints a run saves."""
    epochs = float(recipe.get("num_epochs") or 1)
    if str(recipe.get("save_strategy")) == "no":
        return 0
    if recipe.get("saves_per_epoch"):
        return max(1, round(float(recipe["saves_per_epoch"]) * epochs))
    if recipe.get("save_steps") and steps:
        every = float(recipe["save_steps"])
        return max(1, math.ceil(1 / every if every < 1 else steps / every))
    return max(1, math.ceil(epochs))
