"""A DPO trainer for one step of stepwise DPO.

`StepTrainer` is TRL's DPOTrainer with three differences: the reference log-probabilities come
from the policy, inside the running engine and before the first update; checkpoints are declared
whole; logs name the step and count on across steps.
"""

from __future__ import annotations

import hashlib
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
import trl
from peft import PeftModel
from torch.distributed.fsdp import FSDPModule
from transformers import set_seed
from transformers.trainer_utils import rotate_checkpoints
from transformers.utils import hf_api
from trl import DPOTrainer

from solar_plugins import atomic
from solar_plugins.errors import SolarError
from solar_plugins.models import training_checkpoints
from solar_plugins.sdpo import reference, step_records
from solar_plugins.seams.trl import TrainerHooks, attention_of, train_batch_size

LOGPS = "sdpo_reference.safetensors"


class ReferenceIsKnown(Exception):
    """Leaves `train` where a trainer was asked for the reference and not for a training."""


class StepTrainer(TrainerHooks, DPOTrainer):
    """Trains one step; made afresh for each, around the model that the step before left.

    Args (beside TRL's):
        start_adapter: the folder of a PEFT adapter to train on from, in place of a new one.

    Attributes:
        sequence: the steps to run when `train` is called, for the one trainer that is made from
            outside; None for the others.
        step: `Step.note`.
        start_digest: `weights.digest` of the weights that the step starts from.
        reference_digest: the same of the reference; in the paper's sDPO it is `start_digest`.
        by_length: see `reference.compute`.
        shared_logps: a folder of reference log-probabilities for later runs.
        steps_before: optimizer steps of the finished steps.
        steps_in_all: optimizer steps of all steps together.
        first_loss: mean loss of the first micro-batch: ln 2 for the sigmoid loss.
    """

    sequence: Any = None
    step: dict[str, Any]
    start_digest: str = ""
    reference_digest: str = ""
    by_length: bool = False
    shared_logps: Path | None = None
    steps_before: int = 0
    steps_in_all: int = 0
    first_loss: float | None = None
    ref_model: Any
    state: Any
    deepspeed: Any
    _last: StepTrainer | None = None
    _measures: bool = False
    _measures_all_rows: bool = False
    _started: float = 0.0

    def __init__(
        self,
        model: Any,
        ref_model: Any = None,
        args: Any = None,
        *,
        start_adapter: str | None = None,
        peft_config: Any = None,
        **kwargs: Any,
    ):
        set_seed(args.seed)  # PEFT draws a new adapter's weights below, before TRL seeds
        if start_adapter:
            zero3 = args.deepspeed_plugin is not None and args.deepspeed_plugin.zero_stage == 3
            # TRL keeps adapters in the base's type under ZeRO-3, which gathers both together.
            model = PeftModel.from_pretrained(
                model, start_adapter, is_trainable=True, autocast_adapter_dtype=not zero3
            )
            peft_config = None
        super().__init__(model, ref_model, args, peft_config=peft_config, **kwargs)
        if self.precompute_ref_logps and "ref" in getattr(self.model, "peft_config", {}):
            # TRL's copy of the adapter, its live reference: the log-probabilities replace it.
            self.model.delete_adapter("ref")

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Run all steps if this trainer heads the sequence, else this step."""
        if self.sequence is not None:
            sequence, self.sequence = self.sequence, None
            return sequence.train(self)
        return super().train(*args, **kwargs)

    def train_step(self) -> Any:
        """Train this step to its end, from its newest whole checkpoint if there is one."""
        self._started = time.monotonic()
        resume = self._resume_point()
        return super().train(resume_from_checkpoint=str(resume) if resume else None)

    def measure(self, all_rows: bool = False) -> torch.Tensor:
        """The reference log-probabilities of the training rows, by the model as it is; then stop.

        Args:
            all_rows: also those of rows that `max_steps` leaves out of the training.
        """
        self._measures, self._measures_all_rows = True, all_rows
        try:
            super().train()
        except ReferenceIsKnown:
            return self.train_dataset.logps
        finally:
            self._measures = self._measures_all_rows = False
        raise AssertionError("the reference pass did not run")

    @property
    def wall_s(self) -> float:
        """Seconds spent on this step, those of interrupted attempts up to their checkpoint too."""
        return time.monotonic() - self._started

    # Where a killed run goes on

    def _resume_point(self) -> Path | None:
        """The newest checkpoint that is whole and belongs to the reference in use.

        Raises:
            SolarError: that checkpoint was trained with other settings than the recipe has now.
        """
        folder = Path(self.args.output_dir)
        known_reference = self._everyone(
            all(self._stored(name) is not None for name in self._preference_sets())
        )
        usable = None
        for checkpoint, note in step_records.whole_checkpoints(folder):
            step_records.refuse_changes(note, self.step, folder)
            if known_reference and note["reference_digest"] == self.reference_digest:
                usable, self.first_loss = checkpoint, note["first_loss"]
                self._started -= note["wall_s"]
                break
        # All processes have looked before any of them writes or deletes.
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            (folder / step_records.MARKER).unlink(missing_ok=True)
            for path in training_checkpoints.checkpoints_in(folder):
                if step_records.read_json(path / step_records.CHECKPOINT_NOTE) is None:
                    shutil.rmtree(path)
        return usable

    def _everyone(self, answer: bool) -> bool:
        """Whether all processes say so: they may not see the same disk."""
        answers = torch.tensor([answer], device=self.accelerator.device)
        return bool(self.accelerator.gather(answers).all())

    @contextmanager
    def around_checkpoint(self) -> Iterator[None]:
        # Trainer deletes old checkpoints as the last act of saving; here the new one is declared
        # whole before an older one goes, so that a kill in between leaves one to go on from.
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            yield
        finally:
            self.args.save_total_limit = limit
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            facts = {"reference_digest": self.reference_digest, "first_loss": self.first_loss}
            note = {**self.step, **facts, "wall_s": self.wall_s}
            atomic.write_json(folder / step_records.CHECKPOINT_NOTE, note)
            rotate_checkpoints(
                output_dir=self.args.output_dir,
                save_total_limit=limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
                use_mtime=True,
            )

    # The reference

    def rows_for_reference(self, dataset: Any) -> Any:
        # TRL computes the reference here, in __init__: under DeepSpeed in a second engine, and
        # cached under a hash that is blind to ZeRO-3's shards. It is done in
        # `after_preparing` instead; until then the rows only get their numbers.
        return reference.RowsWithReference(dataset)

    def before_first_step(self) -> None:
        if self.is_fsdp_enabled and isinstance(self.model, FSDPModule):
            # Sharded by the step before: its layers' classes have FSDP's names by now.
            self.accelerator.state.fsdp_plugin.auto_wrap_policy = None

    def after_preparing(self) -> None:
        for name, rows in self._preference_sets().items():
            rows.logps = self._reference_of(name, rows)
        if self._measures:
            raise ReferenceIsKnown

    def _preference_sets(self) -> dict[str, reference.RowsWithReference]:
        if not self.precompute_ref_logps:
            return {}
        held_out = self.eval_dataset
        if isinstance(held_out, dict):
            of_eval = {f"eval_{name}": rows for name, rows in held_out.items()}
        else:
            of_eval = {} if held_out is None else {"eval": held_out}
        return {"train": self.train_dataset, **of_eval}

    def _reference_of(self, name: str, rows: reference.RowsWithReference) -> torch.Tensor:
        batches, logps = self._trained_batches(name), self._stored(name)
        if not self._everyone(logps is not None):
            if self.reference_digest != self.start_digest:
                raise SolarError(
                    f"{self.args.output_dir}: the reference's log-probabilities are gone, and the "
                    "policy is not the reference of this step. Start the same command again."
                )
            logps = reference.compute(self, name, rows, self.by_length, batches)
        assert logps is not None
        if self.args.should_save:
            # Also where the shared folder had it: the step's own file is what a resume looks at.
            reference.write(self._files(name), self._key(name), batches, logps)
        return logps

    def _stored(self, name: str) -> torch.Tensor | None:
        return reference.read(self._files(name), self._key(name), self._trained_batches(name))

    def _files(self, name: str) -> list[Path]:
        """The step's own file, and one for later runs; a mere measurement needs only the latter."""
        file = LOGPS if name == "train" else LOGPS.replace(".", f"_{name}.")
        own = Path(self.args.output_dir) / file
        if self.shared_logps is None:
            return [own]
        shared = self.shared_logps / f"{self._key(name)[:32]}.safetensors"
        return [shared] if self._measures else [own, shared]

    def _key(self, name: str) -> str:
        """What the log-probabilities of a set depend on: weights, rows, batches, arithmetic."""
        args = self.args
        is_train = name == "train"
        parts = {
            "weights": self.reference_digest,
            "rows": self._preference_sets()[name].digest,
            "collator": repr(self.data_collator),  # a dataclass: padding and truncation
            "batches": [
                train_batch_size(self) if is_train else args.eval_batch_size,
                args.world_size,
                self.by_length,
                *([args.seed, args.data_seed, args.train_sampling_strategy] if is_train else []),
            ],
            "arithmetic": [args.bf16, args.fp16, args.tf32, args.ld_alpha],
            "attention": attention_of(self.model),
            "versions": [torch.__version__, transformers.__version__, trl.__version__],
        }
        return hashlib.sha256(repr(sorted(parts.items())).encode()).hexdigest()

    def _trained_batches(self, name: str) -> int | None:
        """The batches of each process in a training of less than one epoch; None for all.

        Also None where they are not known to be the first ones of the reference pass.
        """
        args = self.args
        seeded = args.accelerator_config.use_seedable_sampler
        is_random = args.train_sampling_strategy == "random" and not self.by_length
        if name != "train" or self._measures_all_rows or not (seeded and is_random):
            return None
        per_epoch = math.ceil(len(self.train_dataset) / (train_batch_size(self) * args.world_size))
        per_update = args.gradient_accumulation_steps
        updates = args.max_steps
        if updates <= 0:
            updates = math.ceil(args.num_train_epochs * math.ceil(per_epoch / per_update))
        return updates * per_update if updates * per_update < per_epoch else None

    # What is recorded of the step

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        result = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if self.first_loss is None and self.model.training:
            loss = result[0] if return_outputs else result
            self.first_loss = self.accelerator.gather(loss.detach()).mean().item()
        return result

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        logs["sdpo_step"] = self.step["step"]
        # Loggers see steps that do not restart at 0; the trainer itself needs its own.
        own = self.state.global_step, self.state.max_steps
        self.state.global_step += self.steps_before
        self.state.max_steps = self.steps_in_all
        try:
            super().log(logs, start_time)
        finally:
            self.state.global_step, self.state.max_steps = own

    # Ending

    def save_step_model(self, folder: Path) -> None:
        """Save the step's model, or its adapter, with whole weights in `folder`."""
        plugin = self.accelerator.state.fsdp_plugin if self.is_fsdp_enabled else None
        kept = plugin and plugin.state_dict_type
        if plugin:  # save_model writes nothing for the others
            plugin.set_state_dict_type("FULL_STATE_DICT")
        try:
            super().save_model(str(folder), _internal_call=True)
        finally:
            if plugin:
                plugin.set_state_dict_type(kept)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model of this step, or of the last one if this trainer headed a sequence."""
        if self._last is None:
            return super().save_model(output_dir, _internal_call)
        return self._last.save_model(output_dir or self.args.output_dir, _internal_call)

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """As Trainer's, of the run's last model alone, without the folders of its steps."""
        token = token or self.args.hub_token
        try:
            self.init_hf_repo(token=token)
        except OSError as error:  # no network, no such repository, or not ours
            raise SolarError(
                f"hub_model_id: {self.args.hub_model_id}: {str(error).strip().splitlines()[0]} The "
                f"last model is complete in {self.args.output_dir}; the same command pushes it "
                "when it can be reached."
            ) from error
        if not self.is_world_process_zero():
            return None
        tags = [*(self.model.model_tags or []), *kwargs.pop("tags", [])]
        self.create_model_card(model_name=self.hub_model_id.split("/")[-1], tags=tags, **kwargs)
        return hf_api().upload_folder(
            repo_id=self.hub_model_id,
            folder_path=self.args.output_dir,
            commit_message=commit_message,
            token=token,
            run_as_future=not blocking,
            ignore_patterns=["step_*", "sdpo_*", "_*", "checkpoint-*", "runs/*"],
            revision=revision or self.args.hub_revision,
        )

    def hand_over(self, last: StepTrainer, output_dir: Path) -> None:
        """Let what is asked of this trainer from now on be about the last step, and the run."""
        # Axolotl writes the model card, and pushes, from the trainer it made itself.
        self.args.output_dir = str(output_dir)
        if last is not self:
            self._last, self.state = last, last.state

    def release(self) -> None:
        """Give up optimizer, schedule and wrappers, so that the next step starts from the model."""
        if self.is_deepspeed_enabled and self.deepspeed is not None:
            # Its hooks would go on reducing gradients into an optimizer that is gone.
            self.deepspeed.destroy()
            self.deepspeed = None
        self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        handler = self.callback_handler
        self.optimizer = self.lr_scheduler = self.ref_model = None
        handler.optimizer = handler.lr_scheduler = None
        handler.train_dataloader = handler.eval_dataloader = None
        self.model_wrapped = self.model
        self.accelerator.free_memory()
