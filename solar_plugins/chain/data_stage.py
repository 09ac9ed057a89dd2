"""What a chain's `data` stages make: the miniature world, untrained models for it, the FLAN index,
the math sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from solar_plugins.recipes import data_recipe
from solar_plugins.recipes.data_recipe import FlanIndexRecipe, SynthMathRecipe

FLAN_INDEX = "flan.index"
"""The file that `flan_index` makes in its folder."""


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
    if isinstance(settings, FlanIndexRecipe):
        return _flan_index(settings, out, parts or out / ".parts")
    if isinstance(settings, data_recipe.UntrainedModelRecipe):
        from solar_plugins.miniature import untrained_model

        return untrained_model.write(settings, out)
    if isinstance(settings, SynthMathRecipe):
        return _synth_math(settings, out)
    from solar_plugins.miniature.writer import write

    return write(recipe, out)


def check(recipe: dict[str, Any], folder: Path) -> None:
    """Read what `generate` left in `folder`.

    Raises:
        SolarError: the index or a math set is not whole.
    """
    if recipe["generator"] == "flan_index":
        from solar_plugins.flan_filter import index_file

        index_file.read(folder / FLAN_INDEX)
    elif recipe["generator"] == "synth_math":
        from solar_plugins.synth_math import sets

        sets.check(folder)


def _flan_index(settings: FlanIndexRecipe, out: Path, parts: Path) -> dict[str, Any]:
    from solar_plugins.flan_filter.build_index import build

    facts, read = build(settings.sources, out / FLAN_INDEX, parts, lambda name, amount: None)
    return {"digest": facts["digest"], "rows_read": read}


def _synth_math(settings: SynthMathRecipe, out: Path) -> dict[str, Any]:
    from solar_plugins.synth_math import from_metamathqa, metamath
    from solar_plugins.synth_math.seeds import Seeds

    seeds = Seeds(settings.math, {"math_test": settings.math_test, "gsm8k": settings.gsm8k})
    card = from_metamathqa.make(
        settings.metamathqa,
        metamath.DEFAULT_KINDS,
        seeds,
        out,
        settings.instruct_rows,
        settings.alignment_rows,
        settings.seed,
        advance=lambda: None,
    )
    return {name: file["rows"] for name, file in card["files"].items()}
