#!/usr/bin/env bash
# calflops 0.3.2 with torch 2.13.0: counting a module without parameters (nn.Upsample) ends in a StopIteration, and torch's
# functions stay patched. Whatever is counted next in the process is multiplied: once more for each count that failed before.
# A caller that catches the error, as a loop over several layers does, gets wrong counts from there on without a warning.
# Expected: 73,728 MACs for a 3x3 convolution of 4 to 8 channels at 16x16, before and after three failures.
# Seen: 73728, then 294912.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 calflops==0.3.2 transformers==5.24.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from calflops import calculate_flops
from torch import nn


def macs(module: nn.Module) -> int:
    return calculate_flops(module, input_shape=(1, 4, 16, 16), print_results=False, output_as_string=False)[1]


layer = nn.Conv2d(4, 8, 3, padding=1)
before = macs(layer)
for _ in range(3):
    try:
        macs(nn.Upsample(scale_factor=2))
    except StopIteration as error:
        print("failed:", type(error).__name__)
    else:
        raise SystemExit("nn.Upsample is counted now")
after = macs(layer)
print(before, after)
assert before == 4 * 8 * 9 * 16 * 16, before
assert after == 4 * before, after
PYTHON
