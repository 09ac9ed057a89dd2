"""The private names of `datasets`."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import datasets
from datasets import data_files

from solar_plugins.errors import SolarError

TRIED = ">=4.8,<5"
"""Versions of datasets that the tests were run with."""


def fingerprint(rows: datasets.Dataset) -> str:
    """What `datasets` knows the rows by: of a Hub data set, derived from its files' revisions."""
    return rows._fingerprint


_original_filter: Any = None
_original_metadata: Any = None


def know_files_by_any_change() -> None:
    """Let `datasets` read a local file anew after any change of it.

    It goes by the time of modification, which ``rsync -t``, ``tar`` and others put back.
    """
    global _original_metadata
    if _original_metadata is None:
        _original_metadata = data_files._get_single_origin_metadata

        @functools.wraps(_original_metadata)
        def with_change(file: str, *args: Any, **kwargs: Any) -> tuple[str, ...]:
            known = _original_metadata(file, *args, **kwargs)
            return (*known, str(os.stat(file).st_ctime_ns)) if os.path.exists(file) else known

        data_files._get_single_origin_metadata = with_change


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
        SolarError: the installed datasets lacks a name that this module uses.
    """
    rows = datasets.Dataset.from_dict({})
    for owner, name in ((rows, "_fingerprint"), (data_files, "_get_single_origin_metadata")):
        if not hasattr(owner, name):
            raise SolarError(
                f"datasets {datasets.__version__}: {name} is missing. "
                f'Install a version that works: pip install "datasets{TRIED}".'
            )
