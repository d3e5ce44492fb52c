"""What stands in the wrong place of a command line: the sentence says the right one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import refused


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "--shape 32x8x8 profile dysample",
            "No such option: --shape; options stand after the name of the command: upbench profile dysample --shape 32x8x8",
        ),
        (
            "--shape=32x8x8 compare carafe fade",
            "options stand after the name of the command: upbench compare carafe fade --shape=32x8x8",
        ),
        ("--by-op", "options stand after the name of the command: upbench profile ... --by-op"),
        ("--by-op compare carafe", "No such option: --by-op; it is an option of profile"),
        ("profile dysample --exact", "No such option: --exact; it is an option of compare"),
        ("compare carafe --by-op", "No such option: --by-op; it is an option of profile"),
        ("table x.jsonl --layers", "No such option: --layers; it is an option of profile"),
        ("profile carafe --k-up 3", "No such option: --k-up; a parameter of an upsampler is written --set k_up=VALUE"),
        (
            "profile carafe --set groups 4",
            "upbench: --set groups 4: `groups` is not KEY=VALUE; write --set groups=4",
        ),
        (
            "compare carafe fade --set groups 4",
            "upbench: --set groups 4: `groups` is not KEY=VALUE; write --set groups=4",
        ),
        (
            "profile carafe:groups=2:k_up=5",
            "upbench: carafe:groups=2:k_up=5: parameters are separated by commas; write carafe:groups=2,k_up=5",
        ),
        (
            "profile mine.up:Up:kernel=5:reduction=8",
            "parameters are separated by commas; write mine.up:Up:kernel=5,reduction=8",
        ),
    ],
)
def test_what_stands_in_the_wrong_place_is_put_right(line: str, said: str) -> None:
    assert said in refused(*line.split())


def test_an_option_that_is_like_one_of_the_command_is_still_suggested() -> None:
    assert "Possible options: --threads" in refused("profile", "carafe", "--thread", "1")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "edge.onnx",
            "edge.onnx is an exported file, not an upsampler; `upbench deploy NAME --to onnxruntime` measures",
        ),
        (
            "edge.aoti.pt2",
            "edge.aoti.pt2 is a compiled file, not an upsampler; `upbench deploy NAME --to aoti` measures",
        ),
        ("edge.pt2", "edge.pt2 is an exported program, not an upsampler; torch.export.load('edge.pt2').module() is"),
        ("edge.jsonl", "edge.jsonl holds results, not an upsampler; `upbench table edge.jsonl` shows them"),
        ("edge.csv", "edge.csv is a CSV table, and `upbench list` has the names"),
        ("edge.yaml", "`upbench profile edge.yaml` measures a spec file"),
    ],
)
def test_show_of_a_file_advises_to_measure_nothing_but_a_spec(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("some text\n")
    told = refused("show", name)
    assert said in told
    assert ("upbench profile" in told) == name.endswith(".yaml")


@pytest.mark.parametrize("content", [b"some text\n", b"\x08\x07\xff\xfe"])
@pytest.mark.parametrize("command", ["profile", "compare"])
def test_an_exported_file_is_no_spec(
    command: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "edge.onnx").write_bytes(content)
    assert "edge.onnx: is an exported file, not a spec; `upbench deploy NAME --to onnxruntime`" in refused(
        command, "edge.onnx"
    )
