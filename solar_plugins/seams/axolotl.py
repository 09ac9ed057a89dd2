"""The names of Axolotl that are replaced for a moment, and those that are not documented."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import axolotl
import axolotl.train
from axolotl.datasets import TokenizedPromptDataset, wrap_dataset_for_tokenized_prompt
from axolotl.prompt_strategies.chat_template import ChatTemplateStrategy, StrategyLoader
from axolotl.prompt_strategies.dpo import chat_template
from axolotl.prompt_tokenizers import DatasetWrappingStrategy
from axolotl.utils.chat_templates import base as chat_templates
from axolotl.utils.data import rl, sft, shared
from axolotl.utils.dict import DictDefault, remove_none_values
from datasets import Features, Value

from solar_plugins.errors import SolarError

TRIED = ">=0.18,<0.20"
"""Versions of Axolotl that the tests were run with."""

_original: Any = None
_DATA = (
    *("generate_dataset_hash_from_config", "load_dataset_with_config"),
    *("load_preprocessed_dataset", "save_preprocessed_dataset"),
)


def replace_reference_model(reference_for: Callable[[Any], Any]) -> None:
    """Let the next training with an ``sdpo:`` block take `reference_for(cfg)` for its reference.

    Axolotl 0.19 has no key for "DPO without adapter and without a reference model". Its own
    function is put back when it is called.
    """
    global _original
    if _original is None:
        _original = axolotl.train.setup_reference_model

    def once(cfg: Any, tokenizer: Any, processor: Any = None) -> Any:
        global _original
        original, _original = _original, None
        axolotl.train.setup_reference_model = original
        return reference_for(cfg) if cfg.sdpo else original(cfg, tokenizer, processor)

    axolotl.train.setup_reference_model = once


Messages = list[dict[str, str]]


class _Conversations(DatasetWrappingStrategy):
    """Tokenises what `messages_of` makes of each row as Axolotl's type ``chat_template`` does."""

    def __init__(self, strategy: Any, messages_of: Callable[[dict[str, Any]], Messages]) -> None:
        self.strategy, self.messages_of = strategy, messages_of

    def wrap_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        talk = functools.partial(_as_conversation, self.messages_of)
        message = {"role": Value("string"), "content": Value("string")}
        features = Features({"messages": [message]})
        rows = dataset.map(talk, remove_columns=list(dataset.features), features=features)
        return wrap_dataset_for_tokenized_prompt(self.strategy, rows, *args, **kwargs)


def _as_conversation(messages_of: Callable[..., Messages], row: dict[str, Any]) -> dict[str, Any]:
    return {"messages": messages_of(row)}


def conversations(
    tokenizer: Any, cfg: Any, entry: Any, messages_of: Callable[[dict[str, Any]], Messages]
) -> Any:
    """A strategy that tokenises the messages which `messages_of` makes of a row, and trains the
    assistant's."""
    return _Conversations(StrategyLoader()(tokenizer, cfg, entry), messages_of)


def conversation_pairs(
    cfg: Any, dataset_idx: int, prompt_of: Callable[[dict[str, Any]], Messages]
) -> Callable[..., dict[str, Any]]:
    """A preference type whose prompt is the messages that `prompt_of` makes of a row."""
    write, _ = chat_template.default(cfg, dataset_idx=dataset_idx)

    def pair(row: dict[str, Any], tokenizer: Any = None) -> dict[str, Any]:
        return write({**row, "messages": prompt_of(row)}, tokenizer)

    return pair


@contextmanager
def preference_rows(
    write_row: Callable[..., dict[str, Any]], types: Mapping[str, Callable[..., Any]]
) -> Iterator[None]:
    """Inside, Axolotl loads preference data with `write_row` around the function of their type.

    It is called as `write_row(write, entry, row, index, tokenizer=…)`, with the type's function and
    the entry of `datasets` (or `test_datasets`, for which Axolotl 0.19 takes those of `datasets`).
    `types` loads those that are not Axolotl's own, by name.
    """
    load, load_split = rl.load_dpo, rl._load_split

    def load_type(kind: str, cfg: Any, dataset_idx: int) -> Any:
        found = types.get(kind, functools.partial(load, kind))(cfg, dataset_idx=dataset_idx)
        write, options = found if isinstance(found, tuple) else (found, {})
        around = functools.partial(write_row, write, cfg["datasets"][dataset_idx])
        return write and (around, {"with_indices": True, **options})

    def load_own_entries(cfg: Any, split: str) -> Any:
        if split == "test":
            cfg = DictDefault({**cfg, "datasets": cfg.test_datasets})
        return load_split(cfg, split=split)

    rl.load_dpo, rl._load_split = load_type, load_own_entries
    try:
        yield
    finally:
        rl.load_dpo, rl._load_split = load, load_split


class _Listener:
    """A tokenizer that notes which conversations it is asked to render, and renders none."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.asked: list[list[dict[str, Any]]] = []
        self.options: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def apply_chat_template(self, messages: list[dict[str, Any]], **options: Any) -> str:
        self.asked.append(messages)
        self.options = options
        return ""


def conversation_of(
    write: Callable[..., dict[str, Any]], row: dict[str, Any], tokenizer: Any
) -> tuple[dict[str, Any], list[list[dict[str, Any]]], dict[str, Any]]:
    """What a preference type's `write` makes of `row`, and what it wants rendered.

    Returns:
        The row as written; of a type that renders by chat template the messages of the prompt, of
        chosen and of rejected (the answer is the last message), else none; and the options that it
        gives to `apply_chat_template`.
    """
    if "tokenizer" not in inspect.signature(write).parameters:
        return write(row), [], {}
    listener = _Listener(tokenizer)
    return write(row, tokenizer=listener), listener.asked, listener.options


def mark_as_checked(entry: Any) -> None:
    """Let data that were prepared of a preference entry without `preference_rows` not be reused."""
    entry["conversation"] = "solar_plugins"  # in Axolotl's cache key, and read by nothing else
    entry["type"] = entry["type"] or "passthrough"  # the same rows, but they pass `write_row`


class DataWatcher(Protocol):
    """Who sees the data that Axolotl prepares, see `watch_data`."""

    def content(self, cfg: Any, entries: Any, tokenizer: str) -> str | None:
        """What Axolotl's key of prepared data leaves out; None leaves it alone."""

    def begin(self, cfg: Any, folder: Any, found: Any) -> None:
        """A preparation begins, or prepared rows were found in `folder`."""

    def loading(self, entry: Any, load: Callable[[], Any]) -> Any:
        """The rows of a source, which `load` loads; returns those to go on with."""

    def streamed(self, rows: Any) -> Any:
        """The rows of a stream; returns those to go on with."""

    def tokenised(self, strategy: Any, rows: Any, tokens: Any) -> None:
        """Rows of supervised data were tokenised by `strategy`."""

    def prepared(self, rows: Any) -> None:
        """Rows were prepared, and are about to be saved."""

    def saved(self, folder: Any) -> None:
        """They were saved in `folder`, which may not be there before: Axolotl would read it."""


_watcher: DataWatcher | None = None


def watch_data(watcher: DataWatcher) -> None:
    """Let `watcher` see the data of all recipes that this process prepares from now on."""
    global _watcher
    is_first, _watcher = _watcher is None, watcher
    if not is_first:
        return
    key, find = shared.generate_dataset_hash_from_config, shared.load_preprocessed_dataset
    load, save, stream = _load, shared.save_preprocessed_dataset, sft.load_dataset

    @functools.wraps(key)
    def key_with_content(cfg: Any, entries: Any, tokenizer: str) -> str:
        content = _watcher.content(cfg, entries, tokenizer)
        own = key(cfg, entries, tokenizer)
        return own if content is None else hashlib.md5(f"{own} {content}".encode()).hexdigest()

    @functools.wraps(find)
    def find_watched(cfg: Any, name: str) -> Any:
        found = find(cfg, name)
        _watcher.begin(cfg, shared.get_prepared_dataset_path(cfg, name), found)
        return found

    @functools.wraps(load)
    def load_watched(entry: Any, *args: Any, **kwargs: Any) -> Any:
        return _watcher.loading(entry, functools.partial(load, entry, *args, **kwargs))

    @functools.wraps(save)
    def save_watched(cfg: Any, rows: Any, name: str, split: str) -> None:
        _watcher.prepared(rows)
        save(cfg, rows, name, split)
        _watcher.saved(shared.get_prepared_dataset_path(cfg, name))

    shared.generate_dataset_hash_from_config = key_with_content
    for module in (rl, sft):
        module.generate_dataset_hash_from_config = key_with_content
        module.load_preprocessed_dataset = find_watched
        module.load_dataset_with_config = load_watched
        module.save_preprocessed_dataset = save_watched
    sft.load_dataset = lambda *args, **kwargs: _watcher.streamed(stream(*args, **kwargs))
    tokenise = TokenizedPromptDataset.process

    @functools.wraps(tokenise)
    def tokenise_watched(self: Any, rows: Any) -> Any:
        tokens = tokenise(self, rows)
        _watcher.tokenised(self.prompt_tokenizer, rows, tokens)
        return tokens

    TokenizedPromptDataset.process = tokenise_watched


def read_streams_at(commits: Mapping[str, str]) -> None:
    """Let this process read each data set in `commits` at its commit where it is a stream, for
    which Axolotl 0.19 has no key."""
    load = sft.load_dataset
    sft.load_dataset = lambda path, **options: load(
        path, **{"revision": commits.get(path), **options}
    )


def answers_of(strategy: Any) -> Callable[[dict[str, Any]], list[str] | None] | None:
    """What a strategy of supervised data trains of a row: its answers as they stand there.

    Returns:
        A function of the row; it returns None where only a part of a message is trained, or its
        reasoning or calls too. None itself for a strategy that looks for no answer.
    """
    # (Its subclass for mistral_common has a tokenizer without added tokens.)
    if type(strategy) is not ChatTemplateStrategy or strategy.train_on_inputs:
        return None
    trains_last = not (strategy.roles_to_train or strategy.train_on_eos or strategy.train_on_eot)
    more = ("training_detail", "tool_calls", strategy.prompter.template_thinking_key)

    def answers(row: dict[str, Any]) -> list[str] | None:
        turns = strategy.get_conversation_thread(remove_none_values(row))
        if trains_last:
            trained = turns[-1:]
        else:
            roles = strategy.roles_to_train
            trained = [turn for turn in turns if turn.get("training", turn["role"] in roles)]
        texts = [turn.get("content") for turn in trained]
        if any(turn.get(key) for turn in trained for key in more):
            return None
        return texts if all(isinstance(text, str) for text in texts) else None

    return answers


_load = shared.load_dataset_with_config


def load_rows(entry: Any, token: Any = None) -> Any:
    """The rows that Axolotl would read for a dataset entry, seen by nobody."""
    return _load(entry, token)


def named_chat_templates() -> dict[str, str]:
    """Axolotl's chat templates by the name that `chat_template:` takes."""
    return dict(chat_templates._CHAT_TEMPLATES)


def self_test() -> None:
    """Look for every name that this module uses.

    Raises:
        SolarError: the installed Axolotl lacks one.
    """
    for owner, name in (
        (axolotl.train, "setup_reference_model"),
        (chat_templates, "_CHAT_TEMPLATES"),
        (rl, "load_dpo"),
        (rl, "_load_split"),
        *((module, name) for module in (rl, sft) for name in _DATA),
        (sft, "load_dataset"),
        (TokenizedPromptDataset, "process"),
        (ChatTemplateStrategy, "get_conversation_thread"),
        (shared, "get_prepared_dataset_path"),
    ):
        if not hasattr(owner, name):
            raise SolarError(
                f"axolotl {axolotl.__version__}: {owner.__name__}.{name} is missing. "
                f'Install a version that works: pip install "axolotl{TRIED}".'
            )
    row = {"messages": "a", "chosen": "b", "rejected": "c"}
    cfg = {"chat_template": "chatml", "datasets": [{}]}
    asked = conversation_of(chat_template.default(cfg)[0], row, None)[1]
    if [messages[-1]["content"] for messages in asked] != ["a", "b", "c"]:
        raise SolarError(
            f"axolotl {axolotl.__version__}: its `chat_template` types render prompt, chosen and "
            f'rejected otherwise. Install a version that works: pip install "axolotl{TRIED}".'
        )
