"""The whole suite runs without network or GPU, on two cores.

The environment is set before anything heavy is imported; processes that tests start inherit it.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from good_files import FILES

os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    AXOLOTL_DO_NOT_TRACK="1",
    TOKENIZERS_PARALLELISM="false",
    DS_ACCELERATOR="cpu",
    CUDA_VISIBLE_DEVICES="",
    # Models this small lose more by sharing out than they win, and `make test` fills the cores.
    OMP_NUM_THREADS="1",
    # Datasets are saved in this process: one worker is a spawned one, with all imports anew.
    AXOLOTL_DATASET_NUM_PROC="0",
)
# A build of DeepSpeed's CPU extension that is killed leaves a lock on which every later start
# waits for ever: the tests build in a folder of their own.
os.environ.setdefault(
    "TORCH_EXTENSIONS_DIR", str(Path(tempfile.gettempdir()) / "solar_plugins_torch_extensions")
)

# Where flash-linear-attention can be imported, transformers takes its kernels (qwen3_next) and its
# classes (mamba) for its own, and these run on GPUs only. Without it there is a path in PyTorch.
sys.modules["fla"] = None

_STARTED_WARM = "axolotl.train" in sys.modules


@pytest.fixture(scope="session")
def server() -> Any:
    """Where processes are forked from: everything that stages need is imported once."""
    from solar_plugins.chain.run import worker

    if _STARTED_WARM:
        return multiprocessing.get_context("fork")
    context = multiprocessing.get_context("forkserver")
    modules = [name for kind in worker.PRELOAD.values() for name in kind]
    context.set_forkserver_preload([*worker._VERIFY, *modules])
    return context


@pytest.fixture
def good_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a chain of good files in it; each test spoils one of them."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``-m "not slow"``, slow files are not even imported: their imports are what is slow."""
    if config.option.markexpr != "not slow" or collection_path.suffix != ".py":
        return None
    text = collection_path.read_text(encoding="utf-8")
    return any(f"\npytestmark = {start}pytest.mark.slow" in text for start in ("", "[")) or None


ERRORS = Path(__file__).with_name("errors.yml")
_HEADER = """\
# What errors and findings say, by test file and test: the whole text, kept here alone. Written by
# `pytest --update-errors`; read the diff before you commit it.

"""
_found: dict[str, dict[str, list[str]]] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-errors", action="store_true", help="Write tests/errors.yml anew.")


@pytest.fixture
def says(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """``says(text)``: the text of an error is the one that errors.yml has for this test.

    A test with several calls has several texts, in their order.
    """
    file, test = request.path.stem, request.node.name
    texts = _found.setdefault(file, {})[test] = []
    known = yaml.safe_load(ERRORS.read_text(encoding="utf-8")) or {}

    def says(text: str) -> None:
        texts.append(text)
        if not request.config.getoption("--update-errors"):
            wanted = known.get(file, {}).get(test, [])[len(texts) - 1 :]
            assert [text] == wanted[:1], "If it is meant: pytest --update-errors THIS_TEST"

    return says


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--update-errors"):
        kept = yaml.safe_load(ERRORS.read_text(encoding="utf-8")) or {}
        for file, tests in _found.items():
            both = {**kept.get(file, {}), **tests}
            kept[file] = {test: texts for test, texts in both.items() if texts}
        text = yaml.safe_dump(kept, allow_unicode=True, width=98)
        ERRORS.write_text(_HEADER + text, encoding="utf-8")
