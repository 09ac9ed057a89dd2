"""A small project with a run that looks like one of `solar run`, with secrets where asked."""

from __future__ import annotations

import json
from pathlib import Path

from packs import good_files

from solar_plugins.chain.run.record import Record
from solar_plugins.chain.run.run_folder import RunFolder

SECRETS = {
    "a Hugging Face token": "hf_" + "AbCdEfGhIj" * 3,
    "an OpenAI or Anthropic key": "sk-" + "proj-" + "a1B2c3D4e5F6" * 3,
    "a Weights & Biases key": "WANDB_API_KEY=" + "0123456789abcdef" * 2 + "01234567",
    "an AWS key": "AKIA" + "ABCDEFGHIJKLMNOP",
    "a GitHub or GitLab token": "ghp_" + "a1B2c3D4e5" * 4,
    "a private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
    "an address with a password": "https://me:hunter2@example.org/data",
    "a JSON web token": "eyJhbGciOiJIUzI1NiJ9"
    + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0."
    + "SflKxwRJSMeKKF2QT4",
    "an authorization header": "Authorization: Bearer " + "abcdef0123456789ABCDEF",
    "a password": "db_password: correct-horse",
    "the value of $MY_SERVICE_TOKEN": "tr0ub4dor-and-three",
}


def write_project(folder: Path) -> None:
    """The files of the good pack, as a folder of recipes."""
    for name, data in good_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def write_run(folder: Path, text: str = "") -> None:
    """A finished run in ``outputs/shared``; `text` stands wherever a run can leave text."""
    run = RunFolder(folder / "outputs/shared")
    for name in ("stages", "logs", "metrics"):
        (run.hidden / name).mkdir(parents=True)
    chain = {"sft": ("train", ["base_model"]), "mix": ("merge", ["sft", "base_model"])}
    chain["h6"] = ("evaluate", ["mix"])
    for stage, (kind, sources) in chain.items():
        facts: dict = {"parameters": 1234, "num_hidden_layers": 2} if kind != "evaluate" else {}
        if kind == "train":
            facts["proofs"] = {"stage": {"steps": 3, "world_size": 4}}
        weights = {"size": 1, "sha256": "ab" * 32, "mtime_ns": 0}
        outputs = {"model.safetensors": weights} if kind != "evaluate" else {}
        state = "failed" if text and kind == "evaluate" else "done"
        error = text or None if state == "failed" else None
        run.write_record(
            Record(stage, kind, sources, state, "0" * 64, {}, outputs, facts=facts, error=error)
        )
        run.stage(stage).mkdir()
        run.log(stage).write_text(f"{text}\n")
    result = {
        "model": "mix",
        "model_path": f"{folder}/outputs/shared/mix",
        "tasks": {},
        "h6": None,
        "losses": {},
        "other": {"said": {"values": {}, "text": text}},
        "limit": None,
        "harness": {"lm_eval": "0.4.11"},
        "seconds": 1.0,
    }
    _write(run.stage("h6") / "mix.json", result)
    audit = {"rows_in": 10, "rows_removed": 2, "rows_out": 8, "recall_ceiling": text}
    audit["datasets"] = []
    _write(run.stage("sft") / "solar/flan_filter_audit.json", audit)
    note = {"chain": "shared", "chain_file": f"{folder}/recipes/shared.yml", "created": ""}
    _write(run.hidden / "run.json", {**note, "versions": {"axolotl": "0.19.0"}})
    (run.hidden / "chain.yml").write_text(
        "name: shared\nbase_model: owner/base\noutput_dir: outputs/shared\nstages:\n"
        "  sft: {train: recipes/sft.yml}\n"
        "  mix: {merge: recipes/mix.yml, from: [sft, base_model]}\n"
        "  h6: {evaluate: recipes/h6.yml, from: mix}\n"
    )


def _write(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
