"""The names of lm-eval that are not its documented API."""

from __future__ import annotations

import pytest

from solar_plugins.errors import SolarError
from solar_plugins.seams import lm_eval as seam

pytestmark = pytest.mark.slow


def test_the_installed_lm_eval_has_every_name():
    seam.self_test()


def test_another_lm_eval_is_named(monkeypatch):
    from lm_eval.api.task import Task

    monkeypatch.delattr(Task, "doc_iterator")
    with pytest.raises(SolarError) as error:
        seam.self_test()
    assert str(error.value) == (
        "lm_eval 0.4.11: Task.doc_iterator(limit, rank, samples, world_size) not found. Install "
        "lm_eval>=0.4.11,<0.4.14, the versions that `solar evaluate` was tried with."
    )
