"""What `--until` asks for: every stage, one stage, or one row of the paper's tables."""

from __future__ import annotations

from dataclasses import replace

from solar_plugins.chain.chain_file import BASE_MODEL, Chain, Stage
from solar_plugins.errors import SolarError, nearest
from solar_plugins.evaluation import paper


def wanted(chain: Chain, until: str | None) -> list[Stage]:
    """The stages to be done, in order.

    Args:
        until: None for all; a stage's name for that stage and what it needs; a row's name in the
            paper's tables (``SFT v2``) for the stage that makes its model, what that needs, and the
            evaluation of this one model.

    Raises:
        SolarError: the chain has neither such a stage nor such a row.
    """
    if until is None or until in chain.stages:
        return chain.order(until)
    model = _model_of_row(chain, until)
    evaluation = next((stage for stage in chain.stages.values() if _scores(stage, model)), None)
    ends = (model, *(evaluation.after if evaluation else ()))
    before = {stage.name for end in ends if end != BASE_MODEL for stage in chain.order(end)}
    stages = [stage for stage in chain.order() if stage.name in before]
    return [*stages, replace(evaluation, from_=(model,))] if evaluation else stages


def _model_of_row(chain: Chain, name: str) -> str:
    made = (*chain.stages, BASE_MODEL)
    model = next((stage for stage in paper.stages_of_row(name) if stage in made), None)
    if model is None:
        rows = dict.fromkeys(row.model for row in paper.ROWS if set(row.stages) & set(made))
        ours = "; its rows of the paper's tables: " + ", ".join(rows) if rows else ""
        raise SolarError(
            f"--until: {chain.path} has no stage {name!r}.{nearest(name, [*chain.stages, *rows])} "
            f"Its stages: {', '.join(chain.stages)}{ours}."
        )
    return model


def _scores(stage: Stage, model: str) -> bool:
    return stage.kind == "evaluate" and model in stage.from_
