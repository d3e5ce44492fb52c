#!/usr/bin/env bash
# torch 2.13.0 on an x86 CPU without AVX-512: a convolution or a matrix product in bfloat16 or float16 takes 20 to 30 times as
# long as in float32. Casting an upsampler, or a whole detector, to half precision to save memory makes its layers crawl
# without a warning, while softmax, norms and resizing, which are bound by memory, become as fast or faster: oneDNN's kernels
# are not used there, and what is used instead is a plain loop. torch.ops.mkldnn._is_mkldnn_bf16_supported() says which it is.
# Expected: about the time of float32, or twice that with conversions, as for bilinear resizing beside it.
# Seen, processor time of one thread (AMD EPYC with AVX2): 3x3 convolution 64 to 100 channels at 120x120, float32 22 ms,
# bfloat16 750 ms, float16 730 ms; product of 14400x256 and 256x64: 8, 177, 138 ms; bilinear: 69, 60, 64 ms.
# On a CPU with AVX-512 the script says so and shows nothing for bfloat16.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import time

import torch
import torch.nn.functional as F

if torch.backends.cpu.get_cpu_capability() != "AVX2":
    raise SystemExit(f"this CPU has {torch.backends.cpu.get_cpu_capability()}, not AVX2 alone: nothing to show here")
torch.set_num_threads(1)


def seconds(call):
    call()
    taken = []
    for _ in range(5):
        start = time.thread_time()
        call()
        taken.append(time.thread_time() - start)
    return min(taken)


def calls(dtype):
    x, w = torch.randn(1, 64, 120, 120, dtype=dtype), torch.randn(100, 64, 3, 3, dtype=dtype)
    a, b = torch.randn(14400, 256, dtype=dtype), torch.randn(256, 64, dtype=dtype)
    return {
        "convolution": lambda: F.conv2d(x, w, padding=1),
        "product": lambda: a @ b,
        "bilinear": lambda: F.interpolate(x, scale_factor=2, mode="bilinear"),
    }


print("oneDNN in bfloat16:", torch.ops.mkldnn._is_mkldnn_bf16_supported())
full = {name: seconds(call) for name, call in calls(torch.float32).items()}
for dtype in (torch.bfloat16, torch.float16):
    ratios = {name: seconds(call) / full[name] for name, call in calls(dtype).items()}
    print(dtype, {name: f"{ratio:.1f} x float32" for name, ratio in ratios.items()})
    assert ratios["convolution"] > 8 and ratios["product"] > 5, ratios
    assert ratios["bilinear"] < 4, ratios
PYTHON
