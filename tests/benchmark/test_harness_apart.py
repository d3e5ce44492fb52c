"""A user's module in the way of the harness, and the harness in the way of the module."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from upbench.cli.app import app

HEAD = """
import io, os, sys, torch
from concurrent.futures import ThreadPoolExecutor
from torch import nn
from torch.nn.functional import interpolate
"""
CLASS = """
class Up(nn.Module):
    guided = {guided}
    def __init__(self, channels, {more}scale=2):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        {init}
    def forward(self, {arguments}):
        {body}
"""
CONV = "return self.conv(interpolate(x, scale_factor=2))"
MACS = 120 * 8 * 8 * 9


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Profiles a module that is written to a file of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(body: str = CONV, init: str = "pass", before: str = "", *more: str, **other: Any) -> Result:
        monkeypatch.delitem(sys.modules, "mine", raising=False)
        leading = "guide_channels, " if other.get("guided") else ""
        text = CLASS.format(
            body=textwrap.indent(body, " " * 8).strip(),
            init=textwrap.indent(init, " " * 8).strip(),
            arguments=other.get("arguments", "x"),
            guided=other.get("guided", False),
            more=leading,
        )
        (tmp_path / "mine.py").write_text(HEAD + before + text)
        asked = ["profile", "mine:Up", "--shape", "8x6x5", "--budget", "0.01", "--format", "json"]
        return CliRunner().invoke(app, [*asked, *more])

    return run


def of(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    return found[0] if isinstance(found, list) else found


WRAPPED = "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')\n"
STREAMS = {
    "wrapped when imported": ("", WRAPPED),
    "both wrapped when imported": (
        "",
        WRAPPED + "sys.stderr = io.TextIOWrapper(sys.stderr.buffer, encoding='utf-8')\n",
    ),
    "wrapped in each call": (WRAPPED, ""),
    "closed in each call": ("sys.stdout.close()\n", ""),
    "detached when imported": ("", "sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding='utf-8')\n"),
    "none": ("sys.stdout = sys.stderr = None\n", ""),
}


@pytest.mark.parametrize("name", list(STREAMS))
def test_streams_that_a_module_closes_or_wraps_are_its_own(measured: Callable[..., Result], name: str) -> None:
    body, before = STREAMS[name]
    record = of(measured(body + CONV, "pass", before))
    assert record["macs"]["conv"] == MACS
    assert record["latency"]["samples_s"]


def test_what_is_printed_in_whatever_way_is_on_stderr(measured: Callable[..., Result]) -> None:
    result = measured("print('printed é'); sys.stdout.buffer.write(b'as bytes'); sys.stderr.write('error')\n" + CONV)
    of(result)
    assert all(part in result.stderr for part in ("printed é", "as bytes", "error"))


def test_the_recursion_limit_is_put_back(measured: Callable[..., Result]) -> None:
    limit = sys.getrecursionlimit()
    record = of(measured(f"sys.setrecursionlimit({limit + 7})\n" + CONV))
    assert sys.getrecursionlimit() == limit
    assert any("sys.setrecursionlimit" in warning for warning in record["warnings"])


@pytest.mark.parametrize(
    "body",
    [
        "with torch.enable_grad():\n    z = x.detach().requires_grad_()\n    g, = torch.autograd.grad(self.conv(z).sum(), z)\n"
        "return interpolate(x - g, scale_factor=2)",
        "with ThreadPoolExecutor(1) as pool:\n    return pool.submit(self.conv, interpolate(x, scale_factor=2)).result()",
    ],
    ids=["takes gradients itself", "computes in a thread"],
)
def test_a_module_that_fails_in_inference_mode_runs_without_autograd(
    measured: Callable[..., Result], body: str
) -> None:
    record = of(measured(body))
    assert record["latency"]["samples_s"]
    assert any("was timed under torch.no_grad instead" in warning for warning in record["warnings"])


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_a_layer_stays_in_the_dtype_that_its_class_gave_it(measured: Callable[..., Result], dtype: str) -> None:
    body = f"return self.conv(interpolate(x, scale_factor=2).to(torch.{dtype})).float()"
    assert of(measured(body, f"self.conv.to(torch.{dtype})"))["macs"]["conv"] == MACS


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_complex_weights_stay_complex(measured: Callable[..., Result], dtype: str) -> None:
    body = "assert self.w.is_complex()\nreturn self.conv(interpolate(x, scale_factor=2)) * self.w.real.to(x.dtype)"
    init = "self.w = nn.Parameter(torch.ones(1, channels, 1, 1, dtype=torch.cfloat))"
    of(measured(body, init, "", "--dtype", dtype))


def test_train_need_not_return_the_module(measured: Callable[..., Result]) -> None:
    init = "self.train = lambda mode=True: None"
    assert of(measured(CONV, init))["macs"]["conv"] == MACS


@pytest.mark.parametrize(
    "body", ["return self.conv(interpolate(x, scale_factor=2)).detach()", "with torch.no_grad():\n    " + CONV]
)
@pytest.mark.parametrize("mode", ["training", "training-backward"])
def test_a_result_without_gradient_is_one_sentence(measured: Callable[..., Result], body: str, mode: str) -> None:
    result = measured(body, "pass", "", "--mode", mode)
    assert result.exit_code == 2
    assert "returned a tensor that no gradient can be taken of" in result.stderr
    assert "measure it in mode inference" in result.stderr
    assert of(measured(body))["macs"]["conv"] == MACS


def test_a_sparse_result_is_one_sentence(measured: Callable[..., Result]) -> None:
    result = measured("return interpolate(x, scale_factor=2).to_sparse()")
    assert result.exit_code == 2
    assert "returned a sparse tensor (sparse_coo)" in result.stderr


@pytest.mark.parametrize("arguments", ["x, *, guide", "x, size=None, guide=None", "x, *, guide=None, **more"])
def test_a_guide_in_another_position_is_refused_before_it_runs(measured: Callable[..., Result], arguments: str) -> None:
    result = measured("return interpolate(x, scale_factor=2) + guide", guided=True, arguments=arguments)
    assert result.exit_code == 2
    assert "is called as module(x, guide), by position; wrap it" in result.stderr


@pytest.mark.parametrize("shape", ["1, 8, 2, 2", "1, 8, 12, 10", "1, 8, 5, 6"])
def test_an_input_that_is_resized_is_one_warning(measured: Callable[..., Result], shape: str) -> None:
    body = f"y = self.conv(interpolate(x, scale_factor=2))\nx.resize_({shape})\nreturn y"
    result = of(measured(body))
    assert result["macs"]["conv"] == MACS
    assert result["memory"]["forward_peak_bytes"] > 0
    assert sum("a call resizes its input x" in warning for warning in result["warnings"]) == 1
    assert not any("could not" in warning and "backward" not in warning for warning in result["warnings"])
    refused = measured(body, "pass", "", "--mode", "training")
    assert refused.exit_code == 2
    assert "a call resizes its input x" in refused.stderr
