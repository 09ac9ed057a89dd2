"""Chat template, special tokens and vocabulary: whether they fit each other.

Axolotl says in a log line, or not at all, that a template's tokens are cut into letters or that no
answer ever ends; a special token with a typo is added to the vocabulary and the embeddings grow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from solar_plugins.check import tokenizer_files
from solar_plugins.check.source import Path_, YamlFile
from solar_plugins.check.tool_schemas import known
from solar_plugins.check.unambiguous_match import unambiguous_match
from solar_plugins.errors import SolarError
from solar_plugins.models import model_config

FOLLOWS = "solar_plugins.StagePlugin"
"""Fits padding and sequence length to the base model, see `training.follow_base`."""

# Tokens as a template writes them: <|im_start|>, <|eot_id|>, <start_of_turn>.
_TOKEN = re.compile(r"<\|[A-Za-z0-9_]+\|>|<(?:start|end)_of_[a-z]+>")

# Preference types that write their own template.
_WRITTEN_OUT = {
    "chatml": "<|im_start|> <|im_end|>",
    "llama3": "<|start_header_id|> <|end_header_id|> <|eot_id|>",
}


def check(source: YamlFile, types: list[tuple[Path_, Any]], model: str | None) -> None:
    """Add what does not fit in the recipe `source`.

    Args:
        types: The ``type`` of each of its datasets, with its place.
        model: The model that it starts from, or None if that is only made later.
    """
    recipe = source.content
    written = recipe.get("tokenizer_config") or model
    tokenizer = tokenizer_files.find(written) if isinstance(written, str) else None
    if tokenizer is not None:
        _special_tokens(source, tokenizer, written)
    place, template = _template(source, tokenizer)
    names = [(where, name) for where, name in types if isinstance(name, str)]
    chats = [where for where, name in names if name.split(".")[0] == "chat_template"]
    if chats:
        if template is None and tokenizer is not None and "chat_template" not in recipe:
            source.add(
                chats[0],
                "tokenizer",
                f"{written} has no chat template of its own. Write `chat_template: chatml`, or "
                "another one.",
            )
        elif template is not None and place is not None:  # its own template surely fits
            _fits(source, place, template, tokenizer, written)
    if tokenizer is not None:
        for where, name in names:
            tokens = _WRITTEN_OUT.get(name.split(".")[0]) if recipe.get("rl") else None
            if tokens:
                _are_known(source, where, tokens, tokenizer, written)
    if isinstance(model, str):
        _context(source, model)


def added_tokens(recipe: dict[str, Any], model: str) -> list[str]:
    """The tokens that a training of a chain adds to the vocabulary, in their order.

    A padding token is none of them: a chain's trainings take one that is there (`follow_base`).

    Args:
        model: The base model of the chain. Where its vocabulary is not on this machine, only
            tokens count that a recipe adds to any.
    """
    given, tokens = recipe.get("special_tokens"), recipe.get("tokens")
    given = dict(given) if isinstance(given, dict) else {}
    further = given.pop("additional_special_tokens", None)
    given.pop("pad_token", None)
    base = tokenizer_files.find(model)
    named = [*given.values()] if base else []
    for more in (tokens, further):
        named += more if isinstance(more, list) else []
    known = base.vocabulary if base else {}
    return [t for t in dict.fromkeys(named) if isinstance(t, str) and t not in known]


def _context(source: YamlFile, model: str) -> None:
    """`sequence_len` against what the model was made for."""
    length = source.content.get("sequence_len")
    try:
        config = model_config.find(model)
    except SolarError:
        return  # the model's own fault, which loading it will tell
    if config is None or not isinstance(length, int):
        return
    text = model_config.language_model(config)
    most = text.get("max_position_embeddings")
    stretched = text.get("rope_scaling") or source.content.get("overrides_of_model_config")
    if isinstance(most, int) and length > most and not stretched:
        source.add(
            ("sequence_len",),
            "model",
            f"{length} found, {model} knows {most} positions. "
            + (
                f"{most} are used."
                if FOLLOWS in (source.content.get("plugins") or [])
                else f"Write at most {most}, or stretch them with "
                "`overrides_of_model_config: {rope_scaling: …}`."
            ),
            is_note=FOLLOWS in (source.content.get("plugins") or []),
        )


def _special_tokens(source: YamlFile, tokenizer: tokenizer_files.Tokenizer, name: Any) -> None:
    given = source.content.get("special_tokens")
    given = given if isinstance(given, dict) else {}
    for key, token in given.items():
        if not isinstance(token, str) or token in tokenizer.vocabulary:
            continue
        if key == "pad_token" and FOLLOWS in (source.content.get("plugins") or []):
            source.add(
                ("special_tokens", key),
                "tokenizer",
                f"{token!r} is not a token of {name}; one of its own tokens pads instead.",
                is_note=True,
            )
            continue
        marks = [t for t in tokenizer.vocabulary if t[:1] in "<[" and t[-1:] in ">]"]
        meant = unambiguous_match(token, marks)
        source.add(
            ("special_tokens", key),
            "tokenizer",
            f"{token!r} is not a token of {name}; it would be added, and the embeddings grow."
            + (f" Did you mean {meant!r}?" if meant else ""),
            is_note=meant is None,
            new_value=f'"{meant}"' if meant else None,
        )
    if "eos_token" not in tokenizer.special and "eos_token" not in given:
        source.add(
            ("special_tokens",),
            "tokenizer",
            f"{name} names no eos_token, so no answer ends. Write "
            "`special_tokens: {eos_token: …}`.",
        )
    elif "pad_token" not in tokenizer.special and "pad_token" not in given:
        eos = given.get("eos_token") or tokenizer.special.get("eos_token")
        source.add(
            ("special_tokens",),
            "tokenizer",
            f"{name} names no pad_token; Axolotl takes {eos!r}, the end of sequence, for it. "
            "Write `special_tokens: {pad_token: …}` to choose another.",
            is_note=True,
        )


def _template(
    source: YamlFile, tokenizer: tokenizer_files.Tokenizer | None
) -> tuple[Path_ | None, str | None]:
    """The chat template in effect: the key that names it, and its text."""
    name = source.content.get("chat_template")
    inline = source.content.get("chat_template_jinja")
    own = tokenizer.chat_template if tokenizer else None
    if isinstance(inline, str) and name in (None, "jinja"):
        if "\n" in inline or "{" in inline:
            return ("chat_template_jinja",), inline
        file = Path(inline)
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None
        return ("chat_template_jinja",), text
    if not isinstance(name, str) or name == "tokenizer_default":
        return None, own
    fallback = name.removeprefix("tokenizer_default_fallback_")
    if fallback != name and own is not None:
        return None, own
    return ("chat_template",), _builtin(fallback) if fallback == name or tokenizer else None


def _builtin(name: str) -> str | None:
    """The tokens that one of Axolotl's own templates writes; ``eos_token`` by its name."""
    return known("axolotl")["chat_templates"].get(name)


def _fits(
    source: YamlFile,
    place: Path_,
    template: str,
    tokenizer: tokenizer_files.Tokenizer | None,
    name: Any,
) -> None:
    from jinja2 import TemplateSyntaxError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    try:
        # {% generation %} is transformers' own tag: it marks what the model has to say.
        plain = re.sub(r"{%-?\s*(?:end)?generation\s*-?%}", "", template)
        ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"]).parse(plain)
    except TemplateSyntaxError as error:
        source.add(place, "tokenizer", f"the template's line {error.lineno}: {error.message}.")
        return
    if tokenizer is not None:
        _are_known(source, place, template, tokenizer, name)
    if source.content.get("eot_tokens") or (tokenizer is None and place == ("chat_template",)):
        return
    given = source.content.get("special_tokens")
    eos = given.get("eos_token") if isinstance(given, dict) else None
    eos = eos or (tokenizer.special.get("eos_token") if tokenizer else None)
    writes = [*_tokens(template)]
    if "eos_token" in template or (eos and eos in template) or (eos is None and writes):
        return
    # Unknown tokenizer and no token at all, or a known one whose end the template does not write.
    found = f"{eos!r}, the end of sequence," if eos else "an end of sequence"
    likely = next((t for t in writes if t.endswith(("end|>", "eot_id|>", "_of_turn>"))), None)
    way = f"`special_tokens: {{eos_token: {likely!r}}}`" if likely else "{{ eos_token }} after it"
    source.add(
        place,
        "tokenizer",
        f"the template writes {found} after no answer: the model would not learn to stop. "
        f"Write {way}.",
    )


def _are_known(
    source: YamlFile,
    place: Path_,
    template: str,
    tokenizer: tokenizer_files.Tokenizer,
    name: Any,
) -> None:
    """Tokens that a template writes and the vocabulary does not have are cut into pieces."""
    given = source.content.get("special_tokens")
    added = list(given.values()) if isinstance(given, dict) else []
    tokens = source.content.get("tokens")
    added += tokens if isinstance(tokens, list) else []
    flat = [t for item in added for t in (item if isinstance(item, list) else [item])]
    missing = [t for t in _tokens(template) if t not in tokenizer.vocabulary and t not in flat]
    if missing:
        listed = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" * (len(missing) > 4))
        source.add(
            place,
            "tokenizer",
            f"{listed}: the chat template writes tokens that {name} lacks; each would be cut into "
            f"pieces. Take another template, or write `tokens: [{', '.join(missing[:4])}]`.",
        )


def _tokens(template: str) -> Iterator[str]:
    without_comments = re.sub(r"{#.*?#}", "", template, flags=re.DOTALL)
    yield from dict.fromkeys(_TOKEN.findall(without_comments))
