"""The private names of `datasets`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import datasets

from solar_plugins.errors import SolarError

TRIED = ">=4.8,<5"
"""Versions of datasets that the tests were run with."""


def fingerprint(rows: datasets.Dataset) -> str:
    """What `datasets` knows the rows by: of a Hub data set, derived from its files' revisions."""
    return rows._fingerprint


_original_filter: Any = None


def watch_filters(filtered: Callable[[str | None, int, int], None]) -> None:
    """Call ``filtered(name, before, after)`` whenever a data set was filtered: the filter's name
    (its ``desc``), and the rows before and after. A second call replaces the first."""
    global _original_filter
    _original_filter = _original_filter or datasets.Dataset.filter

    @functools.wraps(_original_filter)
    def filter_watched(rows: datasets.Dataset, *args: Any, **kwargs: Any) -> datasets.Dataset:
        left = _original_filter(rows, *args, **kwargs)
        filtered(kwargs.get("desc"), len(rows), len(left))
        return left

    datasets.Dataset.filter = filter_watched


def self_test() -> None:
    """
    Raises:
        SolarError: the installed datasets keeps no fingerprint.
    """
    if not isinstance(getattr(datasets.Dataset.from_dict({}), "_fingerprint", None), str):
        raise SolarError(
            f"datasets {datasets.__version__}: Dataset._fingerprint is missing, which the FLAN "
            f'filter needs. Install a version that works: pip install "datasets{TRIED}".'
        )
