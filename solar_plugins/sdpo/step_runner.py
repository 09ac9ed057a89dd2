"""The steps of one run, one after the other, around one model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list

from solar_plugins.errors import SolarError
from solar_plugins.sdpo import step_records, weights
from solar_plugins.sdpo.step_plan import Step
from solar_plugins.sdpo.trainer import StepTrainer

LOG = logging.getLogger("axolotl.solar_plugins.sdpo")
START = "sdpo_start.safetensors"


@dataclass
class PlannedStep:
    """A step with what is known before it is trained.

    Attributes:
        step: as the recipe gives it.
        note: `Step.note`.
        rows: training rows.
        optimizer_steps: updates, as planned.
        reference_digest: of the reference, where its log-probabilities were computed by a model
            of their own before the run; None where the model in memory computes them.
    """

    step: Step
    note: dict[str, Any]
    rows: int
    optimizer_steps: int
    reference_digest: str | None = None


@dataclass
class StepSequence:
    """Runs the steps that are not yet done.

    Attributes:
        output_dir: the run's folder; each step has `step_<number>` in it.
        todo: the steps to train, in order.
        done: the markers of the finished steps before them.
        build: makes the trainer of a step of `todo` around the model in memory, by its index
            there (not called for 0).
    """

    output_dir: Path
    todo: list[PlannedStep]
    done: list[dict[str, Any]]
    build: Callable[[int], StepTrainer]
    facts: list[dict[str, Any]] = field(default_factory=list)

    def train(self, first: StepTrainer) -> Any:
        """Train all of `todo`, the first with the trainer given. Returns its TrainOutput, or None.

        Raises:
            SolarError: the finished step on disk holds other weights than it was saved with.
        """
        self.facts = list(self.done)
        current = digest_as_loaded(first)
        starts_from_base = bool(self.todo) and self.todo[0].step.starts_from() == "base"
        if self.done and not starts_from_base:
            self._check_loaded(first, current)
        base = current if starts_from_base or not self.done else self._base_digest()
        returns = any(planned.step.starts_from() == "base" for planned in self.todo[1:])
        if starts_from_base and returns:
            weights.save_trainable(first.model, self.output_dir / START, first.args.should_save)
        trainer, output = first, None
        for index, planned in enumerate(self.todo):
            digests = _Digests(base=base, previous=self._previous_digest(base), current=current)
            if index > 0:
                trainer.release()
                trainer, digests.current = self._next(index, trainer, digests)
            current, output = self._train_one(trainer, planned, digests)
        if first.args.should_save:
            (self.output_dir / START).unlink(missing_ok=True)
        first.hand_over(trainer, self.output_dir)
        return output

    def _next(self, index: int, before: StepTrainer, digests: _Digests) -> tuple[StepTrainer, str]:
        """The trainer of a later step, and the digest of the weights that it starts from."""
        planned = self.todo[index]
        if planned.step.starts_from() == "previous":
            return self.build(index), digests.current
        if planned.step.refers_to() == "previous" and before.precompute_ref_logps:
            # The last moment at which the model of the step before is in memory.
            self._describe(measuring := self.build(index), planned, digests)
            measuring.measure()
            measuring.release()
        weights.restore_trainable(before.model, self.output_dir / START)
        return self.build(index), weights.digest(before.model)

    def _describe(self, trainer: StepTrainer, planned: PlannedStep, digests: _Digests) -> None:
        trainer.step = planned.note
        trainer.start_digest = digests.current
        if trainer.ref_model is not None:
            live = trainer.accelerator.unwrap_model(trainer.ref_model)
            trainer.reference_digest = weights.digest(live)
        else:
            of_another = planned.reference_digest
            trainer.reference_digest = of_another or digests.of(planned.step.refers_to())

    def _train_one(
        self, trainer: StepTrainer, planned: PlannedStep, digests: _Digests
    ) -> tuple[str, Any]:
        number = planned.note["step"]
        self._describe(trainer, planned, digests)
        trainer.steps_before = sum(facts["steps"] for facts in self.facts)
        trainer.steps_in_all = trainer.steps_before + sum(
            later.optimizer_steps for later in self.todo if later.note["step"] >= number
        )
        LOG.info(
            f"sDPO step {number} of {planned.note['of']}: {planned.rows} rows, "
            f"start {trainer.start_digest[:12]}, reference {trainer.reference_digest[:12]}"
        )
        folder = step_records.folder(self.output_dir, number)
        output = trainer.train_step()
        trainer.save_step_model(folder)
        trainer.accelerator.wait_for_everyone()
        digest = weights.digest(trainer.model)
        logged = [e for e in trainer.state.log_history if "rewards/accuracies" in e]
        facts = {
            **trainer.step,
            "datasets": planned.note["settings"]["datasets"],
            "rows": planned.rows,
            "steps": trainer.state.global_step,
            "beta": trainer.beta,
            "first_loss": trainer.first_loss,
            "train_loss": output.training_loss,
            "first_reward_accuracy": logged[0]["rewards/accuracies"] if logged else None,
            "last_reward_accuracy": logged[-1]["rewards/accuracies"] if logged else None,
            "reference": planned.step.reference_path or planned.step.reference,
            "policy": planned.step.policy,
            "start_digest": trainer.start_digest,
            "reference_digest": trainer.reference_digest,
            "model_digest": digest,
            "wall_s": round(trainer.wall_s, 2),
        }
        if trainer.args.should_save:
            step_records.write_marker(folder, facts)
        trainer.accelerator.wait_for_everyone()
        self.facts.append(facts)
        return digest, output

    def _check_loaded(self, first: StepTrainer, digest: str) -> None:
        if digest == self.done[-1]["model_digest"]:
            return
        where = step_records.folder(self.output_dir, self.done[-1]["step"])
        if first.is_fsdp_enabled:
            # FSDP trains in float32 what it saves in the type that the recipe names: from here
            # on the step's model is what was saved.
            LOG.warning(f"{where}: not the last bit of the trained weights was saved under FSDP")
            self.done[-1]["model_digest"] = digest
            if first.args.should_save:
                step_records.write_marker(where, self.done[-1])
            return
        raise SolarError(
            f"{where}: other weights than were saved there when the step ended. "
            f"Delete {where} to train that step again."
        )

    def _base_digest(self) -> str:
        first = self.done[0]
        return first.get("start_digest", first["reference_digest"])

    def _previous_digest(self, base: str) -> str:
        return self.facts[-1]["model_digest"] if self.facts else base


@dataclass
class _Digests:
    """The weights that a step may start from and refer to, by name, and those in memory."""

    base: str
    previous: str
    current: str

    def of(self, model: str) -> str:
        return self.previous if model == "previous" else self.base


def digest_as_loaded(trainer: StepTrainer) -> str:
    """The digest of a model that was just loaded; under FSDP the first process has all of it."""
    is_here = trainer.accelerator.is_main_process or not trainer.is_fsdp_enabled
    digest = [weights.digest(trainer.model) if is_here else ""]
    return broadcast_object_list(digest, from_process=0)[0]
