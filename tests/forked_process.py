"""Work in forks of this process, which has imported everything already."""

from __future__ import annotations

import gc
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm


def fork(work: Callable[[], object], log: Path, threads: int = 1) -> int:
    """Do `work` in a fork that writes to the end of `log`; its process id.

    Its exit status is 0, or 1 where `work` raised; the traceback is in the log then.
    """
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = ["axolotl"]

        import torch

        own_progress_lock()
        # A pool of threads that the parent has used hangs in a fork; accelerate, which would ask
        # for one where there are more cores than ranks, goes by the variable.
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)
        gc.freeze()  # Axolotl collects garbage after every step; the imports are not any
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def own_progress_lock() -> None:
    """Give every kind of progress bar a lock of this process.

    Forks share tqdm's own: one that is killed while it draws would hold it for ever, and the next
    one waits. `datasets` and others have classes of theirs, which may have kept the shared lock.
    """
    lock, kinds = threading.RLock(), [tqdm]
    while kinds:
        kind = kinds.pop()
        kind.set_lock(lock)
        kinds += kind.__subclasses__()
