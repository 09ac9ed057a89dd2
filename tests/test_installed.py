"""A plugin that cannot be imported stops the training, whatever the reason."""

import subprocess
import sys
import textwrap
from importlib import metadata

import pytest

import solar_plugins
from solar_plugins import errors, installed
from solar_plugins.recipes.registry import PLUGINS


def versions(monkeypatch, **found):
    """Let the installed versions of some tools be others; None: not installed."""
    real = metadata.version

    def version(name):
        if found.get(name, "") is None:
            raise metadata.PackageNotFoundError(name)
        return found.get(name) or real(name)

    monkeypatch.setattr(metadata, "version", version)


def test_the_lock_is_in_the_ranges():
    assert [tool.name for tool, version in installed.outside_range() if version] == []


def test_what_is_outside_is_named_with_what_works(monkeypatch):
    versions(monkeypatch, axolotl="0.16.1", trl=None)
    line = str(installed.cannot_import("FlanFilterPlugin", ImportError("no name 'x'")))
    assert line == (
        "plugins: solar_plugins.FlanFilterPlugin cannot be imported (no name 'x'). Outside the "
        "tried range: axolotl 0.16.1, <0.20,>=0.18 works; trl is not installed, <2,>=1.8 works. "
        "Install what was tried together: pip install 'solar-plugins[train]'"
    )


@pytest.mark.parametrize("plugin", PLUGINS)
def test_an_axolotl_that_is_too_old_is_refused_by_every_plugin(monkeypatch, plugin):
    versions(monkeypatch, axolotl="0.17.0")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(errors.SolarError) as error:
        getattr(solar_plugins, plugin)
    assert str(error.value) == (
        "plugins: axolotl 0.17.0 is too old for solar_plugins. Install 0.18 or later: "
        "pip install 'axolotl>=0.18'"
    )


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("numba.typed", "filter"),
        ("datatrove.data", "datatrove"),
        ("lm_eval", "train"),
        ("wandb", "train"),
    ],
)
def test_the_smallest_extra_that_helps(module, extra):
    assert installed.install_hint(module) == f"pip install 'solar-plugins[{extra}]'"


def test_a_plugin_that_lacks_what_the_filter_needs_asks_for_no_more():
    error = ModuleNotFoundError("No module named 'xxhash'", name="xxhash")
    assert str(installed.cannot_import("FlanFilterPlugin", error)).endswith(
        "Install what was tried together: pip install 'solar-plugins[filter]'"
    )


@pytest.mark.slow
@pytest.mark.parametrize("plugin", list(PLUGINS))
def test_the_error_is_none_that_axolotl_swallows(plugin):
    """As `PluginManager.register` loads it, where Axolotl lacks what the plugin imports."""
    program = textwrap.dedent(
        f"""
        import sys
        sys.modules["axolotl.integrations.base"] = None  # as of another Axolotl
        import solar_plugins
        try:
            getattr(solar_plugins, "{plugin}")
        except ImportError:
            print("swallowed")
        """
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "swallowed" not in ended.stdout
    lines = ended.stderr.strip().splitlines()
    assert lines[-1].startswith(f"error: plugins: solar_plugins.{plugin} cannot be imported (")
    assert "Traceback" not in ended.stderr


def test_a_solar_error_is_no_import_error():
    assert not issubclass(errors.SolarError, ImportError)
