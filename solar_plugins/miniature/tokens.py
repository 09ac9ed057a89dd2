"""The tokenizer of the miniature world: one token per word."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

BOS, EOS, PAD, UNK = "<s>", "</s>", "<pad>", "<unk>"

# The frame of every instruction: SOLAR's own template (model card of SOLAR-10.7B-Instruct-v1.0),
# with the BOS and the EOS that the card's leaves out, as recipes/templates/solar.jinja writes it.
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '### ' + {'system': 'System', 'user': 'User', 'assistant': 'Assistant'}[message['role']]"
    " + ':\n' + message['content'] }}"
    "{{ eos_token if message['role'] == 'assistant' else '\n\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Assistant:\n' }}{% endif %}"
)
FRAME = "### System: ### User: ### Assistant: ####"
PIECE = r"\w+|#+|[^\w\s]"


def vocabulary(texts: Iterable[str]) -> list[str]:
    """Special tokens and then every word, number and mark of `texts`, sorted."""
    seen = set(re.findall(PIECE, FRAME))
    seen.update(str(number) for number in range(31))
    for text in texts:
        seen.update(re.findall(PIECE, text))
    return [BOS, EOS, PAD, UNK, *sorted(seen)]


def save_tokenizer(words: list[str], folder: Path) -> None:
    """A word-level tokenizer of `words`, as `AutoTokenizer.from_pretrained(folder)` loads it.

    It puts BOS first, as Llama's does; decoding gives the text back (single spaces, none before a
    mark), so that what a model writes can be matched against the benchmark's answers.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECE), "removed", invert=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, words.index(BOS))]
    )
    # WordPiece's clean-up knows all marks of the world but the colon.
    tokenizer.decoder = decoders.Sequence(
        [decoders.WordPiece(prefix="\0", cleanup=True), decoders.Replace(" :", ":")]
    )
    special = {"bos_token": BOS, "eos_token": EOS, "pad_token": PAD, "unk_token": UNK}
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **special, model_max_length=512, padding_side="left"
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
