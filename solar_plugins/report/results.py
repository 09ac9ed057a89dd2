"""What a run shows, as plain values: the rows of the report's tables. No number is made up here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from solar_plugins.chain.run.record import FAILED
from solar_plugins.evaluation import benchmarks
from solar_plugins.evaluation.benchmarks import BY_KEY, BY_TASK
from solar_plugins.evaluation.paper import ROWS, PaperRow, row_of_stage
from solar_plugins.report.charts import Points
from solar_plugins.report.run import NOT_RUN, Run, StageRun

_MERGES: dict[
    tuple, str
] = {  # names of the rows that went in, method and weight of the first -> the row
    ("SFT v3", "SFT v4", "linear", 0.5): "SFT v3+v4",
    ("DPO v1", "DPO v2", "linear", 0.5): "DPO v1+v2",
    ("Cand. 1", "Cand. 2", "linear", 0.5): "Merge v1",
    ("Cand. 1", "Cand. 2", "linear", 0.4): "Merge v2",
    ("Cand. 1", "Cand. 2", "linear", 0.6): "Merge v3",
    ("Cand. 1", "Cand. 2", "slerp", None): "Merge v4",
}


@dataclass(frozen=True)
class Score:
    """One benchmark of one model; shares between 0 and 1, None where it was not run."""

    value: float | None
    stderr: float | None = None
    chance: float | None = None

    @property
    def above_chance(self) -> bool | None:
        """Whether it is more than two standard errors above guessing, where that has a score."""
        if self.value is None or self.chance is None or self.stderr is None:
            return None
        return self.value > self.chance + 2 * self.stderr


@dataclass(frozen=True)
class ModelRow:
    """One model's line in the results.

    Attributes:
        scores: by the keys of the benchmarks that the chain asks for.
        loss: bits per byte of held-out text, None where it was not measured.
        other: what else lm-eval measured of it: task -> metric -> value; ``""`` if it was not run.
        paper: the paper's row for the same model, where that is to be shown.
        missing: why a number is not there, in one word or two.
    """

    model: str
    scores: dict[str, Score]
    h6: float | None
    loss: float | None
    other: dict[str, dict[str, float | None]]
    paper: PaperRow | None
    missing: str = NOT_RUN

    @property
    def h6_stderr(self) -> float | None:
        if self.h6 is None:
            return None
        return benchmarks.h6_stderr({key: score.stderr for key, score in self.scores.items()})


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
        trained = ("after continued pretraining", self.trained)
        return [("base model", self.base), *up_scaled, trained]


@dataclass(frozen=True)
class Rewards:
    """How often the chosen answer had the higher reward, at the start and the end of a step.

    Attributes:
        first, last: means over the first and the last fifth of the step's logs.
        kl_last: distance from the run's start at the step's end (`kl_to_start`), nats per answer;
            None where the logs do not tell it.
    """

    stage: str
    step: int
    rows: int | None
    first: float | None
    last: float | None
    margin_last: float | None
    kl_last: float | None
    logs: int


def model_rows(run: Run) -> list[ModelRow]:
    """One row per model that the chain evaluates, in the chain's order, measured or not."""
    rows = []
    for model in run.evaluated:
        result = run.results.get(model, {})
        tasks = {task["benchmark"]: task for task in result.get("tasks", {}).values()}
        scores = {
            key: Score(*(tasks.get(key, {}).get(part) for part in ("value", "stderr", "chance")))
            for key in run.benchmarks
        }
        losses = result.get("losses", {}).items()
        other = {
            task: {
                f"{of['metric']},none": of["value"],
                f"{of['metric']}_stderr,none": of.get("stderr"),
            }
            for task, of in losses
            if task != loss_task(run)
        }
        other |= {task: found["values"] for task, found in result.get("other", {}).items()}
        for task in result.get("not_run", {}):
            if task not in BY_TASK and task.removeprefix("mini_") not in BY_KEY:
                other[task] = {"": None}
        failed = model in run.stages and run.stages[model].state == FAILED
        found = (scores, result.get("h6"), _loss(run, model), other, paper_row(run, model))
        rows.append(ModelRow(model, *found, FAILED if failed else NOT_RUN))
    return rows


def paper_row(run: Run, model: str) -> PaperRow | None:
    """The paper's row for a model, where the paper's rows belong beside the run.

    A training is known by its stage's name; a merge by its models, method and weights.
    """
    stage = run.stages.get(model)
    if not run.beside_paper:
        return None
    if stage is None or stage.kind != "merge":
        return row_of_stage(model)
    went_in = [paper_row(run, source) for source in stage.sources]
    models = stage.recipe.get("models") or []
    weights: list[Any] = [(entry.get("parameters") or {}).get("weight") for entry in models]
    if None in went_in or len(weights) != len(went_in):
        return None
    total = sum(weights) if all(isinstance(weight, int | float) for weight in weights) else 0
    names = [row.model for row in went_in if row]
    first = min(range(len(names)), key=names.__getitem__)
    share = round(weights[first] / total, 6) if total else None
    made = _MERGES.get((*sorted(names), stage.recipe.get("merge_method"), share))
    return next((row for row in ROWS if row.model == made), None)


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


def titles(run: Run) -> list[str]:
    """The run's benchmarks; where it has public and invented ones, which are invented."""
    names = {
        name: task["benchmark"] for r in run.results.values() for name, task in r["tasks"].items()
    }
    public = {key for name, key in names.items() if name in BY_TASK}
    mixed = public and public != {*names.values()}
    return [
        BY_KEY[key].title + " (invented)" * bool(mixed and key in {*names.values()} - public)
        for key in run.benchmarks
    ]


def chance_levels(run: Run) -> dict[str, float]:
    """What guessing scores by benchmark, as the tasks themselves say."""
    tasks = [task for result in run.results.values() for task in result["tasks"].values()]
    return {t["benchmark"]: t["chance"] for t in tasks if t.get("chance") is not None}


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
        proof = stage.proofs.get("depth_up_scaling")
        if proof is None:
            continue
        (base,) = stage.sources
        starts = [
            other.name
            for other in run.stages.values()
            if other.kind == "merge"
            and set(other.sources) == {base}
            and _is_start_of(other.recipe, proof)
        ]
        of = [(name, _loss(run, name)) for name in (base, *starts[:1], stage.name)]
        found.append(UpScaling(stage.name, of[0], of[1] if starts else None, of[-1]))
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
        rows = {step["step"]: step["rows"] for step in _sdpo_steps(stage)}
        distances = kl_to_start(stage)
        for number, logs in preference_logs(stage).items():
            accuracies = [log["rewards/accuracies"] for log in logs]
            margins = [log["rewards/margins"] for log in logs if "rewards/margins" in log]
            gone = [value for _, value in distances.get(number, [])]
            first, last = map(_mean_of_last_fifth, (accuracies[::-1], accuracies))
            margin, kl = map(_mean_of_last_fifth, (margins, gone))
            rows_ = rows.get(number)
            found.append(Rewards(stage.name, number, rows_, first, last, margin, kl, len(logs)))
    return found


def _mean_of_last_fifth(values: list[float]) -> float | None:
    return fmean(values[-max(1, len(values) // 5) :]) if values else None


def _sdpo_steps(stage: StageRun) -> list[dict[str, Any]]:
    """The facts of the finished steps, as stepwise DPO leaves them."""
    return stage.proofs.get("sdpo", {}).get("steps", [])


def preference_logs(stage: StageRun) -> dict[int, list[dict[str, Any]]]:
    """The logs with a reward accuracy by sDPO step; a plain DPO has step 1 only."""
    steps: dict[int, list[dict[str, Any]]] = {}
    for log in stage.metrics:
        if log.get("rewards/accuracies") is not None:
            steps.setdefault(int(log.get("sdpo_step") or 1), []).append(log)
    return steps


def kl_to_start(stage: StageRun) -> dict[int, Points]:
    """How far a preference training has gone from its start: `(update, nats per answer)` by step.

    DPO's reward of an answer is `beta log(p(y|x) / p_ref(y|x))`, so `-(chosen + rejected) / (2
    beta)` is the mean of `log p_ref(y|x) - log p(y|x)` over a batch's answers. Were they drawn from
    the reference, that would be an unbiased estimate of KL(reference || policy). Preference data
    mostly come from other models, so it is the divergence as seen on these answers, and negative
    where the policy holds both answers for likelier than the reference did.

    Log-ratios add up: where the reference is a model of an earlier step, what that step ended with
    is added. Of a step with another reference the logs do not give the distance; it is left out.
    """
    found: dict[int, Points] = {}
    gone: dict[str, float] = {}
    logs = preference_logs(stage)
    for facts in _sdpo_steps(stage):
        if "start_digest" not in facts:
            return {}
        gone = gone or {facts["start_digest"]: 0.0}  # the first step's start is the run's
        before = gone.get(facts["reference_digest"])
        points = [
            (
                float(log["step"]),
                before - (log["rewards/chosen"] + log["rewards/rejected"]) / (2 * facts["beta"]),
            )
            for log in logs.get(facts["step"], [])
            if before is not None and "rewards/chosen" in log
        ]
        end = _mean_of_last_fifth([value for _, value in points])
        if end is not None:
            found[facts["step"]] = points
            gone[facts["model_digest"]] = end
    return found


def series(stage: StageRun, key: str) -> Points:
    """`(step, value)` of one logged quantity, where it was a number."""
    return [
        (float(log["step"]), float(log[key]))
        for log in stage.metrics
        if isinstance(log.get(key), int | float) and isinstance(log.get("step"), int | float)
    ]


def by_step(stage: StageRun, key: str) -> list[Points]:
    """The series of one logged quantity, cut where the next step of sDPO begins."""
    edges = pairwise([float("-inf"), *step_bounds(stage), float("inf")])
    points = series(stage, key)
    return [[p for p in points if low < p[0] <= high] for low, high in edges]


def step_bounds(stage: StageRun) -> list[float]:
    """Where in the stage's steps the second and later sDPO steps begin."""
    logs = preference_logs(stage)
    return [float(max(log["step"] for log in logs[number])) for number in sorted(logs)[:-1]]


def filters(run: Run) -> Iterator[tuple[str, dict[str, Any]]]:
    """`(stage, audit)` of every FLAN filter that ran."""
    for stage in run.stages.values():
        if "flan_filter_audit" in stage.proofs:
            yield stage.name, stage.proofs["flan_filter_audit"]


def loss_task(run: Run) -> str | None:
    """The task whose loss is shown beside the scores: the first one of the first model.

    The losses of other tasks do not compare with it, and have rows of their own.
    """
    by_model = [run.results.get(name, {}).get("losses", {}) for name in run.evaluated]
    return next((name for losses in by_model for name in losses), None)


def _loss(run: Run, model: str) -> float | None:
    return run.results.get(model, {}).get("losses", {}).get(loss_task(run), {}).get("value")
