"""What to do about a stage: skip it, run it, go on with it, or make it again.

Whether a stage is done is decided from its record: the same inputs (`fingerprint`), and outputs
that are as they were (`run_folder.refuse_changed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from solar_plugins.chain.chain_file import Chain, Stage
from solar_plugins.chain.resolve import resolve
from solar_plugins.chain.run import fingerprint, run_folder
from solar_plugins.chain.run.run_folder import DONE, FAILED, Record, RunFolder
from solar_plugins.errors import SolarError


@dataclass(frozen=True)
class Decision:
    """What to do about a stage.

    Attributes:
        action: ``skip``, ``run`` (from the start), ``continue`` (an interrupted attempt with the
            same inputs), ``again`` (its inputs changed: the old output is moved aside first), or
            ``wait`` (a dry run cannot know yet: a stage before it is to run).
        why: In a few words.
    """

    action: str
    why: str
    recipe: dict[str, Any]
    inputs: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        return fingerprint.digest(self.inputs)


def decide(chain: Chain, stage: Stage, folder: RunFolder) -> Decision:
    """What to do about `stage`, all stages before it being done.

    Raises:
        SolarError: its folder is not ours, or its recorded output was changed since.
    """
    recipe = resolve(chain, stage)
    inputs = fingerprint.inputs(chain, stage, recipe, folder)
    record = folder.read_record(stage.name)
    place = folder.stage(stage.name)
    filled = run_folder.is_filled(place)
    if record is None:
        if filled:
            raise SolarError(
                f"{place}: is not empty and holds nothing that this chain has made. "
                f"Move it away, or choose another place: --set output_dir=FOLDER."
            )
        return Decision("run", "not done yet", recipe, inputs)
    if not filled:
        return Decision("run", "its folder is gone", recipe, inputs)
    if record.state == DONE:
        run_folder.refuse_changed(place, record.outputs)
    same = record.fingerprint == fingerprint.digest(inputs)
    unmeasured = _unmeasured(stage, record, inputs)
    if record.state == DONE and (same or unmeasured == []):
        return Decision("skip", "done, nothing changed", recipe, inputs)
    if unmeasured:
        return Decision("again", f"not measured yet: {', '.join(unmeasured)}", recipe, inputs)
    if not same:
        changes = fingerprint.differences(record.inputs, inputs)
        more = f" (and {len(changes) - 1} more)" if len(changes) > 1 else ""
        return Decision("again", f"changed: {changes[0]}{more}", recipe, inputs)
    why = "failed before" if record.state == FAILED else "was interrupted"
    return Decision("continue", why, recipe, inputs)


def _unmeasured(stage: Stage, record: Record, inputs: dict[str, Any]) -> list[str] | None:
    """The models that an evaluation has not scored; None where not the models alone differ."""
    if not fingerprint.differ_in_models_alone(stage, record.inputs, inputs):
        return None
    before = record.inputs["from"]
    return [name for name, digest in inputs["from"].items() if before.get(name) != digest]


def dry_run(chain: Chain, order: Sequence[Stage]) -> list[tuple[Stage, Decision]]:
    """What `Runner.run` would do, stage by stage; nothing is written."""
    folder = RunFolder(chain.output_dir)
    folder.claim(chain)
    decisions, to_run = [], set()
    for stage in order:
        waits = sorted(to_run.intersection(stage.needs))
        if waits:
            decision = Decision("wait", f"after {', '.join(waits)}", resolve(chain, stage), {})
        else:
            decision = decide(chain, stage, folder)
        if decision.action != "skip":
            to_run.add(stage.name)
        decisions.append((stage, decision))
    return decisions
