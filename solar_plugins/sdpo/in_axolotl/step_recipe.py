"""A step's own settings, as Axolotl's schema types them."""

from __future__ import annotations

from typing import Annotated, Any

from axolotl.utils.dict import DictDefault
from axolotl.utils.schemas.config import AxolotlInputConfig
from axolotl.utils.schemas.enums import CustomSupportedOptimizers
from pydantic import TypeAdapter, ValidationError
from transformers import SchedulerType
from transformers.training_args import OptimizerNames

from solar_plugins.errors import SolarError, nearest
from solar_plugins.sdpo.args import Step

_NAMES = {
    "lr_scheduler": [*(kind.value for kind in SchedulerType), "one_cycle", "rex"],
    "optimizer": [kind.value for kind in (*OptimizerNames, *CustomSupportedOptimizers)],
}
"""Axolotl's schema takes any text for these, and the step would fail when its time comes."""


def typed_settings(step: Step) -> dict[str, Any]:
    """A step's settings as Axolotl's schema types them.

    Raises:
        SolarError: a value that the schema refuses.
    """
    values = {}
    for key, value in step.settings.items():
        if value not in _NAMES.get(key, [value]):
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
