"""Specs are strict, and say all that is wrong at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from upbench import registry
from upbench.errors import SpecError
from upbench.specs import run_spec as spec


def mistakes(data: object) -> tuple[str, ...]:
    with pytest.raises(SpecError) as caught:
        spec.load(data, "a.yaml")
    return caught.value.mistakes


@pytest.mark.parametrize("name", registry.names())
def test_the_default_spec_is_complete_and_comes_back(name: str) -> None:
    first = spec.default(name)
    again = spec.load(yaml.safe_load(yaml.safe_dump(first.to_dict())))
    assert again == first
    assert set(first.params) == {p.name for p in first.card.params}


def test_values_are_kept() -> None:
    data = {
        "upsampler": "ldaaqu",
        "channels": 64,
        "scale": 1.5,
        "params": {"theta": 5, "groups": 4},
        "input": {"shape": "64x10x12", "batch": 2, "dtype": "bfloat16", "seed": 7},
        "measure": {"device": "cpu", "mode": "training", "threads": 1, "budget": 0.5},
    }
    run = spec.load(data)
    assert (run.channels, run.scale, run.params["theta"], run.params["k_u"]) == (64, 1.5, 5, 3)
    assert (run.input.shape, run.input.batch, run.measure.mode) == ((64, 10, 12), 2, "training")
    assert run.label == "ldaaqu (theta=5, groups=4)"
    assert (run.setting.out_height, run.setting.out_width) == (15, 18)


def test_a_whole_scale_is_an_integer() -> None:
    assert isinstance(spec.load({"upsampler": "carafe", "scale": 2.0}).scale, int)


def test_a_bare_off_is_off() -> None:
    assert spec.load(yaml.safe_load("{upsampler: carafe, measure: {compile: off}}")).measure.compile == "off"
    assert (
        "measure.compile is true, but must be off" in mistakes({"upsampler": "carafe", "measure": {"compile": True}})[0]
    )


def test_all_mistakes_are_said_together() -> None:
    found = mistakes(
        {
            "upsampler": "ldaaqu",
            "scael": 2,
            "params": {"thetta": 5, "groups": 3, "k_u": 4},
            "input": {"dtype": "float23", "batch": 0},
            "measure": {"mode": "train"},
        }
    )
    assert len(found) == 7
    assert all(sentence.startswith("a.yaml: ") for sentence in found)
    text = "\n".join(found)
    for part in (
        "scael: unknown key",
        "did you mean 'scale'?",
        "params.thetta is not a parameter of ldaaqu",
        "did you mean 'theta'?",
        "params.groups is 3, which does not divide",
        "params.k_u is 4, but must be an odd integer of at least 1",
        "input.dtype is float23, but must be one of float32, float16, bfloat16, float64",
        "input.batch is 0, but must be an integer of at least 1",
        "measure.mode is train, but must be one of inference, training, training-forward, training-backward",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("data", "part"),
    [
        ({}, "upsampler: is missing"),
        ([], "a spec is a mapping"),
        ({"upsampler": 3}, "upsampler is 3, but must be the name of an upsampler"),
        ({"upsampler": "ldaqu"}, "did you mean 'ldaaqu'?"),
        ({"upsampler": "carafe", "input": {"shape": "256x120"}}, "is not CxHxW"),
        ({"upsampler": "carafe", "input": {"shape": "0x1x1"}}, "has a zero"),
        ({"upsampler": "carafe", "input": {"shape": "papre"}}, "did you mean 'paper'?"),
        ({"upsampler": "carafe", "input": 3}, "input is 3, but must be a mapping"),
        ({"upsampler": "carafe", "input": {"seed": -1}}, "input.seed is -1, but must be an integer of at least 0"),
        ({"upsampler": "carafe", "input": {"batch": True}}, "input.batch is true, but must be an integer"),
        ({"upsampler": "carafe", "input": {"batch": "2"}}, "input.batch is '2', but must be an integer"),
        ({"upsampler": "carafe", "scale": 1.5}, "carafe can do whole numbers only"),
        ({"upsampler": "carafe", "scale": 0}, "scale is 0, but must be a number of at least 1"),
        ({"upsampler": "carafe", "scale": float("nan")}, "scale is .nan, but must be a number of at least 1"),
        ({"upsampler": "carafe", "params": {"groups": 7}}, "params.groups is 7, which does not divide channels (256)"),
        ({"upsampler": "carafe", "params": {"k_up": "5"}}, "k_up is '5', but must be an odd integer"),
        ({"upsampler": "deconv", "scale": 4}, "use a kernel of at least 4"),
        ({"upsampler": "dysample-s", "input": {"shape": "10x4x4"}, "params": {"groups": 5}}, "multiple of scale^2"),
        ({"upsampler": "carafe", "guide_channels": 4}, "carafe takes no guide"),
        (
            {"upsampler": "carafe", "channels": 64, "input": {"shape": "32x4x4"}},
            "make them equal or leave channels out",
        ),
        ({"upsampler": "carafe", "measure": {"device": "gpu"}}, "measure.device is gpu, but must be auto, cpu, cuda"),
        (
            {"upsampler": "carafe", "measure": {"budget": 0}},
            "measure.budget is 0, but must be a number of seconds above 0",
        ),
        ({"upsampler": "carafe", "measure": {"thread": 1}}, "measure.thread: unknown key"),
        ({"upsampler": "ldaaqu", "params": {"coord": "inptu"}}, "must be one of 'output', 'input'"),
        ({"upsampler": "ldaaqu", "params": {"position_bias": 1}}, "must be true or false"),
    ],
)
def test_each_mistake_is_a_sentence(data: object, part: str) -> None:
    found = mistakes(data)
    assert len(found) == 1, found
    assert part in found[0]
    assert "\n" not in found[0]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "is empty"),
        (b"# only a comment\n", "is empty"),
        (b"upsampler: [carafe", "is not valid YAML in line"),
        (b"- carafe\n", "holds a list"),
        (b"upsampler: carafe\nupsampler: ldaaqu\n", "key 'upsampler' is given twice"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_unreadable_files(tmp_path: Path, content: bytes, part: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(content)
    with pytest.raises(SpecError, match=part):
        spec.read_yaml(file)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such file"):
        spec.read_yaml(tmp_path / "none.yaml")
    with pytest.raises(SpecError, match="cannot be read"):
        spec.read_yaml(tmp_path)


@pytest.mark.parametrize("name", registry.names())
def test_a_card_says_whether_its_module_has_fused_ops(name: str) -> None:
    card = registry.get(name)
    setting = registry.setting_of(card, 64, None, 2, {})
    assert card.fused == bool(registry.construct(card, setting).fused_ops)
    asked = {"upsampler": name, "input": {"shape": "64x16x16"}, "measure": {"backend": "fused"}}
    if card.fused:
        assert spec.load(asked).label.endswith("[fused]")
    else:
        assert f"measure.backend is fused, but {name} has no fused backend" in mistakes(asked)[0]
