"""What `--until` asks for: every stage, one stage, or one row of the paper's tables."""

from __future__ import annotations

from dataclasses import replace

from solar_plugins.chain.chain_file import BASE_MODEL, Chain, Stage
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
    model = None if until in chain.stages else _model_of_row(chain, until)
    if model is None:
        return chain.order(until)
    evaluation = next((stage for stage in chain.stages.values() if _scores(stage, model)), None)
    ends = (model, *(evaluation.after if evaluation else ()))
    before = {stage.name for end in ends if end != BASE_MODEL for stage in chain.order(end)}
    stages = [stage for stage in chain.order() if stage.name in before]
    return [*stages, replace(evaluation, from_=(model,))] if evaluation else stages


def _model_of_row(chain: Chain, row: str | None) -> str | None:
    names = (*chain.stages, BASE_MODEL)
    return next((name for name in paper.stages_of_row(row or "") if name in names), None)


def _scores(stage: Stage, model: str) -> bool:
    return stage.kind == "evaluate" and model in stage.from_
