"""A server that speaks OpenAI's chat completions (vLLM, llama.cpp, SGLang, the hosted ones)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sqlite3
import time
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from solar_plugins.errors import SolarError

# Worth another try; every other status from 400 on is about the request itself.
PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}
# Nothing that is asked of this server can succeed.
HOPELESS = {401: "the key", 402: "the account", 403: "the key", 404: "the address or the model"}
# What a reply that ended for such a reason counts as: it was paid for, and makes no candidate.
UNFIT = {"length": "truncated", "content_filter": "refused_by_server"}
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 60.0
LONGEST_HOLD_S = 600.0


class Refused(Exception):
    """The server will not answer this request, however often it is asked."""


class NoAnswer(Exception):
    """The request got no answer in all of its tries; another day it may."""


@dataclass(frozen=True)
class Settings:
    """How a server is asked, see `solar synth-math generate --help`.

    Attributes:
        temperature: of the sampling (MetaMath: 0.7).
        tries: of one request, the first included.
        requests_per_minute: at most; 0 for no limit.
    """

    url: str
    model: str
    temperature: float = 0.7
    max_tokens: int = 2048
    timeout_s: float = 120.0
    tries: int = 6
    requests_per_minute: float = 0.0

    def __post_init__(self) -> None:
        url = httpx.URL(self.url)
        if url.scheme not in ("http", "https") or not url.host:
            raise SolarError(f"--server: {self.url!r} found. Write http://localhost:8000/v1")
        if url.userinfo or url.query:
            raise SolarError("--server: a secret in the address. Use --api-key-variable instead")


class AnswerCache:
    """Every answer that was paid for, in an SQLite file: each is there, whole, after its `put`.

    Raises:
        SolarError: the file is something else.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        try:
            # Each statement is committed.
            self._base = sqlite3.connect(path, isolation_level=None)
            self._base.execute("PRAGMA journal_mode = WAL")  # one sync of the disk per answer,
            self._base.execute("PRAGMA synchronous = FULL")  # so that it survives a power cut too
            self._base.execute(
                "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)"
            )
        except sqlite3.DatabaseError as error:
            found = f"no cache of answers ({error})"
            raise SolarError(f"{path}: {found}. Give another --cache") from error

    def get(self, key: str) -> dict | None:
        row = self._base.execute("SELECT answer FROM answers WHERE key = ?", [key]).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, key: str, answer: dict) -> None:
        """
        Raises:
            SolarError: the disk is full, or another run holds the file.
        """
        text = json.dumps(answer, ensure_ascii=False)
        try:
            self._base.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", [key, text])
        except sqlite3.OperationalError as error:
            raise SolarError(f"{self.path}: an answer could not be kept ({error}).") from error

    def __len__(self) -> int:
        return self._base.execute("SELECT COUNT(*) FROM answers").fetchone()[0]

    def close(self) -> None:
        self._base.close()


class Server:
    """Asks, waits, tries again, and keeps every answer in `cache` before it returns it.

    `prompt_tokens` and `completion_tokens` are as the server counted them, cached replies included.
    """

    def __init__(self, settings: Settings, cache: AnswerCache, api_key: str | None) -> None:
        self.settings, self.cache = settings, cache
        self._key = api_key
        self._address = f"{settings.url.rstrip('/')}/chat/completions"
        self._stopping = asyncio.Event()
        self._turns = asyncio.Lock()
        self._next_turn = 0.0
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(settings.timeout_s, pool=None),
            limits=httpx.Limits(max_connections=None),
        )
        self.prompt_tokens = self.completion_tokens = 0

    async def close(self) -> None:
        await self._client.aclose()

    def stop(self) -> None:
        """Send nothing more; replies that are under way are still waited for and kept."""
        self._stopping.set()

    async def ask(self, messages: list[dict], sample: int = 0) -> dict:
        """The server's reply to `messages`: `{"text", "finish_reason", …}`.

        Args:
            sample: tells requests with the same messages apart, so that each is asked once.

        Raises:
            Refused: the server does not take this request.
            NoAnswer: no usable reply in all of its tries.
            SolarError: the server takes no request at all (key, model or address is wrong).
        """
        names = ("model", "temperature", "max_tokens")
        request = {name: getattr(self.settings, name) for name in names} | {"messages": messages}
        # Not the server's address: the same model behind another one answers the same, and what it
        # answered before stays paid for.
        text = json.dumps([request, sample], sort_keys=True, ensure_ascii=False)
        key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        answer = self.cache.get(key)
        if answer is None:
            answer = await self._try(request)
            self.cache.put(key, answer)
        self.prompt_tokens += answer["prompt_tokens"]
        self.completion_tokens += answer["completion_tokens"]
        return answer

    async def _try(self, request: dict) -> dict:
        fault = ""
        for number in range(self.settings.tries):
            if number:
                await self._pause(_delay_s(number))
            await self._turn()
            if self._stopping.is_set():
                raise NoAnswer("stopped")
            post = self._client.post(self._address, json=request)
            try:
                # httpx's own timeout is for one read: a server that drips would never reach it.
                response = await asyncio.wait_for(post, self.settings.timeout_s)
            except asyncio.TimeoutError:
                fault = f"no reply in {self.settings.timeout_s:g} s"
                continue
            except httpx.HTTPError as error:
                fault = f"{type(error).__name__}: {error}".rstrip(": ")
                continue
            status = response.status_code
            if status == 200:
                answer = _read(response)
                if answer is not None:
                    return answer
                fault = f"no chat completion in the reply: {self._excerpt(response)}"
                continue
            fault = f"status {status}: {self._excerpt(response)}"
            if status < 400 or status in HOPELESS:
                what = HOPELESS.get(status, "the address")
                raise SolarError(f"{self._address}: {fault}. Look at {what}")
            if status not in PASSING:
                raise Refused(fault)
            self._next_turn = max(self._next_turn, time.monotonic() + _retry_after_s(response))
        raise NoAnswer(fault)

    async def _turn(self) -> None:
        """Wait for the rate limit, and for the pause that the server asked for."""
        async with self._turns:
            while (wait_s := self._next_turn - time.monotonic()) > 0:
                await self._pause(wait_s)
                if self._stopping.is_set():
                    return
            per_minute = self.settings.requests_per_minute
            self._next_turn = time.monotonic() + (60.0 / per_minute if per_minute else 0.0)

    async def _pause(self, seconds: float) -> None:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _excerpt(self, response: httpx.Response) -> str:
        """The beginning of a reply in one line, without the key, should the server repeat it."""
        text = " ".join(response.text.split())
        return (text.replace(self._key, "…") if self._key else text)[:200]


def _delay_s(number: int) -> float:
    """Before try `number` + 1: twice as long each time, a random part of it less."""
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (number - 1)) * random.uniform(0.5, 1.0)


def _retry_after_s(response: httpx.Response) -> float:
    """What the header Retry-After says, as seconds or as a date; 0 without one."""
    value = response.headers.get("Retry-After", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return 0.0
    return min(max(seconds, 0.0), LONGEST_HOLD_S)


def _read(response: httpx.Response) -> dict | None:
    """The text of a chat completion with what it cost; None if the reply is none.

    No text at all is a reply where the server says why: a reasoning model that used up its tokens
    before it began to answer would only be paid again.
    """
    try:
        body = json.loads(response.text)
        choice = body["choices"][0]
        text, finish_reason = choice["message"].get("content"), choice.get("finish_reason")
    except (ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError):
        return None
    text = "" if text is None else text
    if not isinstance(text, str) or not (text.strip() or finish_reason in UNFIT):
        return None
    usage = body.get("usage")
    tokens = usage if isinstance(usage, dict) else {}
    counts = {name: tokens.get(name) for name in ("prompt_tokens", "completion_tokens")}
    return {
        "text": text.encode("utf-8", "replace").decode(),  # half a surrogate pair is no text
        "finish_reason": finish_reason,
        **{name: count if isinstance(count, int) else 0 for name, count in counts.items()},
    }
