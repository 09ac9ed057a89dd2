"""The private names of `datasets`."""

from __future__ import annotations

import datasets

from solar_plugins.errors import SolarError

TRIED = ">=4.8,<5"
"""Versions of datasets that the tests were run with."""


def fingerprint(rows: datasets.Dataset) -> str:
    """What `datasets` knows the rows by: of a Hub data set, derived from its files' revisions."""
    return rows._fingerprint


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
