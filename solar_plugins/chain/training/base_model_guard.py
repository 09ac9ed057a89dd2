"""Which base model the checkpoints of an output folder began with.

`axolotl train RECIPE --base-model OTHER` writes to the recipe's own folder. With
``auto_resume_from_checkpoints`` Axolotl would go on there from the first base's checkpoint: a
traceback about shapes, or, between bases of one shape, a training of the wrong model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from solar_plugins import run_record
from solar_plugins.errors import SolarError

_NOTE = "base"


def note(output_dir: str, base_model: str) -> None:
    """Leave a note that a training of `base_model` has begun in `output_dir`; on one process."""
    if run_record.is_first_process():
        run_record.write(output_dir, _NOTE, {"base_model": base_model})


def refuse_another(cfg: dict[str, Any]) -> None:
    """Raise if `cfg` would go on from checkpoints that began with another base model.

    Raises:
        SolarError: they did.
    """
    output_dir, base_model = cfg.get("output_dir"), str(cfg.get("base_model"))
    if not cfg.get("auto_resume_from_checkpoints") or not output_dir:
        return
    found = run_record.read(output_dir, _NOTE)
    if found is None or found["base_model"] == base_model:
        return
    if any(Path(output_dir).glob("checkpoint-*")):
        raise SolarError(
            f"output_dir: {output_dir} holds checkpoints that began with {found['base_model']}, "
            f"and this training is to begin with {base_model}. Write another folder "
            "(--output-dir DIR), or remove them."
        )
