"""`solar synth-math generate` against a real HTTP server, good, bad and gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chat_server import COMPLETION_TOKENS, ChatServer, completion, reply_to, send
from click.testing import CliRunner
from math_world import TRAIN, math_test_rows, source_options, write_jsonl, write_world

from solar_plugins.cli import cli
from solar_plugins.synth_math import server as server_module

pytestmark = pytest.mark.slow

PROBLEMS, REPHRASINGS, ANSWERS = 10, 1, 1
REQUESTS = PROBLEMS * (2 * REPHRASINGS + ANSWERS)
KEY = "sk-very-secret-0815"


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> dict[str, Path]:
    return write_world(tmp_path_factory.mktemp("math"))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(server_module, "FIRST_DELAY_S", 0.01)


def arguments(world: dict[str, Path], url: str, out: Path, *more: object) -> list[str]:
    return [
        *("synth-math", "generate", "--server", url, "--model", "tiny"),
        *("--rephrasings", str(REPHRASINGS), "--answers", str(ANSWERS), "--concurrency", "4"),
        *source_options(world),
        *("--out", str(out)),
        *map(str, more),
    ]


def generate(world: dict[str, Path], url: str, out: Path, *more: object):
    return CliRunner().invoke(cli, arguments(world, url, out, *more))


def files(out: Path) -> dict[str, bytes]:
    """What was written, but for the cache."""
    made = (file for file in out.iterdir() if not file.name.startswith("math_answers"))
    return {file.name: file.read_bytes() for file in made}


def kept(out: Path) -> int:
    base = sqlite3.connect(out / "math_answers.sqlite")
    return base.execute("SELECT COUNT(*) FROM answers").fetchone()[0]


@pytest.fixture(scope="module")
def good(world, tmp_path_factory) -> dict[str, bytes]:
    """What a server without fault gives."""
    out = tmp_path_factory.mktemp("good") / "data"
    with ChatServer() as server:
        run = generate(world, server.url, out)
        assert run.exit_code == 0, run.output
        assert len(server.requests) == server.answered == REQUESTS
        again = generate(world, server.url, out, "--overwrite")
        assert again.exit_code == 0, again.output
        assert len(server.requests) == REQUESTS  # all of it was in the cache
    return files(out)


def test_both_sets(good):
    pairs = [json.loads(line) for line in good["math_alignment.jsonl"].splitlines()]
    assert pairs[0] == {
        "prompt": "How many plants grow in a garden with 3 rows of 3 plants?",
        "chosen": "We multiply 3 and 3, so there are $\\boxed{9}$ plants.",
        "rejected": "There are $3$ rows of $3$, so there are $\\boxed{9}$ plants.",
    }
    assert len(pairs) == PROBLEMS
    instruct = [json.loads(line) for line in good["math_instruct.jsonl"].splitlines()]
    assert [row["type"] for row in instruct] == ["MATH_Rephrased", "MATH_AnsAug"] * PROBLEMS
    assert {row["question"] for row in instruct[1::2]} == {question for question, _ in TRAIN}
    card = json.loads(good["math_data_card.json"])
    assert card["rejected"] == {}
    assert card["server"]["completion_tokens"] == COMPLETION_TOKENS * REQUESTS


def times_out(handler, number):
    time.sleep(0.6)
    return True


def drips(handler, number):
    """Never silent for long, never done."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(12):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)
    return True


def breaks_off(handler, number):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [{"mess')
    return True


def hangs_up(handler, number):
    handler.connection.close()
    return True


def resets(handler, number):
    """Closes so that the client sees ECONNRESET."""
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.connection.close()
    return True


def says(text: str, status: int = 200, **headers: str):
    def reply(handler, number):
        send(handler, status, text, **headers)
        return True

    return reply


FAULTS = {
    "times out": times_out,
    "drips": drips,
    "breaks off": breaks_off,
    "hangs up": hangs_up,
    "status 500": says("boom", 500),
    "status 503": says("", 503, Retry_After="0.02"),
    "status 429": says("slowly", 429, Retry_After="0.02"),
    "a date to wait for": says("slowly", 429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
    "no date": says("slowly", 429, Retry_After="soon"),
    "a web page": says("<html>It works!</html>"),
    "no choices": says('{"choices": [], "usage": "none"}'),
    "a list": says("[1]"),
    "no content": says('{"choices": [{"message": {"content": null}}]}'),
    "blanks": says(completion(" \n")),
    "deeper than any reply": says("[" * 100_000),
    "a number of 5000 digits": says("9" * 5000),
    "an event stream": says('data: {"choices": [{"delta": {"content": "We"}}]}\n\ndata: [DONE]\n'),
    "half a reply, whole as HTTP": says(completion("We multiply")[:40]),
    "a message that is a text": says('{"choices": [{"message": "We multiply"}]}'),
    "no packed data": says("We multiply", Content_Encoding="gzip"),
    "resets the connection": resets,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_passing_fault_changes_nothing(world, good, tmp_path, fault):
    def misbehave(handler, number):
        return number % 7 == 3 and FAULTS[fault](handler, number)

    out = tmp_path / "data"
    with ChatServer(misbehave) as server:
        run = generate(world, server.url, out, "--timeout", 0.4)
        assert run.exit_code == 0, run.output
        assert server.answered == REQUESTS  # every request had one answer, none was paid for twice
        assert len(server.requests) > REQUESTS
    assert files(out) == good


@pytest.mark.parametrize("fault", ["hangs up", "status 500", "a web page"])
def test_a_server_that_stops_in_the_middle(world, good, tmp_path, fault):
    def misbehave(handler, number):
        return number >= 15 and FAULTS[fault](handler, number)

    out = tmp_path / "data"
    with ChatServer(misbehave) as server:
        run = generate(world, server.url, out, "--tries", 2)
        assert run.exit_code == 1
        line = run.output.strip().splitlines()[-1]
        assert line.startswith(
            f"Error: {server.url}: 5 requests in a row had no usable answer in 2"
        )
        assert line.endswith(
            f"Is the server there? 15 answers are kept in {out / 'math_answers.sqlite'}; the same "
            "command goes on from there"
        )
        assert files(out) == {}
        assert server.answered == kept(out) == 15
    with ChatServer() as server:  # another port: what was paid for stays paid for
        run = generate(world, server.url, out)
        assert run.exit_code == 0, run.output
        assert len(server.requests) == REQUESTS - 15
    assert files(out) == good


def test_single_requests_without_answer_are_asked_again_later(world, good, tmp_path):
    def misbehave(handler, number):
        return " 7 rows" in server.requests[number] and FAULTS["status 500"](handler, number)

    out = tmp_path / "data"
    with ChatServer(misbehave) as server:
        run = generate(world, server.url, out, "--tries", 2)
        assert run.exit_code == 1
        assert run.output.strip().splitlines()[-1] == (
            f"Error: {server.url}: 2 of 20 candidates have no answer (status 500: boom). "
            f"27 answers are kept in {out / 'math_answers.sqlite'}; the same command asks for the "
            "missing ones, and with --skip-unanswered goes on without"
        )
        rest = tmp_path / "rest"
        options = ("--tries", 1, "--skip-unanswered", "--json")
        options += ("--cache", out / "math_answers.sqlite")
        run = generate(world, server.url, rest, *options)
        assert run.exit_code == 0, run.output
        assert json.loads(run.stdout)["rejected"] == {"unanswered": 2}
        server.misbehave = lambda handler, number: False
        before = len(server.requests)
        assert generate(world, server.url, out).exit_code == 0
        assert len(server.requests) - before == 3
    assert files(out) == good


def test_half_a_letter_in_a_reply(world, good, tmp_path):
    def misbehave(handler, number):
        reply = completion(reply_to(server.requests[number]))
        send(handler, 200, reply.replace(" plants.", " plants\\ud83d."))
        return True

    with ChatServer(misbehave) as server:
        for more in ((), ("--overwrite",)):
            run = generate(world, server.url, tmp_path / "data", *more)
            assert run.exit_code == 0, run.output
        assert len(server.requests) == kept(tmp_path / "data") == REQUESTS
    assert b"plants?." in files(tmp_path / "data")["math_alignment.jsonl"]


def start(world, url: str, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "solar_plugins.cli", *arguments(world, url, out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("one", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_stopped_and_killed(world, good, tmp_path, one):
    def slow(handler, number):
        time.sleep(0.05)
        return False

    out = tmp_path / "data"
    with ChatServer(slow) as server:
        process = start(world, server.url, out)
        while server.answered < 8:
            time.sleep(0.01)
            assert process.poll() is None, process.communicate()
        os.kill(process.pid, one)
        output, _ = process.communicate(timeout=30)
        answered = server.answered
        if one == signal.SIGKILL:
            assert answered - 4 <= kept(out) <= answered  # four were under way at most
        else:
            assert process.returncode == 1
            assert kept(out) == answered  # those under way were waited for
            last = f"stopped. {answered} answers are kept in {out / 'math_answers.sqlite'}; the"
            assert last in output.splitlines()[-1]
        lost = answered - kept(out)
        assert files(out) == {}
        server.misbehave = lambda handler, number: False
        before = len(server.requests)
        assert generate(world, server.url, out).exit_code == 0
        assert len(server.requests) - before == REQUESTS - answered + lost
    assert files(out) == good


def test_replies_that_make_no_candidate(world, tmp_path):
    def misbehave(handler, number):
        text = server.requests[number]
        rephrase = text.startswith("Rewrite")
        for mark, status, reply in (
            (" 3 rows", 400, "too long"),
            (" 4 rows", 200, completion("Problem: " + text.split("Problem:\n")[1])),
            (" 5 rows", 200, completion("x" * 5000)),
            (" 6 rows", 200, completion("It is $\\boxed{36}$.")),
        ):
            if mark in text and rephrase:
                send(handler, status, reply)
                return True
        for mark, reply in (
            (" 7 rows", completion("It is $\\boxed{50}$.")),
            (" 8 rows", completion("Many.")),
            (" 9 rows", completion(reply_to(text), finish_reason="length")),
            (" 10 rows", completion("", finish_reason="length")),
            (" 11 rows", completion("", finish_reason="content_filter")),
        ):
            if mark in text and not rephrase:
                send(handler, 200, reply)
                return True
        return False

    with ChatServer(misbehave) as server:
        run = generate(world, server.url, tmp_path / "data", "--json")
        assert run.exit_code == 0, run.output
        asked = len(server.requests)
        again = generate(world, server.url, tmp_path / "data", "--json", "--overwrite")
        assert len(server.requests) == asked + 1  # only what the server refused is asked again
    assert json.loads(run.stdout)["rejected"] == {
        "answered": 1,
        "no_answer": 2,
        "refused_by_server": 3,
        "truncated": 4,
        "unchanged": 1,
        "wrong_answer": 2,
        "wrong_length": 1,
    }
    assert json.loads(run.stdout) == json.loads(again.stdout)


@pytest.mark.parametrize(
    ("status", "what"), [(401, "the key"), (404, "the address or the model"), (307, "the address")]
)
def test_the_key_goes_to_the_server_and_nowhere_else(world, tmp_path, monkeypatch, status, what):
    monkeypatch.setenv(
        "MY_KEY", KEY + "\n"
    )  # as `export MY_KEY=$(cat file)` never gives, editors do

    def misbehave(handler, number):
        if number < 9:
            return False
        send(handler, status, f"what is {handler.headers['Authorization']} ?", Location="/v2")
        return True

    out = tmp_path / "data"
    with ChatServer(misbehave) as server:
        run = generate(world, server.url, out, "--api-key-variable", "MY_KEY")
        assert server.headers["Authorization"] == f"Bearer {KEY}"
        line = run.output.strip().splitlines()[-1]
        assert line.startswith(
            f"Error: {server.url}/chat/completions: status {status}: what is Bearer … ?. "
            f"Look at {what} "
        )
        assert len(server.requests) <= 9 + 4  # those that were under way
        server.misbehave = lambda handler, number: False
        again = generate(world, server.url, out, "--api-key-variable", "MY_KEY")
        assert again.exit_code == 0
    for output in (run.output, again.output):
        assert KEY not in output
    for file in out.iterdir():
        assert KEY.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--server", "localhost:8000"], "found. Write http://localhost:8000/v1"),
        (["--server", f"http://me:{KEY}@x/v1"], "--server: a secret in the address."),
        (["--server", f"http://x/v1?key={KEY}"], "--server: a secret in the address."),
        (["--api-key-variable", "BAD_KEY"], "BAD_KEY: no key of a server. Letters, digits and"),
        (["--cache", "MATH"], "no cache of answers (file is not a database). Give another --cache"),
    ],
)
def test_faults(world, tmp_path, monkeypatch, options, message):
    monkeypatch.setenv("BAD_KEY", "schlüssel")
    options = [str(world["metamathqa"]) if option == "MATH" else option for option in options]
    run = generate(world, "http://127.0.0.1:9/v1", tmp_path / "data", *options)
    assert run.exit_code == 1
    assert message in run.output
    assert KEY not in run.output


def test_a_seed_within_reach_of_a_benchmark_is_not_paid_for(world, tmp_path):
    question = TRAIN[0][0]
    rows = [*math_test_rows(), {"problem": f"Think. {question}", "solution": "$\\boxed{9}$"}]
    near = write_jsonl(tmp_path / "test.jsonl", rows)
    with ChatServer() as server:
        # 13 words in a row of that problem, and so of all others of its kind but for the number
        run = generate(world, server.url, tmp_path / "data", "--math-test", near, "--json")
    card = json.loads(run.stdout)
    asked = {text.split("Problem:\n")[1] for text in server.requests}
    assert question not in asked
    assert card["rejected"]["seed_within_reach"] == 1
    assert card["server"]["problems"] == 9


def test_pace_and_retry_after(world, tmp_path):
    def misbehave(handler, number):
        return number == 5 and says("wait", 429, Retry_After="0.5")(handler, number)

    with ChatServer(misbehave) as server:
        options = ("--problems", 5, "--requests-per-minute", 1200)
        run = generate(world, server.url, tmp_path / "data", *options)
        assert run.exit_code == 0, run.output
        times = server.times
    assert len(times) == 16
    # At least 0.05 s between two requests, and 0.5 s after the sixth (less what the net took).
    assert times[-1] - times[6] > 9 * 0.05 * 0.8
    assert times[7] - times[5] > 0.4  # one more may have been under way already
