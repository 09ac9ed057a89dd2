"""What this machine has: tools and their versions, seams that fit them, GPUs, memory, disk, Hub.

Nothing is changed or downloaded. Versions are read without importing the tools; the seams'
self-tests import them, which takes half a minute.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata, util
from pathlib import Path
from pkgutil import iter_modules

from solar_plugins import seams
from solar_plugins.check.finding import RULES
from solar_plugins.errors import SolarError
from solar_plugins.installed import outside_range

OK, NOTE, WRONG = "ok", "note", "wrong"

_EXTRA = "pip install 'solar-plugins[train]'"
_ENOUGH_DISK_GIB = 20
"""The miniature leaves 1 GiB; a 7B model takes 14 GiB."""


@dataclass(frozen=True)
class Fact:
    """One line of the doctor's report.

    Attributes:
        state: `OK`, `NOTE` (works, but worth knowing) or `WRONG` (something will fail).
        found: What is there.
        advice: What to do about it; empty where nothing is to be done.
    """

    state: str
    subject: str
    found: str
    advice: str = ""


def examine(quick: bool = False, folder: Path = Path()) -> Iterator[Fact]:
    """Every fact, cheap ones first.

    Args:
        quick: Leave out what imports the tools: the seams' self-tests and the GPUs.
        folder: Where runs are to be written; its disk is looked at.
    """
    python = ".".join(map(str, sys.version_info[:3]))
    if (3, 10) <= sys.version_info < (3, 13):
        yield Fact(OK, "Python", python)
    else:
        yield Fact(WRONG, "Python", python, "The tools run on Python 3.10 to 3.12.")
    outside = {tool.name.replace("-", "_"): tool.specifier for tool, _ in outside_range()}
    needed = RULES["tools"]
    for name, purpose in {**needed, **RULES["optional_tools"]}.items():
        try:
            version = metadata.version(name)
            if name in outside:
                yield Fact(NOTE, name, version, f"{outside[name]} was tried: {_EXTRA}")
            else:
                yield Fact(OK, name, version)
        except metadata.PackageNotFoundError:
            advice = f"{purpose}: {_EXTRA}" if name in needed else purpose
            yield Fact(WRONG if name in needed else NOTE, name, "not installed", advice)
    free = shutil.disk_usage(folder).free / 2**30
    is_enough = free >= _ENOUGH_DISK_GIB
    advice = "" if is_enough else "`solar plan CHAIN` says how much a chain writes."
    where = f"{free:,.0f} GiB free at {folder.resolve()}"
    yield Fact(OK if is_enough else NOTE, "disk", where, advice)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    yield Fact(OK, "memory", f"{memory:,.1f} GiB, {os.cpu_count()} CPU cores")
    yield _hub()
    if not quick:
        yield from _seams()
        yield _gpus()


def _hub() -> Fact:
    import httpx
    from huggingface_hub import constants, get_token

    token = "with a token" if get_token() else "without a token (gated models need one)"
    if constants.HF_HUB_OFFLINE:
        return Fact(NOTE, "Hub", "HF_HUB_OFFLINE is set", "Only local and cached files are read.")
    try:
        httpx.head(constants.ENDPOINT, timeout=5, follow_redirects=True)
    except httpx.HTTPError as error:
        found = f"{constants.ENDPOINT} not reached ({type(error).__name__})"
        advice = "Recipes that name Hub models and data sets need it once; local paths do not."
        return Fact(NOTE, "Hub", found, advice)
    return Fact(OK, "Hub", f"{constants.ENDPOINT} reached, {token}")


def _seams() -> Iterator[Fact]:
    """Whether the private names that we rely on are what they were in the versions tried."""
    for module in iter_modules(seams.__path__):
        if util.find_spec(module.name) is None:
            continue  # the tool is missing, which its own line says
        try:
            seam = import_module(f"{seams.__name__}.{module.name}")
            seam.self_test()
        except (SolarError, ImportError, AttributeError) as error:
            yield Fact(WRONG, f"seam {module.name}", " ".join(str(error).split()), _EXTRA)
        else:
            yield Fact(OK, f"seam {module.name}", f"fits (tried with {seam.TRIED})")


def _gpus() -> Fact:
    if util.find_spec("torch") is None:
        return Fact(NOTE, "GPUs", "not looked for: torch is missing")
    import torch

    if not torch.cuda.is_available():
        has_driver = shutil.which("nvidia-smi") is not None
        advice = "The miniature (recipes/tiny) runs on CPU cores."
        advice = "Install the CUDA build of torch." if has_driver else advice
        return Fact(WRONG if has_driver else NOTE, "GPUs", "none that torch can use", advice)
    cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    found = ", ".join(f"{card.name} ({card.total_memory / 2**30:.0f} GiB)" for card in cards)
    if not torch.cuda.is_bf16_supported():
        return Fact(NOTE, "GPUs", found, "No bf16: write fp16: true and bf16: false in recipes.")
    return Fact(OK, "GPUs", found)
