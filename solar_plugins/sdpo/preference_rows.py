"""What a preference row trains: its prompt and its two answers, exactly as they are, or an error.

Axolotl's `chat_template` types look for an answer in the rendered text, so an answer that is empty,
trimmed by the template or found earlier in the text is replaced by other text. Its other types
write a null cell as the word "None".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from solar_plugins.errors import SolarError

Message = dict[str, Any]
Render = Callable[[list[Message], bool], str]
"""A chat template: the text of a conversation, with the generation prompt after it or without."""

_MARK = "\ue000answer\ue000"  # private-use characters: no template trims or looks for them


def render_pair(
    render: Render, prompt: list[Message], chosen: Message, rejected: Message
) -> dict[str, str]:
    """The texts of a pair: the prompt, and what the template adds to it for each answer.

    Raises:
        SolarError: an answer or the last message of the prompt is empty, or see `render_answer`.
    """
    if prompt and not prompt[-1]["content"]:
        raise SolarError("prompt: empty. Fill it in, or remove the row.")
    texts = {"prompt": _rendered(render, prompt, True)}
    for name, answer in (("chosen", chosen), ("rejected", rejected)):
        try:
            texts[name] = render_answer(render, prompt, answer)
        except SolarError as error:
            raise SolarError(f"{name}: {error}") from error
    return texts


def render_answer(render: Render, prompt: list[Message], answer: Message) -> str:
    """What the chat template writes after the prompt for `answer`, to its end-of-turn token.

    The prompt is the conversation with the generation prompt, and prompt and answer together are
    the conversation with the answer, without the white space after the end-of-turn token.

    >>> def chatml(messages, generate):
    ...     turns = [f"<{m['role']}>{m['content']}</>\\n" for m in messages]
    ...     return "".join(turns) + "<assistant>" * generate
    >>> question = {"role": "user", "content": "Which?"}
    >>> render_answer(chatml, [question], {"role": "assistant", "content": " This. "})
    ' This. </>'

    Raises:
        SolarError: the answer is empty or no answer of the assistant's; the template trims or
            changes it, refuses the conversation, or begins an answer otherwise than it prompts.
    """
    content = answer["content"]
    if answer["role"] != "assistant":
        raise SolarError(f"its last message is of role {answer['role']!r}; an answer is needed.")
    if not content.strip():
        raise SolarError("empty. Write an answer, or remove the row.")
    before = _rendered(render, prompt, True)

    def added(text: str) -> str:
        whole = _rendered(render, [*prompt, {**answer, "content": text}], False)
        if not whole.startswith(before):
            raise SolarError(
                "the chat template's generation prompt is not how it begins an answer "
                f"({before[-40:]!r}). Choose a template in which it is."
            )
        return whole[len(before) :]

    head, mark, tail = added(_MARK).partition(_MARK)
    # Some templates write an empty block of thoughts first, unless the answer has one of its own.
    for text in (head + content, content):
        if mark and added(content) == text + tail:
            return text + tail.rstrip()
    trimmed = " Remove the white space at its ends." if content != content.strip() else ""
    raise SolarError(
        f"the chat template changes the answer ({content[:40]!r}).{trimmed} Correct the row, or "
        "choose a template that writes answers as they are."
    )


def _rendered(render: Render, messages: list[Message], generate: bool) -> str:
    try:
        return render(messages, generate)
    except SolarError:
        raise
    except Exception as error:  # a template may raise anything
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise SolarError(f"the chat template refuses the conversation: {reason[0]}") from error


def refuse_joined(encode: Callable[[str], list[int]], texts: dict[str, str]) -> None:
    """Refuse a pair if the tokenizer joins the end of its prompt and the start of an answer.

    TRL encodes both together and takes what follows as many tokens as the prompt alone has.

    Raises:
        SolarError: the answer would lose its first token.
    """
    end = texts["prompt"][-64:]
    ids = encode(end)
    for name in ("chosen", "rejected"):
        if encode(end + texts[name][:64])[: len(ids)] != ids:
            raise SolarError(
                f"{name}: the tokenizer joins its start to the end of the prompt "
                f"({end[-8:]!r} and {texts[name][:8]!r}), which would be lost. Let the white space "
                "between them be in one of them only."
            )


class Empty(str):
    """A cell without text: false, and an error where it is written into a prompt or an answer."""

    def __new__(cls, column: str, found: str) -> Empty:
        cell = super().__new__(cls)
        cell.column, cell.found = column, found
        return cell

    column: str
    found: str

    def refuse(self, *_: Any) -> Any:
        """Raise the error, with the column."""
        raise SolarError(f"{self.column}: {self.found}. Fill it in, or remove the row.")

    __str__ = __format__ = __iter__ = __getitem__ = __add__ = __radd__ = refuse

    def unless_null(self) -> str:
        """The empty text, if it is one."""
        return self.refuse() if self.found == "null" else ""


def mark_empty(value: Any, column: str) -> Any:
    """`value` with each null and each empty text in it, at any depth, as an `Empty`."""
    if value is None:
        return Empty(column, "null")
    if isinstance(value, str):
        return value or Empty(column, "empty")
    if isinstance(value, dict):
        return {key: mark_empty(inner, f"{column}.{key}") for key, inner in value.items()}
    if isinstance(value, list):
        return [mark_empty(inner, f"{column}[{place}]") for place, inner in enumerate(value)]
    return value


def texts_of(row: dict[str, Any], write: Callable[[dict[str, Any]], dict[str, Any]]) -> dict:
    """What a type's `write` makes of `row`, which may read no null cell and write no empty one.

    Raises:
        SolarError: it did, with the column.
        KeyError: it does not write all three texts.
    """
    cells = {name: mark_empty(value, name) for name, value in row.items()}
    result = write(dict(cells))
    for name in ("prompt", "chosen", "rejected"):
        if isinstance(result[name], Empty):
            result[name].refuse()
    kept = {name for name in cells if name in result and result[name] is cells[name]}
    return {name: row[name] if name in kept else value for name, value in result.items()}
