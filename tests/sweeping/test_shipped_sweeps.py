"""The shipped sweeps: every one loads, its cells can run, and there are as many as meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import upbench
from upbench import papers
from upbench.benchmark import run
from upbench.cards import builtin
from upbench.sweeping import expand

FOLDER = Path(__file__).parents[2] / "sweeps"
SIZES = {
    "anyup": 8,
    "carafe": 12,
    "dysample-groups": 20,
    "freqfusion": 12,
    "groups": 4,
    "image-guided": 18,
    "k_e": 3,
    "k_u": 2,
    "lda-aqu-ablation": 14,
    "naf-kernel": 7,
    "papers-latency": 24,
    "reduction": 4,
    "resolution": 168,
    "sapa-b": 9,
    "sapa-d": 20,
    "scaling": 48,
    "theta": 5,
    "theta-mask-head": 3,
}


def cells(name: str) -> list[expand.Cell]:
    path = FOLDER / f"{name}.yaml"
    return expand.expand(expand.read(path), str(path))


def test_every_sweep_is_meant() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_every_cell_can_run_and_is_measured_for_itself(name: str) -> None:
    found = cells(name)
    assert len(found) == SIZES[name]
    assert not [sentence for cell in found for sentence in cell.mistakes]
    assert expand.equivalents(found) == {}
    run.validate([cell.spec for cell in found if cell.spec])


@pytest.mark.parametrize("name", SIZES)
def test_it_is_named_as_its_file_and_says_what_it_asks(name: str) -> None:
    path = FOLDER / f"{name}.yaml"
    sweep = expand.read(path)
    assert sweep.name == name
    assert sweep.title
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("name", ["theta", "groups", "reduction", "dysample-groups", "sapa-d", "sapa-b"])
def test_the_rows_of_the_published_table_are_among_the_cells(name: str) -> None:
    """Names of the papers' settings, and rows that are no cell: of other upsamplers, which the sweep leaves out."""
    names = {"embedding_dim": "embedding", "kernel": "k_up"}
    path = FOLDER / f"{name}.yaml"
    sweep = expand.read(path)
    assert sweep.published
    found = [cell.spec for cell in expand.expand(sweep, str(path)) if cell.spec]
    names_swept = {spec.upsampler for spec in found}
    rows = [row for row in papers.table(sweep.published).rows if row.upsampler in names_swept]
    assert rows
    for row in rows:
        wanted = {names.get(key, key): value for key, value in row.settings.items()}
        hits = [
            spec
            for spec in found
            if spec.upsampler == row.upsampler
            and all(spec.params[key] == value for key, value in wanted.items() if key in spec.params)
        ]
        assert len(hits) == 1, (row.label, wanted)


def test_the_mask_head_is_that_of_the_published_table() -> None:
    rows = papers.table("lda-aqu/table6").rows
    found = [cell.spec for cell in cells("theta-mask-head") if cell.spec]
    assert [spec.params["theta"] for spec in found] == sorted({row.settings["theta_mask_head"] for row in rows})
    assert all(spec.input.shape == (256, 14, 14) and spec.input.batch == 100 for spec in found)


def test_the_ablation_of_lda_aqu_holds_the_cells_of_its_parts() -> None:
    whole = [cell.spec for cell in cells("lda-aqu-ablation")]
    for part in ("theta", "groups", "reduction", "k_e", "k_u"):
        assert all(cell.spec in whole for cell in cells(part)), part


def test_offsets_are_trained_where_the_axis_needs_it() -> None:
    for name in ("theta", "theta-mask-head", "groups", "k_u", "lda-aqu-ablation", "dysample-groups", "sapa-d"):
        assert {cell.spec.input.offsets for cell in cells(name) if cell.spec} == {"trained"}, name


def swept(name: str) -> set[str]:
    return {cell.spec.upsampler for cell in cells(name) if cell.spec}


@pytest.mark.parametrize("name", ["papers-latency", "resolution"])
def test_all_upsamplers_that_double_features_are_compared(name: str) -> None:
    doubling = {card.name for card in builtin().values() if card.only_scale in (None, 2) and card.guide_kind != "image"}
    assert swept(name) == doubling


def test_all_upsamplers_that_an_image_guides_are_compared() -> None:
    guided = {card.name for card in builtin().values() if card.guide_kind == "image"}
    assert swept("image-guided") == guided | {"bilinear", "bicubic"}
    shapes = {cell.spec.input.shape for cell in cells("image-guided") if cell.spec}
    assert shapes == {(384, 16, 16), (768, 28, 28)}


def test_a_dry_run_measures_nothing_and_says_what_it_would(tmp_path: Path) -> None:
    for name in ("image-guided", "anyup", "naf-kernel", "freqfusion"):
        result = upbench("sweep", FOLDER / f"{name}.yaml", "--dry-run", "-o", tmp_path / f"{name}.jsonl")
        assert result.exit_code == 0, result.stderr
        assert f"{SIZES[name]} of {SIZES[name]} cells to measure" in " ".join(result.output.split())
    assert not list(tmp_path.iterdir())


def test_resolutions_are_square_and_as_many_for_each_upsampler() -> None:
    shapes = [cell.spec.input.shape for cell in cells("resolution") if cell.spec]
    sides = sorted({height for _, height, _ in shapes})
    assert all(channels == 256 and height == width for channels, height, width in shapes)
    assert (sides[0], sides[-1]) == (16, 128)
    assert all(shapes.count((256, side, side)) == len(swept("resolution")) for side in sides)
