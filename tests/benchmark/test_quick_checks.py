"""Small maps that show what large ones would, gradients against forwards, and results that are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import upbench
from tests.command_line import upbench as command
from tests.slow.seeded_faults import FAULTS, OTHER_WAYS, Fault
from upbench import registry
from upbench.benchmark import check, check_cache, difference, directional, gradient_check, reduced_map, run
from upbench.benchmark.check_cache import KeptCheck, KeptResult
from upbench.ops import thresholds
from upbench.specs import run_spec


@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from([1, 2, 4]))
def test_reduced_maps_keep_the_remainders_of_tiles(height: int, width: int, scale: int) -> None:
    first, *rest = reduced_map.maps(height, width)
    for full, small in zip((height, width), first, strict=True):
        assert (full * scale) % 8 == (small * scale) % 8
        assert small <= full or full < 24
        assert small >= min(full, 24)
        assert small <= 48
    if max(height, width) <= 48:
        assert (first, rest) == ((height, width), [])
    else:
        assert first[0] * first[1] < height * width
        assert (27, 25) in (first, *rest)


def test_maps_of_large_scales_are_shorter_and_keep_the_remainders() -> None:
    assert reduced_map.maps(64, 61, 4) == [(16, 21), (19, 17)]
    assert reduced_map.maps(32, 37, 14) == [(8, 13), (11, 9)]
    assert reduced_map.maps(16, 16, 14) == [(16, 16)]


@pytest.mark.parametrize(
    ("name", "shape", "sizes", "wanted"),
    [
        ("anyup", "32x32x37", {"output_size": "448x518", "guide_size": "448x518"}, [(112, 182), (154, 126)]),
        ("jafar", "32x32x32", {"output_size": "450x451"}, [(112, 113), (155, 127)]),
        ("naf", "32x64x64", {}, [(48, 48), (54, 50)]),
        ("fade", "32x120x121", {}, [(48, 50), (54, 50)]),
        ("sam2-mask", "32x64x61", {}, [(64, 84), (76, 68)]),
        ("lift", "32x64x64", {}, [(48, 48), (54, 50)]),
    ],
)
def test_guides_and_outputs_shrink_with_the_map(
    name: str, shape: str, sizes: dict[str, str], wanted: list[tuple[int, int]]
) -> None:
    spec = run_spec.load({"upsampler": name, "input": {"shape": shape, **sizes}})
    small = [one for one, _ in gradient_check.reduced(spec)]
    assert [(one.setting.out_height, one.setting.out_width) for one in small] == wanted
    for one in small:
        assert (one.channels, one.guide_channels, one.scale, one.params) == (
            spec.channels,
            spec.guide_channels,
            spec.scale,
            spec.params,
        )
        before, after = (s.card.guide_shapes(s.setting) for s in (spec, one))
        ratio = one.setting.out_height / spec.setting.out_height
        assert [b[2] * ratio for b in before] == pytest.approx([a[2] for a in after], abs=1)


def test_a_map_that_no_rule_allows_stays_as_it_is() -> None:
    spec = run_spec.load({"upsampler": "jbu", "params": {"radius": 90}, "input": {"shape": "8x64x64"}})
    assert gradient_check.reduced(spec) == [(spec, 1.0)]


@pytest.mark.parametrize("shape", ["256x1x1", "64x1x2"])
def test_a_map_of_one_pixel_whose_keys_are_all_the_same_passes(shape: str) -> None:
    """No gradient of a parameter is more than rounding there, since every weighting of equal values is that value."""
    assert check.check([run_spec.load({"upsampler": "ldaaqu", "input": {"shape": shape}})], None).passed


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.complex64])
def test_differences_by_pieces_are_those_of_the_whole(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(difference, "PIECE", 50)
    a = (10 * torch.randn(2, 3, 5, 7)).to(dtype)
    b = (a.float() + 0.1 * torch.randn(2, 3, 5, 7) if not dtype.is_complex else a * 1.01).to(dtype)
    values = [torch.view_as_real(t) if dtype.is_complex else t for t in (a, b)]
    one, other = (t.double() for t in values)
    expected = float((one - other).abs().max() / other.abs().max())
    found = difference.part_of_largest(a.to(memory_format=torch.channels_last), b)
    assert found == pytest.approx(expected, rel=1e-12)
    assert difference.part_of_largest(a, a) == 0
    assert difference.part_of_largest(a, a[..., 1:]) == float("inf")
    assert difference.part_of_largest(a, 0 * a) == float("inf")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_infinitely_far(value: float) -> None:
    right, wrong = torch.zeros(2, 3), torch.zeros(2, 3)
    wrong[1, 1] = value
    assert difference.part_of_largest(right, wrong) == difference.part_of_largest(wrong, right) == float("inf")
    assert difference.part_of_largest(wrong, wrong) == float("inf")


def test_thresholds_shrink_with_the_map() -> None:
    ratio = reduced_map.pixel_ratio((120, 120), (24, 24))
    assert ratio == 25
    with thresholds.for_smaller_maps(ratio):
        assert [thresholds.scaled(n) for n in (2**25, 2**20, 3)] == [1342177, 41943, 1]
    assert thresholds.scaled(2**25) == 2**25


def _gradient(module: torch.nn.Module, x: Tensor, weight: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(module(leaf), leaf, weight)
    return found


@pytest.mark.parametrize("name", ["carafe", "dysample", "deconv", "bilinear"])
def test_a_right_gradient_agrees_with_two_forwards(name: str) -> None:
    module = upbench.build(name, channels=16, scale=2)
    x, weight = torch.randn(1, 16, 26, 24), torch.randn(1, 16, 52, 48)
    found = gradient_check.directions(module, [x], weight, [_gradient(module, x, weight)])
    assert [n for n, _ in found] == [0] * 6 * directional.DRAWS
    assert all(direction.agrees for _, direction in found), found
    assert gradient_check.directions(module, [x], weight, [None]) == []


def test_where_steps_cross_pixels_float64_decides() -> None:
    torch.manual_seed(0)
    module = upbench.build("ldaaqu", channels=16, scale=2, groups=1)
    x, weight = torch.randn(1, 16, 26, 24), torch.randn(1, 16, 52, 48)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter))
    gradient = _gradient(module, x, weight)
    assert not all(one.agrees for one in directional.compare(module, x, weight, gradient))
    assert all(one.agrees for _, one in gradient_check.directions(module, [x], weight, [gradient]))
    gradient[..., 8:16, 8:16] = 0
    assert not all(one.agrees for _, one in gradient_check.directions(module, [x], weight, [gradient]))


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (slice(8, 16), slice(8, 16)),
        (slice(0, 1), slice(0, 24)),
        (slice(0, 26), slice(23, 24)),
        (slice(15, 17), slice(0, 24)),
    ],
)
def test_a_gradient_that_misses_a_tile_an_edge_or_a_seam_does_not(rows: slice, columns: slice) -> None:
    module = upbench.build("carafe", channels=16, scale=2)
    x, weight = torch.randn(1, 16, 26, 24), torch.randn(1, 16, 52, 48)
    gradient = _gradient(module, x, weight)
    gradient[..., rows, columns] = 0
    assert not all(direction.agrees for direction in directional.compare(module, x, weight, gradient))


def test_gradients_that_lie_in_steps_have_a_digest() -> None:
    """Those of biases do, where a kernel writes weights and biases side by side."""
    both = torch.randn(8, 2)
    spec = run_spec.load({"upsampler": "bilinear", "input": {"shape": "4x6x5"}})
    small = [
        gradient_check.SmallMap(spec, 1.0, gradient_check.Gradients([("bias", bias)], [], [], {}))
        for bias in (both[:, 1], both[:, 1].clone())
    ]
    assert gradient_check.digest(small[:1]) == gradient_check.digest(small[1:])


def test_a_gradient_that_is_not_finite_is_far_off() -> None:
    x = torch.randn(1, 2, 24, 24)
    gradient = torch.full_like(x, float("nan"))
    assert directional.compare(lambda t: t * 2, x, x, gradient)[0].apart == float("inf")
    assert directional.compare(lambda t: t * 0, x, x, torch.zeros_like(x))[0].apart == 0


SPEC = {"upsampler": "carafe", "input": {"shape": "64x8x8", "seed": 0}, "measure": {"device": "cpu", "budget": 2.0}}
HERE = {"device": "cpu", "threads": 1, "torch": "2", "upbench": "1", "kernels": "c", "load": 3.0}
PASSED = KeptResult(output="a", gradients="b", checks=[KeptCheck(name="finite", passed=True, detail="yes")])


def test_a_result_is_kept_under_what_it_depends_on() -> None:
    base = check_cache.key(SPEC, HERE, {"a.py": "1"}, "f")
    longer = {**SPEC, "measure": {"device": "cpu", "budget": 9.0, "mode": "training"}}
    assert check_cache.key(longer, {**HERE, "load": 0.1}, {"a.py": "1"}, "f") == base
    others = [
        ({**SPEC, "input": {"shape": "64x8x8", "seed": 1}}, HERE, {"a.py": "1"}, "f"),
        ({**SPEC, "measure": {"device": "cpu", "backend": "eager"}}, HERE, {"a.py": "1"}, "f"),
        (SPEC, {**HERE, "threads": 2}, {"a.py": "1"}, "f"),
        (SPEC, {**HERE, "kernels": "torch"}, {"a.py": "1"}, "f"),
        (SPEC, HERE, {"a.py": "2"}, "f"),
        (SPEC, HERE, {"a.py": "1"}, "g"),
    ]
    assert len({base, *(check_cache.key(*one) for one in others)}) == 7


def test_results_come_back_and_damaged_or_failed_ones_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPBENCH_CACHE", str(tmp_path))
    assert check_cache.load("x") is None
    assert check_cache.save("x", PASSED)
    assert check_cache.load("x") == PASSED
    failed = PASSED.model_copy(update={"checks": [KeptCheck(name="finite", passed=False, detail="no")]})
    assert not check_cache.save("y", failed)
    assert check_cache.load("y") is None
    for n in range(check_cache.MOST):
        check_cache.save(f"{n}", PASSED)
    assert check_cache.load("x") is None
    check_cache.path().write_text('{"schema": 1, "results": {"z": 3}}')
    assert check_cache.load("z") is None
    check_cache.path().write_text("{")
    assert check_cache.load("z") is None
    monkeypatch.setenv("UPBENCH_CACHE", "/proc/nowhere")
    assert not check_cache.save("x", PASSED)


def test_flags_of_the_processor_in_any_order(tmp_path: Path) -> None:
    one, other = tmp_path / "a", tmp_path / "b"
    one.write_text("processor : 0\nflags : sse avx2\n")
    other.write_text("flags : avx2 sse\n")
    assert check_cache.cpu_flags(one) == check_cache.cpu_flags(other) is not None
    assert check_cache.cpu_flags(tmp_path / "none") is None


def _failed(spec: run_spec.RunSpec, cache: bool = False) -> set[str]:
    return {one.name for one in check.check([spec], None, cache=cache).checks if not one.passed}


QUICK = [
    *(FAULTS[n] for n in (1, 3, 6, 8, 13, 14, 15, 16)),
    next(fault for fault in FAULTS if fault.offsets == "max"),
    *(OTHER_WAYS[n] for n in (1, 3, 4, 11)),
]


@pytest.mark.parametrize("fault", QUICK, ids=str)
def test_the_check_catches_a_fault(fault: Fault) -> None:
    with fault.put_in():
        failed = _failed(run_spec.load(fault.spec()))
    assert failed & {"backend forward", "backend backward"}


def test_where_small_maps_run_other_backends_both_forms_are_compared_at_full_size() -> None:
    spec = run_spec.load({"upsampler": "tests.modules.two_forms:FusedWhereWide", "input": {"shape": "8x50x52"}})
    (one,) = [one for one in check.check([spec], None).checks if one.name == "backend backward"]
    assert one.passed
    assert " at " not in one.detail


CARAFE = {
    "upsampler": "carafe",
    "input": {"shape": "16x9x7"},
    "measure": {"device": "cpu", "threads": 1, "budget": 0.01},
}


def _kept(checks: Any) -> list[str]:
    return [one.name for one in checks if "kept from an earlier run" in one.detail]


def test_a_check_is_kept_while_the_same_bits_come_again() -> None:
    spec = run_spec.load(CARAFE)
    first, second = (check.check([spec], None) for _ in range(2))
    assert _kept(first.checks) == []
    assert _kept(second.checks) == ["repeat", "backend forward", "backend backward"]
    assert [one.name for one in first.checks] == [one.name for one in second.checks]
    assert _kept(check.check([spec], None, cache=False).checks) == []
    other = run_spec.load({**CARAFE, "input": {"shape": "16x9x7", "seed": 1}})
    assert _kept(check.check([other], None).checks) == []


@pytest.mark.parametrize("number", [1, 6])
def test_a_kept_check_does_not_hide_a_fault(number: int) -> None:
    spec = run_spec.load(CARAFE)
    assert _failed(spec, cache=True) == set()
    with FAULTS[number].put_in():
        assert _failed(spec, cache=True)
        assert _failed(spec, cache=True)
    assert _kept(check.check([spec], None).checks) != []


def test_no_check_of_a_users_module_is_kept() -> None:
    spec = run_spec.load({**CARAFE, "upsampler": "tests.modules.two_forms:Louder"})
    for _ in range(2):
        checked = check.check([spec], None)
        assert checked.passed
        assert _kept(checked.checks) == []


def test_no_cache_writes_and_reads_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPBENCH_CACHE", str(tmp_path / "kept"))
    arguments = (
        "compare",
        "carafe",
        "--shape",
        "16x9x7",
        "--device",
        "cpu",
        "--threads",
        1,
        "--exact",
        "--format",
        "json",
    )
    file = tmp_path / "kept" / "checks.json"
    assert command(*arguments, "--no-cache").exit_code == 0
    assert not file.exists()
    assert command(*arguments).exit_code == 0
    assert file.exists()
    assert "kept from an earlier run" in command(*arguments).stdout
    assert "kept from an earlier run" not in command(*arguments, "--no-cache").stdout
    file.write_text("{")
    assert "kept from an earlier run" not in command(*arguments).stdout
    assert "kept from an earlier run" in command(*arguments).stdout


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    construct = registry.construct

    def counted(card: Any, *given: Any, **more: Any) -> Any:
        names.append(card.name)
        return construct(card, *given, **more)

    monkeypatch.setattr(registry, "construct", counted)
    return names


def test_what_was_checked_is_measured(built: list[str]) -> None:
    specs = [run_spec.load(CARAFE), run_spec.load({**CARAFE, "upsampler": "bilinear"})]
    plain = run.compare(specs, timed=False)
    built.clear()
    assert check.check(specs, None).passed
    assert built
    built.clear()
    records = run.compare(specs, timed=False)
    assert built == []
    for record, other in zip(records, plain, strict=True):
        assert (record.output, record.macs, record.memory, record.params, record.op_count, record.warnings) == (
            other.output,
            other.macs,
            other.memory,
            other.params,
            other.op_count,
            other.warnings,
        )
    run.compare(specs, timed=False)
    assert set(built) == {"carafe", "bilinear"}


@pytest.mark.parametrize(
    ("upsampler", "measure"),
    [("carafe", {"mode": "training"}), ("tests.modules.two_forms:Louder", {})],
)
def test_another_mode_and_a_users_module_are_built_anew(upsampler: str, measure: Any, built: list[str]) -> None:
    spec = run_spec.load({**CARAFE, "upsampler": upsampler, "measure": {**CARAFE["measure"], **measure}})
    assert check.check([spec], None).passed
    built.clear()
    run.compare([spec], timed=False)
    assert built
