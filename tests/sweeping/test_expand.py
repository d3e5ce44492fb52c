"""Expansion of sweeps."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from upbench.errors import SpecError
from upbench.specs import run_spec as spec
from upbench.sweeping import expand


def cells_of(**changes: object) -> list[expand.Cell]:
    data = {"name": "a", "base": {"upsampler": "ldaaqu"}, "grid": {"theta": [5, 11]}, **changes}
    return expand.expand(expand.load(data, "a.yaml"), "a.yaml")


def test_the_last_axis_is_fastest() -> None:
    cells = cells_of(grid={"theta": [5, 11], "groups": [1, 2]})
    assert [tuple(cell.axes.values()) for cell in cells] == [(5, 1), (5, 2), (11, 1), (11, 2)]


def test_axes_reach_every_part_of_the_spec() -> None:
    axes = {
        "theta": [5],
        "scale": [3],
        "shape": ["32x8x8"],
        "batch": [2],
        "mode": ["training"],
        "input.dtype": ["float64"],
    }
    (cell,) = cells_of(grid=axes)
    run = cell.spec
    assert (run.params["theta"], run.scale, run.input.shape, run.input.batch) == (5, 3, (32, 8, 8), 2)
    assert (run.measure.mode, run.input.dtype) == ("training", "float64")


def test_upsamplers_can_be_an_axis() -> None:
    cells = cells_of(base={}, grid={"upsampler": ["carafe", "dysample"], "shape": ["64x4x4", "32x4x4"]})
    assert [cell.spec.label for cell in cells] == ["carafe", "carafe", "dysample", "dysample"]


def test_overrides_reach_every_cell() -> None:
    sweep = expand.load({"name": "a", "base": {"upsampler": "ldaaqu"}, "grid": {"theta": [5, 11]}}, "a")
    cells = expand.expand(sweep, "a", {"shape": "64x4x4", "reduction": 8})
    assert {(c.spec.input.shape, c.spec.params["reduction"]) for c in cells} == {((64, 4, 4), 8)}


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"grid": {"thetta": [1]}}, ["grid.thetta: unknown axis", "did you mean 'theta'?"]),
        ({"grid": {"input.theta": [1]}}, ["grid.input.theta: unknown axis"]),
        ({"grid": {"theta": []}}, ["grid.theta has no values"]),
        ({"grid": {}}, ["has no cells; give grid, ofat, zip or cells"]),
        ({"grid": {"theta": 5}}, ["grid.theta is 5, but must be a list of values; write [5]"]),
        ({"ofat": {"coord": "input"}}, ["ofat.coord is input, but must be a list of values; write [input]"]),
        (
            {"grid": {"coord": ["input", True]}},
            ["params.coord is true", "on and true as true: quote the word, as 'yes'"],
        ),
        ({"grid": {"theta": [5, 7, 5]}}, ["grid.theta lists 5 twice"]),
        ({"grid": {"theta": [5], "params.theta": [7]}}, ["grid.params.theta is the same axis as grid.theta"]),
        ({"ofat": {"theta": [5]}}, ["ofat.theta is the same axis as grid.theta"]),
        ({"grid": {"seed": list(range(1000)), "theta": list(range(200))}}, ["has 200,000 cells", "at most 100,000"]),
        ({"zip": {"groups": [1, 2], "k_e": [1]}}, ["differ in length: groups has 2, k_e has 1"]),
        ({"zip": {"groups": []}}, ["zip.groups has no values"]),
        (
            {"zip": {"groups": [1, 2, 1], "k_e": [1, 3, 1]}},
            ["zip sets {groups: 1, k_e: 1} twice, by the values at places 1 and 3; leave one of them out"],
        ),
        ({"cells": [{"groups": 1}, {}]}, ["cells[1] is empty"]),
        (
            {"cells": [{"groups": 1, "k_e": 3}, {"groups": 2}, {"k_e": 3, "groups": 1}]},
            ["cells[2] is {groups: 1, k_e: 3}, as cells[0] is; leave one out"],
        ),
        ({"cells": [{"grups": 1}]}, ["cells[0].grups: unknown axis"]),
        ({"cells": {"groups": 1}}, ["cells is {groups: 1}, but must be a list of mappings"]),
        (
            {"grid": {"groups": [3, 5]}},
            ["none of its cells (2) is possible", "params.groups is 3", "params.groups is 5"],
        ),
        ({"grid": {"groups": ["x", 2]}, "input": {"batch": 0}}, ["params.groups is 'x'", "input.batch is 0"]),
        ({"grid": {"coord": ["output", "inptu"]}}, ["params.coord is 'inptu', but must be one of"]),
        ({"grid": {"dtype": ["float32", "flot"], "scale": [0.5]}}, ["input.dtype is flot", "scale is 0.5"]),
        ({"grid": {"upsampler": ["fade", "fad", 3]}}, ["unknown upsampler 'fad'", "upsampler is 3"]),
        ({"grid": {"guide_channels": [64, 0]}}, ["guide_channels is 0"]),
        ({"base": {"upsampler": "ldaaqu", "params": {"thetta": 1}}}, ["base.params.thetta: unknown parameter"]),
        ({"base": {"upsampler": "ldaaqu", "params": 1}}, ["base.params is 1, but must be a mapping"]),
        ({"base": {"upsampler": "ldaaqu", "sclae": 1}}, ["sclae: unknown key", "did you mean 'scale'?"]),
        ({"base": {"upsampler": "ldaaqu", "channels": 8}, "input": {"shape": "16x4x4"}}, ["channels is 8", "has 16"]),
        ({"name": "../evil"}, ["name is ../evil, but must be letters"]),
        ({"girdd": 1}, ["girdd: unknown key"]),
        (
            {"upsampler": "carafe"},
            ["upsampler stands at the top of the sweep; put it under `base:`, as base: {upsampler: carafe}"],
        ),
        (
            {"channels": 8, "params": {"theta": 5}},
            ["put it under `base:`, as base: {channels: 8}", "as base: {params: {theta: 5}}"],
        ),
        (
            {"shape": "8x6x5", "budget": 1},
            ["as input: {shape: 8x6x5}", "budget stands at the top of the sweep; put it under `measure:`"],
        ),
        ({"base": {}}, ["upsampler: is missing"]),
        ({"base": {}, "grid": {}, "ofat": {"upsampler": ["fade"]}}, ["base.upsampler: is missing"]),
        ({"base": {}, "grid": {}, "cells": [{"upsampler": "fade"}, {"batch": 2}]}, ["base.upsampler: is missing"]),
        ({"base": {"upsampler": "ldaaqu", "input": {}}}, ["base.input belongs beside base"]),
        ({"published": "lda-aqu/tabel5"}, ["published: unknown published table", "did you mean 'lda-aqu/table5'?"]),
    ],
)
def test_mistakes_are_said_together_before_anything_runs(changes: dict, parts: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        cells_of(**changes)
    text = "\n".join(caught.value.mistakes)
    assert all(part in text for part in parts), text
    assert all(sentence.startswith("a.yaml: ") for sentence in caught.value.mistakes)
    assert len(set(caught.value.mistakes)) == len(caught.value.mistakes)


@pytest.mark.parametrize(
    ("changes", "impossible", "part"),
    [
        ({"grid": {"groups": [2, 3]}}, [False, True], "params.groups is 3, which does not divide"),
        ({"grid": {"k_u": [3, 4]}}, [False, True], "params.k_u is 4, but must be an odd integer"),
        ({"grid": {"groups": [0, 2]}}, [True, False], "params.groups is 0"),
        (
            {"grid": {"upsampler": ["ldaaqu", "nearest"], "theta": [5]}},
            [False, True],
            "params.theta is not a parameter of nearest",
        ),
        ({"grid": {"upsampler": ["bilinear", "carafe"], "scale": [1.5]}}, [False, True], "carafe can do whole numbers"),
        ({"grid": {"upsampler": ["sapa-b", "carafe"], "guide_channels": [64]}}, [False, True], "carafe takes no guide"),
    ],
)
def test_cells_that_break_a_rule_are_known_and_kept(changes: dict, impossible: list[bool], part: str) -> None:
    cells = cells_of(**changes)
    assert [cell.spec is None for cell in cells] == impossible
    assert [bool(cell.mistakes) for cell in cells] == impossible
    (broken,) = (cell for cell in cells if cell.spec is None)
    assert part in broken.mistakes[0]
    assert not broken.mistakes[0].startswith("a.yaml")


def test_the_draft_of_an_impossible_cell_has_every_key_of_a_spec() -> None:
    possible, broken = cells_of(grid={"groups": [2, 3]}, input={"shape": "mask-head"})
    assert possible.spec
    complete = possible.spec.to_dict()
    assert broken.draft == {**complete, "params": {**complete["params"], "groups": 3}}


def test_a_value_of_the_wrong_kind_for_one_upsampler_only_makes_its_cells_impossible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "textual.py").write_text(
        "class Up:\n    def __init__(self, channels, scale, groups='many'): ...\n    def forward(self, x): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    cells = cells_of(base={}, grid={"upsampler": ["dysample", "textual:Up"], "groups": [4, "few"]})
    assert [cell.spec is None for cell in cells] == [False, True, True, False]


def test_one_factor_at_a_time_varies_each_axis_around_the_base() -> None:
    cells = cells_of(
        base={"upsampler": "ldaaqu", "params": {"theta": 7}}, grid={}, ofat={"theta": [5, 7], "groups": [1], "batch": [4]}
    )  # fmt: skip
    found = [tuple(cell.axes.values()) for cell in cells]
    assert found == [(7, 2, 1), (5, 2, 1), (7, 1, 1), (7, 2, 4)]
    assert [list(cell.axes) for cell in cells] == [["theta", "groups", "batch"]] * 4
    assert all((c.spec.params["theta"], c.spec.params["groups"], c.spec.input.batch) == a for c, a in zip(cells, found, strict=True))  # fmt: skip


def test_the_base_of_one_factor_at_a_time_is_that_of_each_upsampler() -> None:
    cells = cells_of(base={}, grid={"upsampler": ["dysample", "dysample-s", "nearest"]}, ofat={"groups": [2]})
    assert [tuple(cell.axes.values()) for cell in cells] == [
        ("dysample", 4),
        ("dysample", 2),
        ("dysample-s", 8),
        ("dysample-s", 2),
        ("nearest", None),
        ("nearest", 2),
    ]
    assert [cell.spec is None for cell in cells] == [False] * 5 + [True]


def test_zipped_axes_move_together_and_cross_the_grid() -> None:
    cells = cells_of(zip={"theta": [5, 7], "groups": [1, 2]}, grid={"batch": [1, 2]})
    assert [tuple(cell.axes.values()) for cell in cells] == [(5, 1, 1), (5, 1, 2), (7, 2, 1), (7, 2, 2)]


def test_listed_cells_may_name_different_axes() -> None:
    listed = [{"upsampler": "nearest"}, {"upsampler": "ldaaqu", "theta": 5}, {"upsampler": "ldaaqu"}]
    cells = cells_of(base={}, cells=listed, grid={})
    assert [dict(cell.axes) for cell in cells] == [
        {"upsampler": "nearest", "theta": None},
        {"upsampler": "ldaaqu", "theta": 5},
        {"upsampler": "ldaaqu", "theta": 11},
    ]
    assert [cell.label for cell in cells] == ["upsampler=nearest", "upsampler=ldaaqu, theta=5", "upsampler=ldaaqu, theta=11"]  # fmt: skip
    assert all(cell.spec for cell in cells)


def test_axes_are_in_the_order_of_the_forms() -> None:
    sweep = expand.load(
        {
            "name": "a",
            "base": {"upsampler": "ldaaqu"},
            "ofat": {"batch": [2]},
            "grid": {"theta": [5]},
            "zip": {"groups": [1], "k_e": [1]},
            "cells": [{"scale": 2}, {"seed": 1}],
        },
        "a.yaml",
    )
    assert sweep.axes == ["scale", "seed", "groups", "k_e", "theta", "batch"]
    assert [list(cell.axes) for cell in expand.expand(sweep, "a.yaml")] == [sweep.axes] * 4


def test_cells_with_the_same_spec_are_known() -> None:
    cells = cells_of(grid={"shape": ["paper", "256x120x120", "mask-head"], "groups": [2, 3]})
    assert expand.equivalents(cells) == {2: 0}
    assert expand.equivalents(cells_of()) == {}


def test_values_are_as_completed_and_texts_as_written() -> None:
    cells = cells_of(grid={"compile": [False, "default"], "shape": ["mask-head", [256, 7, 7]], "threads": [None]})
    assert [tuple(cell.axes.values()) for cell in cells][:2] == [("off", "mask-head", None), ("off", "256x7x7", None)]
    assert cells[0].label == "compile=off, shape=mask-head, threads=null"


def test_a_prefix_tells_a_parameter_from_an_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd.py").write_text(
        "class Up:\n    def __init__(self, channels, scale, batch=1): ...\n    def forward(self, x): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    (cell,) = cells_of(base={"upsampler": "odd:Up"}, grid={"params.batch": [5], "batch": [2]})
    assert (cell.spec.params["batch"], cell.spec.input.batch) == (5, 2)


def test_overrides_reach_the_upsamplers_that_have_them() -> None:
    sweep = expand.load({"name": "a", "grid": {"upsampler": ["nearest", "dysample", "sapa-b"]}}, "a")
    cells = expand.expand(sweep, "a", {"groups": 2, "guide_channels": 64, "batch": 2})
    specs = [cell.spec for cell in cells]
    assert [spec.params.get("groups") for spec in specs] == [None, 2, None]
    assert [spec.guide_channels for spec in specs] == [None, None, 64]
    assert {spec.input.batch for spec in specs} == {2}


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"theta": 7}, "theta is an axis of a.yaml; edit its values there"),
        ({"params.theta": 7}, "params.theta is an axis of a.yaml; edit its values there"),
        ({"batch": 0}, "input.batch is 0, but must be an integer of at least 1"),
        ({"points": 9}, "points: unknown key; known: theta"),
    ],
)
def test_overrides_that_cannot_be_are_refused(overrides: dict, sentence: str) -> None:
    sweep = expand.load({"name": "a", "base": {"upsampler": "ldaaqu"}, "grid": {"theta": [5, 11]}}, "a.yaml")
    with pytest.raises(SpecError, match=f"^{sentence}"):
        expand.expand(sweep, "a.yaml", overrides)


def test_the_spec_of_one_run_is_no_sweep(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text("upsampler: carafe\n")
    with pytest.raises(SpecError, match="upbench profile"):
        expand.read(file)


def test_cells_are_complete_specs() -> None:
    assert all(spec.load(cell.spec.to_dict()) == cell.spec for cell in cells_of())


def test_ten_thousand_cells_are_expanded() -> None:
    cells = cells_of(grid={"theta": list(range(50)), "groups": [1, 2, 3, 4], "seed": list(range(50))})
    assert len(cells) == 10_000
    assert sum(cell.spec is None for cell in cells) == 2_500
    assert expand.equivalents(cells) == {}


def test_cells_are_held_in_little_memory() -> None:
    tracemalloc.start()
    cells = cells_of(grid={"theta": list(range(10)), "groups": [1, 2, 3, 4], "seed": list(range(25))})
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # About 3 kB a cell, and next to nothing besides while they are made.
    assert held < 6_000 * len(cells)
    assert peak < 1.5 * held
