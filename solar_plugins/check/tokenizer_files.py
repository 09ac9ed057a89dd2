"""The tokenizer of a model on this machine, read from its JSON files."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")


@dataclass(frozen=True)
class Tokenizer:
    """What is known of a tokenizer without loading it.

    Attributes:
        vocabulary: Every token it knows, the added ones included, with its id.
        special: Of `SPECIAL`, those that it has.
        chat_template: Its own chat template, or None.
    """

    vocabulary: dict[str, int]
    special: dict[str, str]
    chat_template: str | None


def find(model: str) -> Tokenizer | None:
    """The tokenizer of a folder or of a model in the Hub's cache; None if it is not here."""
    folder = Path(os.path.expanduser(model))
    if not folder.is_dir():
        cached = _cached(model)
        if cached is None:
            return None
        folder = cached
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    return _read(folder, file.stat().st_mtime_ns)


def _cached(model: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        file = try_to_load_from_cache(model, "tokenizer.json")
    except HFValidationError:  # a folder that is not there
        return None
    return Path(file).parent if isinstance(file, str) else None


@lru_cache(maxsize=8)
def _read(folder: Path, mtime_ns: int) -> Tokenizer | None:
    described = _json(folder / "tokenizer.json")
    if described is None:
        return None
    config = _json(folder / "tokenizer_config.json") or {}
    model = described.get("model") or {}
    entries = model.get("vocab") or {}
    if isinstance(entries, list):  # unigram: [[token, score], …]
        vocabulary = {str(entry[0]): index for index, entry in enumerate(entries)}
    else:
        vocabulary = dict(entries)
    vocabulary |= {t["content"]: t["id"] for t in described.get("added_tokens") or ()}
    for index, token in (config.get("added_tokens_decoder") or {}).items():
        vocabulary.setdefault(token["content"], int(index))
    special = _json(folder / "special_tokens_map.json") or {}
    named = {name: _text(config.get(name) or special.get(name)) for name in SPECIAL}
    template = config.get("chat_template")
    if isinstance(template, list):  # [{name: default, template: …}, …]
        template = next((t["template"] for t in template if t.get("name") == "default"), None)
    jinja = folder / "chat_template.jinja"
    if template is None and jinja.is_file():
        template = jinja.read_text(encoding="utf-8")
    return Tokenizer(vocabulary, {k: v for k, v in named.items() if v}, template)


def _text(token: Any) -> str | None:
    return token.get("content") if isinstance(token, dict) else token


def _json(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None  # a broken model folder is not what this check is about
    return value if isinstance(value, dict) else None
