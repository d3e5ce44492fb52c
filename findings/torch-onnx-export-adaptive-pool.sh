#!/usr/bin/env bash
# torch 2.13.0: torch.onnx.export (and torch.export with run_decompositions) makes adaptive_avg_pool2d(x, 4) an average pool whose
# kernel is that of the *traced* size, where the traced size is a multiple of 4, while the file says that rows and columns are
# open. At another size the file returns a map of another size (5x4 for 10x14), without an error from anything.
# Expected: an output of 4x4 at every size, or an error when the file is written.
# Seen: inputs open, 4x4 at the traced size, 5x4 at 10x14, 8x6 at 16x20.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import logging

import onnxruntime
import torch
from torch import Tensor, nn
from torch.export import Dim

logging.disable(logging.WARNING)


class Pool(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(x, 4)


x = torch.randn(2, 3, 8, 12)
shapes = {"x": {0: Dim("batch"), 2: Dim("height", min=4, max=512), 3: Dim("width", min=4, max=512)}}
torch.onnx.export(Pool(), (x,), "pool.onnx", dynamic_shapes=shapes, dynamo=True, verbose=False)
session = onnxruntime.InferenceSession("pool.onnx")
print("input:", session.get_inputs()[0].shape)
seen = {}
for size in ((8, 12), (10, 14), (16, 20)):
    (out,) = session.run(None, {"x": torch.randn(2, 3, *size).numpy()})
    seen[size] = out.shape[2:]
    print(size, "->", out.shape[2:])
assert all(isinstance(n, str) for n in session.get_inputs()[0].shape[2:])
assert seen == {(8, 12): (4, 4), (10, 14): (5, 4), (16, 20): (8, 6)}, seen
PYTHON
