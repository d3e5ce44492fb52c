"""From a spec to a record: numbers, warnings, failures."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import upbench
from upbench import registry
from upbench.benchmark import run
from upbench.benchmark.case import Case
from upbench.errors import DeviceError, OutputError, SpecError, StoreError, UpbenchError
from upbench.measure import latency, macs, memory, params
from upbench.measure.clock import CpuClock
from upbench.records import record, store
from upbench.specs import run_spec as spec


def tiny(name: str = "carafe", **changes: object) -> spec.RunSpec:
    data = {"upsampler": name, "input": {"shape": "32x6x5"}, "measure": {"budget": 0.02, "device": "cpu"}, **changes}
    return spec.load(data)


def test_a_record_holds_spec_environment_and_measurements() -> None:
    plan = tiny("ldaaqu")
    found = run.run(plan)
    assert spec.load(found.settings.given()) == plan
    assert found.environment.torch == torch.__version__
    assert found.environment.threads == torch.get_num_threads()
    assert found.params == plan.card.count_params(plan.setting)
    assert found.macs is not None
    assert found.macs.total == found.macs.conv + found.macs.gather + found.macs.norm + found.macs.elementwise
    assert found.latency is not None
    assert len(found.latency.samples_s) >= latency.FEWEST_PASSES
    assert min(found.latency.samples_s) > 0
    assert found.memory is not None
    assert found.memory.output_bytes == 4 * 32 * 12 * 10
    assert found.memory.forward_peak_bytes >= found.memory.output_bytes
    assert found.memory.training_peak_bytes > found.memory.forward_peak_bytes
    assert record.from_json(found.to_json(), "here") == found


@pytest.mark.parametrize("name", ["carafe", "ldaaqu", "dysample", "bilinear"])
def test_cpu_memory_is_bit_equal_in_three_runs(name: str) -> None:
    plan = tiny(name, input={"shape": "64x24x20"})
    assert len({(m.forward_peak_bytes, m.training_peak_bytes) for m in (run.run(plan).memory for _ in range(3))}) == 1


def test_memory_of_known_calls() -> None:
    cpu = torch.device("cpu")
    assert memory.peak_bytes(lambda: torch.empty(1000), cpu) == 4000
    assert memory.peak_bytes(lambda: torch.ones(1000) + torch.ones(1000), cpu) == 12000
    x = torch.ones(1000)
    assert memory.peak_bytes(lambda: x.view(10, 100), cpu) == 0
    assert memory.peak_bytes(lambda: x.neg(), cpu) == 4000
    assert memory.peak_bytes(lambda: x.neg().neg().neg(), cpu) == 8000


def test_interpolation_needs_its_output_and_for_backward_the_gradient_of_x() -> None:
    """Besides, torch keeps a table of source indices. (On maps of up to 8x8 it takes another way, with copies.)"""
    found = run.run(tiny("nearest", input={"shape": "16x64x64"})).memory
    out, x = 4 * 16 * 128 * 128, 4 * 16 * 64 * 64
    assert out <= found.forward_peak_bytes <= 1.01 * out
    assert out + x <= found.training_peak_bytes <= 1.01 * (out + x)


def test_training_mode_measures_forward_and_backward() -> None:
    found = run.run(tiny(measure={"mode": "training", "budget": 0.02, "device": "cpu"}))
    assert found.latency.mode == "training"


@pytest.mark.parametrize("mode", ["training-forward", "training-backward"])
def test_the_halves_of_training_are_measured_alone(mode: str) -> None:
    plan = tiny("carafe", measure={"mode": mode, "budget": 0.02, "device": "cpu"})
    assert run.run(plan).latency.mode == mode
    case = Case(plan, torch.device("cpu"), CpuClock())
    result = case.call()()
    if mode == "training-forward":
        assert result.requires_grad
    else:
        assert [g.shape for g in result] == [t.shape for t in (*case.inputs, *case.plain.parameters())]


@pytest.mark.parametrize("dtype", ["autocast-bfloat16", "autocast-float16"])
def test_autocast_lowers_the_calls_not_the_weights(dtype: str) -> None:
    plan = tiny("carafe", input={"shape": "32x6x5", "dtype": dtype})
    case = Case(plan, torch.device("cpu"), CpuClock())
    assert next(case.plain.parameters()).dtype == torch.float32
    assert case.forward().dtype == getattr(torch, dtype.removeprefix("autocast-"))
    assert run.run(plan).macs == run.run(tiny("carafe")).macs


def test_compiled_modules_are_measured_and_counted_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a backend of torch.compile that needs no C++ compiler; tests/slow has the one that users get."""
    asked: list[str] = []
    whole = torch.compile

    def light(module: nn.Module, mode: str) -> nn.Module:
        asked.append(mode)
        return whole(module, backend="aot_eager")

    monkeypatch.setattr(torch, "compile", light)
    plain = run.run(tiny("bilinear"))
    assert asked == []
    found = run.run(tiny("bilinear", measure={"compile": "default", "budget": 0.02, "device": "cpu"}))
    assert asked == ["default"]
    assert found.macs == plain.macs
    assert found.latency.first_call_s > found.latency.samples_s[-1]


@pytest.mark.parametrize(
    ("name", "reach", "expected"),
    [
        ("dysample", "trained", 0.25),
        ("dysample", "max", 1.0),
        ("dysample-s+", "trained", 0.25),
        ("sapa-d", "trained", 1.0),
        ("sapa-d", "max", 4.0),
        ("ldaaqu", "trained", 0.42 * 11 * 15 / 31),
        ("ldaaqu", "max", 11 * 15 / 31),
    ],
)
def test_offsets_reach_as_far_as_they_say(name: str, reach: str, expected: float) -> None:
    """Root mean square distance, in low-resolution pixels, from where an untrained module reads."""
    read: list[torch.Tensor] = []
    for offsets in ("init", reach):
        plan = tiny(name, input={"shape": "64x16x16", "offsets": offsets})
        case = Case(plan, torch.device("cpu"), CpuClock())
        module, x = case.plain, case.inputs[0].detach()
        with torch.no_grad():
            if name == "ldaaqu":
                query = torch.nn.functional.interpolate(module.proj_q(module.layer_norm(x)), scale_factor=2)
                read.append(module.points(query, 16, 16))
            else:
                read.append(module.positions(x) if name == "sapa-d" else module.offsets(x))
    moved = (read[1] - read[0]).square().mean().sqrt().item()
    assert moved == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_every_dtype_runs(dtype: str) -> None:
    found = run.run(tiny("ldaaqu", input={"shape": "32x6x5", "dtype": dtype}))
    assert found.memory.output_bytes == torch.empty(0, dtype=getattr(torch, dtype)).element_size() * 32 * 120


def test_channels_last_reaches_the_module() -> None:
    plan = tiny(input={"shape": "32x6x5", "memory_format": "channels_last"})
    case = Case(plan, torch.device("cpu"), CpuClock())
    assert case.inputs[0].is_contiguous(memory_format=torch.channels_last)


def test_threads_are_set_recorded_and_put_back() -> None:
    before = torch.get_num_threads()
    found = run.run(tiny(measure={"threads": 1, "budget": 0.02, "device": "cpu"}))
    assert found.environment.threads == 1
    assert torch.get_num_threads() == before


def test_compared_upsamplers_share_their_rounds() -> None:
    records = run.compare([tiny("carafe"), tiny("bilinear")])
    assert records[0].comparison == records[1].comparison is not None
    assert len(records[0].latency.samples_s) == len(records[1].latency.samples_s)


def test_different_conditions_are_not_compared() -> None:
    with pytest.raises(SpecError, match="same device, threads, mode, allocator and flush_denormals"):
        run.compare([tiny(), tiny(measure={"mode": "training"})])


def test_progress_runs_from_zero_to_one() -> None:
    said: list[tuple[str, float]] = []
    run.compare([tiny("carafe"), tiny("bilinear")], lambda what, part: said.append((what, part)))
    parts = [part for _, part in said]
    assert parts == sorted(parts)
    assert parts[0] == 0
    assert {"carafe: counting", "bilinear: memory"} <= {what for what, _ in said}


class Broken(nn.Module):
    """Fails when it is called."""

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise ValueError("on purpose\nwith a second line")


class WrongSize(Broken):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class NotFinite(Broken):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3) / 0


class Hidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    @staticmethod
    def backward(ctx: object, grad: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("this kernel has no backward")


class Opaque(Broken):
    """Arithmetic in an autograd function, which a counter cannot see into."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Hidden.apply(x)


def test_a_module_that_fails_is_one_sentence() -> None:
    with pytest.raises(UpbenchError, match=r"failed on 32x6x5 in float32 on cpu: ValueError: on purpose \(tests"):
        run.run(tiny(f"{__name__}:Broken"))


def test_a_wrong_output_size_is_refused() -> None:
    with pytest.raises(
        UpbenchError, match=r"returned \[1, 32, 6, 5\], but an upsampler of scale 2 must return \[1, 32, 12, 10\]"
    ):
        run.run(tiny(f"{__name__}:WrongSize"))


def test_values_that_are_not_finite_are_warned_of() -> None:
    assert any("not finite" in text for text in run.run(tiny(f"{__name__}:NotFinite")).warnings)


def test_what_the_counter_cannot_see_is_listed() -> None:
    found = run.run(tiny(f"{__name__}:Opaque"))
    assert found.uncounted == {"prim::PythonOp.Hidden": 1}
    assert any("not counted in the MACs: prim::PythonOp.Hidden (1x)" in text for text in found.warnings)
    assert found.memory.training_peak_bytes is None
    assert any("backward could not run" in text for text in found.warnings)


def test_counting_classes_of_foreign_modules() -> None:
    class Foreign(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 8, 1), nn.GroupNorm(2, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.softmax(self.norm(self.conv(x)), 1)
            y = torch.einsum("bchw,bdhw->bcd", y, y)
            return y @ y

    counted = macs.count(Foreign(), (torch.randn(1, 4, 3, 3),))
    assert counted.by_kind == {"conv": 4 * 8 * 9, "gather": 8 * 8 * 9 + 8**3, "norm": 5 * 72, "elementwise": 3 * 72}
    assert counted.uncounted == {}


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [((3, 4), (4, 5), 60), ((2, 3, 4), (4,), 24), ((4,), (4, 5), 20), ((4,), (4,), 4), ((2, 3, 4), (2, 4, 5), 120)],
)
def test_products_of_any_rank_are_counted(left: tuple[int, ...], right: tuple[int, ...], expected: int) -> None:
    class Product(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return a @ b

    assert macs.count(Product(), (torch.randn(left), torch.randn(right))).by_kind["gather"] == expected


def test_params_count_shared_weights_once_and_frozen_ones_apart() -> None:
    layer = nn.Linear(3, 2)
    module = nn.Sequential(layer, nn.BatchNorm1d(2), layer)
    layer.bias.requires_grad_(False)
    found = params.count(module)
    assert (found.total, found.trainable, found.buffers) == (12, 10, 5)
    assert found.bytes == 4 * 12 + 4 * 4 + 8


def test_a_cuda_device_that_is_not_there() -> None:
    with pytest.raises(DeviceError, match="cuda:99 was asked for, but this machine has"):
        run.validate([tiny(measure={"device": "cuda:99"})])


def test_validate_collects_what_cannot_be_built() -> None:
    class_name = f"{__name__}:Broken"
    run.validate([tiny(class_name)])
    with pytest.raises(SpecError) as caught:
        run.validate([tiny(f"{__name__}:Unbuildable"), tiny(f"{__name__}:AlsoUnbuildable")])
    assert len(caught.value.mistakes) == 2
    assert "cannot be built: KeyError: 'no'" in caught.value.mistakes[0]


class Unbuildable(nn.Module):
    def __init__(self, channels: int, scale: float) -> None:
        raise KeyError("no")

    def forward(self, x: Tensor) -> Tensor:
        return x


class AlsoUnbuildable(Unbuildable):
    pass


def test_store_appends_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    first, second = run.run(tiny("nearest")), run.run(tiny("bilinear"))
    store.append(path, first)
    store.append(path, second)
    assert store.load(path).records == [first, second]
    assert set(store.latest([first, first, second])) == {first.key, second.key}


def test_a_torn_line_is_named_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    first, second = run.run(tiny("nearest")), run.run(tiny("bilinear"))
    store.append(path, first)
    whole = path.read_text()
    path.write_text(whole + whole[:100])
    store.append(path, second)
    found = store.load(path)
    assert found.records == [first, second]
    assert len(found.skipped) == 1
    assert "line 2, is torn (not a complete JSON record)" in found.skipped[0]
    assert path.read_text().startswith(whole + whole[:100] + "\n")


@pytest.mark.parametrize(
    ("line", "part"),
    [
        (b'{"schema": 99}', "line 1, has schema 99"),
        (b"[1]", "line 1, has schema None"),
        (b'{"schema": 1, "label": 3}', "line 1, is not a record of upbench"),
        (b"\xff\xfe\x00", "line 1, is torn"),
        (b"[" * 100_000, "line 1, is torn"),
        (b"9" * 10_000, "line 1, is torn"),
    ],
)
def test_foreign_lines_are_named(tmp_path: Path, line: bytes, part: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(line + b"\n\n")
    found = store.load(path)
    assert found.records == []
    assert len(found.skipped) == 1
    assert part in found.skipped[0]


def test_a_results_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    assert store.load(tmp_path / "none.jsonl") == store.Contents()
    with pytest.raises(StoreError, match="cannot be read"):
        store.load(tmp_path)


def test_an_index_says_where_records_stand_and_what_came_of_them(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    record = run.run(tiny("nearest"))
    failed = record.model_copy(update={"status": "oom", "error": "too big", "axes": {"batch": 1}})
    elsewhere = record.model_copy(update={"axes": {"batch": 1, "seed": 0}})
    path.write_text("torn\n")
    for one in (failed, elsewhere, failed):
        store.append(path, one)
    found = store.index(path)
    assert len(found.skipped) == 1
    assert [place.status for place in found.by_cell.values()] == ["oom", "ok"]
    assert store.read_at(path, found.by_key[record.key].offset) == elsewhere, "what was measured, not what failed later"
    wanted = {store.identity(record.key, {"seed": 0, "batch": 1}): 7}
    assert store.pick(path, wanted) == {7: elsewhere}


def test_a_disk_that_becomes_full_leaves_no_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    record = run.run(tiny("nearest"))
    store.append(path, record)
    before = path.read_bytes()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, old[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            store.append(path, record)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert path.read_bytes() == before


def test_a_folder_cannot_be_appended_to(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        store.append(tmp_path, run.run(tiny("nearest")))


def test_json_has_the_documented_keys() -> None:
    data = json.loads(run.run(tiny("dysample")).to_json())
    assert data["schema"] == 2
    assert data["params"] == upbench.registry.get("dysample").count_params(tiny("dysample").setting)
    assert set(data["macs"]) == {"conv", "gather", "norm", "elementwise", "total"}
    assert registry.get("dysample").name == data["spec"]["upsampler"]


def test_bytes_saved_for_backward_of_known_calls() -> None:
    weight = torch.ones(100, requires_grad=True)
    with memory.saved_bytes([weight]) as kept:
        out = (weight * 2).sigmoid()
    assert sum(kept.values()) == 400, "sigmoid keeps its output"
    with memory.saved_bytes([weight]) as kept:
        more = weight.exp().exp()
    assert sum(kept.values()) == 800
    assert out.shape == more.shape
    found = run.run(tiny("deconv")).memory
    assert (found.saved_bytes, found.workspace_bytes) == (0, found.forward_peak_bytes - found.output_bytes)


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_a_record_says_what_ran_in_its_mode_and_why(mode: str) -> None:
    """On small maps the eager form of samples was measured to be faster, of DySample's with gradients alone, and no other form of
    CARAFE's sums."""
    own = {"input": {"shape": "4x6x5"}, "measure": {"mode": mode, "budget": 0.01, "device": "cpu"}}
    found = run.run(tiny("dysample" if mode == "training" else "dlu", **own))
    assert found.backends["sample_points"] == "eager"
    assert found.backend_reasons is not None
    assert "faster there up to" in found.backend_reasons["sample_points"]
    assert mode == "training" or run.run(tiny("dysample", **own)).backends == {"sample_points": "fused"}
    found = run.run(tiny("carafe", **own))
    assert (found.backends, found.backend_reasons) == ({"window_assemble": "fused"}, None)
