"""`solar filter` killed (SIGKILL) twenty times at random moments of its run.

    .venv/bin/python benchmarks/flan_filter/openorca_twin.py ROWS --rows 200000
    .venv/bin/python benchmarks/flan_filter/kills.py ROWS --kills 20

A run must leave the output absent or whole, and the next one must give the same bytes: `digests`
has one entry then, and `left_over` none. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "flan_filter"))
sys.path.insert(0, str(ROOT / "benchmarks"))

from environment import environment  # noqa: E402
from filter_kills import SOLAR, kill_and_finish  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="written by openorca_twin.py")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2, help="for the folder of shards")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        index = Path(folder) / "flan.index"
        build = [SOLAR, "flan-index", "--from", arguments.folder / "benchmarks", "--out", index]
        subprocess.run([str(part) for part in build], check=True, capture_output=True)
        rows = arguments.folder / "rows"
        half = arguments.kills // 2
        one = next(rows.glob("*.parquet"))
        target = Path(folder) / "out"
        result = {
            "kills": arguments.kills,
            "file": kill_and_finish(
                one, target.with_suffix(".parquet"), index, arguments.kills - half, arguments.seed
            ),
            "folder_of_shards": kill_and_finish(
                rows, target, index, half, arguments.seed + 1, arguments.workers
            ),
            **environment(),
        }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    for kind in ("file", "folder_of_shards"):
        if len(result[kind]["digests"]) != 1 or result[kind]["left_over"]:
            sys.exit(f"{kind}: an output was neither absent nor whole")
        if result[kind]["orphans"]:
            sys.exit(f"{kind}: a process outlived the one that had started it")


if __name__ == "__main__":
    main()
