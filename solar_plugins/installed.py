"""The installed tools beside the ranges of our own extra, read without importing them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec

from packaging.requirements import Requirement
from packaging.version import Version

from solar_plugins.errors import SolarError

NAME = "solar-plugins"
OLDEST_AXOLOTL = "0.18"
"""With earlier ones no plugin works, see the table in README.md."""


def _tools(extra: str) -> Iterator[Requirement]:
    """What `extra` alone adds to the package."""
    for tool in map(Requirement, metadata.requires(NAME) or ()):
        if tool.name != NAME and tool.marker is not None and tool.marker.evaluate({"extra": extra}):
            yield tool


def install_hint(module: str) -> str:
    """What to write for a module that is missing: the smallest of our extras that brings it."""
    name = module.partition(".")[0].replace("_", "-")
    brings = (one for one in ("filter", "datatrove") if name in {t.name for t in _tools(one)})
    extra = next(brings, "train")
    return f"pip install '{NAME}[{extra}]'"


def is_missing(module: str) -> str:
    """What to say of a module that is not installed."""
    return f"{module} is not installed here. Write {install_hint(module)}"


def require(*modules: str) -> None:
    """Refuse to start without what will be needed later.

    Raises:
        SolarError: a module is not installed.
    """
    for module in modules:
        if find_spec(module) is None:
            raise SolarError(f"{is_missing(module)}.")


def outside_range() -> Iterator[tuple[Requirement, str | None]]:
    """The tools of [train] whose installed version is not in its range; None: not installed."""
    for tool in _tools("train"):
        try:
            version = metadata.version(tool.name)
        except metadata.PackageNotFoundError:
            yield tool, None
        else:
            if not tool.specifier.contains(version, prereleases=True):
                yield tool, version


def axolotl_too_old() -> SolarError | None:
    """What to raise, before anything is loaded, for an Axolotl older than `OLDEST_AXOLOTL`."""
    try:
        version = metadata.version("axolotl")
    except metadata.PackageNotFoundError:
        return None  # a plugin that needs it says so
    if Version(version) >= Version(OLDEST_AXOLOTL):
        return None
    return SolarError(
        f"plugins: axolotl {version} is too old for solar_plugins. Install {OLDEST_AXOLOTL} or "
        f"later: pip install 'axolotl>={OLDEST_AXOLOTL}'"
    )


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
        f"tried together: {install_hint(error.name or '')}"
    )
