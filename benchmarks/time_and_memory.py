"""Wall time and peak memory of a command with everything that it starts.

    .venv/bin/python benchmarks/time_and_memory.py .venv/bin/solar run recipes/tiny/solar.yml

Memory is the sum of the proportional set sizes (PSS) of the process and its descendants, sampled
twice a second, so that pages which processes share count once. The command's own output goes to
the terminal; the result is printed as JSON at the end.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

import psutil
from environment import environment

INTERVAL_S = 0.5


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    started, peak = time.perf_counter(), 0
    process = subprocess.Popen(sys.argv[1:])
    while process.poll() is None:
        peak = max(peak, _pss(psutil.Process(process.pid)))
        time.sleep(INTERVAL_S)
    result = {
        "command": sys.argv[1:],
        "exit_status": process.returncode,
        "wall_s": round(time.perf_counter() - started, 1),
        "peak_memory_gib": round(peak / 2**30, 2),
        **environment(),
    }
    print(json.dumps(result, indent=2))
    sys.exit(process.returncode)


def _pss(root: psutil.Process) -> int:
    total = 0
    for process in [root, *root.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:  # it ended while we looked
            continue
    return total


if __name__ == "__main__":
    main()
