"""An index from its sources, for `solar flan-index` and for a chain's stage."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from solar_plugins.flan_filter import index_file
from solar_plugins.flan_filter.sources import Progress, add_source


def build(
    sources: Sequence[str], path: Path, parts: Path, progress: Progress
) -> tuple[dict, dict[str, int]]:
    """Write the index of `sources` to `path`.

    Args:
        sources: see `sources.add_source`.
        parts: where what was read of FLAN is kept until the index is written, so that a build that
            was stopped goes on where it was.
        progress: called with what is being read and the rows since the last call.

    Returns:
        The index's facts, and what was read -> rows.

    Raises:
        SolarError: a source is not there or has another shape.
    """
    entries, read = index_file.Entries(), {}
    for source in sources:
        read.update(add_source(source, entries, parts, progress))
    facts = index_file.write(path, entries, read)
    shutil.rmtree(parts, ignore_errors=True)
    return facts, read
