"""The Python API, step by step: run it as a script, or cell by cell (`# %%`) in an editor that shows notebooks.

Shapes and budgets are small, so that all of it takes seconds; for numbers that mean something leave `budget` out.
"""

# %% One upsampler: a spec says what is measured, a profile is what was found.
import tempfile
from pathlib import Path

import torch
from torch import nn

import upbench

FAST = {"shape": "32x8x8", "threads": 1, "budget": 0.02, "device": "cpu"}
spec = upbench.spec("ldaaqu", theta=5, **FAST)
profile = upbench.profile(spec)
print(profile.params, "parameters;", profile.macs.total, "multiply-accumulates")
print(profile)  # as `upbench profile` shows it; in a notebook the value alone shows a table

# %% Several side by side, in interleaved rounds; their ratios come with an interval and a verdict.
comparison = upbench.compare("bilinear", "carafe", "dysample", **FAST)
print(comparison.to_markdown())
frame = comparison.to_dataframe()
print(frame[["label", "params", "macs_total"]])

# %% A module of your own, as it is: called on the tensors that you give.
mine = nn.Sequential(nn.Conv2d(32, 128, 3, padding="same"), nn.PixelShuffle(2))
own = upbench.profile(mine, torch.randn(1, 32, 8, 8), threads=1, budget=0.02)
print(own.label, own.macs.conv, own.memory.forward_peak_bytes)

# %% An ablation: every cell is a record on disk; what is there already is not measured again.
folder = Path(tempfile.mkdtemp())
(folder / "theta.yaml").write_text(
    "name: theta\nbase: {upsampler: ldaaqu}\ngrid: {theta: [5, 11]}\ninput: {shape: 32x8x8}\n"
    "measure: {budget: 0.02, threads: 1, device: cpu}\n"
)
upbench.sweep(folder / "theta.yaml", folder / "theta.jsonl")

# %% Results of before, and a table of chosen columns.
records = upbench.read(folder / "theta.jsonl")
print(upbench.table(records, columns="params,macs,latency", base="theta=11").to_markdown())

# %% A module to use, with released weights: any released layout of keys is read.
module = upbench.build("carafe", channels=32)
upbench.load_weights(module, module.state_dict())
print(tuple(module(torch.randn(1, 32, 8, 8)).shape))
