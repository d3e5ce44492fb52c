#!/usr/bin/env bash
# fvcore 0.1.5.post20221221 with numpy 2.4.6: the FLOPs of an einsum that is no plain batched product are read from the text
# that numpy.einsum_path prints, which has four significant digits. The count is a float that is off by up to 0.05 %, and
# a sum of products without reduction is halved. The same product written as a matmul is counted exactly.
# Expected: 707,200 products for 25 taps of 64 channels at 17x26, and 11,050 products for one elementwise einsum.
# Seen: 707000.0 and 5525.0.
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
from torch import Tensor, nn

logging.disable(logging.WARNING)


class Einsum(nn.Module):
    def __init__(self, equation: str) -> None:
        super().__init__()
        self.equation = equation

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.einsum(self.equation, a, b)


def count(equation: str, *shapes: tuple[int, ...]) -> float:
    return FlopCountAnalysis(Einsum(equation), tuple(torch.randn(shape) for shape in shapes)).total()


reassembly = count("bkhw,bckhw->bchw", (1, 25, 17, 26), (1, 64, 25, 17, 26))
product = count("bkhw,bkhw->bkhw", (1, 25, 17, 26), (1, 25, 17, 26))
print(reassembly, 64 * 25 * 17 * 26, type(reassembly).__name__)
print(product, 25 * 17 * 26)
assert reassembly == 707000.0, reassembly
assert product == 25 * 17 * 26 / 2, product
PYTHON
