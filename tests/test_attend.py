"""Attention over deformed points in one op: equal to the plain upsampler wherever it runs, and only there."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import upbench
from upbench import inputs, ops, registry, spec
from upbench.ops import _cpu_attend, _native

CASES: list[dict[str, Any]] = [
    {"upsampler": "ldaaqu", "scale": 2},
    {"upsampler": "ldaaqu", "scale": 1.5, "params": {"groups": 4, "heads": 2, "coord": "input"}},
    {"upsampler": "ldaaqu", "scale": 3, "params": {"groups": 1, "position_bias": False, "k_u": 5}},
    {"upsampler": "sapa-d", "scale": 2},
    {"upsampler": "sapa-d", "scale": 3, "params": {"groups": 1, "points": 4, "norm": True, "dof": 1}},
]


def pair(
    case: dict[str, Any], reach: str, batch: int, dtype: str = "float32"
) -> tuple[torch.Tensor, torch.Tensor, dict]:
    """Outputs of the plain and the fused form, and the backends that ran."""
    run = spec.load({**case, "input": {"shape": "32x5x7", "batch": batch, "offsets": reach, "dtype": dtype}})
    tensors = inputs.make(run, torch.device("cpu"))
    found = []
    for backend in ("eager", "fused"):
        module = registry.construct(run.card, run.setting, 0, backend).to(inputs.dtype_of(run)).eval()
        inputs.set_offsets(module, run)
        with torch.inference_mode(), ops.recorded() as ran:
            found.append(module(*tensors))
    return found[0], found[1], ran


@pytest.mark.parametrize("entries", [None, 2**23, 500], ids=["c", "one-piece", "pieces"])
@pytest.mark.parametrize("reach", ["init", "trained", "max"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_equals_the_plain_form(
    case: dict[str, Any], reach: str, entries: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if entries is None and ops.kernels() != "c":
        pytest.skip("upbench was installed without a C compiler")
    if entries is not None:
        monkeypatch.setattr(_native, "_kernels", None)
        monkeypatch.setattr(_cpu_attend, "ENTRIES", entries)
    calls = []
    kept = _cpu_attend.row_dots
    monkeypatch.setattr(_cpu_attend, "row_dots", lambda *given: calls.append(1) or kept(*given))
    plain, fused, ran = pair(case, reach, batch=2)
    assert (fused - plain).abs().max() <= 1e-5 * plain.abs().max()
    assert ran == {"deform_similarity": "fused", "deform_assemble": "fused"}
    assert (len(calls) > 2) == (entries == 500)
    assert (len(calls) == 0) == (entries is None)


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 2e-2), ("float16", 3e-3), ("float64", 1e-12)])
def test_other_dtypes(dtype: str, tolerance: float) -> None:
    plain, fused, _ = pair(CASES[0], "trained", batch=1, dtype=dtype)
    assert fused.dtype == plain.dtype
    assert (fused - plain).abs().max() <= tolerance * plain.abs().max()


def test_with_gradients_the_halves_run_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*given: object) -> None:
        raise AssertionError("attended, though gradients were asked for")

    monkeypatch.setattr(_cpu_attend, "row_dots", never)
    monkeypatch.setattr(_native, "attend", never)
    module = upbench.build("ldaaqu", channels=32, backend="fused")
    module(torch.randn(1, 32, 4, 4)).sum().backward()
    assert module.proj_q.weight.grad is not None


def test_large_logits_do_not_overflow() -> None:
    module = upbench.build("ldaaqu", channels=32, backend="fused", seed=0).eval()
    with torch.inference_mode():
        module.proj_q.weight.mul_(1e3)
        module.proj_k.weight.mul_(1e3)
        out = module(torch.randn(1, 32, 6, 6))
    assert bool(torch.isfinite(out).all())
