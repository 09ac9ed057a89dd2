"""The filter over files: one, or a folder of shards, each copied without the rows that go.

A shard's copy and counts depend on that shard alone, so shards are filtered in any order, in
several processes, and once: a run that was stopped goes on with those that are not done. In a
process reading, filtering and writing go on at the same time, each in its own thread: Arrow's
readers and writers and the compiled scan leave the interpreter free. Memory is bounded by the size
of batches.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache
from threading import Thread
from typing import Any, NamedTuple, TypeVar

from solar_plugins import atomic
from solar_plugins.errors import SolarError
from solar_plugins.flan_filter.args import FlanFilterBlock
from solar_plugins.flan_filter.audit import Audit
from solar_plugins.flan_filter.places import local_path, names_below, new_file, opened, remove
from solar_plugins.flan_filter.row_filter import RowFilter
from solar_plugins.flan_filter.shards import Progress, Shard, batches, kind_of, write

T = TypeVar("T")

Accept = Callable[[dict], None]
"""Sees an audit and may refuse by raising."""

STATE = ".solar_filter"
"""The folder beside the shards that are done, with the audit of each; removed in the end."""

_END: Any = object()


class _Job(NamedTuple):
    shard: Shard
    target: str
    state: str = ""


def filter_files(
    shards: list[Shard],
    target: str,
    block: FlanFilterBlock,
    accept: Accept,
    progress: Progress,
    workers: int = 1,
) -> dict:
    """Copy the rows of `shards` that stay to `target`, in order, other columns untouched.

    Parquet and Arrow keep their schema with its metadata; lines of JSON are copied byte for byte.
    A folder becomes a folder with the same file names; one of an earlier run is replaced. On this
    machine it appears when it is complete; on another file system each shard does.

    Args:
        shards: as `shards.found` gives them; `block.datasets` has the one path that they are of.
        target: path or URL.
        accept: sees the audit before `target` appears.
        workers: processes, each with a shard at a time.

    Returns:
        The audit.

    Raises:
        SolarError: a file cannot be read as what its name says, or the columns are not there.
    """
    (source,) = block.datasets
    columns = next((shard.columns for shard in shards if shard.columns), None)
    if columns is None:
        raise SolarError(f"{source}: it has no row.")
    if not shards[0].name:
        if kind_of(source) != kind_of(target):
            raise SolarError(
                f"{target}: a {kind_of(target)} file cannot take the rows of {source} as they are. "
                "Give both files the same kind."
            )
        return _filter(RowFilter(block, source, columns), _Job(shards[0], target), progress, accept)
    with _folder(target, source, {shard.name for shard in shards}) as place:
        jobs: list[_Job] = []
        for shard in shards:
            key = block.digest(source, str((shard.name, shard.version, columns)))
            jobs.append(_Job(shard, f"{place}/{shard.name}", f"{place}/{STATE}/{key}.json"))
        done = _done(place, jobs)
        progress(sum(shard.size for shard in shards if shard.name in done))
        to_do = [job for job in jobs if job.shard.name not in done]
        if min(workers, len(to_do)) > 1:
            done |= _in_processes(to_do, workers, (block, source, columns), progress)
        elif to_do:
            chosen = RowFilter(block, source, columns)
            done |= {job.shard.name: _filter(chosen, job, progress) for job in to_do}
        facts = Audit.merge(done[shard.name] for shard in shards).facts()
        accept(facts)
        remove(f"{place}/{STATE}")
    return facts


@contextmanager
def _folder(target: str, source: str, names: set[str]) -> Iterator[str]:
    """Where the shards of `target` are written, with what a stopped run has left there."""
    there = {name for name in names_below(target) if not name.startswith(f"{STATE}/")}
    if there - names:
        raise SolarError(
            f"{target}: is there and holds other files than {source}. Name another folder."
        )
    if here := local_path(target):
        with atomic.new_directory(here, replace=True, resume=True) as place:
            yield str(place)
    else:
        yield target.rstrip("/")


def _done(place: str, jobs: list[_Job]) -> dict[str, dict]:
    """The audits of the jobs that an earlier run has done, by shard; other files are removed."""
    there, kept, done = names_below(place), set(), {}
    for job in jobs:
        names = {url.removeprefix(f"{place}/") for url in (job.target, job.state)}
        if names <= there:
            kept |= names
            with opened(job.state) as file:
                done[job.shard.name] = json.load(file)
    for name in there - kept:
        remove(f"{place}/{name}")
    return done


def _filter(chosen: RowFilter, job: _Job, progress: Progress, accept: Accept | None = None) -> dict:
    """Filter one shard; returns its audit."""
    audit = chosen.new_audit()
    with (
        new_file(job.target) as file,
        ahead(batches(job.shard, chosen.source, progress)) as read,
        ahead(chosen.kept(read, audit)) as kept,
    ):
        write(file, job.target, job.shard, kept)
        facts = audit.facts()
        if accept is not None:
            accept(facts)
    if job.state:
        with new_file(job.state) as file:
            file.write(json.dumps(facts).encode())
    return facts


def _in_processes(jobs: list[_Job], workers: int, of: tuple, progress: Progress) -> dict[str, dict]:
    """`_filter` in several processes.

    Raises:
        SolarError: that of a shard, or a process was killed.
    """
    # Not forked: the threads of Arrow and fsspec would be missing, their locks perhaps held.
    context = multiprocessing.get_context("spawn")
    done = {}
    try:
        with ProcessPoolExecutor(min(workers, len(jobs)), context, _start, of) as pool:
            for job, facts in zip(jobs, pool.map(_filter_in_process, jobs), strict=True):
                done[job.shard.name] = facts
                progress(job.shard.size)
    except BrokenProcessPool as error:
        raise SolarError(
            f"{of[1]}: a process was killed; perhaps the memory was full. The same command goes on "
            "with the shards that are not done; give it fewer --workers."
        ) from error
    return done


_row_filter_of: tuple = ()
"""In a process of `_in_processes`: what its `RowFilter` is made of."""


def _start(*of: Any) -> None:
    """In a new process: end with the one that started it, however that ends."""
    global _row_filter_of
    _row_filter_of = of

    parent = multiprocessing.parent_process()

    def end(*_: object) -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    Thread(target=end, daemon=True).start()
    signal.signal(signal.SIGINT, lambda *_: os._exit(1))


@lru_cache(1)
def _row_filter() -> RowFilter:
    return RowFilter(*_row_filter_of)


def _filter_in_process(job: _Job) -> dict:
    return _filter(_row_filter(), job, lambda size: None)


@contextmanager
def ahead(items: Iterable[T]) -> Iterator[Iterator[T]]:
    """Iterate over `items` in a thread that is at most two of them ahead.

    An exception of `items` is raised where they are taken. When the block ends, the thread ends.
    """
    iterator = iter(items)
    thread = ThreadPoolExecutor(1)

    def taken() -> Iterator[T]:
        waiting = deque(thread.submit(next, iterator, _END) for _ in range(2))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(thread.submit(next, iterator, _END))
            yield item

    try:
        yield taken()
    finally:
        thread.shutdown(cancel_futures=True)
