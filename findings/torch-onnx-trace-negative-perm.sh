#!/usr/bin/env bash
# torch 2.13.0, onnx 1.23.2, onnxruntime 1.32.0: `torch.onnx.export(dynamo=False)` writes x.movedim(-1, 1) as a Transpose whose
# `perm` holds -1. The export reports success; onnxruntime refuses the file when it loads it. The same axes as permute(0, 3, 1, 2)
# give a file that runs. Layer norms over the channels of a map [B, C, H, W] are commonly written with movedim.
# Expected: a file that loads, or an error of the export.
# Seen: perm [0, -1, 1, 2]; loading fails with "Invalid attribute perm {0, -1, 1, 2}".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 onnx==1.23.2 onnxruntime==1.32.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import onnx
import onnxruntime
import torch
from torch import Tensor, nn


class Norm(nn.Module):
    def __init__(self, back: tuple[int, ...] | None) -> None:
        super().__init__()
        self.norm, self.back = nn.LayerNorm(8), back

    def forward(self, x: Tensor) -> Tensor:
        rows = self.norm(x.movedim(1, -1))
        return rows.movedim(-1, 1) if self.back is None else rows.permute(self.back)


def written(back: tuple[int, ...] | None) -> list[list[int]]:
    torch.onnx.export(Norm(back).eval(), (torch.randn(1, 8, 4, 5),), "norm.onnx", dynamo=False, opset_version=17)
    nodes = onnx.load("norm.onnx").graph.node
    return [list(a.ints) for node in nodes if node.op_type == "Transpose" for a in node.attribute if a.name == "perm"]


perms = written(None)
print(perms)
assert [0, -1, 1, 2] in perms, perms
try:
    onnxruntime.InferenceSession("norm.onnx")
except Exception as error:
    print(str(error)[:200])
    assert "Invalid attribute perm" in str(error), error
else:
    raise AssertionError("the file loads")
print(written((0, 3, 1, 2)))
onnxruntime.InferenceSession("norm.onnx")
PYTHON
