"""Is an up-scaled model right? The judge of the architecture table.

Right means: target layer i equals base layer map[i] tensor by tensor, nothing is missing or left
over, the config says every layer's kind, a forward and a backward pass run, no two parameters share
storage, and a saved model comes back with the same logits.
"""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tiny_architectures import IDS, LAYERS, tiny_config, tiny_model
from transformers import AutoConfig, AutoModelForCausalLM

from solar_plugins.depth_up_scaling.growth import SILENT, grow
from solar_plugins.depth_up_scaling.identity import starred
from solar_plugins.depth_up_scaling.layer_map import (
    added_layers,
    interleave,
    layer_map,
    repeat,
)
from solar_plugins.depth_up_scaling.remap import up_scaled_loading
from solar_plugins.depth_up_scaling.structure import layer_lists
from solar_plugins.depth_up_scaling.transport import places, reordered
from solar_plugins.errors import SolarError

RIGHT, REFUSED, WRONG, NOT_BUILT = "right", "refused", "wrong", "not built"
REMOVED = (3, 2, 1)
"""Tried in turn: a family may be out of step with one seam and in step with the next."""


@dataclass
class Verdict:
    """What came of one architecture.

    Attributes:
        outcome: of the plain copy.
        reason: why, where it is not right.
        remove_layers: the paper's m with which it is right.
        identity: outcome of ``init: identity``; `identity_reason` why, or what starts at zero.
        layouts: the other layouts, each with its inits -> outcome, with the reason if not right.
        seconds: that all this took.
    """

    outcome: str
    reason: str = ""
    remove_layers: int | None = None
    identity: str = ""
    identity_reason: str = ""
    layouts: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def judge(name: str, folder: Path, identity: bool = True, **saving) -> Verdict:
    """Up-scale the tiny model of architecture `name` in `folder`, and look at every promise.

    Args:
        name: a model type, or one of the variants.
        folder: for the base and the up-scaled model.
        identity: try ``init: identity`` as well.
        saving: how the base is saved (`max_shard_size`).
    """
    start = time.perf_counter()
    try:
        config = tiny_config(name)
        grow(config, layer_map(LAYERS, REMOVED[0]))
    except SolarError as error:
        if not _another_seam_may_do(error):
            return Verdict(REFUSED, str(error))
    except Exception as error:  # whatever keeps a tiny config of it from being made
        return Verdict(NOT_BUILT, _in_one_line(error))
    base = write_base(config, folder, **saving)
    if isinstance(base, Verdict):
        return base
    verdict = Verdict(NOT_BUILT)
    for remove_layers in REMOVED:
        layers = layer_map(LAYERS, remove_layers)
        try:
            faults = faults_of(folder, base, layers)
        except SolarError as error:
            verdict = verdict if verdict.reason else Verdict(REFUSED, str(error))
            if not _another_seam_may_do(error):
                break
            continue
        verdict = Verdict(WRONG if faults else RIGHT, "; ".join(faults), remove_layers)
        if identity:
            verdict.identity, verdict.identity_reason = judge_identity(folder, base, layers)
        break
    if identity:
        verdict.layouts = judge_layouts(folder, base)
    verdict.seconds = time.perf_counter() - start
    return verdict


def judge_identity(folder: Path, base, layers, init="identity") -> tuple[str, str]:
    """Outcome of a silent init, and why; the names of what starts at zero if it is right.

    Right means: the base's logits bit for bit, and in every added layer something learns.
    """
    try:
        model, _, _ = up_scaled(folder, layers, init=init)
    except SolarError as error:
        return REFUSED, str(error)
    lists = layer_lists(base, in_own_memory(model))
    with torch.no_grad():
        difference = (model(IDS).logits - base(IDS).logits).abs().max().item()
    if difference:
        return WRONG, f"logits differ by {difference:.1e}"
    zeros = {name for name, parameter in model.named_parameters() if not parameter.any()}
    if _learning(model) is not None:
        for i in added_layers(layers, LAYERS):
            inside = [model.get_parameter(name) for name in zeros if f".{i}." in name]
            if not any(p.grad is not None and p.grad.any() for p in inside):
                return WRONG, f"nothing in layer {i} would learn"
    silent = set()
    for i in added_layers(layers, LAYERS):
        for prefix in lists:
            layer = model.get_submodule(f"{prefix}.{i}")
            inside = (name for name, parameter in layer.named_parameters() if not parameter.any())
            silent.update(starred(name, layer) for name in inside)
    return RIGHT, ", ".join(sorted(silent))


def judge_layouts(folder: Path, base) -> dict[str, str]:
    """Outcome of every init under ``interleave`` and ``repeat``."""
    maps = {"interleave": interleave(LAYERS, every=4), "repeat": repeat(LAYERS, times=2)}
    found = {}
    for layout, init in (
        *((layout, init) for layout in maps for init in ("copy", "identity")),
        ("interleave", "average"),
        ("interleave", "optimal_transport"),
    ):
        layers = maps[layout]
        try:
            if init in SILENT:
                outcome, why = judge_identity(folder, base, layers, init)
                why = "" if outcome == RIGHT else why
                if (outcome, init) == (RIGHT, "optimal_transport"):
                    faults = faults_of_transport(folder, base, layers)
                    outcome, why = (WRONG if faults else RIGHT), "; ".join(faults)
            else:
                faults = (
                    faults_of(folder, base, layers)
                    if init == "copy"
                    else faults_of_average(folder, base, layers)
                )
                outcome, why = (WRONG if faults else RIGHT), "; ".join(faults)
        except SolarError as error:
            outcome, why = REFUSED, str(error)
        found[f"{layout}, {init}"] = f"{outcome}: {why}" if why else outcome
    return found


def faults_of_average(folder: Path, base, layers) -> list[str]:
    """Where a model of ``init: average`` is not the plain mean of two base layers."""
    model, info, _ = up_scaled(folder, layers, init="average")
    found, lists = model.state_dict(), layer_lists(base, model)
    expected = expected_tensors(found, base, lists, layers)
    source = base.state_dict()
    for i in added_layers(layers, LAYERS):
        for name in (n for n in found for p in lists if n.startswith(f"{p}.{i}.")):
            prefix = next(p for p in lists if name.startswith(f"{p}.{i}."))
            after = source.get(name.replace(f"{prefix}.{i}.", f"{prefix}.{layers[i] + 1}.", 1))
            if after is not None and expected[name].is_floating_point():
                expected[name] = (expected[name] + after) / 2
    faults = [f"tensor differs: {n}" for n in found if not torch.equal(found[n], expected[n])]
    return faults[:3] + [f"{kind}: {sorted(names)[:3]}" for kind, names in info.items() if names]


def faults_of_transport(folder: Path, base, layers) -> list[str]:
    """Where a layer of which heads and neurons change places is another function, or is not added.

    Whether the right ones are matched is tested on single families: `test_transport`.
    """
    model, _, report = up_scaled(folder, layers, init="optimal_transport")
    lists = layer_lists(base, model)
    text = base.config.get_text_config()
    moved = copy.deepcopy(base)
    for path in lists:
        layer = moved.get_submodule(path)[layers[added_layers(layers, LAYERS)[0]]]
        parameters, orders = dict(layer.named_parameters()), {}
        for name, (module, count, dim) in places(layer, text).items():
            order = orders.setdefault(module, torch.arange(count).roll(1))
            parameters[name].data = reordered(parameters[name].data, order, dim)
        if len(orders) != 2:
            return [f"units of {sorted(orders)}"]
    with torch.no_grad():
        difference = (moved(IDS).logits - base(IDS).logits).abs().max().item()
        scale = base(IDS).logits.abs().max().item()
    if difference > 1e-4 * scale:
        return [f"reordered units change the logits by {difference:.1e} of {scale:.1e}"]
    if not any(average.unit for average in report.plan.averaged.values()):
        return ["nothing was matched"]
    return []


def tiny_base(name: str, folder: Path):
    """The tiny base of an architecture that can be built, written to `folder` and loaded again."""
    return write_base(tiny_config(name), folder)


def write_base(config, folder: Path, **saving):
    """The tiny base, saved and loaded again; a `Verdict` where the library itself cannot."""
    try:
        model = tiny_model(config)
        with torch.no_grad():
            model(IDS)
    except Exception as error:  # whatever keeps a tiny model of it from running
        return Verdict(NOT_BUILT, _in_one_line(error))
    save_base(config, model, folder, **saving)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    in_own_memory(base)
    with torch.no_grad():
        if not torch.equal(model(IDS).logits, base(IDS).logits):
            return Verdict(
                NOT_BUILT, "the base itself does not come back from disk as it was saved"
            )
    return base


def save_base(config, model, folder: Path, **saving) -> None:
    """Save a tiny model; one that is a part of a larger one gets the larger one's config."""
    model.save_pretrained(folder, **saving)
    if type(config) is not type(model.config):
        config.text_config = model.config
        config.save_pretrained(folder)


def in_own_memory(model):
    """`model`, its tensors copied out of the mapped files.

    There they start anywhere, and some kernels add up in another order where a tensor does not
    start at a multiple of 64 bytes: logits would differ in their last bits.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()
    return model


def up_scaled(folder: Path, layers, init="copy", **options):
    """The deeper model out of the base in `folder`, what transformers says of it, our report."""
    growth = grow(AutoConfig.from_pretrained(folder), layers, init)
    options.setdefault("dtype", torch.float32)
    with up_scaled_loading(growth) as report:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder, config=growth.config, output_loading_info=True, **options
        )
    assert report.model_class is type(model)
    return model.eval(), info, report


def base_name(name: str, lists, layers) -> str:
    """The base's name of what the up-scaled model calls `name`."""
    for prefix in lists:
        if name.startswith(f"{prefix}."):
            index, rest = name[len(prefix) + 1 :].split(".", 1)
            return f"{prefix}.{layers[int(index)]}.{rest}"
    return name


def expected_tensors(names, base, lists, layers, zeroed=()):
    """What the up-scaled model's tensors of these names must be, from the base's own."""
    source = base.state_dict()
    expected = {name: source.get(base_name(name, lists, layers)) for name in names}
    return {
        name: torch.zeros_like(tensor) if name in zeroed else tensor
        for name, tensor in expected.items()
    }


def faults_of(folder: Path, base, layers) -> list[str]:
    """Every promise that the up-scaled model breaks, in words."""
    model, info, _ = up_scaled(folder, layers)
    faults = []
    lists = layer_lists(base, model)
    found = model.state_dict()
    expected = expected_tensors(found, base, lists, layers)
    differ = [k for k in found if expected[k] is None or not torch.equal(found[k], expected[k])]
    if differ:
        faults.append(f"tensors differ: {sorted(differ)[:3]}")
    left_over = base.state_dict().keys() - {base_name(name, lists, layers) for name in found}
    if left_over:
        faults.append(f"not copied: {sorted(left_over)[:3]}")
    faults.extend(f"{kind}: {sorted(names)[:3]}" for kind, names in info.items() if names)
    pointers = [parameter.data_ptr() for parameter in model.parameters()]
    if len(set(pointers)) != len(pointers):
        faults.append("parameters share storage")
    faults.extend(_wrong_indices(model, lists))
    in_own_memory(model)

    learning = _learning(base)
    if learning is not None:
        found_learning = _learning(model) or set()
        wanted = {k for k in found if base_name(k, lists, layers) in learning}
        # experts that no token chose get no gradient
        differ = {k for k in wanted ^ found_learning if "expert" not in k}
        if differ & {name for name, _ in model.named_parameters()}:
            faults.append(f"gradients differ: {sorted(differ)[:3]}")

    saved = folder / "up-scaled"
    model.save_pretrained(saved)
    again = in_own_memory(type(model).from_pretrained(saved, dtype=torch.float32).eval())
    with torch.no_grad():
        logits = model(IDS).logits
        if not torch.equal(again(IDS).logits, logits):
            faults.append("a saved model gives other logits")
        if torch.equal(base(IDS).logits, logits):
            faults.append("gives the base's logits")
    content = json.loads((saved / "config.json").read_text())
    if again.config.get_text_config().num_hidden_layers != len(layers):
        faults.append(f"config.json says another depth: {content.get('num_hidden_layers')}")
    return faults


def _learning(model) -> set[str] | None:
    """Names of the parameters that get a gradient; None if there is no backward pass (rwkv)."""
    try:
        model(IDS).logits.sum().backward()
    except RuntimeError:
        return None
    return {name for name, parameter in model.named_parameters() if parameter.grad is not None}


def _wrong_indices(model, lists) -> list[str]:
    """Modules that believe to be in another layer than the one they are in."""
    for prefix in lists:
        for i, layer in enumerate(model.get_submodule(prefix)):
            found = {vars(m)["layer_idx"] for m in layer.modules() if "layer_idx" in vars(m)}
            if found - {i, None}:
                return [f"{prefix}.{i} has layer_idx {found}"]
    return []


def _another_seam_may_do(error: SolarError) -> bool:
    return "remove_layers" in str(error)


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
