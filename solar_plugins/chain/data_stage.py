"""What a chain's `data` stages make: the miniature world, untrained models for it, the FLAN index,
the math sets, the result of the contamination test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from solar_plugins.recipes import data_recipe

FLAN_INDEX = "flan.index"
"""The file that `flan_index` makes in its folder."""
CONTAMINATION = "contamination.json"
"""The file that `contamination_test` makes in its folder."""


def generate(recipe: dict[str, Any], out: Path, parts: Path | None = None) -> dict[str, Any]:
    """Write the data that `recipe` asks for into the folder `out` and return its counts.

    Args:
        recipe: What a `data` stage's YAML holds: `generator` and that generator's settings.
        out: A folder that does not exist yet or is empty.
        parts: A folder for the finished parts of an attempt that was stopped; inside `out` if
            there is none.

    Raises:
        SolarError: an unknown generator, a setting that is unknown or of the wrong type, or a
            source that is not there.
    """
    settings = data_recipe.read(recipe)
    if isinstance(settings, data_recipe.FlanIndexRecipe):
        from solar_plugins.flan_filter.build_index import build

        parts = parts or out / ".parts"
        facts, read = build(settings.sources, out / FLAN_INDEX, parts, lambda name, amount: None)
        return {"digest": facts["digest"], "rows_read": read}
    if isinstance(settings, data_recipe.UntrainedModelRecipe):
        from solar_plugins.miniature import untrained_model

        return untrained_model.write(settings, out)
    if isinstance(settings, data_recipe.SynthMathRecipe):
        from solar_plugins.synth_math import metamath

        card = metamath.make(settings, out)
        return {name: file["rows"] for name, file in card["files"].items()}
    if isinstance(settings, data_recipe.ContaminationRecipe):
        from solar_plugins.evaluation import contamination

        return contamination.of_recipe(settings, out / CONTAMINATION, parts or out / ".parts")
    from solar_plugins.miniature.writer import write

    return write(recipe, out)


def check(recipe: dict[str, Any], folder: Path) -> None:
    """Read what `generate` left in `folder`; SolarError if the index or a math set is not whole."""
    if recipe["generator"] == "flan_index":
        from solar_plugins.flan_filter import index_file

        index_file.read_index(folder / FLAN_INDEX)
    elif recipe["generator"] == "synth_math":
        from solar_plugins.synth_math import sets

        sets.check(folder)
