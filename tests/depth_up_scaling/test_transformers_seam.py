"""A transformers whose private names do not fit stops the plugin before anything is loaded."""

import pytest
import transformers
from transformers import PreTrainedModel, core_model_loading

from solar_plugins.depth_up_scaling.plugin import DepthUpScalingPlugin
from solar_plugins.errors import SolarError
from solar_plugins.seams import transformers as seam

pytestmark = pytest.mark.slow

RECIPE = {"base_model": "no/such-model", "plugins": ["solar_plugins.DepthUpScalingPlugin"]}


def test_the_installed_version_fits():
    seam.self_test()


def test_a_function_with_other_arguments(monkeypatch):
    monkeypatch.setattr(core_model_loading, "rename_source_key", lambda key, mapping: key)
    with pytest.raises(SolarError) as error:
        DepthUpScalingPlugin().register(dict(RECIPE))
    assert str(error.value) == (
        f"transformers {transformers.__version__}: core_model_loading.rename_source_key is missing "
        "or takes other arguments, which depth up-scaling needs. Install a version that works: "
        f'pip install "transformers{seam.TRIED}".'
    )


@pytest.mark.parametrize("name", ["_load_pretrained_model", "_keys_to_ignore_on_load_missing"])
def test_a_name_that_is_gone(name, monkeypatch):
    monkeypatch.delattr(PreTrainedModel, name)
    with pytest.raises(SolarError, match=f"PreTrainedModel.{name} is missing"):
        DepthUpScalingPlugin().register(dict(RECIPE))


def test_the_loading_is_put_back():
    before = PreTrainedModel._load_pretrained_model

    def fail():
        with seam.replaced_load(lambda *arguments: None):
            assert PreTrainedModel._load_pretrained_model is not before
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert PreTrainedModel._load_pretrained_model is before
