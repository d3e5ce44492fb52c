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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "+0"),
        (41_000, "+41.0K"),
        (1.7e9, "+1.7G"),
        (-346, "-346"),
        (999_960, "+1.0M"),
        (9e15, "+9000.0T"),
    ],
)
def test_differences_of_counts_are_as_papers_print_them(value: float | None, text: str) -> None:
    assert units.delta(value) == text


def test_differences_have_a_sign_and_a_unit() -> None:
    for values, texts in (
        ((0.00045, 0.0123, -0.000031, 0.0), ["0.45 ms", "12.3 ms", "-0.031 ms", "0.00 ms"]),
        ((4.2e-5, 9e-8), ["42.0 us", "0.090 us"]),
        ((3.0, 0.2), ["3.00 s", "0.20 s"]),
        ((), []),
    ):
        assert list(map(units.seconds_alike(values), values)) == texts
    assert [units.delta_seconds(v) for v in (None, 0, 0.0031, -5e-5)] == ["-", "+0", "+3.10 ms", "-50.0 us"]
    assert [units.delta_mebibytes(v) for v in (None, 0, 2**20, -41472.4)] == ["-", "+0", "+1.00 MiB", "-41472 B"]
    assert [units.delta_number(v, 1) for v in (None, -0.5, 0.02, 1.7)] == ["-", "-0.5", "+0.0", "+1.7"]


def test_ratios_below_a_tenth_have_two_digits() -> None:
    values = (0.0123, 0.00996, 0.0994, 0.0995, 0.123, 1.5, 12.34, 0)
    texts = ["0.012x", "0.010x", "0.099x", "0.10x", "0.12x", "1.50x", "12.3x", "0.00x"]
    assert list(map(units.ratio, values)) == texts
    assert units.interval(0.0112, 0.0131) == "0.011-0.013"
    assert [units.factor(value) for value in (0.0123, 0.123, 1.042, 2.71)] == ["0.012", "0.12", "1.04", "2.7"]
