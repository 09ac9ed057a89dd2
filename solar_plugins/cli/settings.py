"""``--set KEY=VALUE`` on a command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from solar_plugins.recipes import yaml_file


def parse(settings: Sequence[str]) -> dict[str, Any]:
    """The settings by key, each value read as YAML.

    Raises:
        click.BadParameter: one is not KEY=VALUE.
        SolarError: a value is not YAML.
    """
    values = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{setting!r} found. Write KEY=VALUE.", param_hint="--set")
        values[key] = yaml_file.parse(value, f"--set {key}")
    return values
