#!/usr/bin/env bash
# torch 2.13.0: FlopCounterMode reports 0 FLOPs for a TransformerEncoderLayer (and for MultiheadAttention) in evaluation
# mode, where it runs as one fused operator that the counter has no formula for. The same layer in training mode, on the
# same input, reports its projections, but on a CPU not the products of its attention. Nothing warns, and both modes
# compute the same matrix products.
# Expected: 7,833,600 FLOPs in either mode (6,553,600 of projections, 1,280,000 of attention).
# Seen: "training 6553600" and "evaluation 0".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

layer = nn.TransformerEncoderLayer(d_model=64, nhead=4, dim_feedforward=128, batch_first=True, dropout=0.0)
tokens = torch.randn(2, 50, 64)


def flops() -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        layer(tokens)
    return counter.get_total_flops()


training = layer.train() and flops()
evaluation = layer.eval() and flops()
print("training", training)
print("evaluation", evaluation)
projections = 2 * 50 * (4 * 64 * 64 + 2 * 64 * 128)
assert training == 2 * projections, training
assert evaluation == 0, evaluation
layer.train()
with torch.no_grad():
    expected = layer(tokens)
    torch.testing.assert_close(layer.eval()(tokens), expected)
PYTHON
