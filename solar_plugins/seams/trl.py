"""The private names of TRL's DPOTrainer, and of the Trainer that it is built on."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trl
from transformers import Trainer
from trl import DPOTrainer

from solar_plugins.errors import SolarError

TRIED = ">=1.8,<1.11"
"""Versions of TRL that the tests were run with."""

_BASE: Any = DPOTrainer if TYPE_CHECKING else object


def starts(tokenizer: Any, text: str) -> dict[str, bool]:
    """How a tokenizer is to be called for `text`: it adds no start to one that begins with it.

    A chat template writes the start of sequence itself (transformers adds none to what it renders);
    TRL tokenises the text as any other, and would train on two.
    """
    bos = tokenizer.bos_token
    return {"add_special_tokens": False} if bos and text.startswith(bos) else {}


class _OneStart:
    """A tokenizer as TRL calls it for its rows, see `starts`."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.apply_chat_template = tokenizer, tokenizer.apply_chat_template

    def __call__(self, text: str) -> Any:
        return self.tokenizer(text, **starts(self.tokenizer, text))


class TrainerHooks(_BASE):
    """Public names for the private moments of a DPOTrainer; put it before one in the bases."""

    ref_model: Any

    @contextmanager
    def around_checkpoint(self) -> Iterator[None]:
        """Around the writing of a checkpoint."""
        yield

    def before_first_step(self) -> None:
        """Before the model is prepared (wrapped, sharded) for training."""

    def after_preparing(self) -> None:
        """After the model is prepared, before the first batch."""

    def rows_for_reference(self, dataset: Any) -> Any:
        """The data set as it is trained on; TRL's own pass for the reference is left out."""
        return dataset

    def logps_of(self, model: Any, inputs: dict[str, Any]) -> tuple[Any, Any]:
        """The log-probabilities of chosen and of rejected by `model` as it is.

        TRL's own would switch an adapter off, so that the base is the reference, but where a
        `ref_model` is set.
        """
        kept, self.ref_model = self.ref_model, model
        try:
            takes_model = "model" in inspect.signature(self.compute_ref_log_probs).parameters
            given = (model, inputs) if takes_model else (inputs,)  # TRL 1.8 takes its `ref_model`
            return self.compute_ref_log_probs(*given)
        finally:
            self.ref_model = kept

    def _prepare_dataset(self, dataset: Any, tokenizer: Any, args: Any, name: str) -> Any:
        return super()._prepare_dataset(dataset, _OneStart(tokenizer), args, name)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with self.around_checkpoint():
            super()._save_checkpoint(model, trial)

    def _prepare_for_training(
        self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: str | None
    ) -> Any:
        self.before_first_step()
        prepared = super()._prepare_for_training(
            max_steps, train_dataloader, resume_from_checkpoint
        )
        self.after_preparing()
        return prepared

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        return self.rows_for_reference(dataset)


def train_batch_size(trainer: Any) -> int:
    """Rows in a batch of one process, after an automatic search as well."""
    return trainer._train_batch_size


def sampler_of(trainer: Any, rows: Any, training: bool) -> Any:
    """The sampler that the trainer would draw these rows with."""
    return trainer._get_train_sampler(rows) if training else trainer._get_eval_sampler(rows)


def load_weights(trainer: Any, folder: str) -> None:
    """Load the weights of a checkpoint into the model that the trainer has."""
    trainer._load_from_checkpoint(folder)


def attention_of(model: Any) -> str | None:
    """The attention implementation that the model runs with."""
    return model.config._attn_implementation


def self_test() -> None:
    """Look for every name that this module uses.

    Raises:
        SolarError: the installed TRL or transformers lacks one.
    """
    names = {
        DPOTrainer: ("_precompute_ref_logps", "_prepare_dataset", "compute_ref_log_probs"),
        Trainer: (
            *("_save_checkpoint", "_prepare_for_training", "_load_from_checkpoint"),
            *("_get_train_sampler", "_get_eval_sampler"),
        ),
    }
    for owner, methods in names.items():
        for name in methods:
            if not callable(getattr(owner, name, None)):
                raise SolarError(
                    f"trl {trl.__version__}: {owner.__name__}.{name} is missing, which stepwise "
                    f'DPO needs. Install a version that works: pip install "trl{TRIED}".'
                )
