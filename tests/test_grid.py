"""Expansion of sweeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from upbench import grid, spec
from upbench.cards import builtin
from upbench.errors import SpecError

SWEEPS = sorted((Path(__file__).parents[1] / "sweeps").glob("*.yaml"))


def expand(**changes: object) -> list[grid.Cell]:
    data = {"name": "a", "base": {"upsampler": "ldaaqu"}, "grid": {"theta": [5, 11]}, **changes}
    return grid.expand(grid.load(data, "a.yaml"), "a.yaml")


@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: p.stem)
def test_shipped_sweeps_expand(path: Path) -> None:
    sweep = grid.read(path)
    assert sweep.name == path.stem
    assert len(grid.expand(sweep, str(path))) >= 2


@pytest.mark.parametrize(
    ("name", "axis", "values"),
    [
        ("theta", "theta", [5, 7, 9, 11, 13]),
        ("groups", "groups", [1, 2, 4, 8]),
        ("reduction", "reduction", [16, 8, 4, 2]),
        ("k_e", "k_e", [1, 3, 5]),
        ("k_u", "k_u", [3, 5]),
    ],
)
def test_shipped_grids_are_those_of_the_paper(name: str, axis: str, values: list[int]) -> None:
    path = Path(__file__).parents[1] / "sweeps" / f"{name}.yaml"
    cells = grid.expand(grid.read(path), str(path))
    assert [cell.spec.params[axis] for cell in cells] == values
    assert all(cell.spec.input.shape == (256, 120, 120) for cell in cells)


def test_the_last_axis_is_fastest() -> None:
    cells = expand(grid={"theta": [5, 11], "groups": [1, 2]})
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
    (cell,) = expand(grid=axes)
    run = cell.spec
    assert (run.params["theta"], run.scale, run.input.shape, run.input.batch) == (5, 3, (32, 8, 8), 2)
    assert (run.measure.mode, run.input.dtype) == ("training", "float64")


def test_upsamplers_can_be_an_axis() -> None:
    cells = expand(base={}, grid={"upsampler": ["carafe", "dysample"], "shape": ["64x4x4", "32x4x4"]})
    assert [cell.spec.label for cell in cells] == ["carafe", "carafe", "dysample", "dysample"]


def test_overrides_reach_every_cell() -> None:
    sweep = grid.load({"name": "a", "base": {"upsampler": "ldaaqu"}, "grid": {"theta": [5, 11]}}, "a")
    cells = grid.expand(sweep, "a", {"shape": "64x4x4", "reduction": 8})
    assert {(c.spec.input.shape, c.spec.params["reduction"]) for c in cells} == {((64, 4, 4), 8)}


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"grid": {"thetta": [1]}}, ["grid.thetta: unknown axis", "did you mean 'theta'?"]),
        ({"grid": {"theta": []}}, ["grid.theta has no values"]),
        ({"grid": {}}, ["grid is {}, but must be a mapping of axis names"]),
        ({"grid": {"theta": 5}}, ["grid"]),
        ({"grid": {"groups": [2, 3, 5]}}, ["params.groups is 3", "params.groups is 5"]),
        ({"name": "../evil"}, ["name is ../evil, but must be letters"]),
        ({"girdd": 1}, ["girdd: unknown key"]),
        ({"base": {}}, ["upsampler: is missing"]),
        ({"base": {"upsampler": "ldaaqu", "input": {}}}, ["base.input belongs beside base"]),
    ],
)
def test_mistakes_are_said_together_before_anything_runs(changes: dict, parts: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        expand(**changes)
    text = "\n".join(caught.value.mistakes)
    assert all(part in text for part in parts), text
    assert "a.yaml" in text


def test_the_spec_of_one_run_is_no_sweep(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text("upsampler: carafe\n")
    with pytest.raises(SpecError, match="upbench profile"):
        grid.read(file)


def test_cells_are_complete_specs() -> None:
    assert all(spec.load(cell.spec.to_dict()) == cell.spec for cell in expand())


def test_the_papers_shape_is_swept_over_every_upsampler() -> None:
    path = Path(__file__).parents[1] / "sweeps" / "papers-latency.yaml"
    assert {cell.spec.upsampler for cell in grid.expand(grid.read(path), str(path))} == set(builtin())
