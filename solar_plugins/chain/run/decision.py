"""What to do about a stage: skip it, run it, go on with it, or make it again.

Whether a stage is done is decided from its record: the same inputs (`fingerprint`), and outputs
that are as they were (`run_folder.refuse_changed`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from solar_plugins.chain.chain_file import Chain, Stage
from solar_plugins.chain.resolve import resolve
from solar_plugins.chain.run import fingerprint, run_folder
from solar_plugins.chain.run.record import DONE, FAILED, FORCED, Record, digest
from solar_plugins.chain.run.run_folder import RunFolder
from solar_plugins.errors import SolarError


@dataclass(frozen=True)
class Decision:
    """What to do about a stage.

    Attributes:
        action: ``skip``, ``run`` (from the start), ``continue`` (an interrupted attempt with the
            same inputs), ``again`` (its inputs changed: the old output is moved aside first),
            ``keep`` (they changed, and ``--keep`` accepts the output), or ``wait`` (a plan cannot
            know yet: a stage before it is to run).
        why: In a few words.
        record: What is known of the stage.
        changes: The inputs that differ from the record's, see `fingerprint.differences`.
        waits: The stages before it that are to run first.
        redoes: Whether finished work of the stage would be made again.
    """

    action: str
    why: str
    recipe: dict[str, Any]
    inputs: dict[str, Any]
    record: Record | None = None
    changes: list[str] = field(default_factory=list)
    waits: tuple[str, ...] = ()
    redoes: bool = False

    @property
    def fingerprint(self) -> str:
        return digest(self.inputs)


def decide(
    chain: Chain,
    stage: Stage,
    folder: RunFolder,
    to_run: Collection[str] = (),
    redo: bool = False,
) -> Decision:
    """What to do about `stage`.

    Args:
        to_run: Stages that will run before it: what comes of them is not compared.
        redo: Whether a finished stage is made again in any case.

    Raises:
        SolarError: its folder is not ours, or its recorded output was changed since.
    """
    recipe = resolve(chain, stage)
    inputs = fingerprint.inputs(chain, stage, recipe, folder)
    record = folder.read_record(stage.name)
    place = folder.stage(stage.name)
    filled = run_folder.is_filled(place)
    waits = tuple(name for name in stage.needs if name in to_run)
    after = f"after {', '.join(sorted(waits))}"

    def decision(action: str, why: str, redoes: bool = False) -> Decision:
        if waits and (action in ("run", "continue") or (action == "again" and not redoes)):
            action, why = "wait", after
        return Decision(action, why, recipe, inputs, record, changes, waits, redoes)

    changes: list[str] = []
    if record is None:
        if filled:
            raise SolarError(
                f"{place}: is not empty and holds nothing that this chain has made. "
                f"Move it away, or choose another place: --set output_dir=FOLDER."
            )
        return decision("run", "not done yet")
    if not filled:
        return decision("run", "its folder is gone")
    done = record.state == DONE
    if done:
        run_folder.refuse_changed(place, record.outputs)
    old = fingerprint.without(chain, record.inputs, to_run)
    new = fingerprint.without(chain, inputs, to_run)
    changes = fingerprint.differences(old, new)
    unmeasured = _unmeasured(stage, old, new)
    if done and (redo or record.redo == FORCED):
        return decision("again", "asked for with --redo", redoes=True)
    if not changes or (done and unmeasured == []):
        if done and waits:
            # An evaluation of one more model keeps the results of the others.
            redoes = stage.kind != "evaluate" or any(
                name in record.inputs["from"] for name in waits
            )
            return decision("wait", after, redoes)
        if done:
            return decision("skip", "done, nothing changed")
        why = "failed before" if record.state == FAILED else "was interrupted"
        return decision("continue", why)
    if unmeasured:
        redoes = done and any(name in old["from"] for name in unmeasured)
        return decision("again", f"not measured yet: {', '.join(unmeasured)}", redoes)
    more = f" (and {len(changes) - 1} more)" if len(changes) > 1 else ""
    return decision("again", f"changed: {changes[0]}{more}", redoes=done)


def _unmeasured(stage: Stage, old: dict[str, Any], new: dict[str, Any]) -> list[str] | None:
    """The models that an evaluation has not scored; None where not the models alone differ."""
    if not fingerprint.differ_in_models_alone(stage, old, new):
        return None
    before = old["from"]
    return [name for name, sha256 in new["from"].items() if before.get(name) != sha256]
