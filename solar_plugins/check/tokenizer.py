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
from solar_plugins.check.tokenizer_files import Tokenizer
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

_EMBEDDINGS = {"gpt_neox": ["embed_in", "embed_out"], "falcon": ["word_embeddings", "lm_head"]}
"""What an adapter has to save with new tokens; ``embed_tokens`` and ``lm_head`` of all others."""

_ANSWER = "An answer."


def check(source: YamlFile, types: list[tuple[Path_, Any]], model: str | None) -> None:
    """Add what does not fit in the recipe `source`.

    Args:
        types: The ``type`` of each of its datasets, with its place.
        model: The model that it starts from, or None if that is only made later.
    """
    recipe = source.content
    written = recipe.get("tokenizer_config") or model
    tokenizer = tokenizer_files.find(written) if isinstance(written, str) else None
    follows = FOLLOWS in (recipe.get("plugins") or [])
    if tokenizer is not None:
        _special_tokens(source, tokenizer, written, follows)
    place, template = _template(source, tokenizer)
    chats = [where for where, type_ in types if _first_word(type_) == "chat_template"]
    if template is None and tokenizer is not None and chats and "chat_template" not in recipe:
        fault = f"{written} has no chat template of its own. Write `chat_template: chatml`, or "
        source.add(chats[0], "tokenizer", f"{fault}another one.")
    elif template is not None and chats:
        _fits(source, place, template, tokenizer, written)
    for where, type_ in types if tokenizer is not None else ():
        tokens = _WRITTEN_OUT.get(_first_word(type_)) if recipe.get("rl") else None
        if tokens:
            _are_known(source, where, tokens, tokenizer, written)
        bos = tokenizer.special.get("bos_token") if tokenizer.adds_bos else None
        for key, text in type_.items() if isinstance(type_, dict) and bos else ():
            if str(key).endswith("format") and str(text).startswith(bos):
                fault = f"begins with {bos!r}, which the tokenizer writes before every text: there "
                fault += "would be two. Take it out."
                source.add((*where, key), "tokenizer", fault)
    _classes(source)
    config = _config(model)
    _saved_embeddings(source, model or "", config)
    _context(source, model, config, follows)


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
    vocabulary = base.vocabulary if base else {}
    return [t for t in dict.fromkeys(named) if isinstance(t, str) and t not in vocabulary]


def _first_word(type_: Any) -> str:
    return type_.split(".")[0] if isinstance(type_, str) else ""


def _config(model: str | None) -> dict[str, Any]:
    try:
        config = model_config.find(model) if model else None
    except SolarError:
        config = None  # the model's own fault, which loading it will tell
    return model_config.language_model(config or {})


def _classes(source: YamlFile) -> None:
    """Classes that transformers has no more: Axolotl asks it for them by name."""
    names = {
        "model_type": (known("transformers")["auto_models"], "AutoModel"),
        "tokenizer_type": (known("axolotl")["choices"]["tokenizer_type"], ""),
    }
    for key, (classes, prefix) in names.items():
        value = source.content.get(key)
        if not isinstance(value, str) or not value.startswith(prefix) or value in classes:
            continue
        if source.content.get("trust_remote_code") or any(f.path == key for f in source.findings):
            continue  # a class may come with the model, or has a finding
        version = known("transformers")["version"]
        fault = f"transformers {version} has no class {value!r}. Take it out: Axolotl chooses one."
        source.add((key,), "wrong-value", fault)


def _saved_embeddings(source: YamlFile, model: str, config: dict[str, Any]) -> None:
    """New tokens under an adapter: Axolotl refuses them when the model is loaded, or forgets."""
    recipe = source.content
    saved, key = recipe.get("lora_modules_to_save"), "tokens" if recipe.get("tokens") else ""
    new = recipe.get("tokens") or added_tokens(recipe, model)
    wanted = _EMBEDDINGS.get(str(config.get("model_type")), ["embed_tokens", "lm_head"])
    if recipe.get("adapter") and new and not set(wanted) <= set(saved or ()):
        fault = f"the rows of {' '.join(map(str, new))} are trained by no adapter and saved with "
        fault += f"none. Write `lora_modules_to_save: [{', '.join(wanted)}]`."
        source.add((key or "special_tokens",), "tokenizer", fault)


def _context(source: YamlFile, model: Any, config: dict[str, Any], follows: bool) -> None:
    """`sequence_len` against what the model was made for."""
    length, most = source.content.get("sequence_len"), config.get("max_position_embeddings")
    stretched = config.get("rope_scaling") or source.content.get("overrides_of_model_config")
    if isinstance(length, int) and isinstance(most, int) and length > most and not stretched:
        way = f"Write at most {most}, or stretch them with "
        way += "`overrides_of_model_config: {rope_scaling: …}`."
        way = f"{most} are used." if follows else way
        found = f"{length} found, {model} knows {most} positions. {way}"
        source.add(("sequence_len",), "model", found, is_note=follows)


def _special_tokens(source: YamlFile, tokenizer: Tokenizer, name: Any, follows: bool) -> None:
    given = source.content.get("special_tokens")
    given = given if isinstance(given, dict) else {}
    for key, token in given.items():
        if not isinstance(token, str) or token in tokenizer.vocabulary:
            continue
        pads = key == "pad_token" and follows
        marks = [t for t in tokenizer.vocabulary if t[:1] in "<[" and t[-1:] in ">]"]
        meant = None if pads else unambiguous_match(token, marks)
        effect = "it would be added, and the embeddings grow."
        effect = "one of its own tokens pads instead." if pads else effect
        hint = f" Did you mean {meant!r}?" if meant else ""
        source.add(
            ("special_tokens", key),
            "tokenizer",
            f"{token!r} is not a token of {name}; {effect}{hint}",
            is_note=meant is None,
            new_value=f'"{meant}"' if meant else None,
        )
    has = tokenizer.special | given
    if "eos_token" not in has:
        fault = f"{name} names no eos_token, so no answer ends. Write `special_tokens: "
        source.add(("special_tokens",), "tokenizer", f"{fault}{{eos_token: …}}`.")
    elif "pad_token" not in has:
        fault = f"{name} names no pad_token; Axolotl takes {has['eos_token']!r}, the end of "
        fault += "sequence, for it. Write `special_tokens: {pad_token: …}` to choose another."
        source.add(("special_tokens",), "tokenizer", fault, is_note=True)


def _template(source: YamlFile, tokenizer: Tokenizer | None) -> tuple[Path_, str | None]:
    """The chat template in effect: the key that names it, and its text.

    Of one of Axolotl's own, the text is the tokens that it writes; ``eos_token`` by its name.
    """
    name = source.content.get("chat_template")
    inline = source.content.get("chat_template_jinja")
    if isinstance(inline, str) and name in (None, "jinja"):
        if "\n" not in inline and "{" not in inline:
            file = Path(inline)
            is_file = file.is_file()
            inline = file.read_text(encoding="utf-8", errors="replace") if is_file else None
        return ("chat_template_jinja",), inline
    own = tokenizer.chat_template if tokenizer else None
    if not isinstance(name, str) or name == "tokenizer_default":
        return ("base_model",), own
    fallback = name.removeprefix("tokenizer_default_fallback_")
    if fallback != name and own is not None:
        return ("base_model",), own
    is_known = fallback == name or tokenizer
    return ("chat_template",), known("axolotl")["chat_templates"].get(
        fallback
    ) if is_known else None


def _fits(
    source: YamlFile, place: Path_, template: str, tokenizer: Tokenizer | None, name: Any
) -> None:
    from jinja2 import TemplateSyntaxError

    given = source.content.get("special_tokens")
    special = {
        **(tokenizer.special if tokenizer else {}),
        **(given if isinstance(given, dict) else {}),
    }
    eos, ending = special.get("eos_token"), template
    if place != ("chat_template",):
        try:
            ending = _after_answers(template, {"eos_token": "eos_token", **special}) or template
        except TemplateSyntaxError as error:
            fault = f"the template's line {error.lineno}: {error.message}."
            source.add(place, "tokenizer", fault)
            return
    if tokenizer is not None and place != ("base_model",):  # its own template surely fits
        _are_known(source, place, template, tokenizer, name)
    if source.content.get("eot_tokens") or (tokenizer is None and place == ("chat_template",)):
        return
    writes = [*_tokens(ending)]
    if "eos_token" in ending or (eos and eos in ending) or (eos is None and writes):
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


def _after_answers(template: str, special: dict[str, Any]) -> str | None:
    """What a template writes after an answer, or None if it cannot be rendered here."""
    from jinja2 import TemplateError, TemplateSyntaxError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    # As transformers sets it up; {% generation %} is its own tag for what the model has to say.
    plain = re.sub(r"{%-?\s*(?:end)?generation\s*-?%}", "", template)
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals |= {"raise_exception": refuse, "strftime_now": lambda form: ""}
    turn = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": _ANSWER}]
    try:
        text = environment.from_string(plain).render(messages=turn * 2, **special)
    except TemplateSyntaxError:
        raise
    except (TemplateError, TypeError, ValueError, LookupError):
        return None
    _, found, rest = text.partition(_ANSWER)
    return rest if found else None


def _are_known(
    source: YamlFile, place: Path_, template: str, tokenizer: Tokenizer, name: Any
) -> None:
    """Tokens that a template writes and the vocabulary does not have are cut into pieces."""
    given, tokens = source.content.get("special_tokens"), source.content.get("tokens")
    added = list(given.values()) if isinstance(given, dict) else []
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
