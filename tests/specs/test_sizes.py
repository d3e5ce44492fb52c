"""Guides and outputs have sizes of their own: specs, named shapes, cards, inputs and modules agree on them."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

import upbench
from tests.command_line import refused
from upbench import registry
from upbench.benchmark import inputs
from upbench.cli.app import app
from upbench.errors import InputError, SpecError
from upbench.specs import run_spec as spec

CPU = torch.device("cpu")


def loaded(name: str, shape: str, **more: object) -> spec.RunSpec:
    top = {key: more.pop(key) for key in ("scale", "guide_channels", "params") if key in more}
    return spec.load({"upsampler": name, **top, "input": {"shape": shape, **more}})


def mistakes(name: str, shape: str, **more: object) -> str:
    with pytest.raises(SpecError) as caught:
        loaded(name, shape, **more)
    return "\n".join(caught.value.mistakes)


def sizes(run: spec.RunSpec) -> list[tuple[int, ...]]:
    """Height and width of every input, and of the output."""
    return [tuple(t.shape[2:]) for t in inputs.make(run, CPU)] + [(run.setting.out_height, run.setting.out_width)]


@pytest.mark.parametrize(
    ("shape", "low", "high"),
    [("vit-s14-224", 16, 224), ("vit-s16-224", 14, 224), ("vit-b14-448", 32, 448), ("vit-b16-448", 28, 448)],
)
def test_a_named_shape_has_its_image_and_its_output(shape: str, low: int, high: int) -> None:
    for name in ("anyup", "naf", "jafar", "loftup", "jbu"):
        assert sizes(loaded(name, shape)) == [(low, low), (high, high), (high, high)]
    assert loaded("bilinear", shape).scale == high // low
    assert sizes(loaded("bilinear", shape)) == [(low, low), (high, high)]


def test_the_sizes_of_a_named_shape_are_defaults() -> None:
    """A scale that is written, or that is the only one, stands; an image of another size than the method needs is its own."""
    assert sizes(loaded("anyup", "vit-s14-224", scale=2)) == [(16, 16), (224, 224), (32, 32)]
    assert sizes(loaded("lift", "vit-s16-224")) == [(14, 14), (224, 224), (28, 28)]
    assert sizes(loaded("lift", "vit-s14-224")) == [(16, 16), (256, 256), (32, 32)]
    assert sizes(loaded("lift", "vit-s14-224", params={"any_image": True})) == [(16, 16), (224, 224), (32, 32)]
    assert sizes(loaded("jbu-stack", "vit-s14-224")) == [(16, 16), (224, 224), (256, 256)]


def test_raft_and_sam_have_shapes_of_their_own() -> None:
    flow = loaded("convex", "raft")
    assert (flow.scale, flow.guide_channels) == (8, 128)
    assert sizes(flow) == [(55, 128), (55, 128), (440, 1024)]
    assert sizes(loaded("sam2-mask", "sam")) == [(64, 64), (256, 256), (128, 128), (256, 256)]


def test_output_and_image_of_any_size() -> None:
    run = loaded("jafar", "16x6x8", output_size="20x30", guide_size=[50, 60], params={"dim": 16})
    assert sizes(run) == [(6, 8), (50, 60), (20, 30)]
    assert spec.load(run.to_dict()) == run
    out = registry.construct(run.card, run.setting)(*inputs.make(run, CPU))
    assert out.shape == (1, 16, 20, 30)


def test_a_size_that_is_the_scale_is_only_a_scale() -> None:
    """So that records of one work have one spec."""
    run = loaded("carafe", "16x6x8", output_size="18x24")
    assert (run.scale, run.input.output_size) == (3, None)
    assert "output_size" not in run.to_dict()["input"]


def test_sizes_that_cannot_be_are_refused_with_the_reason() -> None:
    assert "at most one input pixel" in mistakes("carafe", "16x6x8", output_size="18x40")
    assert "needs an image of 12x16" in mistakes("loftup", "16x6x8", guide_size="24x32")
    assert "needs at least 9x9" in mistakes("naf", "16x6x8")
    assert "is not HxW" in mistakes("anyup", "16x6x8", output_size="18")
    assert "has a zero" in mistakes("anyup", "16x6x8", guide_size="0x3")
    assert "defined for scale 4 only" in mistakes("sam-mask", "16x6x8", output_size="12x16", scale=2)
    assert "takes no guide" in mistakes("dlu", "16x6x8", guide_channels=8)


def test_odd_maps_at_one_pixel_from_the_scale() -> None:
    run = loaded("carafe", "16x6x8", scale=2, output_size="11x15")
    module = registry.construct(run.card, run.setting)
    assert module(*inputs.make(run, CPU)).shape[2:] == (11, 15)


def test_upsampling_never_makes_less_of_a_neighbourhood() -> None:
    module = upbench.build("naf", 8, 2, dim=32, kernel=3)
    x, image = torch.randn(1, 8, 6, 6), torch.randn(1, 3, 12, 12)
    with pytest.raises(InputError, match="at least as large as x"):
        module(x, image, size=(4, 8))


def test_a_size_among_the_guides_is_refused_with_the_call_that_was_meant() -> None:
    """It was the third argument once."""
    x, guide = torch.randn(1, 8, 4, 4), torch.randn(1, 8, 7, 7)
    sapa = upbench.build("sapa-i", 8)
    assert sapa(x, guide, size=(7, 7)).shape == (1, 8, 7, 7)
    for size, said in (((7, 7), "tuple"), ([7, 7], "list"), (torch.Size((7, 7)), "Size"), (7, "int")):
        with pytest.raises(InputError, match=rf"no tensor but {said}; .*module\(x, guide, size=\(7, 7\)\)$"):
            sapa(x, guide, size)
    for guides in (((7, 7),), (None, (7, 7))):
        with pytest.raises(InputError, match=r"module\(x, size=\(7, 7\)\)$"):
            upbench.build("bilinear", 8)(x, *guides)
    with pytest.raises(InputError, match=r"no tensor but str; call it as module\(x, guide\)$"):
        sapa(x, "guide")


def test_two_guides_and_two_outputs() -> None:
    sam = upbench.build("sam2-mask", 32)
    x, high, half = torch.randn(1, 32, 3, 4), torch.randn(1, 32, 12, 16), torch.randn(1, 32, 6, 8)
    assert sam(x, high, half).shape == (1, 4, 12, 16)
    with pytest.raises(InputError, match=r"module\(x, guide, second_guide\)"):
        sam(x, high)
    up, sharp = upbench.build("freqfusion", 8, guide_channels=12, compressed=8)(x[:, :8], torch.randn(1, 12, 6, 8))
    assert up.shape == (1, 8, 6, 8)
    assert sharp.shape == (1, 12, 6, 8)


def test_the_commands_know_sizes_and_promises() -> None:
    run = CliRunner().invoke
    result = run(
        app,
        ["profile", "freqfusion", "--shape", "16x4x5", "--set", "compressed=8", "--budget", "0.05", "--format", "json"],
    )
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    record = record[0] if isinstance(record, list) else record
    assert record["memory"]["output_bytes"] == 2 * 16 * 8 * 10 * 4
    listed = {row["name"]: row for row in json.loads(run(app, ["list", "--format", "json"]).stdout)}
    assert listed["anyup"]["licence"] == "CC-BY-4.0"
    assert listed["freqfusion"]["licence"] == "none"
    assert listed["jafar"]["dead_parameters"]
    assert not listed["loftup"]["batch_independent"]
    assert not listed["maxunpool"]["guide_gradient"]
    assert listed["sam-mask"]["output_channels"] == 32
    assert listed["sam2-mask"]["guides"] == ["feature", "feature"]
    named = {row["name"]: row for row in json.loads(run(app, ["list", "--shapes", "--format", "json"]).stdout)}
    assert named["vit-s14-224"]["image"] == "224x224"
    refused = run(app, ["compare", "anyup", "lift", "--shape", "vit-s14-224"])
    assert refused.exit_code == 2
    assert "anyup has scale 14, but lift has scale 2" in refused.stderr
    refused = run(app, ["profile", "carafe", "--shape", "16x4x5", "--output-size", "9x40"])
    assert refused.exit_code == 2


def test_options_give_what_was_meant() -> None:
    """The release's slip is the default; the intended form is another function, or another start."""
    torch.manual_seed(0)
    x, image = torch.randn(1, 12, 5, 6), torch.randn(1, 3, 10, 12)
    both = [upbench.build("anyup", 12, seed=0, dim=16, order=order).eval() for order in ("released", "intended")]
    released, intended = (module(x, image) for module in both)
    moved = torch.randperm(12)
    assert not torch.allclose(released, intended)
    torch.testing.assert_close(both[1](x[:, moved], image), intended[:, moved], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(both[0](x[:, moved], image), released[:, moved], rtol=1e-3)
    start = upbench.build("freqfusion", 16, resample=True, offset_init="intended").dysampler
    assert start.offset.weight.std() < 0.002
    assert not start.direct_scale.weight.any()
    assert upbench.build("freqfusion", 16, resample=True).dysampler.offset.weight.std() > 0.01


@pytest.mark.parametrize(("jitter", "kept"), [("kept", True), ("drawn", False), ("off", False)])
def test_a_draw_of_training_survives_as_released(jitter: str, kept: bool) -> None:
    module = upbench.build("naf", 8, 2, dim=32, kernel=3, jitter=jitter, seed=0).eval()
    x, image = torch.randn(1, 8, 4, 4), torch.randn(1, 3, 8, 8)
    before = module(x, image)
    module.train()(x, image)
    assert torch.equal(module.eval()(x, image), before) != kept


def test_resfu_without_a_layer_for_the_query() -> None:
    module = upbench.build("resfu", 16, guide_channels=32, y_conv=False, qkv_bias=False)
    assert "q.weight" not in module.state_dict()
    assert "k.bias" not in module.state_dict()
    assert module(torch.randn(1, 16, 4, 5), torch.randn(1, 32, 11, 13), size=(11, 13)).shape == (1, 16, 11, 13)
    with pytest.raises(SpecError, match=r"make guide_channels and params\.embedding equal"):
        upbench.build("resfu", 16, guide_channels=8, y_conv=False)


@pytest.mark.parametrize("command", [("profile", "fade"), ("compare", "fade", "bilinear")])
def test_the_size_of_an_image_is_refused_where_none_guides(command: tuple[str, ...]) -> None:
    said = refused(*command, "--guide-size", "24x24", "--shape", "32x8x8")
    assert f"--guide-size 24x24 is the size of an image that guides, and none guides {', '.join(command[1:])}" in said
