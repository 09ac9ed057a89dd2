"""Where a model is, and where its result files go."""

from __future__ import annotations

from pathlib import Path

from solar_plugins.errors import SolarError


def check_model(model: Path | str) -> None:
    """
    Raises:
        SolarError: `model` is written as a folder and holds no model. Anything else may be an id
            on the Hub.
    """
    is_folder = isinstance(model, Path) or str(model).startswith((".", "/", "~"))
    if (is_folder or Path(model).is_dir()) and not (Path(model) / "config.json").is_file():
        raise SolarError(f"{model}: no model here (config.json is missing). Give a model's folder")


def name_of(model: Path | str) -> str:
    """The model's name: that of its folder, or the last part of its id."""
    return Path(model).resolve().name if Path(model).is_dir() else Path(model).name


def beside(model: Path | str, ending: str) -> Path:
    """The result file of a model: next to its folder, or in the current folder for an id."""
    folder = Path(model).resolve().parent if Path(model).is_dir() else Path()
    return folder / f"{name_of(model)}.{ending}"
