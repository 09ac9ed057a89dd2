"""What a run shows, as plain values: the rows of the report's tables. No number is made up here."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from solar_plugins.chain.run.record import FAILED
from solar_plugins.evaluation.benchmarks import BENCHMARKS, BY_TASK
from solar_plugins.evaluation.paper import PaperRow, row_of_stage
from solar_plugins.report import drift
from solar_plugins.report.run import NOT_RUN, Run, StageRun


@dataclass(frozen=True)
class Score:
    """One benchmark of one model; shares between 0 and 1, None where it was not run.

    Attributes:
        above_chance: whether it is more than two standard errors above guessing; None where
            guessing has no score.
    """

    value: float | None
    stderr: float | None = None
    chance: float | None = None

    @property
    def above_chance(self) -> bool | None:
        if self.value is None or self.chance is None or self.stderr is None:
            return None
        return self.value > self.chance + 2 * self.stderr


@dataclass(frozen=True)
class ModelRow:
    """One model's line in the results: scores by benchmark key, H6, held-out loss, the paper's row.

    Attributes:
        loss: bits per byte of held-out text, None where it was not measured.
        missing: why a number is not there, in one word or two.
    """

    model: str
    scores: dict[str, Score]
    h6: float | None
    loss: float | None
    paper: PaperRow | None
    missing: str = NOT_RUN

    @property
    def h6_stderr(self) -> float | None:
        """Of the mean of the six, whose errors are independent."""
        errors = [score.stderr for score in self.scores.values() if score.stderr is not None]
        if self.h6 is None or len(errors) < len(self.scores):
            return None
        return math.hypot(*errors) / len(errors)


@dataclass(frozen=True)
class UpScaling:
    """Held-out loss around one depth up-scaling, bits per byte; None where not measured.

    Attributes:
        base: the model that was up-scaled; `up_scaled` the same before any training, where the
            chain has a stage for it; `trained` the one after continued pretraining.
    """

    stage: str
    base: tuple[str, float | None]
    up_scaled: tuple[str, float | None] | None
    trained: tuple[str, float | None]

    @property
    def losses(self) -> list[tuple[str, tuple[str, float | None]]]:
        """What each model is, with its name and loss, in the order in which they were made."""
        up_scaled = [("up-scaled, not trained", self.up_scaled)] if self.up_scaled else []
        return [
            ("base model", self.base),
            *up_scaled,
            ("after continued pretraining", self.trained),
        ]


@dataclass(frozen=True)
class Rewards:
    """How often the chosen answer had the higher reward, at the start and the end of a step.

    Attributes:
        first, last: means over the first and the last fifth of the step's logs.
        kl_last: distance from the run's start at the step's end, nats per answer (`drift`);
            None where the logs do not tell it.
    """

    stage: str
    step: int
    rows: int | None
    first: float
    last: float
    margin_last: float | None
    kl_last: float | None
    logs: int


def model_rows(run: Run) -> list[ModelRow]:
    """One row per model that the chain evaluates, in the chain's order, measured or not."""
    rows = []
    for model in run.evaluated:
        result = run.results.get(model)
        tasks = {task["benchmark"]: task for task in result["tasks"].values()} if result else {}
        scores = {}
        for benchmark in BENCHMARKS:
            task = tasks.get(benchmark.key, {})
            scores[benchmark.key] = Score(task.get("value"), task.get("stderr"), task.get("chance"))
        rows.append(
            ModelRow(
                model=model,
                scores=scores,
                h6=result["h6"] if result else None,
                loss=_loss(run, model),
                paper=row_of_stage(model),
                missing=_missing(run, model),
            )
        )
    return rows


def _missing(run: Run, model: str) -> str:
    stage = run.stages.get(model)
    return FAILED if stage is not None and stage.state == FAILED else NOT_RUN


def summary(run: Run) -> dict[str, Any]:
    """The results as plain JSON values; scores are shares, what was not measured is null."""
    return {
        "chain": run.chain.name,
        "stages": {name: stage.state for name, stage in run.stages.items()},
        "models": [dataclasses.asdict(row) for row in model_rows(run)],
        "up_scaling": [dataclasses.asdict(found) for found in up_scalings(run)],
        "rewards": [dataclasses.asdict(found) for found in rewards(run)],
    }


def is_miniature(run: Run) -> bool:
    """Whether any measured task is not one of the six that the paper reports."""
    names = [name for result in run.results.values() for name in result["tasks"]]
    return any(name not in BY_TASK for name in names)


def chance_levels(rows: list[ModelRow]) -> dict[str, float | None]:
    """What guessing scores by benchmark, as the tasks themselves say."""
    levels: dict[str, float | None] = {}
    for benchmark in BENCHMARKS:
        known = [row.scores[benchmark.key].chance for row in rows]
        levels[benchmark.key] = next((value for value in known if value is not None), None)
    return levels


def loss_unit(run: Run) -> str | None:
    """The metric of the held-out losses, as lm-eval calls it, in words."""
    metrics = {
        loss["metric"] for result in run.results.values() for loss in result["losses"].values()
    }
    return metrics.pop().replace("_", " ") if len(metrics) == 1 else None


def up_scalings(run: Run) -> list[UpScaling]:
    """The loss before, at and after each depth up-scaling that the run has done."""
    found = []
    for stage in run.stages.values():
        if "depth_up_scaling" not in stage.proofs:
            continue
        (base,) = stage.sources
        untrained = next(
            (
                other.name
                for other in run.stages.values()
                if other.kind == "merge"
                and set(other.sources) == {base}
                and _is_start_of(other.recipe, stage.proofs["depth_up_scaling"])
            ),
            None,
        )
        found.append(
            UpScaling(
                stage=stage.name,
                base=(base, _loss(run, base)),
                up_scaled=(untrained, _loss(run, untrained)) if untrained else None,
                trained=(stage.name, _loss(run, stage.name)),
            )
        )
    return found


def _is_start_of(merge: dict[str, Any], up_scaling: dict[str, Any]) -> bool:
    """Whether a MergeKit config stacks the layers that an up-scaling began with.

    Layers that start silent are ones whose output projections the config scales to zero.
    """
    sources = [slice_["sources"][0] for slice_ in merge.get("slices") or []]
    layers = [layer for source in sources for layer in range(*source["layer_range"])]
    scaled = any("parameters" in source for source in sources)
    return layers == up_scaling["layer_map"] and scaled == (up_scaling.get("init") == "identity")


def rewards(run: Run) -> list[Rewards]:
    """Reward accuracy at the start and the end of every preference training, by sDPO step."""
    found = []
    for stage in run.stages.values():
        planned = {step["step"]: step for step in stage.proofs.get("sdpo", {}).get("steps", [])}
        distances = kl_to_start(stage)
        for number, logs in preference_logs(stage).items():
            accuracies = [log["rewards/accuracies"] for log in logs]
            margins = [log["rewards/margins"] for log in logs if "rewards/margins" in log]
            gone = [value for _, value in distances.get(number, [])]
            fifth = max(1, len(logs) // 5)
            found.append(
                Rewards(
                    stage=stage.name,
                    step=number,
                    rows=planned.get(number, {}).get("rows"),
                    first=statistics.fmean(accuracies[:fifth]),
                    last=statistics.fmean(accuracies[-fifth:]),
                    margin_last=statistics.fmean(margins[-fifth:]) if margins else None,
                    kl_last=statistics.fmean(gone[-fifth:]) if gone else None,
                    logs=len(logs),
                )
            )
    return found


def preference_logs(stage: StageRun) -> dict[int, list[dict[str, Any]]]:
    """The logs with a reward accuracy by sDPO step; a plain DPO has step 1 only."""
    steps: dict[int, list[dict[str, Any]]] = {}
    for log in stage.metrics:
        if log.get("rewards/accuracies") is not None:
            steps.setdefault(int(log.get("sdpo_step") or 1), []).append(log)
    return steps


def kl_to_start(stage: StageRun) -> dict[int, drift.Points]:
    """How far each sDPO step has gone from the run's start; see `drift`."""
    steps = stage.proofs.get("sdpo", {}).get("steps", [])
    return drift.kl_to_start(steps, preference_logs(stage))


def series(stage: StageRun, key: str) -> list[tuple[float, float]]:
    """`(step, value)` of one logged quantity, where it was a number."""
    return [
        (float(log["step"]), float(log[key]))
        for log in stage.metrics
        if isinstance(log.get(key), int | float) and isinstance(log.get("step"), int | float)
    ]


def step_bounds(stage: StageRun) -> list[float]:
    """Where in the stage's steps the second and later sDPO steps begin."""
    logs = preference_logs(stage)
    ends = [max(log["step"] for log in logs[number]) for number in sorted(logs)]
    return [float(end) for end in ends[:-1]]


def filters(run: Run) -> Iterator[tuple[str, dict[str, Any]]]:
    """`(stage, audit)` of every FLAN filter that ran."""
    for stage in run.stages.values():
        if "flan_filter_audit" in stage.proofs:
            yield stage.name, stage.proofs["flan_filter_audit"]


def _loss(run: Run, model: str) -> float | None:
    result = run.results.get(model)
    if not result:
        return None
    values = [loss["value"] for loss in result["losses"].values()]
    return values[0] if values else None
