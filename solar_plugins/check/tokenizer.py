"""Chat template, special tokens and vocabulary: whether they fit each other.

Axolotl says in a log line, or not at all, that a template's tokens are cut into letters or that no
answer ever ends; a special token with a typo is added to the vocabulary and the embeddings grow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solar_plugins.check import tokenizer_files
from solar_plugins.check.finding import unambiguous_match
from solar_plugins.check.source import Path_, YamlFile
from solar_plugins.check.tokenizer_files import Tokenizer
from solar_plugins.check.tool_schemas import known
from solar_plugins.errors import SolarError
from solar_plugins.models import chat_template, model_config
from solar_plugins.recipes.columns import CHAT

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

_TURN = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "An answer."}]


@dataclass
class _Recipe:
    """A recipe in check.

    Attributes:
        tokenizer: Of what it starts from, None where that is not on this machine.
        name: What the tokenizer comes from.
        special: Its ``special_tokens``.
        follows: Whether a plugin of ours fits padding and length to the base model.
    """

    source: YamlFile
    tokenizer: Tokenizer | None
    name: str
    special: dict[str, Any]
    follows: bool

    def say(self, place: Path_, what: str, is_note: bool = False, /, **values: Any) -> None:
        self.source.say(place, f"tokenizer/{what}", is_note, **{"name": self.name, **values})


def check(source: YamlFile, types: list[tuple[Path_, Any]], model: str | None) -> None:
    """Add what does not fit in the recipe `source`.

    Args:
        types: The ``type`` of each of its datasets, with its place.
        model: The model that it starts from, or None if that is only made later.
    """
    content = source.content
    written, given = content.get("tokenizer_config") or model, content.get("special_tokens")
    tokenizer = tokenizer_files.find(written) if isinstance(written, str) else None
    special = given if isinstance(given, dict) else {}
    follows = FOLLOWS in str(content.get("plugins"))
    recipe = _Recipe(source, tokenizer, str(written), special, follows)
    named = [(where, type_.split(".")[0]) for where, type_ in types if isinstance(type_, str)]
    chats = [where for where, type_ in types if str(type_).startswith(("chat_template", CHAT))]
    place, template = _template(source, tokenizer)
    if tokenizer is not None:
        _special_tokens(recipe, tokenizer)
    if template is None and tokenizer is not None and chats and "chat_template" not in content:
        recipe.say(chats[0], "no-template")
    elif template is not None and chats:
        _fits(recipe, place, template)
    for where, name in named if content.get("rl") else ():
        _are_known(recipe, where, _WRITTEN_OUT.get(name, ""))
    bos = tokenizer.special.get("bos_token") if tokenizer and tokenizer.adds_bos else None
    for where, type_ in types if bos else ():
        for key, text in type_.items() if isinstance(type_, dict) else ():
            if str(key).endswith("format") and str(text).startswith(str(bos)):
                recipe.say((*where, key), "bos-twice", bos=bos)
    starts = bos and template and re.search(rf"bos_token|^\s*{re.escape(bos)}", template)
    if starts and chats and content.get("rl") and not content.get("sdpo"):
        recipe.say(chats[0], "bos-twice-in-trl", True, bos=bos)
    for where, type_ in types if tokenizer and tokenizer.adds_blank else ():
        if not content.get("rl") and (isinstance(type_, dict) or str(type_).startswith("alpaca")):
            recipe.say(where, "blank-before-answer", True, type=CHAT)
    _classes(source)
    try:
        config = model_config.language_model(model_config.find(model) or {}) if model else {}
    except SolarError:
        config = {}  # `base` has the finding
    _saved_embeddings(recipe, model or "", config)
    _context(recipe, config)
    if tokenizer is not None and tokenizer.vocabulary:
        _rows(recipe, tokenizer.vocabulary, config.get("vocab_size"))
        _ends(recipe, tokenizer)


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
    base = tokenizer_files.find(model) if model else None
    named = [*given.values()] if base else []
    for more in (tokens, further):
        named += more if isinstance(more, list) else []
    vocabulary = base.vocabulary if base else {}
    return [t for t in dict.fromkeys(named) if isinstance(t, str) and t not in vocabulary]


def _classes(source: YamlFile) -> None:
    """Classes that transformers has no more: Axolotl asks it for them by name."""
    facts, tokenizers = known("transformers"), known("axolotl")["choices"]["tokenizer_type"]
    rules = ("model_type", "AutoModel", facts["auto_models"]), ("tokenizer_type", "", tokenizers)
    for key, prefix, classes in rules:
        value = source.content.get(key)
        if not isinstance(value, str) or not value.startswith(prefix) or value in classes:
            continue
        if source.content.get("trust_remote_code") or any(f.path == key for f in source.findings):
            continue  # a class may come with the model, or has a finding
        source.say((key,), "wrong-value/class", version=facts["version"], value=value)


def _saved_embeddings(recipe: _Recipe, model: str, config: dict[str, Any]) -> None:
    """New tokens under an adapter: Axolotl refuses them when the model is loaded, or forgets."""
    content = recipe.source.content
    tokens, saved = content.get("tokens"), str(content.get("lora_modules_to_save"))
    new = tokens if tokens and isinstance(tokens, list) else added_tokens(content, model)
    wanted = _EMBEDDINGS.get(str(config.get("model_type")), ["embed_tokens", "lm_head"])
    if content.get("adapter") and new and not all(name in saved for name in wanted):
        place = ("tokens" if tokens else "special_tokens",)
        recipe.say(place, "new-rows", new=" ".join(map(str, new)), wanted=", ".join(wanted))


def _context(recipe: _Recipe, config: dict[str, Any]) -> None:
    """`sequence_len` against what the model was made for."""
    content, most = recipe.source.content, config.get("max_position_embeddings")
    length, stretched = content.get("sequence_len"), content.get("overrides_of_model_config")
    if isinstance(length, int) and isinstance(most, int) and length > most:
        if stretched or config.get("rope_scaling"):
            return
        what = "model/longer-than-followed" if recipe.follows else "model/longer"
        recipe.source.say(("sequence_len",), what, recipe.follows, length=length, most=most)


def _rows(recipe: _Recipe, vocabulary: dict[str, int], rows: Any) -> None:
    token, last = max(vocabulary.items(), key=lambda item: item[1])
    if isinstance(rows, int) and last >= rows:
        recipe.say(("base_model",), "row-beyond", True, token=token, last=last, end=rows - 1)


def _ends(recipe: _Recipe, tokenizer: Tokenizer) -> None:
    """Whether config.json and generation_config.json name the tokenizer's end of sequence."""
    eos = tokenizer.special.get("eos_token")
    if "eos_token" in recipe.special or eos not in tokenizer.vocabulary:
        return
    if eos == (tokenizer.special | recipe.special).get("bos_token"):
        recipe.say(("base_model",), "begin-is-end", True, eos=eos)
    names = {number: name for name, number in tokenizer.vocabulary.items()}
    row = tokenizer.vocabulary[eos]
    for file, ids in tokenizer.ends.items():
        if row not in ids:
            theirs = ", ".join(f"{names.get(i, '?')!r} ({i})" for i in ids)
            # Generation stops at what the last of the files says.
            is_note = row in [*tokenizer.ends.values()][-1]
            found = {"eos": eos, "row": row, "file": file, "theirs": theirs}
            recipe.say(("base_model",), "ends-differ", is_note, **found)


def _special_tokens(recipe: _Recipe, tokenizer: Tokenizer) -> None:
    for key, token in recipe.special.items():
        if not isinstance(token, str) or token in tokenizer.vocabulary:
            continue
        pads = key == "pad_token" and recipe.follows
        marks = [t for t in tokenizer.vocabulary if t[:1] in "<[" and t[-1:] in ">]"]
        meant = None if pads else unambiguous_match(token, marks)
        what = "not-its-token-to-pad" if pads else "not-its-token"
        hint, fix = (f" Did you mean {meant!r}?", f'"{meant}"') if meant else ("", None)
        place = ("special_tokens", key)
        recipe.say(place, what, meant is None, new_value=fix, token=token, hint=hint)
    has = tokenizer.special | recipe.special
    if "eos_token" not in has:
        recipe.say(("special_tokens",), "no-eos")
    elif "pad_token" not in has:
        recipe.say(("special_tokens",), "no-pad", True, eos=has["eos_token"])


def _template(source: YamlFile, tokenizer: Tokenizer | None) -> tuple[Path_, str | None]:
    """The chat template in effect: the key that names it, and its text.

    Of one of Axolotl's own, the text is the tokens that it writes; ``eos_token`` by its name.
    """
    name, inline = (source.content.get(k) for k in ("chat_template", "chat_template_jinja"))
    if isinstance(inline, str) and name in (None, "jinja"):
        if "\n" not in inline and "{" not in inline:
            file = Path(inline)
            is_file = file.is_file()
            inline = file.read_text(encoding="utf-8", errors="replace") if is_file else None
        return ("chat_template_jinja",), inline
    own = tokenizer.chat_template if tokenizer else None
    fallback = str(name).removeprefix("tokenizer_default_fallback_")
    if not isinstance(name, str) or name == "tokenizer_default" or (fallback != name and own):
        return ("base_model",), own
    written = known("axolotl")["chat_templates"].get(fallback)
    return ("chat_template",), written if fallback == name or tokenizer else None


def _fits(recipe: _Recipe, place: Path_, template: str) -> None:
    """Whether the tokens of a template are known, and one of them ends an answer."""
    from jinja2 import TemplateSyntaxError

    tokenizer, is_named = recipe.tokenizer, place == ("chat_template",)
    special = (tokenizer.special if tokenizer else {}) | recipe.special
    eos, ending = special.get("eos_token"), template
    if not is_named:
        try:
            text = chat_template.render(
                template, _TURN * 2, **{"eos_token": "eos_token", **special}
            )
        except TemplateSyntaxError as error:
            recipe.say(place, "template-syntax", line=error.lineno, fault=error.message)
            return
        except Exception:  # whatever a template raises, it cannot be rendered here
            text = ""
        ending = text.partition(_TURN[1]["content"])[2] or template
    if place != ("base_model",):  # its own template surely fits
        _are_known(recipe, place, template)
    if recipe.source.content.get("eot_tokens") or (tokenizer is None and is_named):
        return
    writes = _tokens(ending)
    if "eos_token" in ending or (eos and eos in ending) or (eos is None and writes):
        return
    # Unknown tokenizer and no token at all, or a known one whose end the template does not write.
    found = f"{eos!r}, the end of sequence," if eos else "an end of sequence"
    likely = next((t for t in writes if t.endswith(("end|>", "eot_id|>", "_of_turn>"))), None)
    way = f"`special_tokens: {{eos_token: {likely!r}}}`" if likely else "{{ eos_token }} after it"
    recipe.say(place, "no-end", found=found, way=way)


def _are_known(recipe: _Recipe, place: Path_, template: str) -> None:
    """Tokens that a template writes and the vocabulary does not have are cut into pieces."""
    tokens = recipe.source.content.get("tokens")
    added = [*recipe.special.values(), *(tokens if isinstance(tokens, list) else [])]
    has = {t for item in added for t in (item if isinstance(item, list) else [item])}
    has |= set(recipe.tokenizer.vocabulary if recipe.tokenizer else _tokens(template))
    missing = [token for token in _tokens(template) if token not in has]
    if missing:
        some = ", ".join(missing[:4])
        more = f" and {len(missing) - 4} more" * (len(missing) > 4)
        recipe.say(place, "unknown-tokens", some=some, more=more)


def _tokens(template: str) -> list[str]:
    without_comments = re.sub(r"{#.*?#}", "", template, flags=re.DOTALL)
    return list(dict.fromkeys(_TOKEN.findall(without_comments)))
