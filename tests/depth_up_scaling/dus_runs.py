"""Axolotl's own commands on recipes that differ in a few keys, in this process."""

import json

import yaml
from axolotl.cli.train import do_cli as axolotl_train
from tiny_recipe import recipe, write_base, write_text


class Runs:
    """Recipes that differ from one another in a few keys, each in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.base = folder / "base"
        write_base(self.base)
        write_text(folder / "text.jsonl")

    def recipe(self, name, **keys):
        up_scaled = {
            "plugins": ["solar_plugins.DepthUpScalingPlugin"],
            "depth_up_scaling": {"remove_layers": 1},
            "micro_batch_size": 2,
            "gradient_accumulation_steps": 1,
            "max_steps": 4,
            "save_strategy": None,
            "save_steps": 2,
        }
        values = recipe(self.folder, name, **{**up_scaled, **keys})
        file = self.folder / f"{name}.yml"
        file.write_text(yaml.safe_dump(values))
        return str(file)

    def preferences(self, name):
        """A data set of preference pairs, as a recipe names it."""
        rows = [
            {"prompt": f"abc{i % 10}", "chosen": " dog runs", "rejected": " cat sits"}
            for i in range(8)
        ]
        file = self.folder / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        fields = ("prompt", "chosen", "rejected")
        return {
            "path": str(file),
            "ds_type": "json",
            "split": "train",
            "type": {
                **{f"field_{field}": field for field in fields},
                **{f"{field}_format": f"{{{field}}}" for field in fields},
            },
        }

    def train(self, name, **keys):
        axolotl_train(self.recipe(name, **keys))
        return self.folder / name
