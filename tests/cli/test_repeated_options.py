"""An option that takes one value and stands twice is refused, in every command; what may be repeated is not."""

from __future__ import annotations

import pytest

from tests.command_line import refused, upbench


def test_a_second_shape_is_refused_and_not_taken_in_place_of_the_first() -> None:
    said = refused("compare", "nearest", "bilinear", "--shape", "64x32x32", "--batch", 2, "--shape", "32x8x8")
    assert said == (
        "upbench: --shape: given 2 times, but it takes one value; leave all but one out; several values are an axis of a "
        "sweep: `grid: {shape: [...]}`\n"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["table", "a.jsonl", "--sort", "latency", "--sort=params"], "--sort: given 2 times"),
        (["table", "a.jsonl", "--columns", "params", "--columns", "time"], "write all of them in one, with commas"),
        (["sweep", "a.yaml", "--timeout", "1", "--timeout", "2", "--timeout", "3"], "--timeout: given 3 times"),
        (["list", "--format", "csv", "--format", "json"], "--format: given 2 times"),
        (["quality", "nearest", "--batch", "1", "--batch", "2"], "--batch: given 2 times"),
    ],
)
def test_every_command_refuses_it(arguments: list[str], sentence: str) -> None:
    said = refused(*arguments)
    assert sentence in said
    assert said.count("\n") == 1
    assert ("sweep:" in said) is False


def test_what_may_be_repeated_still_may() -> None:
    result = upbench(
        *("compare", "carafe", "--shape", "32x6x5", "--device", "cpu", "--exact", "--exact"),
        *("--set", "k_up=3", "--set", "k_enc=1", "--max", "params=1M", "--max", "macs=1G"),
    )
    assert result.exit_code == 0, result.output
