"""The contamination test's two uses of a model: the reference writes neighbours, the target reads.

As swj0419/detect-pretrain-code-contamination does it at commit 616114e (`src/run.py`,
`src/utils.py`), except for two things that it leaves to chance: the sampling is seeded, and a
neighbour that repeats the item word for word never counts as likelier than the item.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from solar_plugins.errors import SolarError

LONGEST_NEIGHBOUR = 150
"""Tokens of a neighbour that count; the published test cuts there."""

# The defaults of transformers 4, under which the published test and the paper's were run: written
# out, so that a model's own generation_config or a later default does not change the neighbours.
SAMPLING = {"do_sample": True, "temperature": 1.0, "top_k": 50, "top_p": 1.0}


class LoadedModel(NamedTuple):
    """A causal language model with its tokenizer."""

    model: PreTrainedModel
    tokenizer: Tokenizer


def load(place: str, dtype: str, device: str) -> LoadedModel:
    """
    Raises:
        SolarError: the model cannot be loaded.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(place)
        model = AutoModelForCausalLM.from_pretrained(place, dtype=dtype, device_map=device)
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: no network
        reason = " ".join(str(error).split())
        raise SolarError(f"{place}: could not load the model ({reason})") from error
    return LoadedModel(model.eval(), tokenizer)


@torch.no_grad()
def sample_neighbours(
    reference: LoadedModel, prefix: str, new_tokens: int, count: int, batch_size: int, seed: int
) -> list[str]:
    """`count` texts that begin with `prefix` and that `reference` continued.

    At least one and at most `new_tokens` are added. `batch_size` changes which texts are drawn.
    """
    tokenizer, model = reference.tokenizer, reference.model
    ids = torch.tensor([tokenizer.encode(prefix)], device=model.device)
    end = tokenizer.eos_token_id  # fills the ends of texts that stop early, and is not decoded
    torch.manual_seed(seed)
    texts: list[str] = []
    while len(texts) < count:
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new_tokens,
            min_new_tokens=1,
            num_return_sequences=min(batch_size, count - len(texts)),
            pad_token_id=0 if end is None else end,
            **SAMPLING,
        )
        texts += tokenizer.batch_decode(output, skip_special_tokens=True)
    return texts


@torch.no_grad()
def share_below(target: LoadedModel, text: str, neighbours: list[str], batch_size: int) -> float:
    """The item's result: the share of neighbours that `target` finds likelier than the item.

    The item's loss is computed alone; of each neighbour its first `LONGEST_NEIGHBOUR` tokens count.
    """
    encode = target.tokenizer.encode
    item = encode(text)
    (item_loss,) = _losses(target, [item])
    ids = [encode(each, truncation=True, max_length=LONGEST_NEIGHBOUR) for each in neighbours]
    losses: list[float] = []
    for start in range(0, len(ids), batch_size):
        losses += _losses(target, ids[start : start + batch_size])
    likelier = [
        loss < item_loss and encode(each) != item
        for each, loss in zip(neighbours, losses, strict=True)
    ]
    return sum(likelier) / len(neighbours)


def _losses(target: LoadedModel, rows: list[list[int]]) -> list[float]:
    """Mean negative log-likelihood in nats of each row's tokens after the first.

    Rows are padded to the right with tokens that neither mask nor loss counts.
    """
    pad, device = torch.nn.utils.rnn.pad_sequence, target.model.device
    ids = pad([torch.tensor(row) for row in rows], batch_first=True).to(device)
    mask = pad([torch.ones(len(row), dtype=int) for row in rows], batch_first=True).to(device)
    logits = target.model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
    loss = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), ids[:, 1:], reduction="none"
    )  # (rows, tokens - 1)
    counted = mask[:, 1:]
    return ((loss * counted).sum(1) / counted.sum(1)).tolist()
