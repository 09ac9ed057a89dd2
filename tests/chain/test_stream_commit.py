"""A stream is read at the commit that its recipe names, which Axolotl alone does not do."""

from __future__ import annotations

import os

import pytest
from axolotl.utils.data import sft
from axolotl.utils.dict import DictDefault
from datasets import Dataset
from forked_process import fork

from solar_plugins.chain.training.stage_plugin import StagePlugin

pytestmark = pytest.mark.slow

COMMIT = "a" * 40


def test_a_stream_is_read_at_the_commit_that_the_recipe_names(tmp_path):
    def read():
        asked = []

        def load(path, **options):
            asked.append((path, options["streaming"], options.get("revision")))
            return Dataset.from_dict({"text": ["a"]}).to_iterable_dataset()

        sft.load_dataset = load
        entry = {"path": "a/b", "text_column": "text", "split": "train", "revision": COMMIT}
        recipe = {"pretraining_dataset": [entry], "plugins": ["solar_plugins.StagePlugin"]}
        plugin = StagePlugin()
        plugin.register(recipe)
        assert "revision" not in recipe["pretraining_dataset"][0]
        plugin.register(recipe)  # Axolotl does so twice in some commands
        cfg = DictDefault({**recipe, "sequence_len": 8, "streaming_multipack_buffer_size": 1})
        sft._load_streaming_dataset(sft._extract_pretraining_config(cfg), cfg, None)
        assert asked == [("a/b", True, COMMIT)]

    status = os.waitpid(fork(read, tmp_path / "log"), 0)[1]
    assert status == 0, (tmp_path / "log").read_text()
