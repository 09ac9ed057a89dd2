"""How long `solar check` takes: one file, and a repository of 500.

    python benchmarks/check/speed.py [--files 500] [--out benchmarks/check/speed]

The 500 files are the shipped recipes and merge configs, each copy with another seed or name, so
that no file is read from a cache of an earlier one. Both the time on the clock and that of the
processor are kept: on a busy machine they differ. Imports of Axolotl are timed apart: they are
paid once per process, and not at all with --quick.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

from environment import environment, spread  # noqa: E402

from solar_plugins import atomic  # noqa: E402
from solar_plugins.check import check_files  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5, help="of the command for one file")
    parser.add_argument("--out", default=str(HERE / "speed"), help="without its ending")
    arguments = parser.parse_args()
    out = Path(arguments.out).absolute()
    numbers: dict[str, Any] = {"files": arguments.files, "load_average": os.getloadavg()}
    numbers["one_file_quick_command"] = _command(arguments.repeats)
    with tempfile.TemporaryDirectory() as folder:
        copies = _copies(Path(folder), arguments.files)
        numbers["repository_quick_per_file"] = _per_file(copies, with_axolotl=False)
        start = time.perf_counter()
        from axolotl.utils.config import validate_config  # noqa: F401

        numbers["import_axolotl_s"] = round(time.perf_counter() - start, 2)
        sft = ROOT / "recipes" / "sft_v4.yml"
        list(check_files([sft]))  # the first one imports the plugins it names
        numbers["one_file_warm"] = _per_file([sft], with_axolotl=True)
        numbers["repository_per_file"] = _per_file(copies, with_axolotl=True)
    atomic.write_json(out.with_suffix(".json"), {"environment": environment(), **numbers})
    print(*(f"{name}: {value}" for name, value in numbers.items()), sep="\n")


def _command(repeats: int) -> dict[str, dict[str, float]]:
    """The whole command, the start of Python included."""
    code = "from solar_plugins.cli import cli; cli()"
    command = [sys.executable, "-c", code, "check", "--quick", "recipes/sft_v4.yml"]
    times = []
    for _ in range(repeats + 1):  # the first one warms the disk cache
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        times.append((1000 * (time.perf_counter() - start), 1000 * used))
    wall, cpu = zip(*times[1:], strict=True)
    return {"wall_ms": spread(wall, 1), "cpu_ms": spread(cpu, 1)}


def _copies(folder: Path, count: int) -> list[Path]:
    shipped = sorted(
        [*(ROOT / "recipes").glob("*.yml"), *(ROOT / "mergekit_configs").glob("*.yml")]
    )
    shipped = [file for file in shipped if file.name not in ("solar.yml", "paper.yml")]
    shutil.copytree(ROOT / "recipes" / "deepspeed", folder / "recipes" / "deepspeed")
    made = []
    for number in range(count):
        file = shipped[number % len(shipped)]
        made.append(folder / f"{number:04}_{file.name}")
        made[-1].write_text(f"{file.read_text(encoding='utf-8')}\n# copy {number}\n", "utf-8")
    return made


def _per_file(files: list[Path], with_axolotl: bool) -> dict[str, float]:
    start, cpu = time.perf_counter(), time.process_time()
    list(check_files(files, with_axolotl=with_axolotl))
    wall = (time.perf_counter() - start) / len(files)
    return _named(wall, (time.process_time() - cpu) / len(files))


def _named(wall_s: float, cpu_s: float) -> dict[str, float]:
    return {"wall_ms": round(wall_s * 1000, 1), "cpu_ms": round(cpu_s * 1000, 1)}


if __name__ == "__main__":
    main()
