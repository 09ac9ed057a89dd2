"""The up-scaled base that an adapter (LoRA, QLoRA) is trained on.

An adapter is saved without its base and names it by its path. Were the base up-scaled in memory
only, that path would name a model with too few layers: reloading the adapter would drop what it
learnt for the others, and merging it would be wrong or fail. So the up-scaled base is written
once, in the adapter's folder, where everything that reads the adapter finds it.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from solar_plugins.depth_up_scaling import on_disk
from solar_plugins.depth_up_scaling.args import DepthUpScalingBlock, command_line
from solar_plugins.depth_up_scaling.tensor_copy import same_ends
from solar_plugins.errors import SolarError
from solar_plugins.models import base_files
from solar_plugins.models.safetensors_header import read_files, weight_files

FOLDER = "up_scaled_base"


def folder_of(output_dir: str | Path) -> Path:
    """The folder of an adapter run's up-scaled base."""
    return Path(output_dir) / FOLDER


def ensure(
    base: str, block: DepthUpScalingBlock, output_dir: str | Path, trust_remote_code: bool = False
) -> Path:
    """The up-scaled base of the run in `output_dir`, written unless it exists.

    Several processes may call this at once: one writes, the others wait.

    Raises:
        SolarError: it cannot be up-scaled like this, or the folder holds another base.
    """
    folder = folder_of(output_dir)
    base_files.check_outside(folder, base, "output_dir")
    up_scaling = on_disk.prepare(base, block, trust_remote_code)
    if not folder.exists():
        with contextlib.suppress(FileExistsError):  # another process of this run was first
            on_disk.write(up_scaling, folder, command_line(base, block, folder), wait=True)
    _check_same(folder, up_scaling)
    return folder


def _check_same(folder: Path, up_scaling: on_disk.UpScaling) -> None:
    """Require that `folder` was written from this base in this way.

    Names, shapes, config and the ends of every copied tensor are compared: a base that was trained
    on has other numbers nearly everywhere.
    """
    stored = read_files(weight_files(folder, "output_dir"))
    wanted = {tensor.name: tensor for tensor in up_scaling.tensors}
    config = json.loads((folder / base_files.CONFIG).read_text(encoding="utf-8"))
    same = (
        config == json.loads(json.dumps(up_scaling.raw_config))
        and stored.keys() == wanted.keys()
        and all(
            same_ends(stored[name], wanted[name])
            for name in wanted.keys() - up_scaling.plan.averaged.keys()
        )
    )
    if not same:
        raise SolarError(
            f"output_dir: {folder} holds another up-scaled base than {up_scaling.base} gives "
            "with this recipe. Remove it, or name another output_dir."
        )
