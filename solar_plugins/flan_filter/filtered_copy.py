"""The filtered copy of a dataset, made once and named after what it holds.

Axolotl's key for tokenised data covers a dataset's path and not the keys of plugins. The digest of
source and filter is therefore part of the copy's file name: another filter or another source is
another path, and stale tokens cannot be met.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash
from filelock import FileLock

from solar_plugins import atomic
from solar_plugins.flan_filter.args import FlanFilterBlock
from solar_plugins.flan_filter.filter_files import ahead
from solar_plugins.flan_filter.prompts import TableRows
from solar_plugins.flan_filter.row_filter import RowFilter
from solar_plugins.flan_filter.shards import rows_per_batch, write_parquet

if TYPE_CHECKING:
    from datasets import Dataset


def content_digest(path: Path) -> str:
    """A digest of the bytes of a file, or of the names and bytes of all files of a folder."""
    digest = xxhash.xxh3_128()
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for file in files:
        digest.update(str(file.relative_to(path)).encode())
        digest.update(file.stat().st_size.to_bytes(8, "big"))
        with file.open("rb") as opened:
            while chunk := opened.read(2**23):
                digest.update(chunk)
    return digest.hexdigest()


def filtered_copy(
    load: Callable[[], Dataset], folder: Path, source: str, digest: str, block: FlanFilterBlock
) -> tuple[Path, dict, bool]:
    """Make the copy unless it is there; the first process works and the others wait for it.

    Args:
        load: gives the dataset, as Axolotl would have loaded it.
        digest: of the source.
        folder: of the copies; each has a readable name with the digest, and its audit beside it.

    Returns:
        The copy, its audit, and whether this call did the work.
    """
    name = block.digest(source, digest)
    stem = re.sub(r"[^A-Za-z0-9]+", "-", Path(source).name.removesuffix(Path(source).suffix))
    target = folder / f"{stem.strip('-') or 'dataset'}-{name}.parquet"
    audit_path = target.with_suffix(".audit.json")
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")):
        if target.exists():
            return target, json.loads(audit_path.read_text(encoding="utf-8")), False
        dataset = load()
        chosen = RowFilter(block, source, dataset.column_names)
        audit = chosen.new_audit()
        with (
            atomic.new_file(target) as file,
            ahead(_batches(dataset, source)) as read,
            ahead(chosen.kept(read, audit)) as kept,
        ):
            write_parquet(file, dataset.features.arrow_schema, kept)
            # The copy appears last: where it is, its audit is.
            facts = audit.facts()
            atomic.write_json(audit_path, facts)
        return target, facts, True


def _batches(dataset: Dataset, source: str) -> Iterator[TableRows]:
    from datasets.utils import tqdm

    rows = dataset.with_format("arrow")
    size = dataset.data.nbytes / max(len(dataset.data), 1)
    with tqdm(total=len(dataset), desc="FLAN filter", unit=" rows") as bar:
        for table in rows.iter(rows_per_batch(size)):
            yield TableRows(table, source)
            bar.update(table.num_rows)
