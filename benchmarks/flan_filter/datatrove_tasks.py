"""The filter as a datatrove block: killed once, resumed, and compared with `solar filter`.

    .venv/bin/python benchmarks/flan_filter/openorca_twin.py ROWS --rows 400000
    .venv/bin/python benchmarks/flan_filter/datatrove_tasks.py ROWS

The rows are split into eight shards, one for each task of a local executor with two workers, which
is killed (SIGKILL, with its workers) once the first task is complete, and started again. The rows
that it keeps and the merged audit must be those of `solar filter`. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pyarrow import parquet

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from environment import environment
from speed import SOLAR, run
from workers import split

from solar_plugins.flan_filter import Audit

TASKS, WORKERS = 8, 2
DIFFERS = ("source", "prompt_columns")  # a document's text, and the folder


def pipeline(folder: Path) -> None:
    """The pipeline itself, in a process of its own."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter

    from solar_plugins.flan_filter import FlanFilter

    LocalPipelineExecutor(
        [
            ParquetReader(str(folder / "in"), text_key="question"),
            FlanFilter(
                str(folder / "flan.index"),
                audit_folder=str(folder / "audits"),
                exclusion_writer=ParquetWriter(str(folder / "dropped")),
            ),
            ParquetWriter(str(folder / "kept")),
        ],
        tasks=TASKS,
        workers=WORKERS,
        logging_dir=str(folder / "logs"),
    ).run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="written by openorca_twin.py")
    parser.add_argument("--pipeline", action="store_true", help="run the pipeline in this folder")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    if arguments.pipeline:
        pipeline(arguments.folder)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        rows = split(arguments.folder / "rows", folder / "in", TASKS)
        index = folder / "flan.index"
        run([SOLAR, "flan-index", "--from", arguments.folder / "benchmarks", "--out", index])
        command = [SOLAR, "filter", folder / "in", folder / "out", "--index", index, "--json"]
        (ours,) = json.loads(run(command)["stdout"])["datasets"]

        again = [sys.executable, __file__, folder, "--pipeline"]
        done = killed(again, folder / "logs" / "completions")
        finished = run(again)
        parts = [json.loads(file.read_text()) for file in sorted((folder / "audits").iterdir())]
        theirs = Audit.merge(parts).facts()
        statistics = json.loads((folder / "logs" / "stats.json").read_text())
        result = {
            "rows": rows,
            "tasks_done_when_killed": done,
            "rows_removed": theirs["rows_removed"],
            "same_rows_kept": ids(folder / "kept") == ids(folder / "out"),
            "rows_dropped_written": len(ids(folder / "dropped")),
            "audits_that_differ": [
                key for key in ours if key not in DIFFERS and ours[key] != theirs[key]
            ],
            "statistics": next(one for one in statistics if "FLAN" in one["name"])["stats"],
            "resumed_wall_s": finished["wall_s"],
            **environment(),
        }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    if not result["same_rows_kept"] or result["audits_that_differ"]:
        sys.exit("datatrove's filter and solar filter differ")


def killed(command: list, completions: Path) -> int:
    """Kill `command` with all its processes once a task is complete; returns how many were."""
    process = subprocess.Popen(
        [str(part) for part in command], start_new_session=True, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not (completions.is_dir() and any(completions.iterdir())):
        time.sleep(0.05)
    done = len(list(completions.iterdir()))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return done


def ids(folder: Path) -> list[str]:
    """The ids of all rows in the files of a folder, in order."""
    files = sorted(folder.glob("*.parquet"))
    return [one for file in files for one in parquet.read_table(file)["id"].to_pylist()]


if __name__ == "__main__":
    main()
