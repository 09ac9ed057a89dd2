"""Stepwise DPO (arXiv 2403.19270): `solar_plugins.StepwiseDPOPlugin`, and `StepwiseDPO` in Python.

The latter is loaded on first use: the plan of a recipe is read without torch.
"""

from importlib import import_module

__all__ = ["StepwiseDPO", "TrainingStep"]


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module("solar_plugins.sdpo.python_api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
