"""The recipe's `sdpo:` block, for Axolotl's schema.

`StepwiseDPOPlugin.register` has parsed the block with `step_plan` before Axolotl validates, and
typed each step's settings by Axolotl's own schema; these classes repeat the block's shape so that
the schema knows it and the block survives validation.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from solar_plugins.sdpo import step_plan
from solar_plugins.sdpo.settings import STEP_SETTINGS
from solar_plugins.watch.args import WatchedArgs

Reference = Literal["previous", "fixed"] | dict[Literal["path"], str]


class StepwiseDPOConfig(BaseModel):
    """`sdpo:`, the steps of stepwise DPO."""

    model_config = {"extra": "forbid"}

    steps: list[dict[str, Any]] = Field(
        min_length=1,
        description=(
            "One DPO run each; its reference and its start are the model of the step before "
            "(arXiv 2403.19270). A step has `datasets`, and may have `reference`, `policy` and "
            f"its own {', '.join(STEP_SETTINGS)}."
        ),
    )
    order_by: Literal["given", "random", "reward_accuracy"] = Field(
        default="given",
        description="The order of the steps: as listed, drawn by the seed, or from easy to hard.",
    )
    split: int | None = Field(
        default=None, ge=2, description="Cut the data of the one step into so many steps."
    )
    reference: Reference = Field(
        default="previous",
        description="Of the steps that name none: previous (the paper), fixed, or {path: MODEL}.",
    )
    policy: Literal["previous", "base"] = Field(
        default="previous", description="What the steps that name none start from."
    )
    live_reference: bool = Field(
        default=False, description="Keep a reference model in memory, as plain DPO does."
    )
    reference_batches: Literal["as_trained", "by_length"] = Field(
        default="as_trained",
        description="Batches of the reference pass: the first epoch's, or rows of like length.",
    )

    @model_validator(mode="before")
    @classmethod
    def _explain(cls, block: Any) -> Any:
        step_plan.parse(block)
        return block


class StepwiseDPOArgs(WatchedArgs):
    """What StepwiseDPOPlugin adds to an Axolotl recipe."""

    sdpo: StepwiseDPOConfig | None = None
