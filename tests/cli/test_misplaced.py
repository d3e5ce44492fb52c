"""What stands in the wrong place of a command line: the sentence says the right one."""

from __future__ import annotations

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
