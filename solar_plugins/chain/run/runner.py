"""Runs a chain: what is not yet done, in order, each output verified before the next stage starts.

Nothing that is good is overwritten: the output of an older recipe is moved aside, finished work of
more than minutes is made again on request only (`finished_work`), and a folder of another chain is
refused (`decision`).
"""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from solar_plugins import atomic, run_record
from solar_plugins.chain.chain_file import BASE_MODEL, Chain, Stage
from solar_plugins.chain.missing_inputs import is_local, missing_input
from solar_plugins.chain.resolve import resolve, with_plain_folders
from solar_plugins.chain.run import fingerprint, finished_work, launcher, stages
from solar_plugins.chain.run.decision import Decision, decide
from solar_plugins.chain.run.progress import Display
from solar_plugins.chain.run.record import DONE, FAILED, FORCED, RUNNING, Record
from solar_plugins.chain.run.run_folder import RunFolder
from solar_plugins.chain.run.worker import Outcome, Work, Workers
from solar_plugins.chain.training.metrics import METRICS_VARIABLE
from solar_plugins.errors import SolarError
from solar_plugins.models import training_checkpoints

_POLL_S = 0.2


class StageFailed(SolarError):
    """A stage ended without a sound output."""


class Runner:
    """Runs the stages of one chain.

    Args:
        launcher_name: `launcher.IN_PROCESS`, or what ``axolotl train --launcher`` takes.
        launcher_args: Passed on to the launcher.
    """

    def __init__(
        self,
        chain: Chain,
        display: Display,
        launcher_name: str = launcher.IN_PROCESS,
        launcher_args: Sequence[str] = (),
    ) -> None:
        self.chain = chain
        self.folder = RunFolder(chain.output_dir)
        self.display = display
        self._launcher = launcher_name
        self._launcher_args = list(launcher_args)
        self._started: Workers | None = None

    def run(
        self, order: Sequence[Stage], redo: Collection[str] = (), keep: Collection[str] = ()
    ) -> None:
        """Run what is not done of `order`, in which each stage comes after what it needs.

        Args:
            redo: Finished stages to be made again.
            keep: Finished stages whose output is accepted although their inputs changed.

        Raises:
            SolarError: nothing was started because something is wrong with chain or folder, or
                because much finished work would be made again.
            StageFailed: a stage failed; those before it are done.
        """
        self.folder.claim(self.chain)
        self._check_before_start(order)
        with self.folder.lock(), _sigterm_like_ctrl_c():
            plan = finished_work.plan(self.chain, order, self.folder, redo, keep)
            for line in (*plan.lines(), *plan.warnings()):
                self.display.say(line)
            if refusal := plan.refusal():
                raise SolarError(refusal)
            self.folder.upgrade_records()
            finished_work.approve(plan, self.folder, redo)
            shutil.rmtree(self.folder.temporary, ignore_errors=True)
            self.folder.write_run(self.chain, self._chain_text(), fingerprint.all_versions())
            may_redo = {finished.name for finished in plan.finished}
            for place, stage in enumerate(order):
                decision = self._decide(stage, keep)
                if decision.action == "skip":
                    continue
                if decision.redoes and stage.name not in may_redo:
                    raise SolarError(
                        f"{stage.name}: {decision.why}, after the run had started. "
                        f"Start the same command again."
                    )
                self._run_stage(stage, decision, self._workers(order[place:]))

    def _check_before_start(self, order: Sequence[Stage]) -> None:
        """Find what would stop a later stage before the first one starts."""
        if any(BASE_MODEL in stage.from_ for stage in order):
            base = self.chain.base_model
            made_here = Path(base).is_relative_to(self.chain.output_dir)
            if is_local(base) and not made_here and not Path(base).is_dir():
                raise SolarError(
                    f"{self.chain.path}: base_model: {base} is not there. "
                    f"Name a folder with a model, or a hub id (owner/name)."
                )
        for stage in order:
            recipe = resolve(self.chain, stage)
            if self.folder.read_record(stage.name) is None:
                decide(self.chain, stage, self.folder)
            if stage.kind == "train":
                inputs = {key: value for key, value in recipe.items() if key != "base_model"}
                fault = missing_input(inputs, made_below=self.chain.output_dir)
                if fault:
                    raise SolarError(f"{stage.file}: {fault}")

    def _decide(self, stage: Stage, keep: Collection[str]) -> Decision:
        """What to do about `stage` now that those before it are done; shows what needs nothing."""
        decision = decide(self.chain, stage, self.folder)
        if decision.redoes and stage.name in keep and decision.record is not None:
            self.folder.write_record(finished_work.kept(stage, decision.record, decision))
            self.display.say(f"{stage.name}: {decision.why}; kept as it is")
            decision = decide(self.chain, stage, self.folder)
        if decision.action == "skip" and (record := decision.record) is not None:
            if record.redo:
                record.redo = None
                self.folder.write_record(record)
            row = self.display.rows[stage.name]
            row.wall_s, row.peak_memory_gib = record.wall_s, record.peak_memory_gib
            self.display.set(stage.name, "done", "already")
        return decision

    def _workers(self, to_come: Sequence[Stage]) -> Workers:
        if self._started is None:
            kinds = {stage.kind for stage in to_come}
            if self._launcher != launcher.IN_PROCESS:
                kinds.discard("train")
            lock, log = self.folder.hidden / "work.lock", self.folder.log("imports")
            self._started = Workers(kinds, lock=lock, log=log)
        return self._started

    def _run_stage(self, stage: Stage, decision: Decision, workers: Workers) -> None:
        name = stage.name
        record = self._new_record(stage, decision)
        self.folder.write_record(record)
        note = self._prepare(stage, decision)
        start = time.monotonic()
        self.display.set(name, "running", note)
        row = self.display.rows[name]
        try:
            made = self._watch(stage, self._start(stage, workers))
            record.peak_memory_gib = max(record.peak_memory_gib, made.peak_memory_gib)
            row.peak_memory_gib = record.peak_memory_gib
            record.error = made.error
            found = Outcome()
            if record.error is None:
                self.display.set(name, "checking")
                found = self._watch(stage, self._start_check(stage, decision.recipe, workers))
                record.error = found.error
        except KeyboardInterrupt:
            record.error = "interrupted"
            raise
        finally:
            record.wall_s = round(record.wall_s + time.monotonic() - start, 3)
            self.folder.write_record(record)
        if record.error is not None:
            record.state = FAILED
            self.folder.write_record(record)
            self.display.set(name, "failed")
            raise StageFailed(f"{name}: {record.error} Full log: {self.folder.log(name)}")
        record.state = DONE
        record.facts = {**(made.value or {}), **found.value["facts"]}
        record.outputs = found.value["outputs"]
        self.folder.write_record(record)
        training_checkpoints.remove_incomplete(self.folder.stage(name))
        row.wall_s = record.wall_s
        self.display.set(name, "done", _facts_text(record))

    def _new_record(self, stage: Stage, decision: Decision) -> Record:
        """The record of an attempt; what an older recipe made is moved aside first."""
        name, old = stage.name, decision.record
        measured: dict[str, str] = {}
        if decision.action == "again" and old is not None:
            kept = self.folder.set_aside(name)
            self.display.say(f"{name}: {decision.why}; the old output is kept at {kept}")
            measured = self._keep_results(stage, decision, old, kept)
        before = old if decision.action == "continue" else None
        if before is not None:
            measured = before.inputs["from"]
            if other := fingerprint.other_versions(before):
                self.display.say(f"{name}: begun with {other}; goes on with what is installed")
        return Record(
            stage=name,
            kind=stage.kind,
            from_=list(stage.from_),
            state=RUNNING,
            fingerprint=decision.fingerprint,
            inputs={**decision.inputs, "from": {**measured, **decision.inputs["from"]}},
            started=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            attempts=before.attempts + 1 if before else 1,
            wall_s=before.wall_s if before else 0.0,
            peak_memory_gib=before.peak_memory_gib if before else 0.0,
            versions=fingerprint.tool_versions(stage.kind),
        )

    def _keep_results(
        self, stage: Stage, decision: Decision, old: Record, kept: Path
    ) -> dict[str, str]:
        """Of an evaluation of other models, take over the results that still hold.

        Returns:
            The digests of the models that were measured, by name.
        """
        alone = fingerprint.differ_in_models_alone(stage, old.inputs, decision.inputs)
        if old.redo == FORCED or not alone:
            return {}
        measured = {}
        for name, digest in old.inputs["from"].items():
            is_same = decision.inputs["from"].get(name, digest) == digest
            if is_same and (kept / f"{name}.json").is_file():
                place = self.folder.stage(stage.name)
                place.mkdir(exist_ok=True)
                shutil.copy2(kept / f"{name}.json", place / f"{name}.json")
                measured[name] = digest
        return measured

    def _prepare(self, stage: Stage, decision: Decision) -> str:
        """Write the resolved file, clear what an earlier attempt left half; a note for people."""
        name, place = stage.name, self.folder.stage(stage.name)
        resolved = dict(decision.recipe)
        note = ""
        if decision.action != "continue":
            self.folder.metrics(name).unlink(missing_ok=True)
        self.folder.metrics(name).with_suffix(".step").unlink(missing_ok=True)
        if stage.kind == "train":
            prepared = self.folder.prepared(name, decision.fingerprint)
            resolved["dataset_prepared_path"] = str(prepared)
            _clear_prepared(prepared)
            run_record.path(place, "stage").unlink(missing_ok=True)
            # sDPO finds its own way back, step by step.
            if decision.action == "continue" and "sdpo" not in resolved:
                for weights in place.glob("*.safetensors"):
                    weights.unlink()
                checkpoint = training_checkpoints.newest_whole(place)
                if checkpoint:
                    resolved["resume_from_checkpoint"] = str(checkpoint)
                    note = f"goes on from {checkpoint.name}"
        if stage.kind == "merge":
            resolved = with_plain_folders(resolved)
        text = yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True)
        atomic.write_text(self.folder.resolved(name), text)
        return note or ("goes on" if decision.action == "continue" else "")

    def _start(self, stage: Stage, workers: Workers) -> Work:
        name = stage.name
        resolved, log = self.folder.resolved(name), self.folder.log(name)
        metrics = self.folder.metrics(name)
        common: dict[str, Any] = {"log": log, "env": {METRICS_VARIABLE: str(metrics.absolute())}}
        place, temporary = self.folder.stage(name), self.folder.temporary
        if stage.kind == "train" and self._launcher != launcher.IN_PROCESS:
            command = launcher.train_command(resolved, self._launcher, self._launcher_args)
            return workers.start(stages.launch, command, log, with_imports=False, **common)
        if stage.kind == "train":
            return workers.start(stages.train, resolved, **common)
        if stage.kind == "merge":
            return workers.start(stages.merge, resolved, place, temporary, **common)
        if stage.kind == "data":
            parts = self.folder.parts(name)
            return workers.start(stages.generate, resolved, place, temporary, parts, **common)
        models = {source: self.chain.model_path(source) for source in stage.from_}
        gpus = 0 if self._launcher == launcher.IN_PROCESS else launcher.gpu_count()
        return workers.start(stages.evaluate, resolved, models, place, metrics, gpus, log, **common)

    def _start_check(self, stage: Stage, recipe: dict[str, Any], workers: Workers) -> Work:
        place, log = self.folder.stage(stage.name), self.folder.log(stage.name)
        return workers.start(stages.check, stage.kind, recipe, place, list(stage.from_), log=log)

    def _watch(self, stage: Stage, work: Work) -> Outcome:
        try:
            while (outcome := work.poll()) is None:
                self.display.update(stage.name, self.folder.metrics(stage.name))
                time.sleep(_POLL_S)
        except BaseException:
            work.kill()
            raise
        self.display.update(stage.name, self.folder.metrics(stage.name))
        return outcome

    def _chain_text(self) -> str:
        """The chain as it is run, after --base-model and --set."""
        chain = self.chain
        entries = {}
        for stage in chain.stages.values():
            optional = {
                "from": list(stage.from_),
                "after": list(stage.after),
                "set": dict(chain.settings.get(stage.name, {})),
            }
            given = {key: value for key, value in optional.items() if value}
            entries[stage.name] = {stage.kind: str(stage.file), **given}
        content = {
            "name": chain.name,
            "base_model": chain.base_model,
            "output_dir": str(chain.output_dir),
            "stages": entries,
            **({} if chain.seed is None else {"seed": chain.seed}),
        }
        heading = f"# {chain.path} as it is run; paths count from the working directory.\n"
        return heading + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _facts_text(record: Record) -> str:
    layers, parameters = (record.facts.get(key) for key in ("num_hidden_layers", "parameters"))
    parts = [f"{layers} layers"] if layers else []
    parts += [f"{parameters:,} parameters"] if parameters else []
    donor = record.facts.get("donor")  # of a merge
    return ", ".join([*parts, f"config and tokenizer of {donor}"] if donor else parts)


def _clear_prepared(prepared: Path) -> None:
    """Remove tokenised data of other inputs, and of a process that was killed while it wrote them.

    Axolotl takes a prepared folder that is not empty for a whole one; ``datasets`` writes
    ``state.json`` and ``dataset_info.json`` last. Its lock and counter files also outlive a kill.
    """
    others = [path for path in _entries(prepared.parent) if path != prepared]
    for path in (*others, *_entries(prepared)):
        if path.is_file():
            path.unlink()
        elif path in others or not all(
            (path / name).is_file() for name in ("state.json", "dataset_info.json")
        ):
            shutil.rmtree(path)


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


@contextmanager
def _sigterm_like_ctrl_c() -> Iterator[None]:
    """A scheduler's SIGTERM ends the run as Ctrl-C does; only the main thread can arrange that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
