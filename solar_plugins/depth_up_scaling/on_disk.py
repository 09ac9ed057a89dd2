"""Write the up-scaled model to disk, for tools that read a folder.

The checkpoint holds the base's bytes under the deeper model's names: `tensor_plan` says which, as
for the up-scaling in memory, and `tensor_copy` moves them. Before the copy, the files are laid out
empty, and transformers has to find every tensor in them (on the meta device, which reads none):
what is wrong with a base shows before a byte is copied.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, GenerationConfig
from transformers.utils import logging as transformers_logging

from solar_plugins import atomic
from solar_plugins.depth_up_scaling import as_llama, config_rules
from solar_plugins.depth_up_scaling.args import DepthUpScalingBlock
from solar_plugins.depth_up_scaling.growth import Growth, base_depth, grow, load_config, reloaded
from solar_plugins.depth_up_scaling.model_card import model_card
from solar_plugins.depth_up_scaling.tensor_copy import MAX_SHARD_BYTES, fill, lay_out
from solar_plugins.depth_up_scaling.tensor_plan import TensorPlan, blueprint, mean, plan_tensors
from solar_plugins.errors import SolarError
from solar_plugins.models import base_files
from solar_plugins.models.model_config import language_model
from solar_plugins.models.safetensors_header import Tensor, read_files, weight_files
from solar_plugins.seams.transformers import conversions_of, from_json_values, to_json_values


@dataclass(frozen=True)
class UpScaling:
    """An up-scaling that is ready to be written.

    Attributes:
        base: the base as the user named it, and its `folder`.
        growth: the configs of base and model.
        raw_config: the model's ``config.json``.
        plan: what becomes of every tensor of the base.
        tensors: what to write, in this order.
        warnings: what the user should know, one sentence each.
        from_mistral: whether it is a Mistral that becomes a Llama.
    """

    base: str
    folder: Path
    growth: Growth
    raw_config: dict[str, Any]
    plan: TensorPlan
    tensors: list[Tensor]
    warnings: list[str]
    trust_remote_code: bool
    from_mistral: bool

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def parameters(self) -> int:
        """Number of elements of all tensors."""
        return sum(tensor.elements for tensor in self.tensors)


def prepare(base: str, block: DepthUpScalingBlock, trust_remote_code: bool = False) -> UpScaling:
    """Plan the up-scaled `base`; reads headers only.

    Raises:
        SolarError: the base cannot be up-scaled, or not like this.
    """
    folder = base_files.find_base(base)
    raw = base_files.read_config(str(folder))
    config_rules.refuse_grown(raw, base)
    base_config = load_config(folder, trust_remote_code)
    llama = as_llama.changes(raw, base) if block.as_llama else {}
    raw, base_config = {**raw, **llama}, as_llama.converted(base_config, llama)
    growth = grow(base_config, block.layer_map(base_depth(base_config)), block.init)
    setattr(growth.config, config_rules.MARK, growth.mark)
    stored = read_files(weight_files(folder))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(base_config, trust_remote_code=trust_remote_code)
    plan = plan_tensors(blueprint(type(model), growth), stored, conversions_of(model))
    return UpScaling(
        base=base,
        folder=folder,
        growth=growth,
        raw_config=_config_json(raw, growth),
        plan=plan,
        tensors=_tensors(stored, plan),
        warnings=[*growth.warnings, *plan.warnings],
        trust_remote_code=trust_remote_code,
        from_mistral=bool(llama),
    )


def write(
    up_scaling: UpScaling,
    out: str | Path,
    command: str,
    progress: Callable[[int], Any] = lambda count: None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    wait: bool = False,
) -> list[str]:
    """Write what `prepare` has planned to `out`, which appears when it is complete.

    Args:
        up_scaling: the prepared up-scaling.
        out: a folder that does not exist yet.
        command: the command for the model card.
        progress: called with the bytes written since its last call.
        max_shard_bytes: the largest size of a file of weights.
        wait: wait for another process that writes `out`, instead of raising.

    Returns:
        What the user should know, one sentence each.

    Raises:
        SolarError: `out` is not empty, or what was written cannot be loaded.
        FileExistsError: with `wait`, another process has written `out` meanwhile.
        OSError: the disk was full, or failed.
    """
    out = Path(out)
    if not wait:  # else another process may finish it at any moment
        base_files.check_out(out, up_scaling.folder)
    _check_space(out, up_scaling.nbytes)
    warnings = list(up_scaling.warnings)
    with atomic.new_directory(out, wait) as folder:
        shards = lay_out(folder, up_scaling.tensors, max_shard_bytes)
        code = "auto_map" in up_scaling.raw_config
        if not base_files.copy_side_files(up_scaling.folder, folder, code):
            warnings.append(f"{up_scaling.base} holds no tokenizer, so that none was written.")
        config = folder / "tokenizer_config.json"
        if up_scaling.from_mistral and config.is_file():
            # as for a Mistral: a Llama's class builds its own in place of tokenizer.json
            content = json.loads(config.read_text(encoding="utf-8"))
            atomic.write_json(config, content | {"tokenizer_class": "PreTrainedTokenizerFast"})
        _check_loadable(folder, up_scaling)
        fill(shards, progress, _averages(up_scaling))
        text = model_card(
            name=out.resolve().name,
            base=up_scaling.base,
            folder=up_scaling.folder,
            command=command,
            growth=up_scaling.growth,
            parameters=up_scaling.parameters,
        )
        atomic.write_text(folder / "README.md", text)
        # last, so that even the unfinished folder is never taken for a model
        atomic.write_json(folder / base_files.CONFIG, up_scaling.raw_config)
    return warnings


def _config_json(raw: dict[str, Any], growth: Growth) -> dict[str, Any]:
    """The model's ``config.json``: the base's own with what the depth changes.

    Fields that this release of transformers would rename or drop stay as other tools know them.
    Where the edited file would not be read as the grown config, transformers writes the file.
    """
    config, kind = growth.config, type(growth.config)
    edited = copy.deepcopy(raw)
    edited.pop("_name_or_path", None)  # it would still name the base
    language_model(edited).update(json.loads(json.dumps(growth.changes)))
    edited[config_rules.MARK] = config.to_dict()[config_rules.MARK]
    own = {"_name_or_path": "", "transformers_version": None}
    wanted = {**reloaded(config).to_dict(), **own}
    if {**from_json_values(kind, edited).to_dict(), **own} == wanted:
        return to_json_values(kind, edited)  # an infinity is not JSON
    return json.loads(config.to_json_string())


def _tensors(stored: dict[str, Tensor], plan: TensorPlan) -> list[Tensor]:
    """What to write, in the order of the model's layers and, within one, of the base's bytes."""
    order = {name: place for place, name in enumerate(stored)}
    tensors = [
        (
            order[name],
            stored[name].renamed(target, zero=target in plan.zeroed or target in plan.averaged),
        )
        for name, targets in plan.targets.items()
        for target in targets
    ]
    return [tensor for _, tensor in sorted(tensors, key=lambda e: (_layer(e[1].name), e[0]))]


def _averages(up_scaling: UpScaling) -> Callable[[str], bytes | None]:
    """The bytes of an averaged tensor of the model, by its name; None for any other."""
    plan = up_scaling.plan
    stored = read_files(weight_files(up_scaling.folder))
    first = {name: key for key, names in plan.targets.items() for name in names}

    def read(key: str) -> torch.Tensor:
        with safe_open(stored[key].file, framework="pt", device="cpu") as file:
            return file.get_tensor(key)

    def average(name: str) -> bytes | None:
        if name not in plan.averaged:
            return None
        made = mean(read(first[name]), read(plan.averaged[name]))
        return made.reshape(-1).view(torch.uint8).numpy().tobytes()

    return average


def _layer(name: str) -> int:
    """The first number in a tensor's name: its layer; -1 without one."""
    return next((int(part) for part in name.split(".") if part.isdigit()), -1)


def _check_space(out: Path, nbytes: int) -> None:
    parent = out.absolute().parent
    while not parent.exists():
        parent = parent.parent
    free = shutil.disk_usage(parent).free
    if nbytes > free:
        raise SolarError(
            f"--out: {out} needs {nbytes / 1e9:.1f} GB where {free / 1e9:.1f} GB are free. "
            "Name a folder on another disk."
        )


def _check_loadable(folder: Path, up_scaling: UpScaling) -> None:
    """Have transformers load what was laid out, without reading the weights.

    Raises:
        SolarError: a tensor is missing, left over, or of another shape.
    """
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            config=up_scaling.growth.config,
            device_map="meta",
            dtype="auto",
            generation_config=GenerationConfig(),  # else looked for in the config, which comes last
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            trust_remote_code=up_scaling.trust_remote_code,
        )
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
    parameters = {name for name, _ in model.named_parameters()}
    faults = {
        "is missing": sorted(set(info["missing_keys"]) & parameters),
        "has another shape": sorted(entry[0] for entry in info["mismatched_keys"]),
    }
    for fault, names in faults.items():
        if names:
            raise SolarError(
                f"base_model: {names[0]} {fault} in the weights of {up_scaling.base} ({len(names)} "
                "such in all). Fetch or write the base again."
            )
