"""The installed tools beside the ranges of our own extra, read without importing them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement

from solar_plugins.errors import SolarError

NAME = "solar-plugins"


def outside_range(extra: str = "train") -> Iterator[tuple[Requirement, str | None]]:
    """The tools of `extra` whose installed version is not in its range; None: not installed."""
    for line in metadata.requires(NAME) or ():
        tool = Requirement(line)
        if tool.name == NAME or tool.marker is None or not tool.marker.evaluate({"extra": extra}):
            continue
        try:
            version = metadata.version(tool.name)
        except metadata.PackageNotFoundError:
            yield tool, None
        else:
            if not tool.specifier.contains(version, prereleases=True):
                yield tool, version


def cannot_import(plugin: str, error: ImportError) -> SolarError:
    """What to raise in place of an `ImportError`, which Axolotl reports and then trains without us.

    Axolotl 0.19, ``PluginManager.register``: an ImportError of a plugin is printed and dropped.
    """
    cause = " ".join(str(error).split()) or type(error).__name__
    found = [
        f"{tool.name} {'is not installed' if version is None else version}, {tool.specifier} works"
        for tool, version in outside_range()
    ]
    because = f" Outside the tried range: {'; '.join(found)}." if found else ""
    return SolarError(
        f"plugins: solar_plugins.{plugin} cannot be imported ({cause}).{because} Install what was "
        f"tried together: pip install '{NAME}[train]'"
    )
