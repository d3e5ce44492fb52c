#!/usr/bin/env bash
# OpenVINO 2026.4.1 (CPU): Gather along the last axis, which is what torch.onnx.export makes of F.unfold, returns wrong values
# without a word where the sizes are dynamic and a thread's part of the output begins beyond 2^24 values: the last indices of
# every row there read another element, or give 0. The same file with fixed sizes, or with one thread, is right, and so is any
# smaller input: an export that was compared on a small map is wrong on the map of the model.
# Expected: x[:, index], as numpy and onnxruntime return.
# Seen: 40000x134, 896 indices (35.8 million values), 2 threads: 160,000 values wrong, columns 881 to 895 of rows 20000 and on;
# none of them with fixed sizes, with one thread, or for 20000x134.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 onnx==1.23.2 openvino==2026.4.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import openvino
from onnx import TensorProto, helper

# Seven taps of windows along a row of 134 columns, as an unfold reads them.
index = (np.arange(7)[:, None] + np.arange(128)).reshape(-1).astype(np.int64)


def wrong(rows, dynamic, threads):
    x = np.arange(rows * 134, dtype=np.float32).reshape(rows, 134)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["x", "index"], ["y"], axis=1)],
        "rows",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", "columns"] if dynamic else x.shape),
            helper.make_tensor_value_info("index", TensorProto.INT64, ["count"] if dynamic else index.shape),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), "rows.onnx")
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    found = openvino.Core().compile_model("rows.onnx", "CPU", options)([x, index])[0]
    apart = np.argwhere(found != x[:, index])
    print(f"{rows} rows, sizes {'dynamic' if dynamic else 'fixed'}, {threads} threads: {len(apart)} values wrong", end="")
    print(f", columns {apart[:, 1].min()} to {apart[:, 1].max()} of rows from {apart[:, 0].min()}" if len(apart) else "")
    return len(apart)


assert wrong(20_000, True, 2) == 0
assert wrong(40_000, False, 2) == 0
assert wrong(40_000, True, 1) == 0
assert wrong(40_000, True, 2) > 0
PYTHON
