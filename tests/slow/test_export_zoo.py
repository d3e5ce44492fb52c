"""Every upsampler as an ONNX file of open sizes, run by onnxruntime and OpenVINO (float32) at three sizes, within the limit.

Half an hour; `-k NAME` for one.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import upbench
from tests.upsamplers.test_contract import make
from upbench import registry
from upbench.exchange import onnx_file, other_sizes
from upbench.exchange.agreement import truth

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
pytest.importorskip("onnxruntime", reason="needs onnxruntime")


@pytest.mark.parametrize("name", list(registry.builtin()))
def test_within_the_limit_at_three_sizes(name: str, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino", reason="needs openvino")
    module, tensors = make(registry.get(name), None, 6, 8)
    found = upbench.export(module, tensors, tmp_path / "up.onnx")
    assert found.inputs is not None
    assert all(isinstance(n, str) for size in found.inputs for n in (size[0], *size[2:]))
    assert len({one.size for one in found.agreements}) == 3
    assert onnx_file.facts(found.path)["left"] == {}
    assert "im2col" not in found.path.read_bytes().decode("latin-1")  # the exporter's name for what an unfold becomes
    core = openvino.Core()
    model = core.compile_model(str(found.path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for given in (tensors, other_sizes.odd(tensors), other_sizes.wide(tensors)):
        out = model([t.numpy() for t in given])
        judged = truth(module, given).judge([torch.from_numpy(out[n]) for n in range(len(model.outputs))])
        assert judged.passed, judged
