"""Stepwise DPO beside one that is written out here, in plain torch and float64.

The one here knows no batches, no padding and no stored log-probabilities: one answer at a time
through the policy, and through a copy of the model that the step started from.
"""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import pytest
from sdpo_gradients import folder_of
from sdpo_world import Run, dataset, make_model, make_preferences, probed, recipe

pytestmark = pytest.mark.slow

ROWS, EPOCHS = 8, 3
BETAS, RATES = (0.5, 0.3), (0.03, 0.02)  # of the two steps
PLUGINS = [
    "solar_plugins.StepwiseDPOPlugin",
    "sdpo_probe.ProbePlugin",
    "sdpo_gradients.GradientsPlugin",
]
FILES = ("first.jsonl", "second.jsonl")


@dataclass
class PlainRun:
    """Losses and gradients of every update, over both steps, and the final weights."""

    losses: list[float] = field(default_factory=list)
    gradients: list[dict] = field(default_factory=list)
    weights: dict = field(default_factory=dict)


def log_probability(model, prompt: list[int], answer: list[int]):
    """log p(answer | prompt), summed over the answer's tokens."""
    import torch

    every = model(torch.tensor([prompt + answer])).logits[0, :-1].log_softmax(dim=-1)
    return every[len(prompt) - 1 :].gather(1, torch.tensor(answer)[:, None]).sum()


def pair_loss(kind: str, beta: float, policy, reference, prompt, chosen, rejected):
    """DPO (arXiv 2305.18290, eq. 7), or IPO per token (arXiv 2310.12036, eq. 17)."""
    import torch

    with torch.no_grad():
        reference_chosen = log_probability(reference, prompt, chosen)
        reference_rejected = log_probability(reference, prompt, rejected)
    gained = log_probability(policy, prompt, chosen) - reference_chosen
    lost = log_probability(policy, prompt, rejected) - reference_rejected
    if kind == "ipo":
        return (gained / len(chosen) - lost / len(rejected) - 1 / (2 * beta)) ** 2
    return torch.log1p(torch.exp(-beta * (gained - lost)))


def tokens(world: Path, file: str) -> list[tuple[list[int], list[int], list[int]]]:
    """Prompt, chosen and rejected of each row, in ChatML, the answers with an end of sequence."""
    from transformers import AutoTokenizer

    encode = AutoTokenizer.from_pretrained(world / "sft").encode
    rows = [json.loads(line) for line in (world / file).read_text().splitlines()]
    asked = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    answered = "{}<|im_end|></s>"
    return [
        (
            encode(asked.format(row["prompt"])),
            encode(answered.format(row["chosen"])),
            encode(answered.format(row["rejected"])),
        )
        for row in rows
    ]


def plain_sdpo(world: Path, kind: str) -> PlainRun:
    """Both steps by gradient descent over all rows at once."""
    import torch
    from transformers import AutoModelForCausalLM

    run = PlainRun()
    policy = AutoModelForCausalLM.from_pretrained(world / "sft").double()
    for file, beta, rate in zip(FILES, BETAS, RATES, strict=True):
        reference = copy.deepcopy(policy)
        rows = tokens(world, file)
        for _ in range(EPOCHS):
            policy.zero_grad()
            losses = [pair_loss(kind, beta, policy, reference, *row) for row in rows]
            loss = torch.stack(losses).mean()
            loss.backward()
            run.losses.append(loss.item())
            run.gradients.append({n: p.grad.clone() for n, p in policy.named_parameters()})
            with torch.no_grad():
                for parameter in policy.parameters():
                    parameter -= rate * parameter.grad
    run.weights = {name: p.detach() for name, p in policy.named_parameters()}
    return run


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    for heavy in ("axolotl.cli.config", "axolotl.core.builders.rl", "axolotl.train"):
        import_module(heavy)  # once here; each run is a fork of this process
    folder = tmp_path_factory.mktemp("plain")
    make_model(folder / "sft")
    for seed, file in enumerate(FILES):
        make_preferences(folder / file, ROWS, seed=seed)
    return folder


@pytest.fixture(scope="module")
def ours(world) -> dict[str, Path]:
    """`axolotl train` of the same, for each kind of loss."""
    steps = [
        {
            "datasets": [dataset(world / file, "chatml.default")],
            "rl_beta": beta,
            "learning_rate": rate,
        }
        for file, beta, rate in zip(FILES, BETAS, RATES, strict=True)
    ]
    outputs, runs = {}, []
    for kind, rl in (("sigmoid", "dpo"), ("ipo", "ipo")):
        outputs[kind] = world / kind
        values = recipe(
            world,
            output_dir=str(outputs[kind]),
            plugins=PLUGINS,
            rl=rl,
            sdpo={"steps": steps},
            num_epochs=EPOCHS,
            # An update sees every row, so the order in which they come does not matter.
            micro_batch_size=ROWS // 2,
            gradient_accumulation_steps=2,
            optimizer="sgd",
            lr_scheduler="constant",
            weight_decay=0.0,
            max_grad_norm=1e9,
            val_set_size=0,
            eval_strategy="no",
            save_strategy="no",
            save_steps=None,
            dataset_prepared_path=str(world / f"prepared_{kind}"),
        )
        runs.append(Run({key: value for key, value in values.items() if value is not None}))
    for run in runs:
        run.end()
    return outputs


@pytest.mark.parametrize("kind", ["sigmoid", "ipo"])
def test_losses_gradients_and_weights_are_those_of_plain_torch(world, ours, kind):
    from safetensors.torch import load_file

    plain = plain_sdpo(world, kind)
    first = math.log(2) if kind == "sigmoid" else (1 / (2 * BETAS[1])) ** 2
    # What is compared against does move, and does change its reference.
    assert plain.losses[EPOCHS] == pytest.approx(first, abs=1e-12)
    assert abs(plain.losses[EPOCHS - 1] - plain.losses[0]) > 0.01

    logs = [event["logs"] for event in probed(ours[kind]) if event["event"] == "pre"]
    logged = [log["loss"] for log in logs if "loss" in log]
    assert logged == pytest.approx(plain.losses, abs=1e-6)
    for update, expected in enumerate(plain.gradients, 1):
        found = load_file(folder_of(ours[kind]) / f"{update}.safetensors")
        assert found.keys() == expected.keys()
        assert max(gradient.abs().max() for gradient in expected.values()) > 0.05
        for name, gradient in expected.items():
            assert (found[name] - gradient).abs().max() < 1e-6, (update, name)
    trained = load_file(ours[kind] / "model.safetensors")
    for name, weight in plain.weights.items():
        assert (trained[name] - weight).abs().max() < 1e-6, name
