"""Candidates made afresh: MATH's training problems rephrased and answered by a server.

MetaMath (arXiv 2309.12284, sections 3.1 and 3.2) rephrases a question and has it answered, and has
the original question answered several times; what does not reach the known answer is thrown away.
The prompts are words of our own.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from solar_plugins.errors import SolarError
from solar_plugins.render import render
from solar_plugins.synth_math.candidates import AUGMENTED, REPHRASED, Candidate
from solar_plugins.synth_math.seeds import Problem
from solar_plugins.synth_math.server import UNFIT, NoAnswer, Refused, Server

FAILURES_IN_A_ROW = 5
"""So many requests without an answer, each in all of its tries, and the server counts as gone; more
where more are under way at once."""

_LABELS = ("rewritten problem:", "rephrased problem:", "rephrased question:", "problem:")


class _Job(NamedTuple):
    """One candidate to be made."""

    kind: str
    problem: Problem
    sample: int


class _Run:
    """What the workers share.

    Attributes:
        end: why the run ends before all jobs are done; empty while it goes on.
    """

    def __init__(self, jobs: Sequence[_Job], server: Server, patience: int) -> None:
        self.server = server
        self.todo: Iterator[tuple[int, _Job]] = iter(enumerate(jobs))
        self.made: dict[int, Candidate] = {}
        self.rejected: Counter[str] = Counter()
        self.unanswered = self._in_a_row = 0
        self.fault = self.end = ""
        self._patience = patience

    def stop(self, why: str) -> None:
        self.end = self.end or why
        self.server.stop()

    async def work(self, advance: Callable[[], None]) -> None:
        for number, job in self.todo:
            if self.end:
                return
            try:
                result = await _make(job, self.server)
            except Refused:
                result = "refused_by_server"
            except NoAnswer as error:
                self._note_failure(str(error))
                continue
            except SolarError as error:
                return self.stop(str(error))
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
        if self._in_a_row >= self._patience:
            self.stop(
                f"{self.server.settings.url}: {self._in_a_row} requests in a row had no usable "
                f"answer in {self.server.settings.tries} tries each ({self.fault}). "
                "Is the server there?"
            )


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
        rephrasings, answers: how often each question is rephrased (each is answered once), and how
            many new answers the original gets.
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
    run = _Run(jobs, server, max(FAILURES_IN_A_ROW, concurrency))
    with _first_signal(lambda: run.stop("stopped.")):
        await asyncio.gather(*(run.work(advance) for _ in range(concurrency)))
    rejected.update(run.rejected)
    kept = f"{len(server.cache):,} answers are kept in {server.cache.path}; the same command "
    if run.end:
        raise SolarError(f"{run.end} {kept}goes on from there")
    if run.unanswered and not skip_unanswered:
        found = f"{run.unanswered:,} of {len(jobs):,} candidates have no answer ({run.fault})"
        way = f"{kept}asks for the missing ones, and with --skip-unanswered goes on without"
        raise SolarError(f"{server.settings.url}: {found}. {way}")
    if run.unanswered:
        rejected["unanswered"] = run.unanswered
    return [run.made[number] for number in sorted(run.made)]


async def _make(job: _Job, server: Server) -> Candidate | str:
    """The job's candidate, or the reason why there is none."""
    question = job.problem.question

    async def ask(prompt: str) -> tuple[str, str | None]:
        text = render(__file__, f"{prompt}.md", question=question)
        messages = [{"role": "user", "content": text}]
        reply = await server.ask(messages, job.sample)
        return reply["text"], UNFIT.get(reply["finish_reason"])

    if job.kind == REPHRASED:
        text, fault = await ask("rephrase")
        if fault is None:
            question, fault = rephrased_question(text, question)
        if fault is not None:
            return fault
    # The same rephrasing may come twice: each still has an answer of its own.
    text, fault = await ask("answer")
    return fault or Candidate(job.kind, question, text.strip(), job.problem)


def rephrased_question(reply: str, original: str) -> tuple[str, str | None]:
    """The question in the reply to a rephrasing, and what is wrong with it (None if nothing is).

    >>> rephrased_question("Problem:\\nFind the sum of 1 and 1.", "What is 1 + 1?")
    ('Find the sum of 1 and 1.', None)
    """
    question = reply.strip()
    for label in _LABELS:
        if question.lower().startswith(label):
            question = question[len(label) :].strip()
    if not question:
        return question, "empty"
    if question.split() == original.split():
        return question, "unchanged"
    if "\\boxed" in question:
        return question, "answered"
    if not len(original) / 4 <= len(question) <= 4 * max(len(original), 40):
        return question, "wrong_length"
    return question, None


@contextmanager
def _first_signal(stop: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM calls `stop`, so that replies under way are kept."""
    is_main = threading.current_thread() is threading.main_thread()
    signals = (signal.SIGINT, signal.SIGTERM) if is_main else ()
    loop = asyncio.get_running_loop()

    with ExitStack() as undo:

        def first() -> None:
            undo.close()
            stop()

        for one in signals:
            loop.add_signal_handler(one, first)
            undo.callback(loop.remove_signal_handler, one)
        yield
