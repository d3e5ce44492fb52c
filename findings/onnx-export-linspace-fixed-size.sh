#!/usr/bin/env bash
# torch 2.13.0: torch.onnx.export with dynamic_shapes writes a file of *fixed* size, without a word, where the model makes its
# sampling grid with torch.linspace over a dynamic size. torch.export.export refuses the same model with an error that
# names the constraint, so the exporter falls back on another way of capturing it. With torch.arange the file is dynamic.
# Expected: an error as from torch.export, or a file whose height and width are symbolic.
# Seen: [1, 4, 20, 24] for linspace, and symbols for arange.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import logging

import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, export

logging.disable(logging.WARNING)


class Linspace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        rows, columns = torch.linspace(-1, 1, 2 * height), torch.linspace(-1, 1, 2 * width)
        grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)[None]
        return F.grid_sample(x, grid, align_corners=True)


class Arange(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        rows = torch.arange(2 * height) / (height - 0.5) - 1
        columns = torch.arange(2 * width) / (width - 0.5) - 1
        grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)[None]
        return F.grid_sample(x, grid, align_corners=True)


x = torch.randn(1, 4, 20, 24)
torch.testing.assert_close(Linspace()(x), Arange()(x), atol=1e-5, rtol=1e-5)
shapes = {"x": {2: Dim("height", min=4, max=512), 3: Dim("width", min=4, max=512)}}
sizes = {}
for model in (Linspace(), Arange()):
    name = type(model).__name__
    torch.onnx.export(model, (x,), f"{name}.onnx", dynamic_shapes=shapes, dynamo=True, verbose=False)
    dims = onnx.load(f"{name}.onnx").graph.input[0].type.tensor_type.shape.dim
    sizes[name] = [d.dim_param or d.dim_value for d in dims]
print(sizes)
try:
    export(Linspace(), (x,), dynamic_shapes=shapes)
except Exception as error:
    refused = type(error).__name__
    print("torch.export refuses:", refused)
assert sizes["Linspace"] == [1, 4, 20, 24], sizes
assert [type(d) for d in sizes["Arange"]] == [int, int, str, str], sizes
assert refused == "UserError", refused
PYTHON
