"""The names of Axolotl that are replaced for a moment, and those that are not documented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import axolotl
import axolotl.train
from axolotl.utils.chat_templates import base as chat_templates

from solar_plugins.errors import SolarError

TRIED = ">=0.19,<0.20"
"""Versions of Axolotl that the tests were run with."""

_original: Any = None


def replace_reference_model(reference_for: Callable[[Any], Any]) -> None:
    """Let the next training with an ``sdpo:`` block take `reference_for(cfg)` for its reference.

    Axolotl 0.19 has no key for "DPO without adapter and without a reference model". Its own
    function is put back when it is called.
    """
    global _original
    if _original is None:
        _original = axolotl.train.setup_reference_model

    def once(cfg: Any, tokenizer: Any, processor: Any = None) -> Any:
        global _original
        original, _original = _original, None
        axolotl.train.setup_reference_model = original
        return reference_for(cfg) if cfg.sdpo else original(cfg, tokenizer, processor)

    axolotl.train.setup_reference_model = once


def named_chat_templates() -> dict[str, str]:
    """Axolotl's chat templates by the name that `chat_template:` takes."""
    return dict(chat_templates._CHAT_TEMPLATES)


def self_test() -> None:
    """Look for every name that this module uses.

    Raises:
        SolarError: the installed Axolotl lacks one.
    """
    for owner, name in (
        (axolotl.train, "setup_reference_model"),
        (chat_templates, "_CHAT_TEMPLATES"),
    ):
        if not hasattr(owner, name):
            raise SolarError(
                f"axolotl {axolotl.__version__}: {owner.__name__}.{name} is missing. "
                f'Install a version that works: pip install "axolotl{TRIED}".'
            )
