#!/usr/bin/env bash
# fvcore 0.1.5.post20221221: a convolution that is written with padding="same" counts 0 FLOPs, since it is traced as another
# operator (aten::_convolution_mode) than one with the same padding given as a number. The total is printed as if it
# were whole; the operator stands in unsupported_ops() only.
# Expected: 69,120 for both.
# Seen: "padding=1 69120" and "padding=same 0".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 fvcore==0.1.5.post20221221
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import logging

import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn

logging.disable(logging.WARNING)
x = torch.randn(1, 8, 6, 5)
number = nn.Conv2d(8, 32, 3, padding=1)
word = nn.Conv2d(8, 32, 3, padding="same")
word.load_state_dict(number.state_dict())
torch.testing.assert_close(word(x), number(x))
counted = FlopCountAnalysis(number, x).total()
same = FlopCountAnalysis(word, x)
print("padding=1", counted)
print("padding=same", same.total(), dict(same.unsupported_ops()))
assert counted == 8 * 32 * 3 * 3 * 6 * 5, counted
assert same.total() == 0, same.total()
assert dict(same.unsupported_ops()) == {"aten::_convolution_mode": 1}
PYTHON
