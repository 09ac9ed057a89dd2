"""A DPO trainer for one step of stepwise DPO.

`StepTrainer` is TRL's DPOTrainer with three differences: the reference log-probabilities come
from the policy, inside the running engine and before the first update; checkpoints are declared
whole; logs name the step and count on across steps.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers.trainer_utils import rotate_checkpoints
from trl import DPOTrainer

from solar_plugins.sdpo import checkpoints, reference, step_plan

LOGPS = "sdpo_reference.safetensors"


class StepTrainer(DPOTrainer):
    """Trains one step; made afresh for each, around the model that the step before left.

    Attributes:
        sequence: the steps to run when `train` is called, for the one trainer that is made from
            outside; None for the others.
        step: what is known of the step: number, count, settings.
        reference_digest: `reference.weights_digest` of the weights that the step starts from.
        steps_before: optimizer steps of the finished steps.
        steps_in_all: optimizer steps of all steps together.
        first_loss: mean loss of the first micro-batch: ln 2 for the sigmoid loss.
    """

    sequence: Any = None
    step: dict[str, Any]
    reference_digest: str = ""
    steps_before: int = 0
    steps_in_all: int = 0
    first_loss: float | None = None
    _last: StepTrainer | None = None
    _seconds_before: float = 0.0
    _started: float = 0.0

    def train(self, *args: Any, **kwargs: Any):
        """Run all steps if this trainer heads the sequence, else this step."""
        if self.sequence is not None:
            sequence, self.sequence = self.sequence, None
            return sequence.train(self)
        return super().train(*args, **kwargs)

    def train_step(self):
        """Train this step to its end, from its newest whole checkpoint if there is one."""
        self._started = time.monotonic()
        resume = self._resume_point()
        return super().train(resume_from_checkpoint=str(resume) if resume else None)

    @property
    def wall_s(self) -> float:
        """Seconds spent on this step, those of interrupted attempts up to their checkpoint too."""
        return self._seconds_before + time.monotonic() - self._started

    # Where a killed run goes on

    def _resume_point(self) -> Path | None:
        """The newest checkpoint that is whole and belongs to the reference in use.

        Raises:
            SolarError: that checkpoint was trained with other settings than the recipe has now.
        """
        folder = Path(self.args.output_dir)
        half_written, usable = [], None
        known_reference = reference.read(folder / LOGPS, self.reference_key()) is not None
        for candidate in checkpoints.newest_first(folder):
            note = checkpoints.whole_note(candidate)
            if note is None:
                half_written.append(candidate)
            elif checkpoints.resumable(note):
                step_plan.refuse_changes(note, self.step, folder)
                if known_reference and note["reference_digest"] == self.reference_digest:
                    usable = candidate
                    self.first_loss = note["first_loss"]
                    self._seconds_before = note["wall_s"]
                    break
        # All processes have looked before any of them writes or deletes.
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            (folder / step_plan.MARKER).unlink(missing_ok=True)
            for path in half_written:
                shutil.rmtree(path)
        return usable

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        # Trainer deletes old checkpoints as the last act of saving; here the new one is declared
        # whole before an older one goes, so that a kill in between leaves one to go on from.
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = limit
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            folder = Path(self.args.output_dir)
            checkpoints.write_note(
                folder / f"checkpoint-{self.state.global_step}",
                {
                    **self.step,
                    "reference_digest": self.reference_digest,
                    "first_loss": self.first_loss,
                    "wall_s": self.wall_s,
                },
            )
            rotate_checkpoints(
                output_dir=str(folder),
                save_total_limit=limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
                use_mtime=True,
            )

    # The reference

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        # TRL computes the reference here, in __init__: under DeepSpeed in a second engine, and
        # cached under a hash that is blind to ZeRO-3's shards. It is done in
        # `_prepare_for_training` instead; until then the rows only get their numbers.
        return reference.RowsWithReference(dataset)

    def _preference_sets(self) -> dict[str, reference.RowsWithReference]:
        sets = {"train": self.train_dataset}
        if isinstance(self.eval_dataset, dict):
            sets |= {f"eval_{name}": rows for name, rows in self.eval_dataset.items()}
        elif self.eval_dataset is not None:
            sets["eval"] = self.eval_dataset
        return sets

    def reference_key(self) -> str:
        """What the reference log-probabilities depend on: weights, rows, batches, precision."""
        args = self.args
        parts = [self.reference_digest]
        parts += [
            f"{k}={reference.rows_digest(v.rows)}" for k, v in self._preference_sets().items()
        ]
        parts += [
            f"{args.max_length} {args.truncation_mode} {args.ld_alpha} {args.seed} "
            f"{args.bf16} {args.fp16} {self._train_batch_size} {args.eval_batch_size} "
            f"{args.world_size}"
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume: str | None):
        model, train_dataloader = super()._prepare_for_training(max_steps, train_dataloader, resume)
        path, key = Path(self.args.output_dir) / LOGPS, self.reference_key()
        logps = reference.read(path, key)
        self.accelerator.wait_for_everyone()
        if logps is None:
            logps = {
                name: reference.compute(self, self.model_wrapped, name, rows)
                for name, rows in self._preference_sets().items()
            }
            if self.args.should_save:
                reference.write(path, key, logps)
        for name, rows in self._preference_sets().items():
            rows.logps = logps[name]
        return model, train_dataloader

    # What is told about the step

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        result = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if self.first_loss is None and self.model.training:
            loss = result[0] if return_outputs else result
            self.first_loss = self.accelerator.gather(loss.detach()).mean().item()
        return result

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        logs["sdpo_step"] = self.step["step"]
        with self._counting_all_steps():
            super().log(logs, start_time)

    @contextmanager
    def _counting_all_steps(self) -> Iterator[None]:
        """Let loggers see steps that do not restart at 0; the trainer itself needs its own."""
        own = self.state.global_step, self.state.max_steps
        self.state.global_step += self.steps_before
        self.state.max_steps = self.steps_in_all
        try:
            yield
        finally:
            self.state.global_step, self.state.max_steps = own

    # Ending

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model of this step, or of the last one if this trainer headed a sequence."""
        if self._last is not None:
            return self._last.save_model(output_dir, _internal_call)
        return super().save_model(output_dir, _internal_call)

    def hand_over(self, last: StepTrainer, output_dir: Path) -> None:
        """Let what is asked of this trainer from now on be about the last step, and the run."""
        # Axolotl writes the model card, and pushes, from the trainer it made itself.
        self.args.output_dir = str(output_dir)
        if last is not self:
            self._last = last
            self.state = last.state

    def release(self) -> None:
        """Give up optimizer, schedule and wrappers, so that the next step starts from the model."""
        if self.is_deepspeed_enabled:
            # Its hooks would go on reducing gradients into an optimizer that is gone.
            self.model_wrapped.destroy()
            self.deepspeed = None
        self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        self.optimizer = self.lr_scheduler = None
        self.callback_handler.optimizer = self.callback_handler.lr_scheduler = None
        self.callback_handler.train_dataloader = self.callback_handler.eval_dataloader = None
        self.model_wrapped = self.model
        self.accelerator.free_memory()
