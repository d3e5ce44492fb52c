"""Laws of LA-AQU, which nobody released: its equations, pixel by pixel, are the reference."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import upbench
from upbench.ops import window_assemble
from upbench.ops.window import read_windows, window_similarity


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def aligned(position, size, out_size):
    """Where output pixel `position` lies on a map of `size` pixels when the corners of both maps coincide."""
    return position * (size - 1) / (out_size - 1) if out_size > 1 else 0.0


def bilinear(image, y, x):
    """image: [d, H, W] at a position on the map."""
    top, left = min(int(y), image.shape[1] - 1), min(int(x), image.shape[2] - 1)
    low, right = min(top + 1, image.shape[1] - 1), min(left + 1, image.shape[2] - 1)
    v, u = y - top, x - left
    upper = (1 - u) * image[:, top, left] + u * image[:, top, right]
    lower = (1 - u) * image[:, low, left] + u * image[:, low, right]
    return (1 - v) * upper + v * lower


def loop_laaqu(module, image):
    """Equations 6 to 9 and 13 for one image [C, H, W], every output pixel, head and tap in a loop."""
    channels, height, width = image.shape
    heads, k = module.heads, module.k_u
    d, dv = module.hidden // heads, channels // heads
    centred = image - image.mean(0)
    normed = centred / (image.var(0, unbiased=False) + 1e-5).sqrt()
    normed = normed * module.layer_norm.norm.weight.view(-1, 1, 1) + module.layer_norm.norm.bias.view(-1, 1, 1)
    query = torch.einsum("oc,chw->ohw", module.proj_q.weight.flatten(1), normed)
    key = torch.einsum("oc,chw->ohw", module.proj_k.weight.flatten(1), normed)
    table = module.relative_position_bias_table
    out_h, out_w = math.floor(height * module.scale), math.floor(width * module.scale)
    out = torch.zeros(channels, out_h, out_w, dtype=image.dtype)
    for i in range(out_h):
        for j in range(out_w):
            q = bilinear(query, aligned(i, height, out_h), aligned(j, width, out_w))
            for head in range(heads):
                logits, values = [], []
                for t in range(k * k):
                    y, x = i * height // out_h + t // k - k // 2, j * width // out_w + t % k - k // 2
                    inside = 0 <= y < height and 0 <= x < width
                    s = key[head * d : (head + 1) * d, y, x] if inside else torch.zeros(d, dtype=image.dtype)
                    e = 0 if table is None else table[0, head, 0, t]
                    logits.append((q[head * d : (head + 1) * d] * (s + e)).sum() / math.sqrt(d))
                    v = image[head * dv : (head + 1) * dv, y, x] if inside else torch.zeros(dv, dtype=image.dtype)
                    values.append(v)
                weights = F.softmax(torch.stack(logits), 0)
                out[head * dv : (head + 1) * dv, i, j] = weights @ torch.stack(values)
    return out


@pytest.mark.parametrize(
    ("height", "width", "scale", "params"),
    [
        (5, 3, 2, {}),
        (4, 7, 3, {"heads": 2, "reduction": 2}),
        (5, 4, 1.5, {"k_u": 5}),
        (3, 5, 2.5, {"position_bias": False}),
        (1, 4, 2, {}),
        (3, 2, 1, {"k_u": 1}),
    ],
)
def test_every_pixel_is_its_equation(height, width, scale, params):
    module = upbench.build("laaqu", 8, scale, seed=0, **params).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 8, height, width, dtype=torch.float64)
    with torch.no_grad():
        expected = torch.stack([loop_laaqu(module, image) for image in x])
        torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("scale", [2, 3])
def test_at_whole_scales_it_is_window_similarity_and_assembly(scale):
    module = upbench.build("laaqu", 8, scale, seed=0, position_bias=False)
    x = torch.randn(2, 8, 5, 4)
    normed = module.layer_norm(x)
    query = F.interpolate(module.proj_q(normed), scale_factor=scale, mode="bilinear", align_corners=True)
    logits = window_similarity(query, module.proj_k(normed), 3, scale) / math.sqrt(module.hidden)
    expected = window_assemble(x, F.softmax(logits, 1).unsqueeze(1), 3, scale)
    torch.testing.assert_close(module(x), expected)


def test_equal_logits_lose_the_taps_outside():
    module = upbench.build("laaqu", 8, 2, seed=0)
    nn.init.zeros_(module.proj_q.weight)
    out = module(torch.ones(1, 8, 5, 4))
    rows = torch.tensor([2, 3, 3, 3, 2]).repeat_interleave(2)
    columns = torch.tensor([2, 3, 3, 2]).repeat_interleave(2)
    torch.testing.assert_close(out, (rows.view(-1, 1) * columns / 9).expand(1, 8, -1, -1))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [1, 5, 16])
def test_the_paper_and_we_differ_in_the_last_pixel_only(scale, size):
    """Equation 7, x * W / (aW - 1), rounded down is our parent but for the last pixel, where it leaves the map."""
    indices = torch.arange(float(size)).view(1, 1, 1, size)
    ours = read_windows(indices, 1, 1, size * scale).flatten().tolist()
    paper = [x * size // (scale * size - 1) for x in range(scale * size)]
    assert ours[:-1] == paper[:-1]
    assert (ours[-1], paper[-1]) == (size - 1, size)


def test_it_takes_the_weights_of_ldaaqu_but_for_the_offsets():
    theirs = upbench.build("ldaaqu", 16, 2, heads=2).state_dict()
    ours = upbench.build("laaqu", 16, 2, heads=2)
    missing, unexpected = ours.load_state_dict(theirs, strict=False)
    assert not missing
    assert all(key.startswith("conv_offset.") for key in unexpected)


def test_gradient_of_reading_windows():
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: read_windows(x, 3, 4, 6), (x,))
    assert torch.autograd.gradcheck(upbench.build("laaqu", 2, 1.5, reduction=1).double(), (x,), atol=1e-4)
