"""Memory of one training step besides the model's states, from running it on tensors without data.

The model class of transformers does one forward and backward pass on tensors that have shapes and
types only (`seams.torch.without_data`), as Axolotl's trainer does it, and every storage that comes
and goes is counted. What torch keeps for the backward pass, what a loss copies, and what is
recomputed come from the real code, not from a formula. A model whose layers are alike is run with
two layers and with three, and extrapolated.

Attention runs through torch's fused kernel, which keeps no scores, as FlashAttention does
(arXiv 2205.14135), unless the recipe says ``eager``.

Not seen: scratch space inside kernels, the allocator's gaps, CUDA's context and NCCL's buffers.
"""

from __future__ import annotations

import json
import weakref
from dataclasses import dataclass
from functools import cache
from typing import Any

from solar_plugins.plan import model_size
from solar_plugins.quiet import quiet
from solar_plugins.seams import torch as seam


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter (arXiv 2106.09685): rank, linear layers that get one, and dropout."""

    rank: int
    targets: tuple[str, ...] | str
    dropout: float


@dataclass(frozen=True)
class TrainingStep:
    """One forward and backward pass."""

    sequences: int  # a preference pair is two
    length: int  # tokens of each
    is_pairs: bool  # the loss is DPO's and not that of the next token
    recomputes: bool  # activations, layer by layer
    weights: str  # torch's name of their type
    autocasts: bool  # to bf16, which makes logits float32 again
    attention: str  # transformers' name of the implementation
    adapter: Adapter | None  # None where all weights are trained


@dataclass(frozen=True)
class Traced:
    """Bytes of a model and of one pass through it."""

    weights: int
    gradients: int  # of the weights that are trained
    trained: int  # how many weights these are
    with_gradients: int  # the peak besides the weights, where gradients are kept
    without_gradients: int  # where each is released as soon as it is complete


class CannotRun(Exception):
    """A model whose code does not run on tensors without data; the message is the cause."""


def trace(config: dict[str, Any], step: TrainingStep) -> Traced:
    """Memory of `step` for the causal language model with the config.json content `config`.

    Raises:
        SolarError: transformers does not know the architecture.
        CannotRun: its code needs data to run, or a kernel that is not here.
    """
    return _trace(json.dumps(config, sort_keys=True), step)


@cache
def _trace(text: str, step: TrainingStep) -> Traced:
    config = json.loads(text)
    size = model_size.of(config)
    try:
        if size.layers <= 3 or not size.layers_are_alike:
            return _traced(*_run(config, step))
        two, three = (_run(model_size.with_layers(config, list(range(n))), step) for n in (2, 3))
    except Exception as error:  # whatever the model's own code raises
        raise CannotRun(" ".join(str(error).split())[:200]) from error

    def prolong(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(x + (size.layers - 2) * (y - x) for x, y in zip(a, b, strict=True))

    # A peak lies in the pass through the head, or at either end of the way back through the
    # layers. Each of the three is linear in the number of layers, the largest of them is not.
    peaks = [prolong(two[1][end], three[1][end]) for end in (0, 1, -1)]
    return _traced(prolong(two[0], three[0]), peaks)


_Run = tuple[tuple[int, ...], list[tuple[int, ...]]]
"""One pass, in bytes: weights, gradients and how many weights are trained; the peaks with and
without gradients, through the head, then layer by layer back."""


def _traced(model: tuple[int, ...], peaks: list[tuple[int, ...]]) -> Traced:
    return Traced(*model, *map(max, zip(*peaks, strict=True)))


def _run(config: dict[str, Any], step: TrainingStep) -> _Run:
    with quiet():
        import torch

        model, counter = _model(config, step), _Counter()
        with seam.without_data(counter.add):
            seam.materialise(model)
            before = counter.now
            trained = [weight for weight in model.parameters() if weight.requires_grad]
            for weight in trained:
                weight.register_post_accumulate_grad_hook(counter.gradient)
            for layer in model_size.layers(model):
                layer.register_forward_hook(counter.layer)
            ids = torch.zeros(step.sequences, step.length, dtype=torch.long)
            with torch.autocast("cpu", torch.bfloat16, enabled=step.autocasts):
                loss = _pair_loss(model, ids, step) if step.is_pairs else _loss(model, ids, step)
            loss.backward()
    states = (
        sum(weight.nbytes for weight in model.parameters()),
        sum(weight.nbytes for weight in trained),
        sum(weight.numel() for weight in trained),
    )
    return states, [(most - before, least - before) for most, least in counter.peaks]


def _model(config: dict[str, Any], step: TrainingStep) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            model_size.transformers_config(config),
            dtype=getattr(torch, step.weights),
            attn_implementation="eager" if step.attention == "eager" else "sdpa",
        )
    if step.autocasts and step.adapter is None and step.attention in ("sdpa", "eager"):
        # Axolotl's loader leaves these in float32 unless FlashAttention needs all in one type.
        ends = model.get_input_embeddings(), model.get_output_embeddings()
        for name, module in model.named_modules():
            if "norm" in name or module in ends:
                module.to(torch.float32)
    if step.adapter is not None:
        from peft import LoraConfig, get_peft_model

        targets = step.adapter.targets
        model = get_peft_model(
            model,
            LoraConfig(
                task_type="CAUSAL_LM",
                r=step.adapter.rank,
                target_modules=targets if isinstance(targets, str) else list(targets),
                lora_dropout=step.adapter.dropout,
            ),
        )
        model.enable_input_require_grads()
    model.train()
    if step.recomputes:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def _loss(model: Any, ids: Any, step: TrainingStep) -> Any:
    """The loss of the next token, in float32 as transformers has it."""
    output = model(input_ids=ids, labels=ids, use_cache=False)
    if step.autocasts:
        output.logits = output.logits.float()  # accelerate does this to what a model returns
    return output.loss


def _pair_loss(model: Any, ids: Any, step: TrainingStep) -> Any:
    """DPO's sigmoid loss, with the copies that TRL 1.9's trainer makes of the logits.

    The reference's log-probabilities are there already, so one model does one pass over the chosen
    and the rejected answers.
    """
    import torch
    from torch.nn import functional

    logits = model(input_ids=ids, use_cache=False).logits
    logits = (logits.float() if step.autocasts else logits)[:, :-1]
    labels = ids[:, 1:, None]
    if logits.dtype == torch.float32:
        sums = torch.stack([torch.logsumexp(row, -1) for row in logits])
        each = logits.gather(-1, labels)[..., 0] - sums
    else:  # the log-probabilities of every token, row by row
        each = torch.stack(
            [
                functional.log_softmax(row, -1).gather(-1, label)[..., 0]
                for row, label in zip(logits, labels, strict=True)
            ]
        )
    chosen, rejected = each.sum(1).chunk(2)
    loss = -functional.logsigmoid(chosen - rejected).mean()
    logits.detach().reshape(-1, logits.shape[-1])  # a copy, for the entropy that it logs
    return loss


class _Counter:
    """Bytes of the live storages, and their peak in each part of a step."""

    def __init__(self) -> None:
        self.now = 0
        self.gradients = 0
        self.peaks = [(0, 0)]
        self._alive: dict[int, weakref.ref] = {}

    def add(self, storage: Any) -> None:
        """Count `storage` until it is freed."""
        key, size = seam.storage_key(storage), storage.nbytes()
        if key in self._alive:
            return

        def gone(_: Any) -> None:
            self.now -= size
            del self._alive[key]

        self._alive[key] = weakref.ref(storage, gone)
        self.now += size
        most, least = self.peaks[-1]
        self.peaks[-1] = max(most, self.now), max(least, self.now - self.gradients)

    def gradient(self, weight: Any) -> None:
        """A gradient is complete."""
        self.gradients += weight.grad.nbytes

    def layer(self, _: Any, __: Any, output: Any) -> None:
        """A layer has returned `output`; its gradient marks where the backward pass reaches it."""
        hidden = output[0] if isinstance(output, tuple) else output

        def reached(_: Any) -> None:
            self.peaks.append((self.now, self.now - self.gradients))

        hidden.register_hook(reached)
