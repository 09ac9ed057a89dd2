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
from solar_plugins.chain.resolve import merge_models, resolve, set_key
from solar_plugins.check.recipe import plugin_names
from solar_plugins.depth_up_scaling import args as depth_up_scaling_args
from solar_plugins.errors import SolarError
from solar_plugins.models import model_config
from solar_plugins.plan import data_size, gpu_specs, memory, model_size, training_run
from solar_plugins.plan.training_step import CannotRun
from solar_plugins.quiet import quiet
from solar_plugins.recipes import extends, global_batch

GIB = memory.GIB


@dataclass(frozen=True)
class Machine:
    """What the chain is to run on.

    Attributes:
        gpus: On one node.
        gpu_bytes: Memory of each.
        peak_flops: Of each, dense, in the number format of training.
        utilisation: Share of `peak_flops` that training on full sequences reaches, the
            recomputation of gradient checkpointing included.
    """

    gpus: int
    gpu_bytes: float
    peak_flops: float = gpu_specs.PEAK_FLOPS["H100 80GB HBM3"]
    utilisation: float = gpu_specs.UTILISATION


@dataclass
class StagePlan:
    """What one stage takes. None: not known; the notes say why."""

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
class Plan:
    """A chain's stages and what they come to together."""

    chain: str
    base_model: str
    gpus: int
    gpu_memory_gib: float
    peak_tflops: float
    utilisation: float
    stages: list[StagePlan]

    @property
    def disk_gib(self) -> float:
        """Everything that lies on the disk when the last stage is done."""
        return sum((s.disk_gib or 0) + (s.checkpoints_gib or 0) for s in self.stages)

    @property
    def hours(self) -> float | None:
        """Of all stages that train; None if one of them is not known."""
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


def plan_chain(path: str | Path, machine: Machine, base_model: str | None = None) -> Plan:
    """Plan the chain file `path` for `machine`.

    A miniature world is generated into a temporary folder (seconds), so that its rows are counted
    and not guessed; other data stages, which read the Hub, count as what they are asked to make.

    Raises:
        SolarError: the chain cannot be read, or the base model's sizes are not to be had here.
    """
    chain = chain_file.load_chain(path, base_model=base_model)
    with _generated(chain) as rebase:
        config = model_config.find(rebase(chain.base_model))
        if config is None:
            raise SolarError(
                f"base_model: {chain.base_model} is neither a folder with a config.json nor in "
                "the Hub's cache, so its sizes are not known here. Download it once (hf download "
                f"{chain.base_model} config.json), or name a local folder."
            )
        tokenizer = Path(rebase(chain.base_model)) / "tokenizer.json"
        configs = {chain_file.BASE_MODEL: config}
        planner = _Planner(chain, machine, configs, rebase, tokenizer)
        stages = [planner.stage(stage) for stage in chain.order()]
    return Plan(
        chain=chain.name,
        base_model=chain.base_model,
        gpus=machine.gpus,
        gpu_memory_gib=machine.gpu_bytes / GIB,
        peak_tflops=machine.peak_flops / 1e12,
        utilisation=machine.utilisation,
        stages=stages,
    )


@contextlib.contextmanager
def _generated(chain: chain_file.Chain) -> Iterator[data_size.Rebase]:
    """Miniature worlds made in a temporary folder, and where a path of the chain is to be found."""
    with tempfile.TemporaryDirectory(prefix="solar-plan-") as temporary:
        moved: dict[Path, Path] = {}
        for stage in chain.order():
            folder = chain.output_dir / stage.name
            if stage.kind != "data" or folder.is_dir():
                continue
            recipe = extends.read_mapping(stage.file)
            if recipe.get("generator") == "miniature_world":
                moved[folder] = Path(temporary) / stage.name
                with quiet(), contextlib.redirect_stderr(io.StringIO()):  # progress bars
                    data_stage.generate(recipe, moved[folder])

        def rebase(path: str) -> str:
            for folder, now in moved.items():
                if Path(path).is_relative_to(folder):
                    return str(now / Path(path).relative_to(folder))
            return path

        yield rebase


@dataclass
class _Planner:
    chain: chain_file.Chain
    machine: Machine
    configs: dict[str, dict[str, Any] | None]
    rebase: data_size.Rebase
    tokenizer: Path
    known: dict[str, data_size.PublicData] = field(default_factory=lambda: dict(data_size.PUBLIC))

    def stage(self, stage: chain_file.Stage) -> StagePlan:
        if stage.kind == "data":
            folder = self.chain.output_dir / stage.name
            self.known |= data_size.to_come(resolve(self.chain, stage), folder)
            return StagePlan(stage.name, stage.kind)
        if stage.kind == "evaluate":
            count = len(stage.from_)
            what = f"{count} model{'s' * (count != 1)} to evaluate; these hours are not planned"
            return StagePlan(stage.name, stage.kind, notes=[what])
        content = self.chain.rebase(extends.read_mapping(stage.file))
        for key, value in self.chain.settings.get(stage.name, {}).items():
            set_key(content, key, value, stage)
        plan = StagePlan(stage.name, stage.kind)
        config = self.configs.get(stage.from_[0])
        if config is None:
            self.configs[stage.name] = None
            plan.notes.append("the model that goes in is not known")
            return plan
        if stage.kind == "merge":
            config = self._merged(content, stage, config)
        else:
            config = _trained(content, config)
        self.configs[stage.name] = config
        size = model_size.of(config)
        plan.layers, plan.parameters = size.layers, size.parameters
        if stage.kind == "merge":
            width = 4 if "32" in str(content.get("dtype")) else 2
            plan.disk_gib = size.parameters * width / GIB
            plan.notes.append("on the CPU, a few minutes and one copy of the model's weights")
        else:
            self._train(plan, content, config, size)
        return plan

    def _merged(
        self, content: dict[str, Any], stage: chain_file.Stage, config: dict[str, Any]
    ) -> dict[str, Any]:
        """The config of a merge: stacked slices, or the first model's."""
        slices = content.get("slices")
        if not slices:
            return config
        named = merge_models(content)
        layers: list[int] = []
        for slice_ in slices:
            source = slice_["sources"][0]
            given = self.configs.get(dict(zip(named, stage.from_, strict=False))[source["model"]])
            if given != config:
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
        setups = [
            memory.read_setup(run, self.machine.gpus) for run in training_run.recipes_of(recipe)
        ]
        setup = max(setups, key=lambda each: each.step.sequences * each.step.length)
        plan.notes += memory.left_out(recipe)
        plan.zero_stage = setup.zero.stage
        try:
            self._memory(plan, config, setup)
        except CannotRun as reason:
            plan.notes.append(f"memory per GPU is not known, the model does not run here: {reason}")
        if recipe.get("adapter"):
            plan.notes.append("an adapter is trained: disk is that of full training")
        plan.global_batch = global_batch.of(recipe, self.machine.gpus)
        try:
            global_batch.accumulation_steps(recipe, self.machine.gpus)
        except SolarError as error:
            plan.warnings.append(f"{error}")
        work = training_run.of_recipe(
            recipe, size, self.machine.gpus, self.tokenizer, self.rebase, self.known
        )
        plan.notes += [note for note in work.notes if note not in plan.notes]
        for name in ("rows", "steps", "tokens", "flops"):
            setattr(plan, name, work.total(name))
        speed = self.machine.gpus * self.machine.peak_flops * self.machine.utilisation
        seconds = work.seconds(speed)
        plan.hours = None if seconds is None else seconds / 3600
        _disk(plan, recipe, size, setup, len(work.runs))

    def _memory(self, plan: StagePlan, config: dict[str, Any], setup: memory.Setup) -> None:
        gpus, there = self.machine.gpus, self.machine.gpu_bytes
        need = memory.estimate(config, setup, gpus)
        plan.states_gib, plan.activations_gib = need.states / GIB, need.activations / GIB
        plan.gpu_gib, plan.cpu_gib = need.gpu / GIB, need.cpu / GIB
        if need.gpu > there:
            change = memory.what_fits(config, setup, gpus, there)
            plan.warnings.append(
                f"{plan.gpu_gib:.0f} GiB per GPU needed, {there / GIB:.0f} there. "
                + (f"It fits with {change}." if change else "No setting makes it fit: more GPUs.")
            )


def _trained(recipe: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """The config of the model that a recipe trains, up-scaled if the plugin is named."""
    if "solar_plugins.DepthUpScalingPlugin" not in plugin_names(recipe):
        return config
    deep = model_config.depth(config)
    if deep is None:
        raise SolarError("base_model: its config.json does not say how many layers it has.")
    block = depth_up_scaling_args.parse(recipe.get("depth_up_scaling"))
    return model_size.with_layers(config, block.layer_map(deep))


def _disk(
    plan: StagePlan,
    recipe: dict[str, Any],
    size: model_size.ModelSize,
    setup: memory.Setup,
    runs: int,
) -> None:
    """Weights of the stage (of each step with sDPO), and the checkpoints that stay beside them."""
    width = 4 if setup.step.weights == "float32" else 2
    copies = runs if runs > 1 else 0
    plan.disk_gib = size.parameters * width * (1 + copies) / GIB
    if runs > 1:
        plan.notes.append(f"sDPO keeps the model of each of its {runs} steps")
    saved = _checkpoints(recipe, plan.steps)
    kept = min(saved, int(recipe.get("save_total_limit") or saved))
    # Adam's two moments in float32, and float32 copies of the weights where they are bf16.
    state = 0 if recipe.get("save_only_model") else (8 if width == 4 else 12)
    plan.checkpoints_gib = kept * runs * size.parameters * (width + state) / GIB
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
