"""Records of schema 1, as results/ has them: read, shown with the same numbers, and not measured again."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests import record_builder
from upbench.cli.app import app
from upbench.gate import baseline
from upbench.measure import MEASUREMENT_VERSION
from upbench.records import record, store
from upbench.records.origin import InputData, MeasureData
from upbench.report.formats import render
from upbench.report.tables import comparison
from upbench.report.tables import sweep as sweep_table
from upbench.report.tables.result_set import ResultSet
from upbench.specs import run_spec
from upbench.sweeping import expand, resume


def _of_the_first_way_to_measure(path: Path) -> bool:
    """Whether a results file is of schema 1 or of measurement version 1; others were measured since."""
    if path.name.endswith(".passes.jsonl"):
        return False
    first = json.loads(path.read_text().splitlines()[0])
    return int(first["environment"].get("measurement_version", 1)) == 1


RESULTS = [
    p for p in sorted((Path(__file__).parents[2] / "results").glob("*.jsonl")) if _of_the_first_way_to_measure(p)
]
SWEEPS = Path(__file__).parents[2] / "sweeps"


def schema_1(records: list[record.Record]) -> list[dict[str, Any]]:
    """Records as the first schema had them."""
    old = {new: name for name, new in record.RENAMED.items()}
    found = []
    for one in records:
        data = {old.get(name, name): value for name, value in one.to_dict().items() if name != "sources"}
        data["environment"].pop("measurement_version")
        found.append({**data, "schema": 1})
    return found


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_results_file_is_read_and_shown_with_the_numbers_beside_it(path: Path) -> None:
    contents = store.read(path)
    assert contents.skipped == []
    records = store.current(contents.records)
    assert len(records) == len(path.read_text().splitlines())
    assert {one.environment.measurement_version for one in records} == {1}
    sweep = expand.read(SWEEPS / path.name.replace(".jsonl", ".yaml"))
    shown = sweep_table.default_table(ResultSet(records, sweep.axes), sweep.title)
    now = list(csv.DictReader(io.StringIO(render.csv(shown))))
    before = list(csv.DictReader(path.with_suffix(".csv").open()))
    assert len(now) == len(before)
    for row, old in zip(now, before, strict=True):
        known = {record.RENAMED.get(name, name): value for name, value in old.items()}
        common = known.keys() & row.keys()
        assert {"params", "latency_median_s", "noise_floor", "roofline_s"} & common
        assert {name: row[name] for name in common} == {name: known[name] for name in common}


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_sweep_goes_on_where_the_first_schema_stopped(path: Path) -> None:
    """On the machine of the records, as they were measured, whatever upbench was called."""
    records = store.load(path).records
    sweep = expand.read(SWEEPS / path.name.replace(".jsonl", ".yaml"))
    measure = {name: value for name, value in sweep.measure.items() if name != "threads"}  # these had what torch has
    cells = expand.expand(
        sweep.model_copy(update={"measure": measure}), path.stem, {"budget": records[0].settings.measure.budget}
    )
    where = {**records[0].environment.given(), "upbench": "9.9", "measurement_version": 1}
    places = {cell.spec.measure.device: [where] for cell in cells if cell.spec}
    work = resume.plan(cells, store.index(path), places)
    # A sweep may have gained upsamplers since: they alone are left.
    known = {record.settings.upsampler for record in records}
    old = [n for n, cell in enumerate(cells) if cell.spec is None or cell.spec.upsampler in known]
    assert not {*work.measure, *work.impossible} & set(old)
    assert {work.status[n] for n in old} <= {"ok", "impossible"}
    newer = {device: [{**where, "measurement_version": MEASUREMENT_VERSION}] for device in places}
    work = resume.plan(cells, store.index(path), newer)
    assert len(work.measure) > 0
    assert any("version 2, before 1" in sentence for sentence in resume.edits(work))


def test_a_record_of_schema_1_is_written_again_as_schema_2_with_every_key_it_had() -> None:
    (data,) = schema_1(record_builder.theta_sweep()[:1])
    data["environment"]["of_another_day"] = {"a": [1]}
    data["spec"]["measure"]["of_another_day"] = "a new one"
    read = record.from_dict(data, "here")
    assert (read.noise_floor, read.roofline_s, read.cross_check) == (0.02, None, None)
    assert read.settings.params["theta"] == 5
    assert read.environment.device == record_builder.DEVICE
    again = read.to_dict()
    assert again["schema"] == 2
    assert again["environment"] == {**data["environment"], "measurement_version": 1}
    assert again["spec"] == data["spec"]
    assert record.from_dict(again, "here") == read
    assert record.from_json(read.to_json(), "here").key == read.key


def test_what_the_key_of_a_record_holds() -> None:
    one = record_builder.theta_sweep()[0]

    def key(**environment: Any) -> str:
        return record.key(one.settings, {**one.environment.given(), **environment})

    assert key() == one.key
    assert key(upbench="9.9", load=3, commit="x") == one.key, "a release alone changes nothing"
    for change in ({"measurement_version": 2}, {"torch": "9"}, {"threads": 9}, {"device": "x"}, {"kernels": "torch"}):
        assert key(**change) != one.key
    (unknown,) = schema_1([one])
    unknown["environment"]["upbench"] = "0.0.1"
    assert record.from_dict(unknown, "here").environment.measurement_version is None
    lacking = one.settings.given()
    lacking["measure"].pop("compile")
    assert record.key(lacking, one.environment) == one.key, "a key that a version lacks has its default"


@pytest.mark.parametrize(("data", "judged"), [(InputData, run_spec.InputSpec), (MeasureData, run_spec.MeasureSpec)])
def test_the_spec_of_a_record_has_every_key_of_a_spec_with_its_default(data: Any, judged: Any) -> None:
    """A key that is added to specs is added there too, so that records without it stay those of its default."""
    assert set(data.model_fields) == set(judged.model_fields)
    defaults = {name: getattr(judged(), name) for name in judged.model_fields} | {"shape": None}
    assert data().model_dump() == {name: defaults[name] for name in data.model_fields}


def test_a_record_without_a_spec_is_shown(tmp_path: Path) -> None:
    handed_in = record_builder.record(sweep=False).model_copy(update={"spec": None, "label": "handed in"})
    path = record_builder.file(tmp_path / "r.jsonl", [handed_in, record_builder.record("carafe", sweep=False)])
    assert store.load(path).records[0].spec is None
    alone = record_builder.file(tmp_path / "alone.jsonl", [handed_in])
    for command in (
        ["table", str(alone)],
        ["table", str(path)],
        ["table", str(path), "--format", "csv"],
        ["diff", str(path), str(path)],
    ):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        assert "handed in" in result.stdout
    assert "handed in" in render.terminal(comparison.profile_table(handed_in))


def test_a_baseline_of_schema_1_is_read() -> None:
    entry = {
        "label": "nearest", "spec": {"upsampler": "nearest", "params": {}, "measure": {"mode": "inference"}},
        "exact": {"params": 0}, "output": None, "latency_ratio": None, "resolution": 0.03,
    }  # fmt: skip
    old = {
        "schema": 1, "kind": baseline.KIND, "reference": None,
        "environment": {"upbench": "0.1.0", "torch": "2.13"}, "upsamplers": [entry],
    }  # fmt: skip
    (found,) = baseline.from_data(old, "b.json")
    assert found.noise_floor == 0.03
    assert found.environment["measurement_version"] == 1
    text = baseline.to_text([found])
    assert json.loads(text)["schema"] == 2
    assert baseline.from_data(json.loads(text), "b.json") == [found]


def test_a_comparison_of_the_first_schema_is_read(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(
        json.dumps({"schema": 1, "reference": None, "records": schema_1(record_builder.theta_sweep())}, indent=2)
    )
    assert store.read(path).records == record_builder.theta_sweep()
