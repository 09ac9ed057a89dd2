"""How long `solar --help` takes, beside `axolotl --help` and `mergekit-yaml --help`.

    .venv/bin/python benchmarks/cli_start.py [--repeats 5]

The commands alternate; one warm-up of each is not counted. Prints the median, the lowest and the
highest of each, in seconds, as JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from environment import environment, spread

BIN = Path(sys.executable).parent
COMMANDS = {
    "solar --help": [BIN / "solar", "--help"],
    "axolotl --help": [BIN / "axolotl", "--help"],
    "mergekit-yaml --help": [BIN / "mergekit-yaml", "--help"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats

    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for repeat in range(repeats + 1):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            if repeat:
                seconds[name].append(time.perf_counter() - started)
    found = {name: spread(values) for name, values in seconds.items()}
    print(json.dumps({"seconds": found, "repeats": repeats, **environment()}, indent=2))


if __name__ == "__main__":
    main()
