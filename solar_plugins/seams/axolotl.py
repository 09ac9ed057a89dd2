"""The names of Axolotl that are replaced for a moment, and those that are not documented."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import axolotl
import axolotl.train
from axolotl.prompt_strategies.dpo import chat_template
from axolotl.utils.chat_templates import base as chat_templates
from axolotl.utils.data import rl
from axolotl.utils.dict import DictDefault

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


@contextmanager
def preference_rows(write_row: Callable[..., dict[str, Any]]) -> Iterator[None]:
    """Inside, Axolotl loads preference data with `write_row` around the function of their type.

    It is called as `write_row(write, entry, row, index, tokenizer=…)`, with the type's function and
    the entry of `datasets` (or `test_datasets`, for which Axolotl 0.19 takes those of `datasets`).
    """
    load, load_split = rl.load_dpo, rl._load_split

    def load_type(kind: str, cfg: Any, dataset_idx: int) -> Any:
        found = load(kind, cfg, dataset_idx=dataset_idx)
        write, options = found if isinstance(found, tuple) else (found, {})
        around = partial(write_row, write, cfg["datasets"][dataset_idx])
        return write and (around, {"with_indices": True, **options})

    def load_own_entries(cfg: Any, split: str) -> Any:
        if split == "test":
            cfg = DictDefault({**cfg, "datasets": cfg.test_datasets})
        return load_split(cfg, split=split)

    rl.load_dpo, rl._load_split = load_type, load_own_entries
    try:
        yield
    finally:
        rl.load_dpo, rl._load_split = load, load_split


class _Listener:
    """A tokenizer that notes which conversations it is asked to render, and renders none."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.asked: list[list[dict[str, Any]]] = []
        self.options: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def apply_chat_template(self, messages: list[dict[str, Any]], **options: Any) -> str:
        self.asked.append(messages)
        self.options = options
        return ""


def conversation_of(
    write: Callable[..., dict[str, Any]], row: dict[str, Any], tokenizer: Any
) -> tuple[dict[str, Any], list[list[dict[str, Any]]], dict[str, Any]]:
    """What a preference type's `write` makes of `row`, and what it wants rendered.

    Returns:
        The row as written; of a type that renders by chat template the messages of the prompt, of
        chosen and of rejected (the answer is the last message), else none; and the options that it
        gives to `apply_chat_template`.
    """
    if "tokenizer" not in inspect.signature(write).parameters:
        return write(row), [], {}
    listener = _Listener(tokenizer)
    return write(row, tokenizer=listener), listener.asked, listener.options


def mark_as_checked(entry: Any) -> None:
    """Let data that were prepared of a preference entry without `preference_rows` not be reused."""
    entry["conversation"] = "solar_plugins"  # in Axolotl's cache key, and read by nothing else
    entry["type"] = entry["type"] or "passthrough"  # the same rows, but they pass `write_row`


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
        (rl, "load_dpo"),
        (rl, "_load_split"),
    ):
        if not hasattr(owner, name):
            raise SolarError(
                f"axolotl {axolotl.__version__}: {owner.__name__}.{name} is missing. "
                f'Install a version that works: pip install "axolotl{TRIED}".'
            )
    row = {"messages": "a", "chosen": "b", "rejected": "c"}
    cfg = {"chat_template": "chatml", "datasets": [{}]}
    asked = conversation_of(chat_template.default(cfg)[0], row, None)[1]
    if [messages[-1]["content"] for messages in asked] != ["a", "b", "c"]:
        raise SolarError(
            f"axolotl {axolotl.__version__}: its `chat_template` types render prompt, chosen and "
            f'rejected otherwise. Install a version that works: pip install "axolotl{TRIED}".'
        )
