"""The tokenizer of a model on this machine, read from its JSON files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from solar_plugins.errors import SolarError
from solar_plugins.models import model_config

SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")


@dataclass(frozen=True)
class Tokenizer:
    """What is known of a tokenizer without loading it.

    Attributes:
        vocabulary: Every token it knows, the added ones included, with its id.
        special: Of `SPECIAL`, those that it has.
        chat_template: Its own chat template, or None.
        adds_bos: Whether it begins every text with its ``bos_token``.
        adds_blank: Whether it puts a blank before every text, as Llama 2's and Mistral's do.
        ends: By file (``config.json``), the ids that its model ends a text with.
    """

    vocabulary: dict[str, int]
    special: dict[str, str]
    chat_template: str | None
    adds_bos: bool
    adds_blank: bool
    ends: dict[str, list[int]]


def find(model: str) -> Tokenizer | None:
    """The tokenizer of a folder or of a model in the Hub's cache; None if it is not here."""
    file = model_config.file_of(model, "tokenizer.json")
    if file is None:
        return None
    return _read(file.parent, max(f.stat().st_mtime_ns for f in file.parent.glob("*.j*")))


@lru_cache(maxsize=8)
def _read(folder: Path, mtime_ns: int) -> Tokenizer | None:
    described = _json(folder / "tokenizer.json")
    if not described:
        return None
    config = _json(folder / "tokenizer_config.json")
    entries = (described.get("model") or {}).get("vocab") or {}
    if isinstance(entries, list):  # unigram: [[token, score], …]
        entries = {str(entry[0]): index for index, entry in enumerate(entries)}
    vocabulary = entries | {t["content"]: t["id"] for t in described.get("added_tokens") or ()}
    for index, token in (config.get("added_tokens_decoder") or {}).items():
        vocabulary.setdefault(token["content"], int(index))
    written = _json(folder / "special_tokens_map.json") | {k: v for k, v in config.items() if v}
    named = {k: written[k] for k in SPECIAL if written.get(k)}
    special = {k: v["content"] if isinstance(v, dict) else v for k, v in named.items()}
    template = config.get("chat_template")
    if isinstance(template, list):  # [{name: default, template: …}, …]
        template = next((t["template"] for t in template if t.get("name") == "default"), None)
    jinja = folder / "chat_template.jinja"
    if template is None and jinja.is_file():
        template = jinja.read_text(encoding="utf-8")
    before, bos = json.dumps(described.get("post_processor")), special.get("bos_token")
    writes_bos = bos is not None and json.dumps(bos) in before
    ends = {}
    for name in ("config.json", "generation_config.json"):
        ids = model_config.language_model(_json(folder / name)).get("eos_token_id")
        if ids is not None:
            ends[name] = ids if isinstance(ids, list) else [ids]
    adds_bos = bool(config.get("add_bos_token", writes_bos))
    parts = json.dumps([described.get("normalizer"), described.get("pre_tokenizer")])
    adds_blank = '"Prepend"' in parts or '"add_prefix_space": true' in parts
    adds_blank |= '"Metaspace"' in parts and '"prepend_scheme": "never"' not in parts
    return Tokenizer(vocabulary, special, template, adds_bos, adds_blank, ends)


def _json(file: Path) -> dict[str, Any]:
    try:
        return model_config.read(file)
    except (SolarError, OSError):
        return {}  # a broken model folder is not what this check is about
