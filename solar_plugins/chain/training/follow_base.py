"""A recipe that was written for one base model, fitted to another.

Only what no user could have meant for the new base is changed, and every change is logged. What
needs a choice (another prompt format, more layers removed) stays as the recipe has it.
"""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from solar_plugins.errors import SolarError
from solar_plugins.seams.transformers import without_flash_attention

FLASH_ATTENTION = ("flash_attention_2", "flash_attention_3")


def follow_base(cfg: dict[str, Any]) -> list[str]:
    """Change the keys of `cfg` that its base model cannot bear.

    - ``special_tokens.pad_token``: padding is masked, so it needs no token of its own. One that
      the base's vocabulary lacks would add a row to the embeddings, and a model that no longer
      merges with its relatives; the base's own is taken.
    - ``sequence_len``: no longer than the positions the base was made for.
    - ``attn_implementation``: flash attention where the architecture has none.

    Args:
        cfg: the raw recipe, with ``base_model``.

    Returns:
        One line per change.

    Raises:
        SolarError: the base model cannot be found.
    """
    if not cfg.get("base_model"):
        return []  # Axolotl's own validation reports it
    options = {
        "revision": cfg.get("revision_of_model") or "main",
        "trust_remote_code": bool(cfg.get("trust_remote_code")),
    }
    try:
        config = AutoConfig.from_pretrained(
            cfg.get("base_model_config") or cfg["base_model"], **options
        )
    except (OSError, ValueError) as error:  # ValueError: unknown model type, code of its own
        raise SolarError(
            f"base_model: {cfg['base_model']!r} has no config that can be read: "
            f"{str(error).splitlines()[0]} Name a model of the Hub or a folder with config.json."
        ) from error
    changes = []
    wanted = (cfg.get("special_tokens") or {}).get("pad_token")
    if wanted is not None:
        name = cfg.get("tokenizer_config") or cfg["base_model"]
        try:
            tokenizer = AutoTokenizer.from_pretrained(name, **options)
        except (OSError, ValueError) as error:
            raise SolarError(
                f"base_model: {name!r} has no tokenizer that can be read. Copy its files there "
                "(tokenizer.json), or write `tokenizer_config: MODEL`."
            ) from error
        if type(tokenizer).__name__ == "MistralCommonBackend":  # keeps neither template nor padding
            raise SolarError(
                f"tokenizer_config: {name} has a tekken.json, and mistral_common's tokenizer takes "
                "no chat template. Name a copy of its tokenizer and config.json without that file."
            )
        if wanted not in tokenizer.get_vocab():
            found = _padding(tokenizer)
            cfg["special_tokens"]["pad_token"] = found
            changes.append(
                f"special_tokens.pad_token: {wanted!r} is not in the vocabulary of {name}; "
                f"{found!r}, which is, pads instead."
            )
    # absent where positions are not limited, as in state-space models
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    if isinstance(positions, int) and (cfg.get("sequence_len") or 0) > positions:
        changes.append(
            f"sequence_len: {cfg['sequence_len']} is more than the {positions} positions of "
            f"{cfg['base_model']}; {positions} is used."
        )
        cfg["sequence_len"] = positions
    wanted = cfg.get("attn_implementation")
    if wanted in FLASH_ATTENTION and type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        model_class = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
        instead = without_flash_attention(model_class)
        if instead is not None:
            cfg["attn_implementation"] = instead
            changes.append(
                f"attn_implementation: {model_class.__name__} has no {wanted}; {instead} is used."
            )
    return changes


def _padding(tokenizer: PreTrainedTokenizerBase) -> str:
    """A token of the vocabulary to pad with: its own, one that text never has, or the end."""
    for token in (tokenizer.pad_token, tokenizer.unk_token, tokenizer.eos_token):
        if token is not None:
            return token
    return tokenizer.convert_ids_to_tokens(0)
