"""`solar filter` on a folder of shards with one process and with several: time, memory, same bytes.

    .venv/bin/python benchmarks/flan_filter/openorca_twin.py ROWS --rows 4233923
    .venv/bin/python benchmarks/flan_filter/workers.py ROWS

The rows are split into eight shards of equal size first. The whole command is timed, with its start
and the reading of the index; a short run that compiles the scan, and one that reads the shards into
the page cache, are not counted. One worker and several alternate. Writes JSON and prints a table:
medians, with the fastest and the slowest run. Needs as many idle cores as workers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from environment import environment
from speed import SOLAR, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="written by openorca_twin.py")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        rows = split(arguments.folder / "rows", folder / "in", arguments.shards)
        index = folder / "flan.index"
        run([SOLAR, "flan-index", "--from", arguments.folder / "benchmarks", "--out", index])
        measured: dict[int, list[dict]] = {1: [], arguments.workers: []}
        digests = set()
        for repeat in range(arguments.repeats + 1):
            for workers, runs in measured.items():
                out = folder / "out"
                command = [SOLAR, "filter", folder / "in", out, "--index", index]
                one = run([*command, "--workers", workers])
                one.pop("stdout")
                digests.add(digest(out))
                if repeat:
                    runs.append(one)
    assert len(digests) == 1, "the outputs differ"
    result = {"rows": rows, "shards": arguments.shards, "runs": measured, **environment()}
    seconds = {count: [one["wall_s"] for one in runs] for count, runs in measured.items()}
    medians = {count: statistics.median(walls) for count, walls in seconds.items()}
    result["speedup"] = round(medians[1] / medians[arguments.workers], 2)
    result["load_average"] = os.getloadavg()[0]
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{rows:,} rows in {arguments.shards} shards, the same bytes each time\n")
    print("| workers | median | fastest, slowest | rows/s | CPU | peak memory of the largest |")
    print("|---:|---:|---:|---:|---:|---:|")
    for count, walls in seconds.items():
        cpu = statistics.median(one["cpu_s"] for one in measured[count])
        peak = max(one["peak_memory_mib"] for one in measured[count])
        print(
            f"| {count} | {medians[count]:.1f} s | {min(walls):.1f} to {max(walls):.1f} s | "
            f"{rows / medians[count]:,.0f} | {cpu:.1f} s | {peak:.0f} MiB |"
        )
    print(f"\n{result['speedup']}x with {arguments.workers} workers")


def split(source: Path, target: Path, shards: int) -> int:
    """Write the rows of `source` as `shards` Parquet files of equal size; returns their number."""
    target.mkdir()
    files = [parquet.ParquetFile(file) for file in sorted(source.glob("*.parquet"))]
    total = sum(file.metadata.num_rows for file in files)
    batches = (batch for file in files for batch in file.iter_batches(25_000))
    written, waiting = 0, pa.table({})
    for shard in range(shards):
        upto = total * (shard + 1) // shards
        with parquet.ParquetWriter(target / f"{shard:02d}.parquet", files[0].schema_arrow) as out:
            while written < upto:
                if not len(waiting):
                    waiting = pa.Table.from_batches([next(batches)])
                part = waiting.slice(0, upto - written)
                out.write_table(part)
                waiting, written = waiting.slice(len(part)), written + len(part)
    return total


def digest(folder: Path) -> str:
    """Of the names and the bytes of all files of a folder."""
    whole = hashlib.sha256()
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        whole.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return whole.hexdigest()


if __name__ == "__main__":
    main()
