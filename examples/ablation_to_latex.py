"""From an ablation of two parameters to a table in LaTeX: run it from this folder, `python ablation_to_latex.py [FOLDER]`."""

import sys
import tempfile
from pathlib import Path

import upbench

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
(folder / "ablation.yaml").write_text(
    """name: ablation
title: Kernel and groups
base: {upsampler: "own_upsampler:Up"}
input: {shape: 32x8x8}
measure: {threads: 1, budget: 0.02}
grid: {kernel: [1, 3], groups: [4, 8]}
accuracy:                              # yours: a list is of runs with several seeds
  rows:
  - {kernel: 1, groups: 4, AP: [37.9, 38.1]}
  - {kernel: 3, groups: 4, AP: [38.9, 39.1]}
  - {kernel: 1, groups: 8, AP: [38.0, 38.2]}
  - {kernel: 3, groups: 8, AP: [39.3, 39.5]}
"""
)
records = upbench.sweep(folder / "ablation.yaml", folder / "ablation.jsonl")
table = upbench.table(records, columns="AP,params,macs,latency", base="kernel=1,groups=4")
print(table.to_markdown())
(folder / "ablation.tex").write_text(table.to_latex(caption="Kernel and groups.", label="tab:ablation"))
print(f"{folder / 'ablation.tex'} is written")
