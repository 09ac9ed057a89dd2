"""What a run tells loggers and the Hub, and what its evaluations decide."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from sdpo_world import Run, dataset, make_preferences, probed, recipe, sha256

from solar_plugins import run_record

pytestmark = pytest.mark.slow

PLUGINS = ["solar_plugins.StepwiseDPOPlugin", "sdpo_probe.ProbePlugin"]


@pytest.fixture(scope="module")
def world(small_world):
    # Twice the same words on both sides: what the model learns from the others hurts here.
    rows = [json.loads(line) for line in (small_world / "orca.jsonl").read_text().splitlines()]
    turned = [row | {"chosen": row["rejected"], "rejected": row["chosen"]} for row in rows]
    (small_world / "turned.jsonl").write_text("".join(json.dumps(r) + "\n" for r in turned))
    make_preferences(small_world / "held_out.jsonl", 6, seed=8)
    return small_world


@pytest.fixture(scope="module")
def watched(world) -> Path:
    """Evaluation sets of the steps' own, early stopping in the first, TensorBoard."""

    def of(name):
        return [dataset(world / f"{name}.jsonl", "chatml.default")]

    steps = [
        {"datasets": of("orca"), "test_datasets": of("turned"), "early_stopping_patience": 2},
        {"datasets": of("math"), "test_datasets": of("held_out")},
    ]
    values = recipe(
        world,
        output_dir=str(world / "watched"),
        plugins=PLUGINS,
        eval_steps=1,
        save_steps=1,
        eval_strategy=None,
        use_tensorboard=True,
    )
    Run(values | {"sdpo": {"steps": steps}}).end()
    return world / "watched"


def test_each_step_has_its_evaluation_set_and_stops_by_it(watched):
    first, second = run_record.read(watched, "sdpo")["steps"]
    assert first["steps"] == 3  # of 5: two evaluations were worse than the first
    assert second["steps"] == 5
    evaluations = [
        (e["logs"]["sdpo_step"], e["logs"]["eval_loss"])
        for e in probed(watched)
        if e["event"] == "pre" and "eval_loss" in e["logs"]
    ]
    assert len([loss for step, loss in evaluations if step == 1]) == 4  # once before training
    assert len([loss for step, loss in evaluations if step == 2]) == 6
    of_second = [loss for step, loss in evaluations if step == 2]
    assert of_second[-1] < of_second[0]


def test_early_stopping_keeps_the_best_model_of_its_step(watched):
    state = json.loads((watched / "step_1" / "checkpoint-3" / "trainer_state.json").read_text())

    assert state["best_global_step"] == 1
    assert sha256(watched / "step_1") == sha256(watched / "step_1" / "checkpoint-1")


def test_tensorboard_has_one_curve_that_names_the_step(watched):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = EventAccumulator(str(watched / "runs"))
    curves.Reload()
    steps = [(e.step, e.value) for e in curves.Scalars("train/sdpo_step")]
    losses = [e.step for e in curves.Scalars("train/loss")]

    assert losses == [1, 2, 3, 4, 5, 6, 7, 8]
    assert {value for step, value in steps if step < 3} == {1.0}
    assert {value for step, value in steps if step > 3} == {2.0}


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as a push asks for; it remembers what it was sent."""

    asked: ClassVar[list[tuple[str, dict | list | None]]] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        lines = [json.loads(line) for line in body.splitlines() if line.startswith(b"{")]
        type(self).asked.append((self.path, lines[0] if len(lines) == 1 else lines))
        answer: dict = {}
        if self.path == "/api/repos/create":
            answer = {"url": f"http://{self.headers['Host']}/me/final", "id": "1"}
        elif "/preupload/" in self.path:
            answer = {
                "files": [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in lines[0]["files"]
                ]
            }
        elif "/commit/" in self.path:
            answer = {
                "commitUrl": f"http://{self.headers['Host']}/me/final/commit/1",
                "commitOid": "1",
            }
        self._answer(answer)

    def do_GET(self):
        self._answer({"siblings": [], "id": "me/final", "sha": "0"})

    def _answer(self, value: dict):
        text = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def test_only_the_last_model_is_pushed(world, monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"

    class PushingRun(Run):
        def _train(self):
            from huggingface_hub import constants

            constants.HF_HUB_OFFLINE = False
            constants.ENDPOINT = address
            from transformers.utils import hub

            api = hub.hf_api()
            api.endpoint, api.token = address, "hf_token"
            super()._train()

    steps = [
        {"datasets": [dataset(world / f"{name}.jsonl", "chatml.default")]}
        for name in ("orca", "math")
    ]
    values = recipe(world, output_dir=str(world / "pushed"), plugins=PLUGINS, max_steps=2)
    values |= {"hub_model_id": "me/final", "sdpo": {"steps": steps}}
    PushingRun(values).end()
    server.shutdown()

    created = [body for path, body in Hub.asked if path == "/api/repos/create"]
    commits = [body for path, body in Hub.asked if "/commit/" in path]
    assert len(commits) == 1
    assert created[0]["name"] == "final"
    files = {line["value"]["path"] for line in commits[0] if line["key"] == "file"}
    assert {"model.safetensors", "config.json", "README.md", "tokenizer.json"} <= files
    assert not [name for name in files if name.startswith(("step_", "checkpoint", "sdpo_"))]
