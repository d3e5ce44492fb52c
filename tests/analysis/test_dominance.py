"""The one rule of the Pareto front."""

from __future__ import annotations

from upbench.analysis.dominance import dominated_by
from upbench.analysis.stats import Verdict


def _judge(table: dict[tuple[int, int], Verdict]):
    return lambda these, b: [table.get((a, b), Verdict.UNSURE) for a in these]


def test_what_is_not_told_apart_does_not_dominate() -> None:
    equal = [{"flops": 1.0}, {"flops": 1.0}]
    for said in (Verdict.UNSURE, Verdict.SAME, Verdict.SLOWER):
        assert dominated_by(equal, {"latency": _judge({(0, 1): said})}, {"flops": "lower"}) == [[], []]
    assert dominated_by(equal, {"latency": _judge({(0, 1): Verdict.FASTER})}, {"flops": "lower"}) == [[], [0]]


def test_an_exact_gain_dominates_only_where_the_time_is_known_to_be_no_worse() -> None:
    exact = [{"miou": 42.0}, {"miou": 41.0}]
    assert dominated_by(exact, {"latency": _judge({})}, {"miou": "higher"}) == [[], []]
    assert dominated_by(exact, {"latency": _judge({(0, 1): Verdict.SAME})}, {"miou": "higher"}) == [[], [0]]
    faster_but_worse = _judge({(1, 0): Verdict.FASTER})
    assert dominated_by(exact, {"latency": faster_but_worse}, {"miou": "higher"}) == [[], []]


def test_only_peers_are_set_against_each_other() -> None:
    exact = [{"flops": 1.0}, {"flops": 2.0}, {"flops": 3.0}]
    assert dominated_by(exact, {}, {"flops": "lower"}) == [[], [0], [0, 1]]
    assert dominated_by(exact, {}, {"flops": "lower"}, ["cpu", "gpu", "cpu"]) == [[], [], [0]]
