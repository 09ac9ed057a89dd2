"""Runs a chain: what is not yet done, in order, each output verified before the next stage starts.

Nothing that is good is overwritten: the output of an older recipe is moved aside, finished work of
more than minutes is made again on request only, and a folder of another chain is refused
(`decision`).
"""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from solar_plugins import atomic, run_record
from solar_plugins.chain.chain_file import BASE_MODEL, Chain, Stage
from solar_plugins.chain.missing_inputs import is_local, missing_input
from solar_plugins.chain.resolve import resolve, with_plain_folders
from solar_plugins.chain.run import decision as decisions
from solar_plugins.chain.run import fingerprint, stages
from solar_plugins.chain.run import launcher as launchers
from solar_plugins.chain.run.decision import Decision
from solar_plugins.chain.run.progress import Display
from solar_plugins.chain.run.record import DONE, FAILED, FORCED, RUNNING, Record
from solar_plugins.chain.run.run_folder import RunFolder
from solar_plugins.chain.run.worker import Work, Workers
from solar_plugins.chain.training.metrics import METRICS_VARIABLE
from solar_plugins.errors import SolarError
from solar_plugins.installed import require
from solar_plugins.models import training_checkpoints
from solar_plugins.sdpo.step_records import MARKER


@dataclass
class Runner:
    """Runs the stages of one chain."""

    chain: Chain
    display: Display
    launcher: str = launchers.IN_PROCESS  # or what ``axolotl train --launcher`` takes
    launcher_args: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.folder = RunFolder(self.chain.output_dir)

    def run(
        self, order: Sequence[Stage], redo: Collection[str] = (), keep: Collection[str] = ()
    ) -> None:
        """Run what is not done of `order`, in which each stage comes after what it needs; finished
        stages in `redo` are made again, those in `keep` accepted although their inputs changed.

        Raises:
            SolarError: a stage failed; or nothing was started, because something is wrong with
                chain or folder, or because much finished work would be made again.
        """
        self.folder.claim(self.chain)
        self._check_before_start(order)
        with self.folder.lock(), _sigterm_like_ctrl_c():
            plan = decisions.plan(self.chain, order, self.folder, redo, keep)
            for line in decisions.lines(plan):
                self.display.say(line)
            decisions.refuse_long_work(plan)
            self.folder.upgrade_records()
            decisions.approve(plan, self.folder, redo)
            shutil.rmtree(self.folder.temporary, ignore_errors=True)
            versions = fingerprint.tool_versions(*fingerprint.TOOLS)
            self.folder.write_run(self.chain, self._chain_text(), versions)
            may_redo = {each.stage.name for each in plan if each.redoes}
            kinds = {each.stage.kind for each in plan if each.action not in ("skip", "keep")}
            workers = None
            for stage in order:
                decision = self._decide(stage, keep)
                if decision.action == "skip":
                    continue
                if decision.redoes and stage.name not in may_redo:
                    raise SolarError(
                        f"{stage.name}: {decision.why}, after the run had started. "
                        f"Start the same command again."
                    )
                if decision.action == "continue" and stage.kind == "train":
                    self._refuse_other_processes(stage)
                workers = workers or self._workers(kinds)
                self._run_stage(decision, workers)

    def _check_before_start(self, order: Sequence[Stage]) -> None:
        """Find what would stop a later stage before the first one starts."""
        base, output_dir = self.chain.base_model, self.chain.output_dir
        made_here = Path(base).is_relative_to(output_dir) or Path(base).is_dir()
        if is_local(base) and not made_here and any(BASE_MODEL in s.from_ for s in order):
            raise SolarError(
                f"{self.chain.path}: base_model: {base} is not there. "
                f"Name a folder with a model, or a hub id (owner/name)."
            )
        for stage in order:
            recipe = resolve(self.chain, stage)
            if self.folder.read_record(stage.name) is None:
                decisions.decide(self.chain, stage, self.folder)
            if stage.kind == "train" and (
                fault := missing_input({**recipe, "base_model": None}, made_below=output_dir)
            ):
                raise SolarError(f"{stage.file}: {fault}")

    def _decide(self, stage: Stage, keep: Collection[str]) -> Decision:
        """What to do about `stage` now that those before it are done; shows what needs nothing."""
        decision = decisions.decide(self.chain, stage, self.folder)
        if decision.redoes and stage.name in keep and decision.record is not None:
            self.folder.write_record(decisions.kept(decision, decision.record))
            self.display.say(f"{stage.name}: {decision.why}; kept as it is")
            decision = decisions.decide(self.chain, stage, self.folder)
        if decision.action == "skip" and (record := decision.record) is not None:
            if record.redo:
                record.redo = None
                self.folder.write_record(record)
            if self.chain.remove_checkpoints and stage.kind == "train":
                training_checkpoints.remove_all(self.folder.stage(stage.name))
            row = self.display.rows[stage.name]
            row.wall_s, row.peak_memory_gib = record.wall_s, record.peak_memory_gib
            self.display.set(stage.name, "done", "already")
        return decision

    def _refuse_other_processes(self, stage: Stage) -> None:
        """Find before any model is loaded what DeepSpeed would find after: under ZeRO a training
        resumes on as many processes as saved its checkpoint, and on no other number."""
        place = self.folder.stage(stage.name)
        now = launchers.processes(self.launcher, self.launcher_args)
        if now is None:
            return
        name = "accelerate" if self.launcher == "accelerate" else "torchrun"
        option = "--num_processes" if name == "accelerate" else "--nproc-per-node"
        way_out = f"--launcher {name} -- {option}={{saved}}"
        steps = [step for step in place.glob("step_*") if not (step / MARKER).exists()]  # of sDPO
        for folder in (place, *steps):
            newest = training_checkpoints.newest_in(folder)
            training_checkpoints.refuse_other_processes(newest, now, way_out)

    def _workers(self, kinds: set[str]) -> Workers:
        require(*(tool for kind in sorted(kinds) for tool in fingerprint.TOOLS[kind]))
        if self.launcher != launchers.IN_PROCESS:
            kinds = kinds - {"train"}  # Axolotl's own command imports what it needs
        return Workers(kinds, self.folder.hidden / "work.lock", self.folder.log("imports"))

    def _run_stage(self, decision: Decision, workers: Workers) -> None:
        stage, name = decision.stage, decision.stage.name
        row, place, log = self.display.rows[name], self.folder.stage(name), self.folder.log(name)
        record = self._new_record(decision)
        self.folder.write_record(record)
        note = self._prepare(decision)
        start = time.monotonic()
        self.display.set(name, "running", note)

        def show() -> None:
            self.display.update(name, self.folder.metrics(name))

        try:
            made = found = self._start(stage, workers).wait(show)
            record.peak_memory_gib = max(record.peak_memory_gib, made.peak_memory_gib)
            row.peak_memory_gib = record.peak_memory_gib
            if made.error is None:
                self.display.set(name, "checking")
                to_check = (stage.kind, decision.recipe, place, list(stage.from_))
                found = workers.start(stages.check, *to_check, log=log).wait(show)
            record.error, record.state = found.error, FAILED
            if found.error is None:
                record.state, record.outputs = DONE, found.value["outputs"]
                record.facts = {**(made.value or {}), **found.value["facts"]}
        except KeyboardInterrupt:
            record.error = "interrupted"
            raise
        finally:
            record.wall_s = round(record.wall_s + time.monotonic() - start, 3)
            self.folder.write_record(record)
        if record.state == FAILED:
            self.display.set(name, "failed")
            raise SolarError(f"{name}: {record.error} Full log: {log}")
        training_checkpoints.remove_incomplete(place)
        if self.chain.remove_checkpoints and stage.kind == "train":
            training_checkpoints.remove_all(place)
        row.wall_s = record.wall_s
        layers, parameters = (record.facts.get(k) for k in ("num_hidden_layers", "parameters"))
        facts = [f"{layers} layers"] if layers else []
        facts += [f"{parameters:,} parameters"] if parameters else []
        donor = record.facts.get("donor")  # of a merge
        facts += [f"config and tokenizer of {donor}"] if donor else []
        self.display.set(name, "done", ", ".join(facts))

    def _new_record(self, decision: Decision) -> Record:
        """The record of an attempt; what an older recipe made is moved aside first."""
        stage, name, old = decision.stage, decision.stage.name, decision.record
        measured: dict[str, str] = {}
        if decision.action == "again" and old is not None:
            kept = self.folder.set_aside(name)
            self.display.say(f"{name}: {decision.why}; the old output is kept at {kept}")
            measured = self._keep_results(decision, old, kept)
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

    def _keep_results(self, decision: Decision, old: Record, kept: Path) -> dict[str, str]:
        """Of an evaluation of other models, take over the results that still hold; returns the
        digests of the models that were measured, by name."""
        stage, now = decision.stage, decision.inputs["from"]
        alone = fingerprint.differ_in_models_alone(stage, old.inputs, decision.inputs)
        measured = {}
        for name, digest in old.inputs["from"].items() if alone and old.redo != FORCED else ():
            result = kept / f"{name}.json"
            if now.get(name, digest) == digest and result.is_file():
                place = self.folder.stage(stage.name)
                place.mkdir(exist_ok=True)
                shutil.copy2(result, place)
                measured[name] = digest
        return measured

    def _prepare(self, decision: Decision) -> str:
        """Write the resolved file, clear what an earlier attempt left half; a note for people."""
        stage, name = decision.stage, decision.stage.name
        place, metrics = self.folder.stage(name), self.folder.metrics(name)
        resolved = dict(decision.recipe)
        goes_on = decision.action == "continue"
        note = "goes on" if goes_on else ""
        if not goes_on:
            metrics.unlink(missing_ok=True)
        metrics.with_suffix(".step").unlink(missing_ok=True)
        if stage.kind == "train":
            prepared = self.folder.prepared(name, decision.fingerprint)
            resolved["dataset_prepared_path"] = str(prepared)
            _clear_prepared(prepared)
            run_record.path(place, "stage").unlink(missing_ok=True)
            # sDPO finds its own way back, step by step.
            if goes_on and resolved.get("sdpo") is None:
                for weights in place.glob("*.safetensors"):
                    weights.unlink()
                if checkpoint := training_checkpoints.newest_whole(place):
                    resolved["resume_from_checkpoint"] = str(checkpoint)
                    note = f"goes on from {checkpoint.name}"
        if stage.kind == "merge":
            resolved = with_plain_folders(resolved)
        text = yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True)
        atomic.write_text(self.folder.resolved(name), text)
        return note

    def _start(self, stage: Stage, workers: Workers) -> Work:
        """Start the child that makes `stage`."""
        name, kind = stage.name, stage.kind
        resolved, log = self.folder.resolved(name), self.folder.log(name)
        place, metrics = self.folder.stage(name), self.folder.metrics(name)
        in_process = self.launcher == launchers.IN_PROCESS
        command = launchers.train_command(resolved, self.launcher, self.launcher_args)
        models = {source: self.chain.pinned_path(source) for source in stage.from_}
        gpus = launchers.gpu_count() if kind == "evaluate" and not in_process else 0
        new = (resolved, place, self.folder.temporary)
        work: tuple[Any, ...] = {
            "train": (stages.train, resolved) if in_process else (stages.launch, command, log),
            "merge": (stages.merge, *new),
            "data": (stages.generate, *new, self.folder.parts(name)),
            "evaluate": (stages.evaluate, resolved, models, place, metrics, gpus, log),
        }[kind]
        env = {METRICS_VARIABLE: str(metrics.absolute())}
        return workers.start(*work, log=log, env=env)

    def _chain_text(self) -> str:
        """The chain as it is run, after --base-model and --set."""
        chain = self.chain
        content = {
            "name": chain.name,
            "base_model": chain.base_model,
            "output_dir": str(chain.output_dir),
            "stages": {
                stage.name: {
                    stage.kind: str(stage.file),
                    **({"from": list(stage.from_)} if stage.from_ else {}),
                    **({"after": list(stage.after)} if stage.after else {}),
                    **({"set": chain.settings[stage.name]} if stage.name in chain.settings else {}),
                }
                for stage in chain.stages.values()
            },
            **({} if chain.seed is None else {"seed": chain.seed}),
            **({"data": dict(chain.data)} if chain.data else {}),
            **({"revisions": dict(chain.revisions)} if chain.revisions else {}),
            **({"remove_checkpoints": True} if chain.remove_checkpoints else {}),
        }
        heading = f"# {chain.path} as it is run; paths count from the working directory.\n"
        return heading + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _clear_prepared(prepared: Path) -> None:
    """Remove tokenised data of other inputs, and of a process that was killed while it wrote them.

    Axolotl takes a prepared folder that is not empty for a whole one; ``datasets`` writes
    ``state.json`` and ``dataset_info.json`` last. Its lock and counter files also outlive a kill.
    """
    for path in [*prepared.parent.glob("*"), *prepared.glob("*")]:
        whole = all((path / name).is_file() for name in ("state.json", "dataset_info.json"))
        if path.is_file():
            path.unlink()
        elif path != prepared and not (path.parent == prepared and whole):
            shutil.rmtree(path)


@contextmanager
def _sigterm_like_ctrl_c() -> Iterator[None]:
    """A scheduler's SIGTERM ends the run as Ctrl-C does; only the main thread can arrange that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Python's own handler of SIGINT, which raises KeyboardInterrupt.
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
