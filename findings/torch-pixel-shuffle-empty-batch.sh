#!/usr/bin/env bash
# torch 2.13.0, CPU: pixel_shuffle takes a batch of no images and returns the right empty shape, but its backward raises,
# since the gradient it returns has the shape of the output. Detectors feed mask heads batches of no boxes. Bilinear
# interpolation, unfold and grid_sample pass the same backward.
# Expected: an empty gradient of the shape of the input.
# Seen: "PixelShuffleBackward0 returned an invalid gradient at index 0 - got [0, 2, 8, 8]".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
import torch.nn.functional as F


def backward(function, batch: int) -> str:
    x = torch.randn(batch, 8, 4, 4, requires_grad=True)
    try:
        function(x).sum().backward()
    except RuntimeError as error:
        return str(error)
    assert x.grad.shape == x.shape
    return "ok"


others = {
    "interpolate": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "unfold": lambda x: F.unfold(x, 3, padding=1),
    "grid_sample": lambda x: F.grid_sample(x, torch.zeros(len(x), 5, 5, 2), align_corners=True),
}
for name, function in others.items():
    print(name, backward(function, 0))
    assert backward(function, 0) == "ok"
shuffled = torch.randn(0, 8, 4, 4)
assert F.pixel_shuffle(shuffled, 2).shape == (0, 2, 8, 8)
assert backward(lambda x: F.pixel_shuffle(x, 2), 1) == "ok"
seen = backward(lambda x: F.pixel_shuffle(x, 2), 0)
print("pixel_shuffle", seen)
assert "returned an invalid gradient" in seen and "[0, 2, 8, 8]" in seen, seen
PYTHON
