"""`axolotl train` of small recipes, in forks of a process that has Axolotl imported."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import yaml

RECIPE = {
    "base_model": "base",
    "sequence_len": 400,
    "micro_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "max_steps": 2,
    "optimizer": "adamw_torch",
    "learning_rate": 1e-3,
    "lr_scheduler": "constant",
    "bf16": False,
    "fp16": False,
    "tf32": False,
    "attn_implementation": "sdpa",
    "dataloader_num_workers": 0,
    "dataloader_pin_memory": False,
    "logging_steps": 1,
    "seed": 1,
    "special_tokens": {"pad_token": "<pad>"},
    "output_dir": "out",
    "dataset_prepared_path": "prepared",
    "chat_template": "chatml",
}
STAGE, DUS, SDPO, FLAN = (
    f"solar_plugins.{name}Plugin"
    for name in ("Stage", "DepthUpScaling", "StepwiseDPO", "FlanFilter")
)


def write_base(folder: Path) -> None:
    from tiny_models import byte_tokenizer, write_tiny_model

    write_tiny_model(folder, byte_tokenizer(pad_token="<pad>"), max_position_embeddings=512)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def sums(*numbers: int, output: str | None = None) -> list[dict[str, Any]]:
    return [
        {"instruction": f"{n}+1?", "input": "", "output": f"{n + 1}." if output is None else output}
        for n in numbers
    ]


def talks(*numbers: int, role: str = "assistant", answer: str | None = "yes.") -> list[dict]:
    return [
        {"messages": [{"role": "user", "content": f"{n}?"}, {"role": role, "content": answer}]}
        for n in numbers
    ]


def pairs(*numbers: int) -> list[dict[str, Any]]:
    return [{"prompt": f"{n}+1?", "chosen": f" {n + 1}", "rejected": " no"} for n in numbers]


class Trainer:
    """Trains in a folder of its own, which has a link to the base model.

    Attributes:
        record: What the training left of its rows, after a success.
    """

    def __init__(self, server: Any, folder: Path, base: Path) -> None:
        self._server = server
        self.folder = folder
        (folder / "base").symlink_to(base)

    def __call__(self, *datasets: dict[str, Any], **keys: Any) -> str:
        """Train; the error in one line, or ""."""
        recipe: dict[str, Any] = {**RECIPE, "plugins": [STAGE]}
        if datasets:
            recipe["datasets"] = list(datasets)
        recipe = {key: value for key, value in {**recipe, **keys}.items() if value is not None}
        (self.folder / "recipe.yml").write_text(yaml.safe_dump(recipe, sort_keys=False))
        process = self._server.Process(target=_train, args=(self.folder,))
        process.start()
        process.join()
        self.log = (self.folder / "log.txt").read_text()
        result = json.loads((self.folder / "result.json").read_text())
        if result:
            saved = [p.name for p in self.folder.glob("out/*.safetensors")]
            assert not saved or "kept" in keys, f"a failed training has saved {saved}"
            assert "\n" not in result
        return result

    @property
    def rows(self) -> dict[str, Any]:
        """Where the rows of the last training went."""
        return json.loads((self.folder / "out/solar/training.json").read_text())["rows"][-1]

    @property
    def weights(self) -> str:
        return hashlib.sha256((self.folder / "out/model.safetensors").read_bytes()).hexdigest()


def _train(folder: Path) -> None:
    os.chdir(folder)
    os.environ["HF_DATASETS_CACHE"] = str(folder / "cache")
    with open("log.txt", "w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    import datasets.config
    import torch

    datasets.config.HF_DATASETS_CACHE = Path(os.environ["HF_DATASETS_CACHE"])
    torch.set_num_threads(1)
    from axolotl.cli.train import do_cli

    sys.argv = ["axolotl", "recipe.yml"]
    result = ""
    try:
        do_cli(config="recipe.yml")
    except BaseException as error:
        traceback.print_exc()
        result = str(error) if type(error).__name__ == "SolarError" else f"RAW {error!r}"
    Path("result.json").write_text(json.dumps(result))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
