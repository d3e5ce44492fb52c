"""Every upsampler equals what its authors released: output, and the gradients of inputs and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import upbench
from tests import references
from upbench import registry
from upbench.measure.output import maps

FLOAT64 = 2e-7


def room(golden: references.Golden, dtype: torch.dtype, name: str) -> float:
    """What an array may differ by: in float32 at least what a release that drifts by more is allowed itself."""
    if dtype == torch.float64:
        return FLOAT64
    own = references.OUTPUT if name.startswith("y") else references.GRADIENT
    return max(own, 4 * (golden.meta.get("float32_drift", {}).get(name) or 0.0)) if "builder" in golden.meta else own


def cases() -> Iterator[tuple[Path, torch.dtype, str]]:
    for path in references.paths():
        golden = references.load(path)
        for backend in ("fused", "eager") if registry.get(golden.name).fused else ("auto",):
            yield path, torch.float32, backend
            if "builder" in golden.meta:
                yield path, torch.float64, backend


@pytest.mark.parametrize(
    ("path", "dtype", "backend"), list(cases()), ids=lambda v: getattr(v, "stem", str(v).removeprefix("torch."))
)
def test_equals_the_release(path: Path, dtype: torch.dtype, backend: str) -> None:
    golden = references.load(path)
    module = golden.build().to(dtype)
    module.backend = backend
    inputs = golden.inputs(dtype)
    out, *more = maps(module(*inputs.values(), size=golden.size))
    assert references.error(out, golden.tensor("y")) <= room(golden, dtype, "y")
    loss = (out * golden.tensor("r")).sum()
    loss.backward(retain_graph=True)
    for name, tensor in inputs.items():
        if (key := f"grad_{name}") in golden.arrays:
            gradient = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
            assert references.error(gradient, golden.tensor(key)) <= room(golden, dtype, key), key
    own = dict(module.named_parameters())
    # What a vector of the original A2U has for its downsampling branch is no concern of ours.
    expected = {k: v for k, v in module.adapt(golden.meta["param_grad"]).items() if k in own}
    assert set(expected) == set(own)
    norms = {k: v["l2"] if v else 0.0 for k, v in expected.items()}
    largest = max(norms.values(), default=0.0)
    for name, value in expected.items():
        gradient = own[name].grad
        if not value:
            assert gradient is None or not gradient.any(), name
            continue
        gradient = torch.zeros(1) if gradient is None else gradient.double()
        # A sum of n terms is known to the square root of n times their size; a norm to its own size.
        allowed = room(golden, dtype, "grad_params") * max(norms[name], 1e-3 * largest)
        assert abs(gradient.norm().item() - norms[name]) <= allowed, name
        assert abs(gradient.sum().item() - value["sum"]) <= allowed * own[name].numel() ** 0.5, name
    if more:
        assert references.error(more[0], golden.tensor("y_hr")) <= room(golden, dtype, "y_hr")
        both = torch.autograd.grad(loss + (more[0] * golden.tensor("r_hr")).sum(), list(inputs.values()))
        for name, gradient in zip(inputs, both, strict=True):
            key = f"grad_{name}_both"
            assert references.error(gradient, golden.tensor(key)) <= room(golden, dtype, key), key


@pytest.mark.parametrize(
    "path", [p for p in references.paths() if "y_float32" in references.load(p).arrays], ids=lambda p: p.stem
)
def test_equals_the_release_in_its_own_float32(path: Path) -> None:
    """Where float32 drifts far from float64, the same rounding of positions, tables and products drifts alike."""
    golden = references.load(path)
    out = golden.build()(*golden.inputs().values(), size=golden.size)
    assert references.error(out, golden.tensor("y_float32")) <= 5e-6


def test_parameters_are_counted_as_released() -> None:
    """Dead parameters included. At the settings of the releases."""
    counts = {
        ("freqfusion", 256): 52_514,
        ("jbu", 384): 6_233,
        ("jbu-stack", 384): 172_772,
        ("jafar", 384): 628_480,
        ("anyup", 384): 878_080,
        ("loftup", 384): 4_303_126,
        ("loftup", 512): 7_164_438,
        ("loftup", 768): 15_049_750,
        ("naf", 384): 662_528,
        ("lift", 384): 1_187_280,
        ("sam-mask", 256): 73_952,
        ("sam2-mask", 256): 98_624,
        ("dlu", 256): 35_489,
        ("maxunpool", 256): 0,
    }
    for (name, channels), expected in counts.items():
        with torch.device("meta"):
            module = upbench.build(name, channels)
        assert sum(p.numel() for p in module.parameters()) == expected, name
    with torch.device("meta"):
        flow = upbench.build("convex", 2, 8, 128)
    assert sum(p.numel() for p in flow.parameters()) == 443_200


def test_there_is_a_vector_for_every_released_upsampler() -> None:
    """Interpolation is torch's own, and LA-AQU was never released."""
    covered = {references.load(path).name for path in references.paths()}
    assert set(registry.builtin()) - covered <= {"nearest", "bilinear", "bicubic", "laaqu"}
