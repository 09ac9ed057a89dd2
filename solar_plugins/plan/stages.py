"""Steps, tokens, memory, disk and hours of every stage of a chain."""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from solar_plugins.chain import chain_file, data_stage
from solar_plugins.chain.resolve import merge_models, resolve
from solar_plugins.depth_up_scaling import args as depth_up_scaling_args
from solar_plugins.errors import SolarError
from solar_plugins.models import model_config
from solar_plugins.plan import data_size, gpu_specs, memory, model_size, training_run
from solar_plugins.plan.training_step import CannotRun
from solar_plugins.quiet import quiet
from solar_plugins.recipes import global_batch, registry

GIB = memory.GIB


@dataclass(frozen=True)
class Machine:
    """One node.

    Attributes:
        gpus: Training processes, one per GPU; a machine without GPU has one.
        gpu_bytes: Memory of each.
        peak_flops: Of each, dense, in the number format of training.
        utilisation: Share of `peak_flops` that training on full sequences reaches, the
            recomputation of gradient checkpointing included.
        is_cpu: Whether there is no GPU; `gpu_bytes` and `peak_flops` are then the machine's own.
    """

    gpus: int
    gpu_bytes: float
    peak_flops: float = gpu_specs.GPUS["h100"].flops
    utilisation: float = gpu_specs.UTILISATION
    is_cpu: bool = False


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
    cpu_gib: float | None = None
    zero_stage: int | None = None
    disk_gib: float | None = None
    checkpoints_gib: float | None = None
    hours: float | None = None
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class ChainPlan:
    """A chain's stages and their sums."""

    chain: str
    base_model: str
    gpus: int
    is_cpu: bool
    gpu_memory_gib: float
    peak_tflops: float
    utilisation: float
    stages: list[StagePlan]

    @property
    def disk_gib(self) -> float:
        """All files of the chain after the last stage."""
        return sum((s.disk_gib or 0) + (s.checkpoints_gib or 0) for s in self.stages)

    @property
    def hours(self) -> float | None:
        """All trainings together; None if one of them is not known."""
        trained = [s.hours for s in self.stages if s.kind == "train"]
        return None if None in trained else sum(h for h in trained if h is not None)

    @property
    def fits(self) -> bool:
        """Whether no stage has a warning."""
        return not any(s.warnings for s in self.stages)

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        together = {"disk_gib": self.disk_gib, "hours": self.hours, "fits": self.fits}
        return {**asdict(self), **together}


def plan_chain(path: str | Path, machine: Machine, base_model: str | None = None) -> ChainPlan:
    """Plan the chain file `path` for `machine`.

    A miniature world is generated into a temporary folder (seconds), so that its rows are counted
    and not guessed; other data stages, which read the Hub, count as their recipes ask.

    Raises:
        SolarError: the chain cannot be read, or the base model's config.json is not found.
    """
    chain = chain_file.load_chain(path, base_model=base_model)
    with tempfile.TemporaryDirectory(prefix="solar-plan-") as temporary:
        planner = _Planner(chain, machine, Path(temporary))
        stages = [planner.stage(stage) for stage in chain.order()]
    return ChainPlan(
        chain=chain.name,
        base_model=chain.base_model,
        gpus=machine.gpus,
        is_cpu=machine.is_cpu,
        gpu_memory_gib=machine.gpu_bytes / GIB,
        peak_tflops=machine.peak_flops / 1e12,
        utilisation=machine.utilisation,
        stages=stages,
    )


class _Planner:
    """Plans the stages of a chain in order; each stage's recipe is resolved once.

    Attributes:
        configs: The config.json content of each stage's model; None where it is not known.
        data: What is known of the chain's data.
    """

    def __init__(self, chain: chain_file.Chain, machine: Machine, temporary: Path) -> None:
        self.chain, self.machine = chain, machine
        self.recipes = {
            stage.name: resolve(chain, stage) for stage in chain.order() if stage.kind != "evaluate"
        }
        self.moved = dict(self._generate(temporary))
        base = self.rebase(chain.base_model)
        config = model_config.find(base)
        if config is None:
            raise SolarError(
                f"base_model: {chain.base_model} is neither a folder with a config.json nor in "
                "the Hub's cache, so its sizes are not known here. Download it once (hf download "
                f"{chain.base_model} config.json), or name a local folder."
            )
        self.configs: dict[str, dict[str, Any] | None] = {chain_file.BASE_MODEL: config}
        known = dict(data_size.PUBLIC)
        for stage in chain.order():
            if stage.kind == "data":
                folder = chain.output_dir / stage.name
                known |= data_size.to_come(self.recipes[stage.name], folder)
        self.data = data_size.DataReader(Path(base) / "tokenizer.json", self.rebase, known)

    def _generate(self, temporary: Path) -> Iterator[tuple[Path, Path]]:
        """Miniature worlds that do not exist yet: their folder, and where each is generated."""
        for name, recipe in self.recipes.items():
            folder = self.chain.output_dir / name
            if recipe.get("generator") == "miniature_world" and not folder.is_dir():
                with quiet(), contextlib.redirect_stderr(io.StringIO()):  # progress bars
                    data_stage.generate(recipe, temporary / name)
                yield folder, temporary / name

    def rebase(self, path: str) -> str:
        """The present place of a path of the chain."""
        for folder, now in self.moved.items():
            if Path(path).is_relative_to(folder):
                return str(now / Path(path).relative_to(folder))
        return path

    def stage(self, stage: chain_file.Stage) -> StagePlan:
        plan = StagePlan(stage.name, stage.kind)
        if stage.kind == "data":
            return plan
        if stage.kind == "evaluate":
            count = len(stage.from_)
            models = f"{count} model{'s' * (count != 1)} to evaluate"
            plan.notes.append(f"{models}; these hours are not planned")
            return plan
        recipe = self.recipes[stage.name]
        config = self.configs.get(stage.from_[0])
        if config is None:
            self.configs[stage.name] = None
            plan.notes.append("the config of its input model is not known")
            return plan
        if stage.kind == "merge":
            config = self._merged(recipe, stage, config)
        elif registry.is_named(recipe, "DepthUpScalingPlugin"):
            depth = model_config.depth(config)
            if depth is None:
                raise SolarError("base_model: its config.json does not say how many layers it has.")
            block = depth_up_scaling_args.parse(recipe.get("depth_up_scaling"))
            config = model_size.with_layers(config, block.layer_map(depth))
        self.configs[stage.name] = config
        size = model_size.of(config)
        plan.layers, plan.parameters = size.layers, size.parameters
        if stage.kind == "merge":
            width = 4 if "32" in str(recipe.get("dtype")) else 2
            plan.disk_gib = size.parameters * width / GIB
            plan.notes.append("on the CPU, a few minutes and one copy of the model's weights")
        else:
            self._train(plan, recipe, config, size)
        return plan

    def _merged(
        self, recipe: dict[str, Any], stage: chain_file.Stage, config: dict[str, Any]
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
    ) -> None:
        gpus, gpu_bytes = self.machine.gpus, self.machine.gpu_bytes
        setups = [memory.read_setup(run, gpus) for run in training_run.recipes_of(recipe)]
        setup = max(setups, key=lambda each: each.step.sequences * each.step.length)
        plan.notes += memory.left_out(recipe)
        plan.zero_stage = setup.zero.stage
        try:
            need = memory.estimate(config, setup, gpus)
            plan.states_gib, plan.activations_gib = need.states / GIB, need.activations / GIB
            plan.gpu_gib, plan.cpu_gib = need.gpu / GIB, need.cpu / GIB
            if need.gpu > gpu_bytes:
                change = memory.what_fits(config, setup, gpus, gpu_bytes)
                place = "on this machine" if self.machine.is_cpu else "per GPU"
                plan.warnings.append(
                    f"{plan.gpu_gib:.0f} GiB {place} needed, {gpu_bytes / GIB:.0f} available. "
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
        work = training_run.of_recipe(recipe, size, gpus, self.data)
        plan.notes += [note for note in work.notes if note not in plan.notes]
        for name in ("rows", "steps", "tokens", "flops"):
            setattr(plan, name, work.total(name))
        seconds = work.seconds(gpus * self.machine.peak_flops * self.machine.utilisation)
        plan.hours = None if seconds is None else seconds / 3600
        _disk(plan, recipe, size.parameters, setup.step.weights, len(work.runs))


def _disk(
    plan: StagePlan, recipe: dict[str, Any], parameters: int, weights: str, runs: int
) -> None:
    """Weights of the stage (of each step with sDPO), and the checkpoints that are kept."""
    width = 4 if weights == "float32" else 2
    copies = runs if runs > 1 else 0
    plan.disk_gib = parameters * width * (1 + copies) / GIB
    if runs > 1:
        plan.notes.append(f"sDPO keeps the model of each of its {runs} steps")
    saved = _checkpoints(recipe, plan.steps)
    kept = min(saved, int(recipe.get("save_total_limit") or saved))
    # Adam's two moments in float32, and float32 copies of the weights where they are bf16.
    state = 0 if recipe.get("save_only_model") else (8 if width == 4 else 12)
    plan.checkpoints_gib = kept * runs * parameters * (width + state) / GIB
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
