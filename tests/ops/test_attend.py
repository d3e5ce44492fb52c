"""Attention over deformed points in one op: equal to the plain upsampler wherever it runs, and only there."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import upbench
from upbench import ops, registry
from upbench.benchmark import inputs
from upbench.measure import macs
from upbench.ops import thresholds
from upbench.ops.backend_fused import _predictor
from upbench.ops.cpu import attention, native
from upbench.ops.cpu.guided_attention import guided_attend_fused
from upbench.ops.cpu.offset_attention import offset_attend_fused
from upbench.specs import run_spec as spec

CASES: list[dict[str, Any]] = [
    {"upsampler": "ldaaqu", "scale": 2},
    {"upsampler": "ldaaqu", "scale": 1.5, "params": {"reduction": 1, "groups": 4, "heads": 2, "coord": "input"}},
    {"upsampler": "ldaaqu", "scale": 3, "params": {"groups": 1, "position_bias": False, "k_u": 5}},
    {"upsampler": "ldaaqu", "scale": 2.5, "params": {"reduction": 1, "groups": 4, "k_u": 1, "k_e": 1}},
    {"upsampler": "ldaaqu", "scale": 2, "params": {"reduction": 1, "k_e": 5, "heads": 4, "theta": 3}},
    {"upsampler": "sapa-d", "scale": 2},
    {"upsampler": "sapa-d", "scale": 3, "params": {"groups": 1, "points": 4, "norm": True, "dof": 1}},
    {"upsampler": "sapa-d", "scale": 2, "params": {"points": 1, "embedding": 5, "bias": False}},
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
        monkeypatch.setattr(native, "_kernels", None)
        monkeypatch.setattr(attention, "ENTRIES", entries)
    calls = []
    kept = attention.row_dots
    monkeypatch.setattr(attention, "row_dots", lambda *given: calls.append(1) or kept(*given))
    # At the bound the sums under tanh are a hundred times as large, and so is what their order in float32 moves points.
    dtype, tolerance = ("float64", 1e-12) if reach == "max" else ("float32", 1e-5)
    plain, fused, ran = pair(case, reach, batch=2, dtype=dtype)
    assert (fused - plain).abs().max() <= tolerance * plain.abs().max()
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

    monkeypatch.setattr(attention, "row_dots", never)
    monkeypatch.setattr(native, "attend", never)
    monkeypatch.setattr(native, "attend_predicted", never)
    monkeypatch.setattr(native, "attend_guided", never)
    module = upbench.build("ldaaqu", channels=32, backend="fused")
    module(torch.randn(1, 32, 4, 4)).sum().backward()
    assert module.proj_q.weight.grad is not None
    module = upbench.build("sapa-d", channels=32, backend="fused")
    module(torch.randn(1, 32, 4, 4), torch.randn(1, 32, 8, 8)).sum().backward()
    assert module.q.weight.grad is not None


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (8, 8), (13, 22)], ids=str)
@pytest.mark.parametrize("case", [c for c in CASES if c["upsampler"] == "ldaaqu"], ids=str)
def test_predicted_points_on_maps_that_no_tile_fits(case: dict[str, Any], size: tuple[int, int]) -> None:
    module = upbench.build("ldaaqu", 32, case["scale"], seed=0, **case.get("params", {})).double().eval()
    module.set_offsets("trained", torch.Generator().manual_seed(1))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2))
        x, found = torch.randn(2, 32, *size, dtype=torch.float64), []
        for module.backend in ("eager", "fused"):
            found.append(module(x))
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("coord", ["output", "input"])
@pytest.mark.parametrize(
    "params", [{}, {"k_e": 5, "k_u": 5, "groups": 4}, {"position_bias": False, "heads": 2}], ids=str
)
def test_macs_of_what_is_predicted_are_those_of_the_plain_form(params: dict[str, Any], coord: str) -> None:
    counts = []
    for backend in ("eager", "fused"):
        module = upbench.build("ldaaqu", 32, 1.5, seed=0, coord=coord, **params).eval()
        module.backend = backend
        counts.append(macs.count(module, (torch.randn(2, 32, 5, 7),)))
    assert counts[0].by_kind == counts[1].by_kind
    assert counts[0].uncounted == counts[1].uncounted == {}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_torch_accepts_the_op_with_its_predictor(dtype: torch.dtype) -> None:
    module = upbench.build("ldaaqu", 32, seed=0)
    predictor, eps = _predictor(module.conv_offset)
    layers = [t.detach() for t in (module.proj_q.weight, module.proj_k.weight, *predictor)]
    norm = module.layer_norm.norm
    x = torch.randn(2, 32, 4, 5, dtype=dtype)
    given = (x, norm.weight.detach(), norm.bias.detach(), layers[0], layers[1].to(dtype), *layers[2:])
    numbers = (norm.eps, eps, 11.0, False, 1, 0.3, 8, 10)
    results = torch.library.opcheck(offset_attend_fused, (*given, torch.randn(1, 9, 8), *numbers))
    assert set(results.values()) == {"SUCCESS"}


@pytest.mark.parametrize("bias", [True, False])
def test_torch_accepts_the_op_with_its_guide(bias: bool) -> None:
    x, keys, guide = torch.randn(2, 8, 3, 4), torch.randn(2, 6, 3, 4), torch.randn(2, 5, 6, 8)
    offsets, shift = torch.randn(2, 3, 4, 4, 2, 2, 3), torch.randn(6) if bias else None
    given = (x, keys, guide, torch.randn(6, 5, 1, 1), shift, offsets, 2, 2)
    assert set(torch.library.opcheck(guided_attend_fused, given).values()) == {"SUCCESS"}


@pytest.mark.parametrize("params", [{}, {"dof": 1, "bias": False}], ids=str)
def test_macs_of_what_is_guided_are_those_of_the_plain_form(params: dict[str, Any]) -> None:
    counts = []
    for backend in ("eager", "fused"):
        module = upbench.build("sapa-d", 32, 3, seed=0, guide_channels=20, **params).eval()
        module.backend = backend
        counts.append(macs.count(module, (torch.randn(2, 32, 5, 7), torch.randn(2, 20, 15, 21))))
    assert counts[0].by_kind == counts[1].by_kind
    assert counts[0].uncounted == counts[1].uncounted == {}


@pytest.mark.parametrize("name", ["ldaaqu", "sapa-d"])
def test_autocast_agrees_with_the_plain_form(name: str) -> None:
    module = upbench.build(name, 32, seed=0).eval()
    tensors = [torch.randn(1, 32, 6, 7)] + [torch.randn(1, 32, 12, 14)] * module.guided
    found = []
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        for module.backend in ("eager", "fused"):
            found.append(module(*tensors))
    assert found[0].dtype == found[1].dtype
    assert (found[1] - found[0]).abs().max() <= 5e-2 * found[0].abs().max()


def test_large_logits_do_not_overflow() -> None:
    module = upbench.build("ldaaqu", channels=32, backend="fused", seed=0).eval()
    with torch.inference_mode():
        module.proj_q.weight.mul_(1e3)
        module.proj_k.weight.mul_(1e3)
        out = module(torch.randn(1, 32, 6, 6))
    assert bool(torch.isfinite(out).all())


@pytest.mark.parametrize("size", [(1, 1), (9, 13)], ids=str)
@pytest.mark.parametrize(
    "params",
    [{}, {"k_u": 5, "k_e": 5, "groups": 1}, {"reduction": 1, "heads": 4, "position_bias": False}, {"k_u": 1, "k_e": 1}],
    ids=str,
)
def test_bfloat16_of_whole_vectors(params: dict[str, Any], size: tuple[int, int]) -> None:
    """Some CPUs multiply these in pairs: keys in bfloat16, and what moves points in whole numbers."""
    fused, plain = (
        upbench.build("ldaaqu", 256, 2, seed=0, backend=kind, **params).eval() for kind in ("fused", "eager")
    )
    x = torch.randn(2, 256, *size, generator=torch.Generator().manual_seed(0)).bfloat16()
    for reach in (None, "trained"):  # at first no point moves
        if reach:
            fused.set_offsets(reach, torch.Generator().manual_seed(1))
        plain.load_state_dict(fused.bfloat16().state_dict())
        with torch.inference_mode():
            found, expected = fused(x).double(), plain.double()(x.double())
        assert (found - expected).abs().max() <= 2e-2 * expected.abs().max()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_a_pixel_of_bfloat16_that_is_no_number_spoils_no_more_than_it_does_in_float32(value: float, seed: int) -> None:
    """Of maps that were drawn once: of thirty, one has a point so near to the edge of a cell that rounding decides what it reads."""
    torch.manual_seed(seed)
    module = upbench.build("ldaaqu", 256, seed=0, backend="fused").eval()
    module.set_offsets("trained", torch.Generator().manual_seed(1))
    x = torch.randn(1, 256, 12, 16)
    x[0, 7, 3, 4] = value
    with torch.inference_mode():
        half = module.bfloat16()(x.bfloat16())
        wide = module.float()(x.bfloat16().float())  # of the same rounded weights
    spoiled = wide.isfinite().logical_not().any(1)
    assert spoiled.any()
    assert not spoiled.all()
    assert torch.equal(half.isfinite().logical_not().any(1), spoiled)


@pytest.mark.parametrize("params", [{}, {"groups": 2, "points": 5}, {"points": 17, "embedding": 16}, {"dof": 1}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [(9, 7), (12, 16)])
@pytest.mark.parametrize("large", [False, True])
def test_guided_attention_in_every_dtype_is_that_of_float64(
    params: dict[str, Any], dtype: torch.dtype, size: tuple[int, int], large: bool
) -> None:
    """Of tiles that are whole and that are not, of results that are written past the caches and that are not."""
    fused = upbench.build("sapa-d", channels=128, backend="auto", seed=0, **params)
    plain = upbench.build("sapa-d", channels=128, backend="eager", seed=0, **params).double().eval()
    fused.set_offsets("trained", torch.Generator().manual_seed(1))
    fused.to(dtype).eval()
    plain.load_state_dict(fused.state_dict())
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2, 128, *size, generator=generator).to(dtype)
    guide = torch.randn(2, 128, *(2 * n for n in size), generator=generator).to(dtype)
    with torch.inference_mode(), thresholds.for_smaller_maps(2.0**20 if large else 1.0):
        found, expected = fused(x, guide), plain(x.double(), guide.double())
    assert found.dtype == dtype
    allowed = 1e-4 if dtype == torch.float32 else 1e-2
    assert (found - expected).abs().max() <= allowed * expected.abs().max()
