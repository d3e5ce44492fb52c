"""The worker's side of a block, with real upsamplers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from upbench.benchmark import timed_case
from upbench.measure.clock import Prepared
from upbench.records import pass_lines
from upbench.specs import run_spec as spec
from upbench.sweeping import cell_worker
from upbench.sweeping.announcement import Announcement

CPU = torch.device("cpu")


def _spec(upsampler: str, **given: Any) -> dict[str, Any]:
    measure = {"device": "cpu", "threads": 1, "budget": 0.1, **given.pop("measure", {})}
    return spec.load({"upsampler": upsampler, "input": {"shape": "8x6x5"}, "measure": measure, **given}).to_dict()


def _member(name: str, **given: Any) -> dict[str, Any]:
    return {"key": name, "axes": {"upsampler": name}, "spec": _spec(name, **given), "role": "cell"}


def _ask(reference: dict[str, Any], *cells: dict[str, Any]) -> dict[str, Any]:
    block = {"reference": reference, "cells": list(cells), "seed": "s", "budget_s": 0.01}
    return cell_worker.measure({"block": block, "device": "cpu", "memory_bytes": None}, lambda what, part: None)


def test_a_block_of_upsamplers() -> None:
    found = _ask(_member("bilinear"), _member("carafe"), _member("dysample"))
    assert found["healthy"]
    assert found["allocator"] in ("kept", "returned", "unpinned")
    cells = [pass_lines.Timed.model_validate(one) for one in found["cells"]]
    assert [cell.key for cell in cells] == ["carafe", "dysample"]
    assert all(cell.status == "ok" and cell.cpu_s and len(cell.wall_s) >= 10 for cell in cells)
    assert torch.get_num_threads() >= 1


def test_a_cell_that_cannot_be_built_is_said_and_the_others_are_timed() -> None:
    bad = _member("carafe")
    bad["spec"]["upsampler"] = "tests.modules.judged:Nothing"
    found = _ask(_member("bilinear"), bad, _member("dysample"))
    assert [one["status"] for one in found["cells"]] == ["error", "ok"]
    assert found["cells"][0]["error"]


def test_a_reference_that_cannot_be_built_is_the_answer() -> None:
    bad = _member("carafe")
    bad["spec"]["upsampler"] = "tests.modules.judged:Nothing"
    found = _ask(bad, _member("dysample"))
    assert found["status"] == "error"
    assert "reference" not in found
    assert found["healthy"]


def test_what_is_done_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    said = Announcement()
    monkeypatch.setattr(cell_worker, "_shared", said)
    before = said.count()
    _ask(_member("bilinear"), _member("dysample"))
    assert said.count() > before + 20
    assert said.read() is None, "nothing is being done any more"


@pytest.mark.parametrize("mode", ["inference", "training", "training-forward", "training-backward"])
def test_every_mode_is_called_as_it_is_measured(mode: str) -> None:
    run = spec.load(_spec("carafe", measure={"mode": mode}))
    call = timed_case.call_of(run, CPU)
    call()
    call()


def test_a_cell_with_other_threads_sets_them_for_itself_alone() -> None:
    usual = torch.get_num_threads()
    run = spec.load(_spec("carafe", measure={"threads": usual + 1}))
    call = timed_case.call_of(run, CPU)
    assert isinstance(call, Prepared)
    assert torch.get_num_threads() == usual
    call.before()
    assert torch.get_num_threads() == usual + 1
    call.call()
    call.after()
    assert torch.get_num_threads() == usual
