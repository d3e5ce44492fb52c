"""One more backend is one new file and one entry: it is then known wherever backends are named, and computes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import upbench
from upbench import backends, ops, registry
from upbench.errors import BackendError, SpecError
from upbench.ops import dispatch

TOY = '''
"""A backend that can do one thing: assemble windows tap by tap."""
import torch
import torch.nn.functional as F
from upbench.ops import Backend

calls = []


def window_assemble(x, weight, kernel, scale):
    calls.append(kernel)
    high = torch.stack([t.repeat_interleave(scale, 2).repeat_interleave(scale, 3) for t in windows(x, kernel)], 2)
    groups = weight.shape[1]
    return (high.unflatten(1, (groups, x.shape[1] // groups)) * weight.unsqueeze(2)).sum(3).flatten(1, 2)


def windows(x, kernel):
    padded = F.pad(x, (kernel // 2,) * 4)
    h, w = x.shape[2:]
    return [padded[:, :, i : i + h, j : j + w] for i in range(kernel) for j in range(kernel)]


def unsupported_reason(op, x, weight, kernel, scale):
    return None if x.dtype == torch.float32 else "the toy computes in float32 alone"


BACKEND = Backend({"window_assemble": window_assemble}, unsupported_reason)
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The one file and the one entry."""
    (tmp_path / "toy_backend.py").write_text(TOY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(backends.MODULES, "toy", "toy_backend")
    yield dispatch.load("toy").ops["window_assemble"].__globals__["calls"]
    dispatch._loaded.pop("toy")
    sys.modules.pop("toy_backend")


@pytest.mark.parametrize("name", ["carafe", "a2u", "fade", "fade-lite", "sapa-i", "sapa-b"])
def test_a_new_backend_computes_for_every_upsampler_with_its_op(name: str, toy: list[int]) -> None:
    tensors = [torch.randn(1, 32, 4, 5)] + [torch.randn(1, 32, 8, 10)] * registry.get(name).guided
    module = upbench.build(name, 32, seed=0, backend="toy").eval()
    with ops.recorded() as ran:
        out = module(*tensors)
    assert len(toy) == 1
    assert ran["window_assemble"] == "toy"
    assert set(ran.values()) <= {"toy", "eager"}
    plain = upbench.build(name, 32, seed=0, backend="eager").eval()
    torch.testing.assert_close(out, plain(*tensors), rtol=1e-4, atol=1e-5)


def test_it_says_why_not(toy: list[int]) -> None:
    x, weight = torch.randn(1, 2, 3, 3).double(), torch.randn(1, 1, 9, 6, 6).double()
    with pytest.raises(BackendError, match="window_assemble cannot run toy: the toy computes in float32 alone"):
        ops.window_assemble(x, weight, 3, 2, backend="toy")
    with ops.recorded() as ran:
        ops.window_assemble(x, weight, 3, 2, backend="auto")
    assert ran == {"window_assemble": "fused"}


def test_it_takes_over_where_the_first_cannot(toy: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """An automatic choice asks the backends in the order of their entries."""
    monkeypatch.setitem(
        dispatch._loaded, "fused", dispatch.Backend({"window_assemble": print}, lambda *args: "not now")
    )
    with ops.recorded() as ran:
        ops.window_assemble(torch.randn(1, 2, 3, 3), torch.randn(1, 1, 9, 6, 6), 3, 2, backend="auto")
    assert ran == {"window_assemble": "toy"}


def test_upsamplers_without_its_ops_refuse_it(toy: list[int]) -> None:
    for name in ("bilinear", "dysample", "ldaaqu"):
        with pytest.raises(SpecError, match=f"backend is toy, but {name} has no toy backend; use auto or eager"):
            upbench.build(name, 32, backend="toy")


def test_it_leaves_with_nobody(toy: list[int]) -> None:
    module = upbench.build("carafe", 32, backend="toy")
    program = torch.export.export(module, (torch.randn(1, 32, 4, 5),))
    assert not toy
    assert not any("upbench" in str(node.target) for node in program.graph.nodes)


def test_the_command_line_knows_every_entry() -> None:
    from upbench.cli.app import app

    found = CliRunner().invoke(app, ["profile", "carafe", "--shape", "32x4x4", "--backend", "fast"])
    assert found.exit_code == 2
    for name in backends.names():
        assert name in found.output
