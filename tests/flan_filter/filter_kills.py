"""`solar filter` killed at random moments: the output is absent or whole, the next run the same."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

SOLAR = Path(sys.executable).parent / "solar"


def kill_and_finish(
    source: Path, target: Path, index: Path, kills: int, seed: int = 0, workers: int = 1
) -> dict:
    """Kill `kills` runs, each at a random moment of the run's time, then let one finish.

    Returns:
        How many kills came before the output was there, the digests of every whole output, and how
        many processes outlived the one that had started them by more than ten seconds.
    """
    command = [str(SOLAR), "filter", str(source), str(target), "--index", str(index)]
    command += ["--workers", str(workers)]
    rng = random.Random(seed)
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    took = time.perf_counter() - started
    digests = {digest(target)}
    early = orphans = 0
    for _ in range(kills):
        remove(target)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=rng.uniform(0.2, 1.0) * took)
        except subprocess.TimeoutExpired:
            children = psutil.Process(process.pid).children()
            process.send_signal(signal.SIGKILL)
            process.wait()
            orphans += len(psutil.wait_procs(children, timeout=10)[1])
        if target.exists():
            digests.add(digest(target))
        else:
            early += 1
    remove(target)
    subprocess.run(command, check=True, capture_output=True)
    digests.add(digest(target))
    left = [p.name for p in target.parent.iterdir() if p.name.startswith(f".{target.name}.")]
    return {
        "before_the_output": early,
        "digests": sorted(digests),
        "left_over": left,
        "orphans": orphans,
    }


def digest(path: Path) -> str:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def remove(path: Path) -> None:
    for file in path.iterdir() if path.is_dir() else []:
        file.unlink()
    path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
