import pytest

from upbench import units


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (9999, "9999"), (39410, "39.41K"), (1102233600, "1.10G"), (3 * 10**12, "3.00T")],
)
def test_counts(value: int | None, text: str) -> None:
    assert units.count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (1.234, "1.23 s"), (0.01234, "12.3 ms"), (1.2e-5, "12.0 us"), (5e-8, "50.0 ns"), (0.4567, "457 ms")],
)
def test_seconds(value: float | None, text: str) -> None:
    assert units.seconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (0, "0.00 MiB"), (100, "100 B"), (339 * 2**20, "339.00 MiB")])
def test_bytes(value: int | None, text: str) -> None:
    assert units.mebibytes(value) == text


def test_unknown_is_a_dash_never_a_zero() -> None:
    assert {
        f(None) for f in (units.count, units.exact, units.seconds, units.mebibytes, units.ratio, units.percent)
    } == {"-"}
    assert units.interval(None, 1.0) == "-"
