"""The steps of one run, one after the other, around one model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list

from solar_plugins.errors import SolarError
from solar_plugins.sdpo import step_records, weights
from solar_plugins.sdpo.args import Step
from solar_plugins.sdpo.trainer import StepTrainer

LOG = logging.getLogger("axolotl.solar_plugins.sdpo")
START = "sdpo_start.safetensors"


@dataclass
class PlannedStep:
    """A step with what is known before it is trained: `updates` are optimizer steps.

    `reference_digest` is set where another model than those in memory has computed the reference.
    """

    step: Step
    note: dict[str, Any]
    rows: int
    updates: int
    reference_digest: str | None = None


class StepSequence:
    """Runs the steps of a recipe that are not yet done.

    Args:
        output_dir: the run's folder; each step has `step_<number>` in it.
        steps: in the order in which they are trained.
        recipe: the run's recipe, as plain values.
        size_of: rows and optimizer steps of a step.
        build: makes the trainer of a step around the model in memory; not called for `entry`.

    Attributes:
        done: the markers of the finished steps; `facts` has those of this run as well.
        entry: the step whose trainer is made from outside: the first of `todo`.
        starts_in: the folder of the finished step that the run goes on from, if it goes on.
    """

    def __init__(
        self,
        output_dir: Path,
        steps: list[Step],
        recipe: dict[str, Any],
        size_of: Callable[[Step], tuple[int, int]],
        build: Callable[[Step], StepTrainer],
    ):
        self.output_dir, self.build = output_dir, build
        self.done = step_records.finished_steps(output_dir, steps, recipe)
        self.facts = list(self.done)
        self.todo = [
            PlannedStep(step, step.note(len(steps), recipe), *size_of(step))
            for step in steps[len(self.done) :]
        ]
        self.entry = self.todo[0].step if self.todo else steps[-1]
        goes_on = self.done and not (self.todo and self.entry.starts_from == "base")
        self.starts_in = step_records.folder(output_dir, len(self.done)) if goes_on else None

    def train(self, first: StepTrainer) -> Any:
        """Train all of `todo`, the first with the trainer given. Returns its TrainOutput, or None.

        Raises:
            SolarError: the finished step on disk holds other weights than it was saved with.
        """
        base = current = digest_as_loaded(first)
        if self.starts_in:
            self._check_loaded(first, current)
            base = self.done[0].get("start_digest", self.done[0]["reference_digest"])
        elif any(planned.step.starts_from == "base" for planned in self.todo[1:]):
            weights.save_trainable(first.model, self.output_dir / START, first.args.should_save)
        trainer, output = first, None
        for planned in self.todo:
            step = planned.step
            previous = self.facts[-1]["model_digest"] if self.facts else base
            of_memory = previous if step.refers_to == "previous" else base
            reference = planned.reference_digest or of_memory
            if step is not self.entry:
                trainer.release()
                if step.starts_from == "base":
                    if step.refers_to == "previous" and trainer.precompute_ref_logps:
                        # The last moment at which the model of the step before is in memory.
                        measuring = self.build(step)
                        _describe(measuring, planned, current, reference)
                        measuring.measure()
                        measuring.release()
                    weights.restore_trainable(trainer.model, self.output_dir / START)
                    current = weights.digest(trainer.model)
                trainer = self.build(step)
            _describe(trainer, planned, current, reference)
            output, facts = self._train_one(trainer, planned)
            self.facts.append(facts)
            current = facts["model_digest"]
        if first.args.should_save:
            (self.output_dir / START).unlink(missing_ok=True)
        first.hand_over(trainer, self.output_dir)
        return output

    def _train_one(self, trainer: StepTrainer, planned: PlannedStep) -> tuple[Any, dict[str, Any]]:
        number = planned.note["step"]
        trainer.steps_before = sum(facts["steps"] for facts in self.facts)
        trainer.steps_in_all = trainer.steps_before + sum(
            later.updates for later in self.todo if later.note["step"] >= number
        )
        LOG.info(
            f"sDPO step {number} of {planned.note['of']}: {planned.rows} rows, "
            f"start {trainer.start_digest[:12]}, reference {trainer.reference_digest[:12]}"
        )
        folder = step_records.folder(self.output_dir, number)
        output = trainer.train_step()
        trainer.save_step_model(folder)
        trainer.accelerator.wait_for_everyone()
        accuracies = [
            logs["rewards/accuracies"]
            for logs in trainer.state.log_history
            if "rewards/accuracies" in logs
        ]
        facts = {
            **trainer.step,
            "datasets": planned.note["settings"]["datasets"],
            "rows": planned.rows,
            "steps": trainer.state.global_step,
            "beta": trainer.beta,
            "first_loss": trainer.first_loss,
            "train_loss": output.training_loss,
            "first_reward_accuracy": accuracies[0] if accuracies else None,
            "last_reward_accuracy": accuracies[-1] if accuracies else None,
            "reference": planned.step.reference_path or planned.step.reference,
            "policy": planned.step.policy,
            "start_digest": trainer.start_digest,
            "reference_digest": trainer.reference_digest,
            "model_digest": weights.digest(trainer.model),
            "wall_s": round(trainer.wall_s, 2),
        }
        if trainer.args.should_save:
            step_records.write_marker(folder, facts)
        trainer.accelerator.wait_for_everyone()
        return output, facts

    def _check_loaded(self, first: StepTrainer, digest: str) -> None:
        if digest == self.done[-1]["model_digest"]:
            return
        where = self.starts_in
        assert where is not None
        if not first.is_fsdp_enabled:
            raise SolarError(
                f"{where}: other weights than were saved there when the step ended. "
                f"Delete {where} to train that step again."
            )
        # FSDP trains in float32 what it saves in the type that the recipe names: from here on the
        # step's model is what was saved.
        LOG.warning(f"{where}: not the last bit of the trained weights was saved under FSDP")
        self.done[-1]["model_digest"] = digest
        if first.args.should_save:
            step_records.write_marker(where, self.done[-1])


def _describe(trainer: StepTrainer, planned: PlannedStep, start: str, reference: str) -> None:
    trainer.step, trainer.start_digest, trainer.reference_digest = planned.note, start, reference
    if trainer.ref_model is not None:
        live = trainer.accelerator.unwrap_model(trainer.ref_model)
        trainer.reference_digest = weights.digest(live)


def digest_as_loaded(trainer: StepTrainer) -> str:
    """The digest of a model that was just loaded; under FSDP the first process has all of it."""
    is_here = trainer.accelerator.is_main_process or not trainer.is_fsdp_enabled
    digest = [weights.digest(trainer.model) if is_here else ""]
    return broadcast_object_list(digest, from_process=0)[0]
