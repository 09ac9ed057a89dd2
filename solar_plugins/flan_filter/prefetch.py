"""Reading, filtering and writing at the same time, each in its own thread.

Arrow's readers and writers and the compiled scan leave the interpreter free, so that threads are
enough. What waits between two of them is bounded, so that memory is too.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_END = object()
_POLL_S = 0.1


@contextmanager
def ahead(items: Iterable[T], depth: int = 1) -> Iterator[Iterator[T]]:
    """Iterate over `items` in a thread that is at most `depth` of them ahead.

    An exception of `items` is raised where they are taken. When the block ends, the thread ends.
    """
    waiting: queue.Queue = queue.Queue(depth)
    stop = threading.Event()

    def put(item: object) -> bool:
        while not stop.is_set():
            try:
                waiting.put(item, timeout=_POLL_S)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
        except BaseException as error:  # handed to the thread that takes the items
            put((None, error))
            return
        put((_END, None))

    def taken() -> Iterator[T]:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        stop.set()
        thread.join()
