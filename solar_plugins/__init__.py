"""SOLAR 10.7B (arXiv 2312.15166) inside Axolotl, MergeKit and lm-eval.

The plugin classes that Axolotl recipes name are loaded on first use, so that
``import solar_plugins`` and ``solar --help`` cost nothing.
"""

from importlib import import_module

from solar_plugins.recipes.registry import PLUGINS

__version__ = "0.1.0"

__all__ = ["__version__", *PLUGINS]


def __getattr__(name: str) -> object:
    if name in PLUGINS:
        from solar_plugins.errors import show_errors_in_one_line
        from solar_plugins.installed import axolotl_too_old, cannot_import

        if too_old := axolotl_too_old():
            show_errors_in_one_line()
            raise too_old
        try:
            return getattr(import_module(PLUGINS[name].module), name)
        except ImportError as error:
            show_errors_in_one_line()
            raise cannot_import(name, error) from None
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
