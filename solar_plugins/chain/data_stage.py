"""What a chain's `data` stages make: the miniature world, untrained models for it, the
FLAN index, the math sets."""

from __future__ import annotations

from pathlib import Path

FLAN_INDEX = "flan.index"
"""The file that `flan_index` makes in its folder."""


def generate(recipe: dict, out: Path, parts: Path | None = None) -> dict:
    """Write the data that `recipe` asks for into the folder `out` and return its counts.

    Args:
        recipe: what a `data` stage's YAML says: `generator` and that generator's settings.
        out: a folder that does not exist yet or is empty.
        parts: a folder for what is worth keeping of an attempt that was stopped; inside `out` if
            there is none.

    Raises:
        SolarError: an unknown generator, a setting that is unknown or of the wrong type, or a
            source that is not there.
    """
    from solar_plugins.recipes import data_recipe as recipes

    settings = recipes.read(recipe)
    if isinstance(settings, recipes.FlanIndexRecipe):
        return _flan_index(settings, Path(out), parts or Path(out) / ".parts")
    if isinstance(settings, recipes.UntrainedModelRecipe):
        from solar_plugins.miniature import untrained_model

        return untrained_model.write(settings, Path(out))
    if isinstance(settings, recipes.SynthMathRecipe):
        return _synth_math(settings, Path(out))
    from solar_plugins.miniature.writer import write

    return write(recipe, Path(out))


def check(recipe: dict, folder: Path) -> None:
    """Read what `generate` left in `folder`.

    Raises:
        SolarError: the index or a math set is not whole.
    """
    generator = recipe["generator"]
    if generator == "flan_index":
        from solar_plugins.flan_filter import index_file

        index_file.read(folder / FLAN_INDEX)
    elif generator == "synth_math":
        from solar_plugins.synth_math import sets

        sets.check(folder)


def _flan_index(settings, out: Path, parts: Path) -> dict:
    from solar_plugins.flan_filter.build_index import build

    def told(name: str, amount: int) -> None:
        """The log of a stage has no use for every row."""

    facts, read = build(settings.sources, out / FLAN_INDEX, parts, told)
    return {"digest": facts["digest"], "rows_read": read}


def _synth_math(settings, out: Path) -> dict:
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
