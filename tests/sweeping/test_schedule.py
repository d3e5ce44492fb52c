"""Blocks of cells, pass by pass, and what failures change."""

from __future__ import annotations

import itertools

import pytest

from upbench.sweeping import schedule
from upbench.sweeping.schedule import Block, Failure, ReferenceFailed, Schedule, Weight

EQUAL = {n: Weight(0.005) for n in range(20)}


def _run(plan: Schedule, blocks: int | None = None) -> list[Block]:
    """Time blocks until none is left, or so many."""
    found = []
    while (blocks is None or len(found) < blocks) and (block := plan.next_block()):
        plan.finished(block)
        found.append(block)
    return found


def test_every_cell_is_in_one_block_of_each_pass_with_at_most_eight() -> None:
    done = _run(Schedule(EQUAL, "theta", 5))
    assert [block.pass_number for block in done] == sorted(block.pass_number for block in done)
    for _, blocks in itertools.groupby(done, lambda block: block.pass_number):
        cells = [block.cells for block in blocks]
        assert sorted(itertools.chain(*cells)) == list(range(20))
        assert sorted(map(len, cells)) == [6, 7, 7], "no cell is left over for a small block"
    assert len({frozenset(block.cells) for block in done}) > 10, "neighbours change from pass to pass"


def test_the_order_is_that_of_the_sweep_and_the_pass() -> None:
    assert schedule.cut(range(20), EQUAL, "a", 0) == schedule.cut(range(20), EQUAL, "a", 0)
    assert schedule.cut(range(20), EQUAL, "a", 0) != schedule.cut(range(20), EQUAL, "a", 1)
    assert schedule.cut(range(20), EQUAL, "a", 0) != schedule.cut(range(20), EQUAL, "b", 0)


def test_short_and_long_calls_are_not_timed_together() -> None:
    weights = {n: Weight(10 ** (n / 4 - 3)) for n in range(16)}  # 1 ms to 5.6 s
    for number in range(3):
        for block in schedule.cut(weights, weights, "s", number):
            times = [weights[n].call_s for n in block]
            assert max(times) <= 4.0 * min(times)


def test_memory_makes_blocks_smaller_and_never_empty() -> None:
    weights = {n: Weight(0.01, 100) for n in range(8)} | {8: Weight(0.01, 5000)}
    blocks = schedule.cut(weights, weights, "s", 0, limit_bytes=1300)
    assert sorted(itertools.chain(*blocks)) == list(range(9))
    assert all(sum(weights[n].held_bytes for n in block) <= 325 for block in blocks if 8 not in block)
    assert (8,) in blocks


def test_what_is_left_after_a_kill_is_what_the_file_lacks() -> None:
    plan = Schedule(EQUAL, "s", 5)
    _run(plan, 7)
    assert plan.part_done() == pytest.approx(len(plan.done) / 100)
    again = Schedule(EQUAL, "s", 5, done=set(plan.done))
    rest = [(cell, block.pass_number) for block in _run(again) for cell in block.cells]
    assert len(rest) == len(set(rest)) == 100 - len(plan.done)
    assert set(rest).isdisjoint(plan.done)
    assert again.part_done() == 1
    assert again.next_block() is None
    again.passes = 6
    assert sum(len(block.cells) for block in _run(again)) == 20


def test_a_cell_that_raises_leaves_and_keeps_the_passes_that_it_has() -> None:
    plan = Schedule(EQUAL, "s", 5)
    _run(plan, 3)
    block = plan.next_block()
    assert block is not None
    plan.left(block, block.cells[0], "oom", "no memory")
    plan.finished(block)
    later = _run(plan)
    assert plan.failed == {block.cells[0]: Failure("oom", "no memory", 1)}
    assert plan.passes_of(block.cells[0]) == 1
    assert plan.passes_of(block.cells[1]) == 5
    assert not any(block.cells[0] in one.cells for one in later)


def test_a_cell_that_takes_its_process_with_it_goes_alone() -> None:
    plan = Schedule(EQUAL, "s", 5)
    _run(plan, 3)
    block = plan.next_block()
    assert block is not None
    cell = block.cells[2]
    plan.died(block, cell, "crashed", "SIGSEGV")
    first, second = plan.next_block(), plan.next_block()
    assert first is not None
    assert second is not None
    assert (first.pass_number, second.pass_number) == (1, 1)
    assert set(first.cells) == set(block.cells) - {cell}
    assert second.cells == (cell,)
    plan.finished(first)
    plan.finished(second)
    later = _run(plan)
    assert all(plan.passes_of(n) == 5 for n in range(20))
    assert all(one.cells == (cell,) for one in later if cell in one.cells), "it stays alone"
    assert plan.failed == {}


def test_a_cell_that_dies_alone_has_failed_and_the_others_have_all_passes() -> None:
    plan = Schedule(EQUAL, "s", 5)
    deaths = 0
    while block := plan.next_block():
        if 7 in block.cells and block.pass_number == 2:
            plan.died(block, 7, "timeout", "it hung")
            deaths += 1
        else:
            plan.finished(block)
    assert deaths == 2
    assert plan.failed == {7: Failure("timeout", "it hung", 2)}
    assert [plan.passes_of(n) for n in range(20)] == [2 if n == 7 else 5 for n in range(20)]


def test_two_cells_that_die_in_one_block() -> None:
    plan = Schedule({n: Weight(0.005) for n in range(8)}, "s", 3)
    while block := plan.next_block():
        bad = [n for n in block.cells if n in (1, 2)]
        if bad and len(block.cells) > 1:
            plan.died(block, bad[0], "crashed", "SIGSEGV")
        else:
            plan.finished(block)
    assert plan.alone == {1, 2}
    assert all(plan.passes_of(n) == 3 for n in range(8))


def test_a_reference_that_dies_is_tried_once_more() -> None:
    plan = Schedule(EQUAL, "s", 5)
    block = plan.next_block()
    assert block is not None
    plan.died(block, None, "crashed", "SIGSEGV")
    again = plan.next_block()
    assert again is not None
    assert again.cells == block.cells
    with pytest.raises(ReferenceFailed, match="SIGSEGV") as raised:
        plan.died(again, None, "crashed", "SIGSEGV")
    assert raised.value.status == "crashed"


def test_a_bridge_is_two_finished_cells() -> None:
    assert len(schedule.bridge(range(20), "s")) == 2
    assert schedule.bridge(range(20), "s") == schedule.bridge(range(20), "s")
    assert schedule.bridge([4], "s") == [4]
    assert schedule.bridge([], "s") == []


def test_blocks_that_are_being_timed_are_not_given_out_again() -> None:
    plan = Schedule({n: Weight(0.005) for n in range(12)}, "s", 1)
    first, second = plan.next_block(), plan.next_block()
    assert first is not None
    assert second is not None
    assert set(first.cells).isdisjoint(second.cells)
    assert plan.next_block() is None
    plan.finished(first)
    assert plan.next_block() is None
    assert plan.part_done() == len(first.cells) / 12
    plan.died(second, None, "crashed", "SIGSEGV")
    again = plan.next_block()
    assert again is not None
    assert again.cells == second.cells
    plan.finished(again)
    assert plan.part_done() == 1
