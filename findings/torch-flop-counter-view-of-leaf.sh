#!/usr/bin/env bash
# torch 2.13.0: FlopCounterMode ends a forward under torch.no_grad() with an AssertionError where a module is given a view
# of a tensor that requires gradients, and one under torch.inference_mode() with an AttributeError where it is given such a
# tensor itself. Its module tracker asks each argument of a module for its gradient function, as requires_grad is still
# true of them, but without autograd none is recorded. Without the counter the same calls return; so they do under it
# with autograd, or when the tensor does not require gradients.
# Expected: 640 FLOPs five times.
# Seen: "with autograd 640", "no_grad 640", "no_grad, view AssertionError", "inference_mode AttributeError" and
# "inference_mode, detached 640".
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

layer = nn.Linear(8, 4)
feature, tokens = torch.randn(2, 8, 5, requires_grad=True), torch.randn(2, 5, 8, requires_grad=True)


def flops(context, make_input) -> int | str:
    with context:
        assert layer(make_input()).shape == (2, 5, 4)
        try:
            with FlopCounterMode(display=False) as counter:
                layer(make_input())
        except Exception as error:
            return type(error).__name__
    return counter.get_total_flops()


seen = {
    "with autograd": flops(torch.enable_grad(), lambda: feature.transpose(1, 2)),
    "no_grad": flops(torch.no_grad(), lambda: tokens),
    "no_grad, view": flops(torch.no_grad(), lambda: feature.transpose(1, 2)),
    "inference_mode": flops(torch.inference_mode(), lambda: tokens),
    "inference_mode, detached": flops(torch.inference_mode(), lambda: tokens.detach()),
}
for name, found in seen.items():
    print(name, found)
assert list(seen.values()) == [640, 640, "AssertionError", "AttributeError", 640], seen
PYTHON
