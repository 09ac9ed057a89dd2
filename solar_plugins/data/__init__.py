"""Data that the project makes itself: the miniature world that the tiny chain is run on."""

from __future__ import annotations

from pathlib import Path


def generate(recipe: dict, out: Path) -> dict:
    """Write the data that `recipe` asks for into the folder `out` and return its counts.

    Args:
        recipe: what a `data` stage's YAML says: `generator` and that generator's settings.
        out: a folder that does not exist yet or is empty; it appears whole or not at all.

    Raises:
        SolarError: an unknown generator, or a setting that is unknown or of the wrong type.
    """
    from solar_plugins.data.writer import write

    return write(recipe, Path(out))
