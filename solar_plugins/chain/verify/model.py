"""Is a model sound? What needs torch to see; runs in a process of its own after each stage.

Everything heavy is imported inside the functions: the process comes from a parent that has it
imported already.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from solar_plugins.chain.verify.files import check_model_folder
from solar_plugins.errors import SolarError
from solar_plugins.models import safetensors_header


def check_model(folder: Path, base: str | None = None) -> dict[str, Any]:
    """All checks of a model folder: `check_model_folder`, then shapes, values, tokenizer.

    Args:
        folder: The model.
        base: The model that it was trained from, whose weights it must not have.

    Returns:
        What `check_model_folder` returns, and ``vocabulary`` (embedding rows), ``dtype``.

    Raises:
        SolarError: the first thing that is not sound.
    """
    facts = check_model_folder(folder)
    if not facts.get("adapter"):
        rows = _check_shapes(folder)
        facts["vocabulary"] = rows
        facts["tokens"] = _check_tokenizer(folder, rows)
    facts["dtype"] = _check_values(folder)
    if base is not None:
        _refuse_unchanged(folder, base)
    return facts


def _check_shapes(folder: Path) -> int:
    """Load the model onto the meta device: every tensor is asked for, no data is read.

    Returns:
        The rows of the input embedding.
    """
    from transformers import AutoModelForCausalLM

    try:
        model, loading = AutoModelForCausalLM.from_pretrained(
            folder, device_map="meta", dtype="auto", output_loading_info=True
        )
    except (RuntimeError, ValueError, KeyError) as error:
        raise SolarError(f"{folder}: cannot be built: {' '.join(str(error).split())}") from error
    for kind, what in (
        ("missing_keys", "is missing in the weights; a load would fill it with random numbers"),
        ("unexpected_keys", "is in the weights and in no layer of the model; a load would drop it"),
        ("mismatched_keys", "has another shape in the weights than in the model"),
    ):
        keys = sorted(map(str, loading[kind]))
        if keys:
            more = f" (and {len(keys) - 1} more)" if len(keys) > 1 else ""
            raise SolarError(f"{folder}: {keys[0]} {what}{more}.")
    return model.get_input_embeddings().weight.shape[0]


def _check_tokenizer(folder: Path, rows: int) -> int:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    largest = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    if largest[1] >= rows:
        raise SolarError(
            f"{folder}: the tokenizer's token {largest[0]!r} has id {largest[1]}, but the "
            f"embedding has {rows} rows. Resize it, or give the model its own tokenizer."
        )
    return len(tokenizer)


def _refuse_unchanged(folder: Path, base: str) -> None:
    """Raise if no tensor differs from the one of its name in `base`, or a LoRA adds nothing.

    In a trained model one of the first tensors that are looked at differs. A base on the Hub is not
    looked for.
    """
    import torch

    trained = safetensors_header.read_model(folder)
    is_adapter = (folder / safetensors_header.ADAPTER).is_file()
    before = {}
    if not is_adapter and Path(base).is_dir():
        with suppress(SolarError):  # in another format
            before = safetensors_header.read_files(safetensors_header.weight_files(base))
    compared = 0
    # The smallest first: where the base is frozen, a norm of an added layer tells in no time.
    for name, info in sorted(trained.items(), key=lambda item: item[1].elements):
        other = before.get(name)
        if is_adapter and "lora_B" not in name:
            continue
        if not is_adapter and (other is None or other.shape != info.shape):
            continue
        now = _values_of(info)
        was = torch.zeros_like(now) if other is None else _values_of(other)
        if not torch.equal(was.to(now.dtype), now):
            return
        compared += 1
    if compared:
        what = "lora_B is 0 in" if is_adapter else f"{base} has the same values in"
        raise SolarError(
            f"{folder}: nothing was learned: {what} all {compared} tensors. The stage's log has "
            "the loss and the learning rate of every step."
        )


def _check_values(folder: Path) -> str:
    """No NaN and no infinity in any floating-point tensor; returns the dtypes found."""
    import torch

    dtypes = set()
    for name, info in safetensors_header.read_model(folder).items():
        tensor = _values_of(info)
        dtypes.add(str(tensor.dtype).removeprefix("torch."))
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            bad = int((~torch.isfinite(tensor)).sum())
            raise SolarError(
                f"{info.file}: {name} holds {bad} NaN or infinite of {tensor.numel()} values. The "
                "training diverged or the save is broken: look at its loss curve; a lower "
                "learning_rate is the usual way out."
            )
    return ", ".join(sorted(dtypes))


def _values_of(tensor: safetensors_header.Tensor) -> Any:
    from safetensors import safe_open

    assert tensor.file is not None  # it was read from one
    with safe_open(tensor.file, framework="pt") as tensors:
        return tensors.get_tensor(tensor.name)
