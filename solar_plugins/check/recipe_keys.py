"""Keys of Axolotl recipes: unknown ones, deprecated ones, names that Axolotl looks up late."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from solar_plugins.check import keys
from solar_plugins.check.source import Path_, YamlFile, walk
from solar_plugins.check.tool_schemas import known
from solar_plugins.check.unambiguous_match import unambiguous_match
from solar_plugins.errors import nearest

# YAML 1.1 takes 1e-5 for a text: a number with an exponent needs a dot.
_NUMBER_AS_TEXT = re.compile(r"[-+]?\d+(\.\d+)?[eE][-+]?\d+")

_PREFERENCE = {"dpo": "preference", "ipo": "preference", "simpo": "preference", "kto": "kto"}
_OLD_FSDP = "fsdp_"


def check(
    source: YamlFile,
    plugins: list[str],
    blocks: Mapping[str, str],
    steps: list[tuple[Path_, Any]],
) -> None:
    """Add unknown and deprecated keys, unknown names and texts that were meant for numbers.

    Args:
        plugins: The plugins that it names.
        blocks: The blocks that our plugins read, each with its plugin.
        steps: The dataset lists that stand in steps of sDPO, with their places.
    """
    _unknown(source, plugins, blocks, steps)
    _deprecated(source)
    _names(source)
    _texts_for_numbers(source)


def _unknown(
    source: YamlFile,
    plugins: list[str],
    blocks: Mapping[str, str],
    steps: list[tuple[Path_, Any]],
) -> None:
    facts = known("axolotl")
    tree = dict(facts["keys"])
    for name in plugins:
        module, _, attribute = name.rpartition(".")
        if name in facts["plugins"]:
            tree.update(facts["plugins"][name])
        elif module == "solar_plugins":
            # What stands inside our blocks is read by our own classes.
            tree.update({block: None for block, plugin in blocks.items() if plugin == attribute})
        else:
            return  # a stranger's plugin brings keys of its own: `axolotl_rules` asks it
    entries = facts["dataset_keys"].get(_PREFERENCE.get(str(source.content.get("rl")), ""))
    if entries:
        tree["datasets"] = entries
    elif source.content.get("rl") is None:
        type_ = facts["dataset_keys"]["sft"]["type"]
        for key in ("datasets", "test_datasets"):
            tree[key] = tree[key] | {"type": type_}
    hints = {
        block: f"It is read by a plugin: write `plugins: [solar_plugins.{plugin}]`."
        for block, plugin in blocks.items()
    }
    fsdp = source.content.get("fsdp_config")
    if isinstance(fsdp, dict) and isinstance(tree.get("fsdp_config"), dict):
        plain = tree["fsdp_config"]
        tree["fsdp_config"] = plain | {f"{_OLD_FSDP}{key}": None for key in plain}
    keys.add_unknown_keys(source, source.content, (), tree, "Axolotl", hints)
    for place, listed in steps:
        keys.add_unknown_keys(
            source, listed, place, facts["dataset_keys"]["preference"], "Axolotl", {}
        )


def _deprecated(source: YamlFile) -> None:
    for key, instead in known("axolotl")["deprecated"].items():
        value = source.content.get(key)
        if value is None:
            continue
        new_key, _, new_value = instead.partition(": ")
        # A renamed key keeps its value, which must be one that the new key takes; a flag that is
        # false says nothing, and two keys that now are one cannot both be kept.
        is_rename = instead in _RENAMED or (new_value and value is True)
        sure = is_rename and (new_key,) not in source.marks
        # A flag that is off (`flash_attention: false`) asks for nothing, so it needs no successor.
        is_off = bool(new_value) and value is False
        write = f"Write `{instead}` instead." if instead and not is_off else "Take it out."
        source.add(
            (key,),
            "deprecated-key",
            f"deprecated in Axolotl. {write}",
            new_key=new_key if sure else None,
            new_value=(new_value or None) if sure else None,
        )
    fsdp = source.content.get("fsdp_config")
    fields = known("axolotl")["keys"]["fsdp_config"]
    for key in fsdp if isinstance(fsdp, dict) else ():
        plain = str(key).removeprefix(_OLD_FSDP)
        if key != plain and key not in fields and plain in fields:
            source.add(
                ("fsdp_config", key),
                "deprecated-key",
                f"deprecated in Axolotl. Write `{plain}` instead.",
                new_key=plain if ("fsdp_config", plain) not in source.marks else None,
            )


_RENAMED = ("rl_beta", "eval_strategy", "neftune_noise_alpha", "generation_max_new_tokens",
            "streaming_multipack_buffer_size", "context_parallel_size")  # fmt: skip
"""New names under which the old value means the same."""


def _names(source: YamlFile) -> None:
    """Optimizer and scheduler: Axolotl takes any text and fails hours later, on the GPUs."""
    facts = known("axolotl")
    for key, names in (("optimizer", facts["optimizers"]), ("lr_scheduler", facts["schedulers"])):
        value = source.content.get(key)
        if isinstance(value, str) and value not in names:
            unknown_name(source, (key,), f"no {key} is called {value!r}.", value, names)
    for key, names in facts["choices"].items():
        value = source.content.get(key)
        if not isinstance(value, str) or value in names:
            continue
        # A class may come from elsewhere, so only a near miss is a finding.
        is_class = key.endswith("_type")
        near = difflib.get_close_matches(value, names, n=1, cutoff=0.9)
        if not is_class or (near and not source.content.get("trust_remote_code")):
            unknown_name(source, (key,), f"no {key} is called {value!r}.", value, names)
    value = source.content.get("chat_template")
    names = ["jinja", "tokenizer_default", *facts["chat_templates"]]
    plain = str(value).removeprefix("tokenizer_default_fallback_")
    if isinstance(value, str) and plain not in names:
        found = f"Axolotl has no chat template {value!r}."
        unknown_name(source, ("chat_template",), found, value, names)


_OTHER_NAMES = {"adamw": "adamw_torch", "adam": "adamw_torch", "warmup_cosine": "cosine"}
"""What people write from memory, nearer to a wrong name than to the right one."""


def unknown_name(source: YamlFile, place: Path_, found: str, value: str, names: list[str]) -> None:
    """Add the finding that `value` is none of `names`, with the one that was probably meant."""
    meant = _OTHER_NAMES.get(value.lower()) or unambiguous_match(value, names)
    meant = meant if meant in names else None
    hint = f" Did you mean {meant!r}?" if meant else nearest(value, names)
    every = f" Known: {', '.join(names)}."
    source.add(place, "wrong-value", f"{found}{hint or every}", new_value=meant)


def _texts_for_numbers(source: YamlFile) -> None:
    """Numbers that YAML takes for texts, where nothing turns them back into numbers."""
    # Typed keys of Axolotl turn such a text into a number; free mappings pass it on as it is.
    for key, tree in known("axolotl")["keys"].items():
        value = source.content.get(key)
        if tree is not None or not isinstance(value, dict | list):
            continue
        for place, text in walk(value, (key,)):
            if not isinstance(text, str) or not _NUMBER_AS_TEXT.fullmatch(text):
                continue
            digits, exponent = re.split("[eE]", text)
            dotted = digits if "." in digits else f"{digits}.0"
            sign = exponent if exponent[0] in "+-" else f"+{exponent}"
            number = f"{dotted}e{sign}"
            source.add(
                place,
                "wrong-value",
                f"{text} is a text in YAML, not a number. Write {number}.",
                new_value=number,
            )
