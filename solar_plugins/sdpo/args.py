"""The recipe's `sdpo:` block, for Axolotl's schema.

`StepwiseDPOPlugin.register` has parsed the block with `step_plan` before Axolotl validates; these
classes repeat its shape so that the schema knows it and the block survives validation.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, model_validator

from solar_plugins.sdpo.step_plan import parse_steps


class StepwiseDPOStep(BaseModel):
    """One step: its data, and the training keys that differ from the recipe's."""

    model_config = {"extra": "forbid"}

    datasets: list[dict[str, Any]] = Field(
        description="Axolotl dataset entries: the preference data of this step."
    )
    learning_rate: float | None = Field(
        default=None, gt=0, description="Peak learning rate of this step; default the recipe's."
    )
    num_epochs: float | None = Field(
        default=None, gt=0, description="Epochs over this step's data; default the recipe's."
    )
    rl_beta: float | None = Field(
        default=None, gt=0, description="DPO's beta in this step; default the recipe's."
    )


class StepwiseDPOConfig(BaseModel):
    """`sdpo:`, the steps of stepwise DPO in the order in which they are trained."""

    model_config = {"extra": "forbid"}

    steps: list[StepwiseDPOStep] = Field(
        min_length=1,
        description=(
            "One DPO run each; its reference and its start are the model of the step before "
            "(arXiv 2403.19270)."
        ),
    )

    @model_validator(mode="before")
    @classmethod
    def _explain(cls, block: Any) -> Any:
        parse_steps(block)
        return block


class StepwiseDPOArgs(BaseModel):
    """What StepwiseDPOPlugin adds to an Axolotl recipe."""

    sdpo: StepwiseDPOConfig | None = None
