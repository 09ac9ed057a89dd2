"""Five kinds of tokenizers, trained on a few lines, with the normalisers of the real ones."""

from __future__ import annotations

from typing import Any

TEXTS = [
    "### System:\nYou are an assistant that answers shortly.\n\n",
    "### User:\nWhich trees grow in the forest, and which of them lose their leaves?\n\n",
    "### Assistant:\n The oak and the birch do. Pines keep theirs the whole year.\n",
    "What is 12 + 30? It is 42.\n\nWrite it in words: forty-two.  Done.",
]


def kinds() -> dict[str, Any]:
    """A tokenizer of transformers by the name of its kind."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
    from tokenizers import normalizers as n
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    def made(model: Any, trainer: Any, parts: dict[str, Any], adds: str, *names: str) -> Any:
        unk, bos, eos = names
        tokenizer = Tokenizer(model)
        for part, value in parts.items():
            setattr(tokenizer, part, value)
        special = list(dict.fromkeys(name for name in names if name))
        tokenizer.train_from_iterator(
            TEXTS * 4,
            trainer(vocab_size=400, special_tokens=special, show_progress=False),
        )
        ids = [(name, tokenizer.token_to_id(name)) for name in special if name in adds.split()]
        tokenizer.post_processor = TemplateProcessing(single=adds, special_tokens=ids)
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, unk_token=unk, bos_token=bos, eos_token=eos
        )

    def bpe(**more: Any) -> Any:
        return models.BPE(**more)

    blank, of_llama = "\u2581", ("<unk>", "<s>", "</s>")
    words = pre_tokenizers.Split(Regex(r" ?\w+| ?[^\s\w]+\n*|\s*\n+|\s+(?!\S)|\s+"), "isolated")
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    byte_level = {"pre_tokenizer": pre_tokenizers.Sequence([words, bytes_])}

    def of_bytes(**keys: Any) -> Any:
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        return trainers.BpeTrainer(initial_alphabet=alphabet, **keys)

    return {
        # Llama 2: a normaliser puts a blank before every piece of text between special tokens
        "llama 2": made(
            bpe(unk_token="<unk>", fuse_unk=True),
            trainers.BpeTrainer,
            {"normalizer": n.Sequence([n.Prepend(blank), n.Replace(" ", blank)])},
            "<s> $A",
            *of_llama,
        ),
        # Mistral v0.3: a pre-tokenizer puts one before the first piece alone
        "mistral": made(
            bpe(unk_token="<unk>", fuse_unk=True),
            trainers.BpeTrainer,
            {"pre_tokenizer": pre_tokenizers.Metaspace(prepend_scheme="first", split=False)},
            "<s> $A",
            *of_llama,
        ),
        "byte level (llama 3)": made(
            bpe(), of_bytes, byte_level, "<|begin|> $A", None, "<|begin|>", "<|end|>"
        ),
        # Qwen has no start of sequence
        "byte level (qwen)": made(bpe(), of_bytes, byte_level, "$A", None, None, "<|end|>"),
        # SmolLM and GPT-2 have one that they do not write, and it is the end as well
        "byte level (gpt-2)": made(bpe(), of_bytes, byte_level, "$A", None, "<|end|>", "<|end|>"),
        # BERT lower-cases, and ends every text too
        "wordpiece": made(
            models.WordPiece(unk_token="[UNK]"),
            trainers.WordPieceTrainer,
            {
                "normalizer": n.BertNormalizer(lowercase=True),
                "pre_tokenizer": pre_tokenizers.BertPreTokenizer(),
            },
            "[CLS] $A [SEP]",
            *("[UNK]", "[CLS]", "[SEP]"),
        ),
        # XLM-RoBERTa and T5: NFKC, one blank for several
        "unigram": made(
            models.Unigram(),
            lambda **keys: trainers.UnigramTrainer(unk_token="<unk>", **keys),
            {
                "normalizer": n.Sequence([n.NFKC(), n.Replace(Regex(" {2,}"), " ")]),
                "pre_tokenizer": pre_tokenizers.Metaspace(prepend_scheme="always"),
            },
            "<s> $A </s>",
            *of_llama,
        ),
    }
