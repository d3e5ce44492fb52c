"""Norms in ONNX files: right on maps of many values, in every rank and dtype."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

from upbench import build
from upbench.exchange import onnx_file, openvino_model
from upbench.exchange.agreement import error_of, truth
from upbench.exchange.capture import capture

pytestmark = pytest.mark.filterwarnings("ignore")
pytest.importorskip("onnxruntime", reason="needs onnxruntime")


def _errors(module: nn.Module, x: torch.Tensor, folder: Path, dynamic: bool) -> list[float]:
    """How far onnxruntime and, where it is installed, OpenVINO are off."""
    for one in module.parameters():
        nn.init.uniform_(one, 0.5, 1.5).requires_grad_(False)
    file = folder / "norm.onnx"
    onnx_file.write(capture(module, (x,), dynamic, None), file)
    assert onnx_file.count(file, "InstanceNormalization") == 0
    outputs = truth(module, (x,)).outputs
    found = [error_of(onnx_file.load(file, 1)(x), outputs)]
    if find_spec("openvino"):
        found.append(error_of(openvino_model.load(file, "f32", 1)[0](x), outputs))
    return found


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_group_of_half_a_million_values_keeps_its_digits(dynamic: bool, tmp_path: Path) -> None:
    x = torch.randn(1, 32, 128, 128, generator=torch.Generator().manual_seed(0)).relu()
    assert max(_errors(nn.GroupNorm(1, 32), x, tmp_path, dynamic)) < 1e-6


@pytest.mark.parametrize("shape", [(3, 16), (2, 16, 50), (2, 16, 7, 5), (2, 16, 4, 3, 5)])
@pytest.mark.parametrize("affine", [False, True])
def test_maps_of_every_rank(shape: tuple[int, ...], affine: bool, tmp_path: Path) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert max(_errors(nn.GroupNorm(4, 16, affine=affine), x, tmp_path, False)) < 1e-6


def test_half_precision_takes_its_means_in_float32(tmp_path: Path) -> None:
    x = 30 * torch.randn(1, 16, 40, 30, generator=torch.Generator().manual_seed(0)).half()
    assert max(_errors(nn.GroupNorm(4, 16).half(), x, tmp_path, False)) < 1e-3


def test_norms_of_upsamplers_keep_rows_and_columns_apart() -> None:
    module = build("resfu", 8, groups=1, gn_groups=2, seed=0)
    program = capture(module, (torch.randn(1, 8, 6, 5), torch.randn(1, 8, 12, 10)), True, "gathers").program
    norms = [n for n in program.graph.nodes if n.target is torch.ops.aten.group_norm.default]
    assert len(norms) == 8
    assert {n.args[0].meta["val"].dim() for n in norms} == {4}
