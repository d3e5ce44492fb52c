"""Tables of accuracy as users write them: what is read, what is refused, and which cell a row belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from upbench.errors import SpecError
from upbench.papers import given
from upbench.papers.given import GivenTable, Value
from upbench.papers.given_join import Place, join, place


def table(folder: Path, text: str, name: str = "ap.csv") -> GivenTable:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return given.read(path)


def mistakes(folder: Path, text: str, name: str = "ap.csv") -> list[str]:
    with pytest.raises(SpecError) as error:
        table(folder, text, name)
    return [sentence.replace(f"{folder}/", "") for sentence in error.value.mistakes]


def cell(label: str = "ldaaqu", upsampler: str = "ldaaqu", scale: float = 2, **params: Any) -> Place:
    spec = {
        "upsampler": upsampler,
        "scale": scale,
        "params": params,
        "input": {"shape": "8x6x5"},
        "measure": {"threads": 1},
    }
    return place(label, params, spec)


def test_a_csv_has_units_directions_decimals_and_spreads(tmp_path: Path) -> None:
    found = table(tmp_path, "theta,AP,AP_sd,AP_runs,RMSE (m),score (higher),note\n5,39.25,0.1,3,0.4,1.5,best\n")
    metrics = {name: (m.unit, m.better, m.decimals) for name, m in found.metrics.items()}
    assert metrics == {"AP": ("percent", "higher", 2), "RMSE": ("m", "lower", 1), "score": ("", "higher", 1)}
    (row,) = found.rows
    assert dict(row.keys) == {"theta": 5}
    assert row.values == {"AP": Value(39.25, 0.1, 3), "RMSE": Value(0.4), "score": Value(1.5)}
    assert row.name == "theta=5"


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_the_mean_and_the_deviation_are_over_seeds(tmp_path: Path, between: str) -> None:
    lines = ["theta,seed,mIoU", "5,0,42.0", "5,1,43.0", "5,2,44.0", "7,0,40.0"]
    found = table(tmp_path, "\n".join(line.replace(",", between) for line in lines))
    assert [row.values["mIoU"] for row in found.rows] == [Value(43.0, 1.0, 3), Value(40.0)]


def test_a_list_in_yaml_is_of_runs_and_a_text_may_hold_the_deviation(tmp_path: Path) -> None:
    text = "metrics: {err: {unit: px, better: lower}}\nrows:\n- {theta: 5, err: [1.0, 3.0]}\n- {theta: 7, err: 2.5 +- 0.5}\n"
    found = table(tmp_path, text, "ap.yaml")
    assert [row.values["err"] for row in found.rows] == [Value(2.0, pytest.approx(2**0.5), 2), Value(2.5, 0.5)]
    assert found.metrics["err"].unit == "px"


def test_a_share_below_one_is_no_percentage(tmp_path: Path) -> None:
    assert table(tmp_path, "theta,AP\n5,0.39\n").metrics["AP"].unit == ""
    assert table(tmp_path, "theta,AP\n5,39\n").metrics["AP"].unit == "percent"


def test_a_document_holds_the_same_table() -> None:
    rows = [{"name": "ldaaqu:theta=5", "AP": [39.0, 39.2]}, {"name": "carafe", "AP": 38.6, "AP_sd": 0.1}]
    found = given.of_document(rows, "here")
    again = given.of_document(found.document(), "there")
    assert again.source == "here"
    assert again.metrics == found.metrics
    assert [(r.keys, r.values) for r in again.rows] == [(r.keys, r.values) for r in found.rows]


REFUSED = {
    "theta,AP\n5,39.1\n5,39.2\n": "ap.csv, line 2 and ap.csv, line 3: are all of theta=5; leave one, or tell runs apart by a column `seed`",
    "theta,seed,AP\n5,0,39.1\n5,0,39.2\n": "the run 0 of theta=5 is given twice; leave one",
    "theta,AP\n5,good\n": "ap.csv, line 2: AP is 'good', but must be a number, as 39.2 or 39.2 +- 0.1",
    "theta,AP\n5,391\n": "ap.csv, line 2: AP is 391, but a percentage lies between 0 and 100",
    "theta,AP\n5,39.1,7\n": "ap.csv, line 2: has 3 columns, but the head has 2 (theta, AP)",
    "theta,AP,AP\n5,39.1,39.1\n": "ap.csv, line 1: has the column AP twice; leave one",
    "theta,score\n5,39.1\n": "ap.csv: has no metric; name one by its usual name, as AP or mIoU, or say which value is better",
    "theta,score (points)\n5,39.1\n": "which values are better is not known; write 'score (points, higher)'",
    "theta,AP,AP_sd\n5,39.1,-0.1\n": "the standard deviation of AP is negative",
    "theta,seed,AP,AP_sd\n5,0,39.1,0.1\n5,1,39.2,0.1\n": "AP has several runs and a standard deviation",
    "theta,AP\n": "ap.csv: has no rows; give one for each setting",
    "": "ap.csv: is empty; give a CSV file whose first line is the names of its columns, or a YAML file",
    '{"a": 1}': "ap.csv: is JSON; give a CSV file",
    'theta,AP\n"5,39.1\n': "is no CSV (unexpected end of data)",
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: repr(text)[:40])
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str) -> None:
    assert any(REFUSED[text] in sentence for sentence in mistakes(tmp_path, text))


def test_all_mistakes_are_said_together(tmp_path: Path) -> None:
    assert len(mistakes(tmp_path, "theta,AP\n5,good\n7,better\n9,39.1\n9,39.1\n")) == 3


def test_yaml_is_refused_with_its_line(tmp_path: Path) -> None:
    text = "metrics:\n  AP: {better: more}\nrows:\n- {theta: 5, AP: 39.1}\n"
    assert mistakes(tmp_path, text, "a.yaml") == [
        "a.yaml, line 2: metrics.AP.better is more, but must be higher or lower"
    ]
    text = "metrics:\n  score: {better: higher}\nrows:\n- {theta: 5, AP: x}\n"
    found = mistakes(tmp_path, text, "a.yaml")
    assert found[0] == "a.yaml: metrics.score: no row has a value of it; give one, or leave it out"
    assert "a.yaml, line 4: AP is 'x', but must be a number" in found[1]


def joined(rows: list[dict[str, Any]], places: list[Place]) -> dict[int, float]:
    found = join(given.of_document(rows, "here"), places)
    return {n: values["AP"].mean for n, values in found.values.items()}


def test_rows_are_joined_on_params_and_on_names() -> None:
    places = [cell("ldaaqu (theta=5)", theta=5), cell("ldaaqu", theta=11), cell("carafe", "carafe", k_up=5)]
    assert joined([{"theta": 5, "AP": 1}, {"theta": 11.0, "AP": 2}], places) == {0: 1, 1: 2}
    assert joined([{"name": "CARAFE", "AP": 3}, {"name": "LDA-AQU", "AP": 4}], places) == {2: 3, 1: 4}
    assert joined([{"name": "ldaaqu:theta=5", "AP": 5}], places) == {0: 5}
    assert joined([{"upsampler": "ldaaqu (theta=5)", "AP": 6}], places) == {0: 6}


def test_a_row_is_of_every_input_of_one_model_and_of_a_class_by_its_name() -> None:
    places = [cell("mine:Up", "mine:Up", kernel=3), cell("mine:Up", "mine:Up", kernel=3)]
    assert joined([{"name": "Up", "AP": 1}], places) == {0: 1, 1: 1}
    assert joined([{"name": "mine:Up", "kernel": 3, "shape": "8x6x5", "AP": 2}], places) == {0: 2, 1: 2}


def test_rows_that_match_nothing_are_kept_apart() -> None:
    found = join(given.of_document([{"theta": 5, "AP": 1}, {"theta": 6, "AP": 2}], "here"), [cell(theta=5)])
    assert [row.name for row in found.unmatched] == ["theta=6"]


def refused(rows: list[dict[str, Any]], places: list[Place]) -> str:
    with pytest.raises(SpecError) as error:
        join(given.of_document(rows, "here"), places)
    return "\n".join(error.value.mistakes)


def test_a_row_of_several_models_two_rows_of_one_cell_and_an_unknown_column_are_refused() -> None:
    several = [cell("ldaaqu (theta=5)", theta=5, groups=2), cell("ldaaqu (theta=7)", theta=7, groups=2)]
    assert "here, row 1 (groups=2): fits 2 cells, whose theta differ" in refused([{"groups": 2, "AP": 1}], several)
    rows = [{"theta": 5, "AP": 1}, {"theta": 5, "groups": 2, "AP": 2}]
    assert "(theta=5) and here, row 2 (theta=5, groups=2) both give AP of ldaaqu (theta=5)" in refused(rows, several)
    said = refused([{"thta": 5, "AP": 1}], several)
    assert "'thta' is no axis, no param and no usual metric; did you mean 'theta'?" in said
