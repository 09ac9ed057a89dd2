"""What to do about each stage: skip it, run it, go on with it, make it again, or keep it.

Whether a stage is done is decided from its record: the same inputs (`fingerprint`), and outputs
that are as they were (`run_folder.refuse_changed`). Finished stages whose recipe, data or inputs
changed are made again where they had taken less than `LIMIT_S` in all. Above it nothing is started
until ``--redo STAGE`` or ``--keep STAGE`` says what to do: a training of days must not be repeated
for an edit.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from solar_plugins.chain.chain_file import Chain, Stage
from solar_plugins.chain.resolve import resolve
from solar_plugins.chain.run import fingerprint, run_folder
from solar_plugins.chain.run.progress import clock
from solar_plugins.chain.run.record import APPROVED, DONE, FAILED, FORCED, Record, digest
from solar_plugins.chain.run.run_folder import RunFolder
from solar_plugins.errors import SolarError

LIMIT_S = 15 * 60.0
"""Finished work that took less than this in all is made again without asking."""


@dataclass(frozen=True)
class Decision:
    """What to do about a stage.

    Attributes:
        action: ``skip``, ``run`` (from the start), ``continue`` (an interrupted attempt with the
            same inputs), ``again`` (its inputs changed: the old output is moved aside first),
            ``keep`` (they changed, and ``--keep`` accepts the output), or ``wait`` (a plan cannot
            know yet: a stage before it is to run).
    """

    stage: Stage
    action: str
    why: str  # in a few words
    recipe: dict[str, Any]
    inputs: dict[str, Any]
    record: Record | None = None
    changes: list[str] = field(default_factory=list)  # in the inputs, since the record
    waits: tuple[str, ...] = ()  # the stages before it that are to run first
    redoes: bool = False  # finished work would be made again
    approved: bool = False  # --redo names the stage, or one that it follows

    @property
    def fingerprint(self) -> str:
        return digest(self.inputs)

    @property
    def wall_s(self) -> float:
        """The seconds that the stage has taken so far."""
        return self.record.wall_s if self.record else 0.0


def decide(
    chain: Chain,
    stage: Stage,
    folder: RunFolder,
    to_run: Collection[str] = (),
    redo: bool = False,
) -> Decision:
    """What to do about `stage` when the stages `to_run` will run before it, whose outputs are not
    compared; with `redo`, a finished stage is made again in any case.

    Raises:
        SolarError: its folder is not ours, or its recorded output was changed since.
    """
    recipe = resolve(chain, stage)
    inputs = fingerprint.inputs(chain, stage, recipe, folder)
    record, place = folder.read_record(stage.name), folder.stage(stage.name)
    is_filled = place.is_dir() and any(place.iterdir())
    waits = tuple(name for name in stage.needs if name in to_run)
    after = f"after {', '.join(sorted(waits))}"
    changes: list[str] = []

    def decision(action: str, why: str, redoes: bool = False) -> Decision:
        if waits and (action in ("run", "continue") or (action == "again" and not redoes)):
            action, why = "wait", after
        return Decision(stage, action, why, recipe, inputs, record, changes, waits, redoes)

    if record is None and is_filled:
        raise SolarError(
            f"{place}: is not empty and holds nothing that this chain has made. "
            f"Move it away, or choose another place: --set output_dir=FOLDER."
        )
    if record is None or not is_filled:
        return decision("run", "its folder is gone" if record else "not done yet")
    done = record.state == DONE
    if done:
        run_folder.refuse_changed(place, record.outputs)
    old, new = (
        fingerprint.without(chain, each, to_run)
        for each in fingerprint.comparable(record.inputs, inputs)
    )
    changes = fingerprint.differences(old, new)
    unmeasured = None  # the models that an evaluation has not scored, where these alone differ
    if fingerprint.differ_in_models_alone(stage, old, new):
        unmeasured = [n for n, sha256 in new["from"].items() if old["from"].get(n) != sha256]
    if done and (redo or record.redo == FORCED):
        return decision("again", "asked for with --redo", redoes=True)
    if done and (not changes or unmeasured == []):
        if not waits:
            return decision("skip", "done, nothing changed")
        # An evaluation of one more model keeps the results of the others.
        measured = any(name in record.inputs["from"] for name in waits)
        return decision("wait", after, redoes=stage.kind != "evaluate" or measured)
    if not changes:
        return decision(
            "continue", "failed before" if record.state == FAILED else "was interrupted"
        )
    if unmeasured:
        redoes = done and any(name in old["from"] for name in unmeasured)
        return decision("again", f"not measured yet: {', '.join(unmeasured)}", redoes)
    more = f" (and {len(changes) - 1} more)" if len(changes) > 1 else ""
    return decision("again", f"changed: {changes[0]}{more}", redoes=done)


def plan(
    chain: Chain,
    order: Sequence[Stage],
    folder: RunFolder,
    redo: Collection[str] = (),
    keep: Collection[str] = (),
) -> list[Decision]:
    """What running the stages `order` will do; nothing is written.

    Raises:
        SolarError: `redo` or `keep` names a stage that the run does not have or has not finished;
            a recorded output was changed.
    """
    folder.claim(chain)
    here = sorted(stage.name for stage in order)
    for option, names in (("--redo", redo), ("--keep", keep)):
        for name in names:
            if chain.stage(name, option).name not in here:
                raise SolarError(
                    f"{option} {name}: not one of the stages of this run: {', '.join(here)}."
                )
    for name in sorted({*redo} & {*keep}):
        raise SolarError(f"--redo {name} --keep {name}: the options exclude each other.")
    decisions: dict[str, Decision] = {}
    for stage in order:
        name = stage.name
        to_run = {n for n, before in decisions.items() if before.action not in ("skip", "keep")}
        decision = decide(chain, stage, folder, to_run, name in redo)
        record = decision.record
        if name in keep:
            if record is None or record.state != DONE or decision.action == "run":
                raise SolarError(f"--keep {name}: the stage is not done, so nothing can be kept.")
            if decision.redoes:
                decision = replace(decision, action="keep", redoes=False)
        if decision.redoes and record is not None:
            follows = any(decisions[need].approved for need in decision.waits)
            decision = replace(decision, approved=name in redo or bool(record.redo) or follows)
        decisions[name] = decision
    return list(decisions.values())


def lines(decisions: Sequence[Decision]) -> list[str]:
    """What is said of finished stages: those to be made again, and other versions of tools."""
    again = [each for each in decisions if each.redoes]
    said = [f"{each.stage.name}: {each.why}; took {clock(each.wall_s)}" for each in again]
    if again:
        total = clock(sum(each.wall_s for each in again))
        said.append(f"{_stages(len(again))} to be made again, {total} in all")
    others: dict[str, list[str]] = {}
    for each in decisions:
        if each.action in ("skip", "keep") and each.record is not None:
            text = fingerprint.other_versions(each.record)
            others.setdefault(text, []).append(each.stage.name)
    others.pop("", None)
    return said + [f"{', '.join(names)}: made with {text}; kept" for text, names in others.items()]


def refuse_long_work(decisions: Sequence[Decision]) -> None:
    """Raise SolarError if much finished work would be made again that nobody has approved."""
    waiting = [each for each in decisions if each.redoes and not each.approved]
    total = sum(each.wall_s for each in waiting)
    if total < LIMIT_S:
        return
    redone = {each.stage.name for each in decisions if each.redoes}
    # Those that changed themselves; the others follow from them.
    first = (d for d in waiting if d.action == "again" or redone.isdisjoint(d.waits))
    raise SolarError(
        f"{_stages(len(waiting))} would be made again, {clock(total)} in all: nothing was "
        f"started. For each of {', '.join(each.stage.name for each in first)}, write --redo STAGE "
        f"to make it and what follows from it again (the old output is kept aside), or --keep "
        f"STAGE to accept its output as it is."
    )


def approve(decisions: Sequence[Decision], folder: RunFolder, redo: Collection[str]) -> None:
    """Note in the records what may be made again, so that an interrupted run does not ask again."""
    for decision in decisions:
        record = decision.record
        mark = (FORCED if decision.stage.name in redo else APPROVED) if decision.redoes else None
        if record is not None and record.redo != mark and record.state == DONE:
            record.redo = record.redo if mark and record.redo == FORCED else mark
            folder.write_record(record)


def kept(decision: Decision, record: Record) -> Record:
    """The record of a finished stage whose output is accepted under other inputs."""
    note = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "changed": decision.changes,
        "fingerprint": record.fingerprint,
    }
    inputs, stage = decision.inputs, decision.stage
    if stage.kind == "evaluate":  # models that it has not scored yet are still to be scored
        known = {*record.inputs["from"], *stage.after}
        scored = {name: sha256 for name, sha256 in inputs["from"].items() if name in known}
        inputs = {**inputs, "from": {**record.inputs["from"], **scored}}
    return replace(
        record, inputs=inputs, fingerprint=digest(inputs), kept=[*record.kept, note], redo=None
    )


def _stages(count: int) -> str:
    return f"{count} finished stage{'s' * (count != 1)}"
