"""Hosts: sizes of stages at any input, a host of one's own, and what an upsampler costs in one."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from upbench import papers, registry
from upbench.benchmark import host_case, measurement, run
from upbench.errors import SpecError, UnknownName
from upbench.measure import clock, latency, memory
from upbench.papers import Host
from upbench.specs import run_spec as spec

CPU = torch.device("cpu")
MINE = {
    "title": "Mine",
    "base": {"params": 100_000, "flops": 50_000_000},
    "input": {"height": 50, "width": 38, "divisor": 4},
    "stages": [
        {"name": "low", "channels": 32, "stride": 16},
        {"name": "high", "channels": 16, "guide_channels": 8, "stride": 8},
        {"name": "fixed", "channels": 16, "height": 3, "width": 2, "batch": 2},
    ],
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured does not matter here, only that it is."""
    monkeypatch.setattr(measurement, "AA_S", 0.001)


def mine(folder: Path, **changes: object) -> Path:
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump({**MINE, **changes}))
    return file


def sizes(host: Host) -> list[tuple[int, int, int, int]]:
    return [(stage.height, stage.width, stage.out_height, stage.out_width) for stage in host.stages]


def everyone() -> list[Host]:
    hosts = [*papers.hosts().values(), *papers.aliases().values()]
    return [*hosts, *(papers.varied(host, variant) for host in hosts for variant in host.variants)]


@pytest.mark.parametrize("host", everyone(), ids=lambda host: host.name)
def test_stages_are_what_their_strides_give_at_the_hosts_own_input(host: Host) -> None:
    assert host.lr_pixels == sum(stage.batch * stage.height * stage.width for stage in host.stages)
    for stage in host.stages:
        for low, high in ((stage.height, stage.out_height), (stage.width, stage.out_width)):
            assert (low - 1) * stage.scale < high <= low * stage.scale
    if any(stage.stride for stage in host.stages):
        assert host.input is not None
        again = papers.at(host, host.input.height, host.input.width)
        assert (again.stages, again.base, again.fits) == (host.stages, host.base, host.fits)


def test_levels_of_a_pyramid_meet() -> None:
    """Each stage of an FPN takes what the one before returned, cropped to the lateral."""
    for name in ("faster-rcnn-r50", "mask-rcnn-r50", "panoptic-fpn-r50", "upernet-r50", "maskformer-swinb"):
        found = sizes(papers.at(papers.host(name), 1001, 777))
        assert all(one[2:] == two[:2] for one, two in itertools.pairwise(found))


def test_another_input_is_padded_and_divided() -> None:
    host = papers.at(papers.host("faster-rcnn-r50"), 1333, 800)
    assert host.input is not None
    assert host.input.padded == (1344, 800)
    assert sizes(host) == [(21, 13, 42, 25), (42, 25, 84, 50), (84, 50, 168, 100), (168, 100, 336, 200)]
    assert host.base.params.counted == 46_836_640
    assert host.base.flops.value is None
    assert host.fits is None
    guided = papers.at(papers.host("faster-rcnn-r50/guided-1280x832"), 1280, 800)
    assert guided.stages == papers.host("faster-rcnn-r50/guided-1280x832").stages


def test_a_stage_without_stride_keeps_its_size(tmp_path: Path) -> None:
    host = papers.at(papers.host(mine(tmp_path)), 97, 64)
    assert sizes(host) == [(7, 4, 13, 8), (13, 8, 25, 16), (3, 2, 6, 4)]
    head = papers.host("mask-rcnn-r50/mask-head")
    assert (head.stages[0].batch, head.lr_pixels) == (100, 19_600)
    with pytest.raises(SpecError, match="none of its stages has a stride"):
        papers.at(head, 640, 640)


def test_names_aliases_and_variants() -> None:
    other = papers.host("faster-rcnn-r101")
    assert (other.name, other.backbone, other.base.params.counted) == ("faster-rcnn-r101", "ResNet-101", 65_828_768)
    assert other.stages == papers.host("faster-rcnn-r50").stages
    three = papers.host("faster-rcnn-r50/three-stage")
    assert (len(three.stages), three.base.params.total) == (3, 41_530_000)
    assert "faster-rcnn-r101" not in papers.hosts()
    with pytest.raises(UnknownName, match="did you mean 'segformer-b1'"):
        papers.host("segformer-b2")
    with pytest.raises(UnknownName, match=r"unknown variant of upernet-r50 'fused'; did you mean 'fuse'. Known: fuse"):
        papers.host("upernet-r50/fused")


def test_a_host_of_ones_own(tmp_path: Path) -> None:
    host = papers.host(mine(tmp_path))
    assert (host.name, host.title, host.base.params.value, host.lr_pixels) == (
        "mine",
        "Mine",
        100_000,
        4 * 3 + 7 * 5 + 12,
    )
    assert sizes(host) == [(4, 3, 7, 5), (7, 5, 13, 10), (3, 2, 6, 4)]
    assert [stage.guide_channels for stage in host.stages] == [32, 8, 16]


def test_every_mistake_of_a_host_is_said_at_once(tmp_path: Path) -> None:
    stages = [{"name": "a", "channels": "many", "stride": 8}, {"channels": 8, "stride": 4, "scale": 1}]
    file = mine(tmp_path, stages=stages, titel="x", input={"height": 0, "width": 8})
    with pytest.raises(SpecError) as caught:
        papers.host(file)
    found = "\n".join(caught.value.mistakes)
    assert len(caught.value.mistakes) == 5
    line = file.read_text()[: file.read_text().index("height: 0")].count("\n") + 1
    assert f"{file}, line {line}: input.height is 0, but must be an integer of at least 1" in found
    assert "stages[0].channels is many" in found
    assert "stages[1].name: is missing" in found
    assert "stages[1].scale is 1, but must be an integer of at least 2" in found
    assert "titel: unknown key" in found
    assert "did you mean 'title'?" in found


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        ({"stride": 16, "width": 5}, "does not give width 5 (it is 3)"),
        ({}, "needs height and width, or a stride"),
        ({"height": 5, "width": 5, "out_width": 11}, "out_width is 11, but 5 x2 can only be cropped to 9 to 10"),
        ({"height": 5, "width": 5, "out_height": 8}, "out_height is 8, but 5 x2 can only be cropped to 9 to 10"),
    ],
)
def test_a_stage_that_cannot_be_is_refused(tmp_path: Path, stage: dict[str, int], sentence: str) -> None:
    file = mine(tmp_path, stages=[{"name": "a", "channels": 8, **stage}])
    with pytest.raises(SpecError) as caught:
        papers.host(file)
    assert "stages[0] (a)" in str(caught.value)
    assert sentence in str(caught.value)


def test_names_and_pixels_are_checked(tmp_path: Path) -> None:
    two = [{"name": "a", "channels": 8, "height": 2, "width": 3}] * 2
    with pytest.raises(SpecError, match="the name 'a' is given twice"):
        papers.host(mine(tmp_path, stages=two))
    with pytest.raises(SpecError, match="low-resolution pixels are 59, but lr_pixels is 60"):
        papers.host(mine(tmp_path, lr_pixels=60))
    with pytest.raises(SpecError, match=r"stages is .*, but must be a list of at least one stage"):
        papers.host(mine(tmp_path, stages=[]))
    with pytest.raises(SpecError, match="there is no such file"):
        papers.host(tmp_path / "other.yaml")


def stage_specs(host: Host, name: str, mode: str = "inference", **params: object) -> list[spec.RunSpec]:
    guided = registry.get(name).guided
    return [
        spec.load(
            {
                "upsampler": name,
                "params": params,
                "scale": stage.scale,
                **({"guide_channels": stage.guide_channels} if guided else {}),
                "input": {"shape": f"{stage.channels}x{stage.height}x{stage.width}", "batch": stage.batch},
                "measure": {"device": "cpu", "budget": 0.001, "mode": mode},
            }
        )
        for stage in host.stages
    ]


def cases(host: Host, name: str, mode: str = "inference", **params: object) -> list[host_case.StageCase]:
    watch = clock.clock_for(CPU)
    specs = stage_specs(host, name, mode, **params)
    return [host_case.StageCase(one, stage, CPU, watch) for one, stage in zip(specs, host.stages, strict=True)]


@pytest.mark.parametrize(("name", "params"), [("ldaaqu", {}), ("fade", {"gate": False}), ("nearest", {})])
def test_a_stage_returns_what_its_lateral_needs(tmp_path: Path, name: str, params: dict[str, object]) -> None:
    host = papers.host(mine(tmp_path))
    built = host_case.HostCase(cases(host, name, **params))
    outs = built.forward()
    assert [tuple(out.shape) for out in outs] == [(s.batch, s.channels, s.out_height, s.out_width) for s in host.stages]
    assert built.output_bytes == sum(out.numel() * 4 for out in outs)
    guides = [case.inputs[1] for case in built.stages if len(case.inputs) > 1]
    if name == "fade":
        assert [tuple(guide.shape) for guide in guides] == [
            (s.batch, s.guide_channels, s.out_height, s.out_width) for s in host.stages
        ]


class Guided(nn.Module):
    """A user's guided upsampler that knows nothing of sizes."""

    guided = True

    def __init__(self, channels: int, guide_channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        return nn.functional.interpolate(x, scale_factor=self.scale) + guide.mean(1, keepdim=True)


def test_a_users_module_is_cropped_as_ours_are() -> None:
    x, guide = torch.randn(1, 4, 3, 2), torch.randn(1, 5, 5, 4)
    crop = host_case.Cropped(Guided(4, 5, 2), (5, 4), (6, 4))
    wide = torch.cat([guide, guide[:, :, -1:]], 2)
    assert torch.equal(crop(x, guide), Guided(4, 5, 2)(x, wide)[:, :, :5])
    ours = registry.build("sapa-b", channels=4, guide_channels=5, seed=0, norm=False)
    assert torch.equal(host_case.Cropped(ours, (5, 4), (6, 4))(x, guide), ours(x, guide, size=(5, 4)))


def test_memory_keeps_the_output_of_every_stage(tmp_path: Path) -> None:
    """Of three equal stages, the last runs while the outputs of the other two are held."""
    stages = [{"name": name, "channels": 64, "height": 16, "width": 16} for name in ("a", "b", "c")]
    built = host_case.HostCase(cases(papers.host(mine(tmp_path, stages=stages)), "nearest"))
    alone = memory.peak_bytes(built.stages[0].forward, CPU)
    assert memory.peak_bytes(built.forward, CPU) == alone + 2 * 64 * 32 * 32 * 4


def test_training_reaches_every_stage_and_leaves_no_gradients(tmp_path: Path) -> None:
    host = papers.host(mine(tmp_path))
    built = host_case.HostCase(cases(host, "carafe", "training-backward"))
    grads = built.call()()
    assert isinstance(grads, tuple)
    assert len(grads) == len(built.inputs) + len(list(built.plain.parameters()))
    assert all(grad is not None and grad.abs().sum() > 0 for grad in grads)
    built.training()
    assert all(tensor.grad is None for tensor in (*built.inputs, *built.plain.parameters()))


def test_a_neck_is_the_sum_of_its_stages(tmp_path: Path) -> None:
    host = papers.host(mine(tmp_path))
    (found,) = host_case.compare([stage_specs(host, "ldaaqu", groups=1)], host, by_stage=True)
    alone = [run.run(one) for one in stage_specs(host, "ldaaqu", groups=1)]
    assert found.total.params == sum(record.params or 0 for record in alone)
    for total, parts in ((found.total, found.stages), (found.total, alone)):
        assert total.macs is not None
        assert total.macs.total == sum(record.macs.total for record in parts if record.macs)
        assert total.breakdown is not None
        assert total.breakdown.conv > 0
        for part, value in vars(total.breakdown).items():
            assert value == sum(vars(record.breakdown)[part] for record in parts if record.breakdown), part
    assert found.total.latency is not None
    assert len(found.total.latency.samples_s) >= latency.FEWEST_PASSES
    assert [record.axes["stage"] for record in found.stages] == ["low", "high", "fixed"]
    assert all(record.latency and record.memory for record in found.stages)
    assert (found.total.settings.host or {})["name"] == "mine"
    assert found.total.warnings == [w for w in found.total.warnings if "disagree" not in w]


@pytest.mark.parametrize("base", [{"params": 0}, {"flops": -5}, {"params": {"counted": 5, "total": 0}}])
def test_a_base_of_nothing_is_refused(tmp_path: Path, base: dict) -> None:
    """Shares are of it."""
    with pytest.raises(SpecError, match=r"base\.(params|flops).* but must be an integer of at least 1"):
        papers.host(mine(tmp_path, base=base))
