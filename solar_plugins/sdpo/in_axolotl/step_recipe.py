"""The Axolotl recipe of one step: the run's recipe with the step's own settings in it."""

from __future__ import annotations

from typing import Annotated, Any

from axolotl.utils.dict import DictDefault
from axolotl.utils.schemas.config import AxolotlInputConfig
from axolotl.utils.schemas.enums import CustomSupportedOptimizers
from pydantic import TypeAdapter, ValidationError
from transformers import SchedulerType
from transformers.training_args import OptimizerNames

from solar_plugins.errors import SolarError, nearest
from solar_plugins.sdpo.settings import STEP_SETTINGS, YIELDS
from solar_plugins.sdpo.step_plan import Step, StepPlan
from solar_plugins.seams.axolotl import mark_as_checked

_NAMES = {
    "lr_scheduler": [*(kind.value for kind in SchedulerType), "one_cycle", "rex"],
    "optimizer": [
        *(kind.value for kind in (*OptimizerNames, *CustomSupportedOptimizers)),
    ],
}
"""Axolotl's schema takes any text for these, and the step would fail when its time comes."""

_UNSET = {"val_set_size": 0.0}  # Axolotl compares it with 0; the others are unset by None


def typed_settings(step: Step) -> dict[str, Any]:
    """A step's settings as Axolotl's schema types them.

    Raises:
        SolarError: a value that the schema refuses.
    """
    values = {}
    for key, value in step.settings.items():
        if key in _NAMES and value not in _NAMES[key]:
            raise SolarError(
                f"{step.where}.{key}: no {key} is called {value!r}."
                f"{nearest(str(value), _NAMES[key]) or ' Known: ' + ', '.join(_NAMES[key]) + '.'}"
            )
        field = AxolotlInputConfig.model_fields[key]
        adapter: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, field])
        try:
            typed = adapter.dump_python(adapter.validate_python(value), exclude_none=True)
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise SolarError(f"{step.where}.{key}: {value!r}. {why}.") from error
        values[key] = [DictDefault(entry) for entry in typed] if key == "test_datasets" else typed
    return values


class StepRecipes:
    """Turns Axolotl's config into the recipe of one step after the other, in place.

    Axolotl keeps hold of one config object through a run, so it is changed and not copied.
    """

    def __init__(self, cfg: DictDefault, plan: StepPlan, recipe: dict[str, Any]):
        """Remember the run's own values.

        Args:
            cfg: Axolotl's validated config, with the datasets of all steps in a row.
            plan: the steps.
            recipe: the recipe as it was written.
        """
        self.cfg = cfg
        self._recipe = recipe
        self._values = {key: cfg[key] for key in STEP_SETTINGS}
        self._batch_size = cfg.batch_size
        self._typed = {step.index: typed_settings(step) for step in plan.steps}
        self._datasets, every, begin = {}, list(cfg.datasets), 0
        for step in plan.steps:
            self._datasets[step.index] = every[begin : begin + len(step.datasets)]
            begin += len(step.datasets)

    def enter(self, step: Step) -> DictDefault:
        """Make the config the recipe of `step` and return it."""
        own = self._typed[step.index]
        values = dict(self._values)
        for key in own:
            for rival in YIELDS.get(key, ()):
                values[rival] = _UNSET.get(rival)
        values |= own
        if "eval_batch_size" not in own and "eval_batch_size" not in self._recipe:
            values["eval_batch_size"] = values["micro_batch_size"]
        epochs = values["num_epochs"]
        for key, per_epoch in (
            ("save_steps", "saves_per_epoch"),
            ("eval_steps", "evals_per_epoch"),
        ):
            # Axolotl turned these into a share of all steps, by the recipe's own epochs.
            if self.cfg[per_epoch] and key not in own and values[key]:
                values[key] = 1.0 / (self.cfg[per_epoch] * epochs)
        for key, value in values.items():
            self.cfg[key] = value
        self.cfg.datasets = self._datasets[step.index]
        for entry in (*self.cfg.datasets, *(self.cfg.test_datasets or ())):
            mark_as_checked(entry)
        self.cfg.batch_size = self._rows_per_update(values)
        return self.cfg

    def _rows_per_update(self, values: dict[str, Any]) -> int:
        """Over all processes, as Axolotl's own `batch_size` has it."""

        def of_one_process(of: dict[str, Any]) -> int:
            return of["micro_batch_size"] * of["gradient_accumulation_steps"]

        return self._batch_size * of_one_process(values) // of_one_process(self._values)
