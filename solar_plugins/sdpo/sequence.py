"""The steps of one run, one after the other, around one model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from solar_plugins.errors import SolarError
from solar_plugins.sdpo import reference, step_plan
from solar_plugins.sdpo.trainer import StepTrainer

LOG = logging.getLogger("axolotl.solar_plugins.sdpo")


@dataclass
class PlannedStep:
    """A step with what is known before it is trained; `note` as from `step_plan.Step.note`."""

    note: dict[str, Any]
    rows: int
    optimizer_steps: int


@dataclass
class StepSequence:
    """Runs the steps that are not yet done.

    Attributes:
        output_dir: the run's folder; each step has `step_<number>` in it.
        todo: the steps to train, in order.
        done: the markers of the finished steps before them.
        build: makes the trainer of a step of `todo`, by its index there (not called for 0).
    """

    output_dir: Path
    todo: list[PlannedStep]
    done: list[dict[str, Any]]
    build: Callable[[int], StepTrainer]
    facts: list[dict[str, Any]] = field(default_factory=list)

    def train(self, first: StepTrainer):
        """Train all of `todo`, the first with the trainer given. Returns its TrainOutput, or None.

        Raises:
            SolarError: the finished step on disk holds other weights than it was saved with.
        """
        self.facts = list(self.done)
        digest = reference.weights_digest(first.model)
        if self.done and digest != self.done[-1]["model_digest"]:
            where = step_plan.folder(self.output_dir, self.done[-1]["step"])
            raise SolarError(
                f"{where}: other weights than were saved there when the step ended. "
                f"Delete {where} to train that step again."
            )
        trainer, output = first, None
        for index, planned in enumerate(self.todo):
            if index > 0:
                trainer.release()
                trainer = self.build(index)
            digest, output = self._train_one(trainer, planned, digest)
        first.hand_over(trainer, self.output_dir)
        return output

    def _train_one(self, trainer: StepTrainer, planned: PlannedStep, digest: str):
        number = planned.note["step"]
        trainer.step = planned.note
        trainer.reference_digest = digest
        trainer.steps_before = sum(facts["steps"] for facts in self.facts)
        trainer.steps_in_all = trainer.steps_before + sum(
            later.optimizer_steps for later in self.todo if later.note["step"] >= number
        )
        LOG.info(
            f"sDPO step {number} of {planned.note['of']}: {planned.rows} rows, "
            f"reference {digest[:12]}"
        )
        folder = step_plan.folder(self.output_dir, number)
        output = trainer.train_step()
        trainer.save_model(str(folder), _internal_call=True)
        trainer.accelerator.wait_for_everyone()
        digest = reference.weights_digest(trainer.model)
        logged = [e for e in trainer.state.log_history if "rewards/accuracies" in e]
        facts = {
            **trainer.step,
            "datasets": planned.note["settings"]["datasets"],
            "rows": planned.rows,
            "steps": trainer.state.global_step,
            "first_loss": trainer.first_loss,
            "train_loss": output.training_loss,
            "first_reward_accuracy": logged[0]["rewards/accuracies"] if logged else None,
            "last_reward_accuracy": logged[-1]["rewards/accuracies"] if logged else None,
            "reference_digest": trainer.reference_digest,
            "model_digest": digest,
            "wall_s": round(trainer.wall_s, 2),
        }
        if trainer.args.should_save:
            step_plan.write_marker(folder, facts)
        trainer.accelerator.wait_for_everyone()
        self.facts.append(facts)
        return digest, output
