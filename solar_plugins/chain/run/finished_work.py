"""Finished stages whose recipe, data or inputs changed: made again, kept, or asked about.

Below `LIMIT_S` in all they are made again. Above it nothing is started until ``--redo STAGE`` or
``--keep STAGE`` says what to do: a training of days must not be repeated for an edit.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from solar_plugins.chain.chain_file import Chain, Stage
from solar_plugins.chain.run import fingerprint
from solar_plugins.chain.run.decision import Decision, decide
from solar_plugins.chain.run.progress import clock
from solar_plugins.chain.run.record import APPROVED, DONE, FORCED, Record, digest
from solar_plugins.chain.run.run_folder import RunFolder
from solar_plugins.errors import SolarError

LIMIT_S = 15 * 60.0
"""Finished work that took less than this in all is made again without asking."""


@dataclass(frozen=True)
class Finished:
    """A finished stage that would be made again.

    Attributes:
        why: What changed, or which stages before it are made again.
        wall_s: The seconds that it had taken.
        is_first: Whether it changed itself, so that ``--redo`` or ``--keep`` has to name it; the
            others follow from one that did.
        approved: Whether it may be made again: ``--redo`` names it, or a stage that it follows.
    """

    name: str
    why: str
    wall_s: float
    is_first: bool
    approved: bool


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        decisions: In the order of the run.
        finished: The finished stages that would be made again.
    """

    decisions: list[tuple[Stage, Decision]]
    finished: list[Finished]

    def lines(self) -> list[str]:
        """One line per stage of `finished`, and the sum."""
        if not self.finished:
            return []
        lines = [f"{f.name}: {f.why}; took {clock(f.wall_s)}" for f in self.finished]
        total = clock(sum(f.wall_s for f in self.finished))
        return [*lines, f"{_stages(len(self.finished))} to be made again, {total} in all"]

    def refusal(self) -> str | None:
        """Why the run stops before anything is started; None where it goes ahead."""
        waiting = [f for f in self.finished if not f.approved]
        total = sum(f.wall_s for f in waiting)
        if total < LIMIT_S:
            return None
        names = ", ".join(f.name for f in waiting if f.is_first)
        return (
            f"{_stages(len(waiting))} would be made again, {clock(total)} in all: nothing was "
            f"started. For each of {names}, write --redo STAGE to make it and what follows from it "
            f"again (the old output is kept aside), or --keep STAGE to accept its output as it is."
        )

    def warnings(self) -> list[str]:
        """One line for each set of other tool versions that finished stages were made with."""
        stages: dict[str, list[str]] = {}
        for stage, decision in self.decisions:
            if decision.action in ("skip", "keep") and decision.record is not None:
                stages.setdefault(fingerprint.other_versions(decision.record), []).append(
                    stage.name
                )
        stages.pop("", None)
        return [f"{', '.join(names)}: made with {text}; kept" for text, names in stages.items()]


def plan(
    chain: Chain,
    order: Sequence[Stage],
    folder: RunFolder,
    redo: Iterable[str] = (),
    keep: Iterable[str] = (),
) -> Plan:
    """What running the stages `order` will do; nothing is written.

    Raises:
        SolarError: `redo` or `keep` names a stage that the run does not have or has not finished;
            a recorded output was changed.
    """
    folder.claim(chain)
    redo, keep = _names(chain, order, "--redo", redo), _names(chain, order, "--keep", keep)
    for name in sorted(redo & keep):
        raise SolarError(f"--redo {name} --keep {name}: the options exclude each other.")
    decisions: list[tuple[Stage, Decision]] = []
    finished: dict[str, Finished] = {}
    to_run: set[str] = set()
    for stage in order:
        name = stage.name
        decision = decide(chain, stage, folder, to_run, name in redo)
        record = decision.record
        if name in keep:
            if record is None or record.state != DONE or decision.action == "run":
                raise SolarError(f"--keep {name}: the stage is not done, so nothing can be kept.")
            if decision.redoes:
                decision = replace(decision, action="keep", redoes=False)
        if decision.redoes and record is not None:
            before = [finished[need] for need in decision.waits if need in finished]
            finished[name] = Finished(
                name,
                decision.why,
                record.wall_s,
                is_first=decision.action == "again" or not before,
                approved=name in redo or bool(record.redo) or any(f.approved for f in before),
            )
        if decision.action not in ("skip", "keep"):
            to_run.add(name)
        decisions.append((stage, decision))
    return Plan(decisions, list(finished.values()))


def approve(plan: Plan, folder: RunFolder, redo: Iterable[str]) -> None:
    """Note in the records what may be made again, so that an interrupted run does not ask again."""
    redo = set(redo)
    for stage, decision in plan.decisions:
        record = decision.record
        if record is None:
            continue
        mark = (FORCED if stage.name in redo else APPROVED) if decision.redoes else None
        if record.redo != mark and record.state == DONE:
            record.redo = record.redo if mark and record.redo == FORCED else mark
            folder.write_record(record)


def kept(stage: Stage, record: Record, decision: Decision) -> Record:
    """The record of a finished stage whose output is accepted under other inputs."""
    note = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "changed": decision.changes,
        "fingerprint": record.fingerprint,
    }
    inputs = decision.inputs
    if stage.kind == "evaluate":  # models that it has not scored yet are still to be scored
        known = {*record.inputs["from"], *stage.after}
        scored = {name: sha256 for name, sha256 in inputs["from"].items() if name in known}
        inputs = {**inputs, "from": {**record.inputs["from"], **scored}}
    return replace(
        record, inputs=inputs, fingerprint=digest(inputs), kept=[*record.kept, note], redo=None
    )


def _names(chain: Chain, order: Sequence[Stage], option: str, names: Iterable[str]) -> set[str]:
    here = {stage.name for stage in order}
    for name in names:
        if chain.stage(name, option).name not in here:
            raise SolarError(
                f"{option} {name}: not one of the stages of this run: {', '.join(sorted(here))}."
            )
    return set(names)


def _stages(count: int) -> str:
    return f"{count} finished stage{'s' * (count != 1)}"
