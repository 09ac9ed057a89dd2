"""Candidates made afresh: MATH's training problems rephrased and answered by a server."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from solar_plugins.errors import SolarError
from solar_plugins.synth_math import prompts
from solar_plugins.synth_math.candidates import AUGMENTED, REPHRASED, Candidate
from solar_plugins.synth_math.problems import Problem
from solar_plugins.synth_math.server import UNFIT, NoAnswer, Refused, Server

FAILURES_IN_A_ROW = 5
"""So many requests without an answer, each in all of its tries, and the server counts as gone; more
where more are under way at once."""


@dataclass(frozen=True)
class _Job:
    """One candidate to be made."""

    kind: str
    problem: Problem
    sample: int


class _Run:
    """What the workers share."""

    def __init__(self, jobs: Sequence[_Job], server: Server, concurrency: int) -> None:
        self.server = server
        self.todo: Iterator[tuple[int, _Job]] = iter(enumerate(jobs))
        self.made: dict[int, Candidate] = {}
        self.rejected: Counter[str] = Counter()
        self.unanswered = 0
        self.fault = ""
        self.error: SolarError | None = None
        self.interrupted = False
        self._in_a_row = 0
        self._patience = max(FAILURES_IN_A_ROW, concurrency)

    def interrupt(self) -> None:
        self.interrupted = True
        self.server.stop()

    async def work(self, advance: Callable[[], None]) -> None:
        for number, job in self.todo:
            if self.interrupted or self.error is not None:
                return
            try:
                result = await _make(job, self.server)
            except Refused:
                result = "refused_by_server"
            except NoAnswer as error:
                self._note_failure(str(error))
                continue
            except SolarError as error:
                self._give_up(error)
                return
            self._in_a_row = 0
            if isinstance(result, Candidate):
                self.made[number] = result
            else:
                self.rejected[result] += 1
            advance()
            await asyncio.sleep(0)  # answers from the cache wait for nothing; others want a turn

    def _note_failure(self, fault: str) -> None:
        self.unanswered += 1
        self._in_a_row += 1
        self.fault = fault if fault != "stopped" else self.fault
        if self._in_a_row >= self._patience and not self.interrupted:
            self._give_up(
                SolarError(
                    f"{self.server.settings.url}: {self._in_a_row} requests in a row had no usable "
                    f"answer in {self.server.settings.tries} tries each ({self.fault}). "
                    "Is the server there?"
                )
            )

    def _give_up(self, error: SolarError) -> None:
        self.error = self.error or error
        self.server.stop()


async def generate(
    problems: Sequence[Problem],
    rephrasings: int,
    answers: int,
    server: Server,
    concurrency: int,
    rejected: Counter[str],
    skip_unanswered: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> list[Candidate]:
    """Candidates from every problem, in an order that does not depend on the server.

    Args:
        rephrasings: how often each question is rephrased; each is answered once.
        answers: how many new answers each original question gets.
        concurrency: requests under way at once.
        rejected: where replies that make no candidate are counted by reason.
        skip_unanswered: go on without candidates whose requests had no answer in all of their
            tries, and count them as rejected; if not, they are an error.
        advance: called after each candidate that was made or rejected.

    Raises:
        SolarError: the server is gone or takes no request, some requests had no answer, or the
            user stopped it. Whatever was answered is in the server's cache.
    """
    jobs = [
        _Job(kind, problem, sample)
        for problem in problems
        for kind, count in ((REPHRASED, rephrasings), (AUGMENTED, answers))
        for sample in range(count)
    ]
    run = _Run(jobs, server, concurrency)
    with _FirstSignal(run.interrupt):
        await asyncio.gather(*(run.work(advance) for _ in range(concurrency)))
    rejected.update(run.rejected)
    kept = f"{len(server.cache):,} answers are kept in {server.cache.path}; the same command "
    if run.error is not None:
        raise SolarError(f"{run.error} {kept}goes on from there")
    if run.interrupted:
        raise SolarError(f"stopped. {kept}goes on from there")
    if run.unanswered and skip_unanswered:
        rejected["unanswered"] = run.unanswered
    elif run.unanswered:
        raise SolarError(
            f"{server.settings.url}: {run.unanswered:,} of {len(jobs):,} candidates have no answer "
            f"({run.fault}). {kept}asks for the missing ones only, and with --skip-unanswered "
            "goes on without"
        )
    return [run.made[number] for number in sorted(run.made)]


async def _make(job: _Job, server: Server) -> Candidate | str:
    """The job's candidate, or the reason why there is none."""
    question = job.problem.question
    if job.kind == REPHRASED:
        reply = await server.ask(prompts.rephrase(question), job.sample)
        if reply["finish_reason"] in UNFIT:
            return UNFIT[reply["finish_reason"]]
        question, fault = prompts.rephrased_question(reply["text"], question)
        if fault is not None:
            return fault
    # The same rephrasing may come twice: each still has an answer of its own.
    reply = await server.ask(prompts.answer(question), job.sample)
    if reply["finish_reason"] in UNFIT:
        return UNFIT[reply["finish_reason"]]
    return Candidate(job.kind, question, reply["text"].strip(), job.problem)


class _FirstSignal:
    """The first Ctrl-C or SIGTERM calls `stop`, so that replies under way are kept."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._signals = (signal.SIGINT, signal.SIGTERM)
        self._can = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> None:
        if self._can:
            self._loop = asyncio.get_running_loop()
            for one in self._signals:
                self._loop.add_signal_handler(one, self._first)

    def __exit__(self, *_: object) -> None:
        if self._can:
            for one in self._signals:
                self._loop.remove_signal_handler(one)

    def _first(self) -> None:
        self.__exit__()
        self._stop()
