"""`upbench table`: what is shown, what is emphasised, what is said about it, in every format."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from tests import record_builder
from tests.command_line import refused, upbench
from upbench import papers, registry
from upbench.analysis import effects, stats
from upbench.papers import settings
from upbench.records.record import Record
from upbench.report.formats.table import Rank, letter
from upbench.report.tables import notes, published, result_set, sweep
from upbench.report.tables.emphasis import ranks
from upbench.report.tables.result_set import ResultSet


def shown(tmp_path: Path, records: list[Record], *arguments: object, form: str = "markdown") -> str:
    file = record_builder.file(tmp_path / "r.jsonl", records)
    result = upbench("table", file, "--format", form, "-v", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def rows(markdown: str) -> dict[str, list[str]]:
    """First cell -> the others, of the lines of a Markdown comparison."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines[:1] + lines[2:]]
    return {cell[0]: cell[1:] for cell in cells}


def bare(cell: str) -> str:
    """A cell without emphasis and footnotes."""
    return re.sub(r"\*\*|</?u>|<sup>.*", "", cell)


def test_the_theta_table_is_table_5_with_our_costs_beside_it(tmp_path: Path) -> None:
    text = shown(tmp_path, record_builder.theta_sweep())
    table_5 = papers.table("lda-aqu/table5")
    found = rows(text)
    heads = [bare(head) for head in found["theta"]]
    assert heads[:7] == [*(f"{name} (published)" for name in table_5.metrics), "Params"]
    assert list(found)[1:] == ["5", "7", "9", "11", "13"]
    plain = {name: [bare(cell) for cell in cells] for name, cells in found.items()}
    for row in table_5.rows:
        printed = [f"{value:.1f}" for value in row.values.values()]
        assert plain[str(row.settings["theta"])][:6] == printed
    assert found["11"][:2] == ["**39.2**", "**60.7**"]
    assert found["9"][0] == "<u>39.1</u>"
    assert plain["11"][6:9] == ["1000", "1.00G", "13.0 ms"]
    assert plain["11"][9] == "1.00 MiB"
    assert "published, not measured here" in text
    assert "Table 5" in text


def test_the_table_that_sweep_prints_has_the_published_columns_too() -> None:
    sheet = sweep.default_table(ResultSet(record_builder.theta_sweep(), ["theta"]), "title")
    assert sheet.heads[:3] == ["theta", "AP", "AP50"]
    assert sheet.rows[3][:2] == ["11", "39.2"]
    assert sheet.rank(3, 1) is Rank.best
    assert sheet.footnotes[0].startswith("published, not measured here")


@pytest.mark.parametrize(
    ("change", "why"),
    [({"k_e": 1}, "k_e is not the default"), ({"scale": 4}, "another scale"), ({"reduction": 8}, "another reduction")],
)
def test_a_cell_without_a_published_row_shows_a_dash_and_says_so(tmp_path: Path, change: dict, why: str) -> None:
    records = [
        *record_builder.theta_sweep(),
        record_builder.record(axes={"theta": 15}, cell=5, published="lda-aqu/table5", theta=15),
    ]
    records += [
        record_builder.record(axes={"theta": 17}, cell=6, **{"theta": 11, "published": "lda-aqu/table5", **change})
    ]
    text = shown(tmp_path, records)
    for theta in ("15", "17"):
        assert rows(text)[theta][0].startswith("-<sup>"), why
        assert rows(text)[theta][1] == "-"
    assert "no published row has the upsampler and all the settings of this cell" in text


def test_published_rows_of_two_subtasks_are_two_columns_and_doubt_is_marked(tmp_path: Path) -> None:
    records = [
        record_builder.record(axes={"theta": t}, cell=n, theta=t, published="lda-aqu/table6")
        for n, t in enumerate((3, 5, 7))
    ]
    text = shown(tmp_path, records, "--columns", "AP bbox,AP segm,latency")
    found = rows(text)
    assert bare(found["3"][0]) == "39.6"
    assert bare(found["5"][1]) == "36.2"
    assert found["5"][0].startswith("**39.7**<sup>")
    assert "uncertain in print: two cells contradict Table 2" in text


def test_settings_that_papers_name_otherwise_are_found() -> None:
    sapa = papers.table("sapa/table11")
    cell = record_builder.record("sapa-b", k_up=7, embedding=32)
    assert [row.values["mIoU"] for row in sapa.rows if published.matches(row, cell)] == [42.5]
    points = papers.table("sapa/table13")
    assert [
        r.values["AP"]
        for r in points.rows
        if published.matches(r, record_builder.record("sapa-d", points=16, groups=4))
    ] == [39.3]
    assert [r.values["AP"] for r in points.rows if published.matches(r, record_builder.record("carafe", groups=4))] == [
        38.5
    ]
    assert [r.values["AP"] for r in points.rows if published.matches(r, record_builder.record("sapa-b"))] == [37.8]
    plus = papers.table("dysample/table4")
    assert [r.values["mIoU"] for r in plus.rows if published.matches(r, record_builder.record("dysample-s+"))] == [
        43.58
    ]
    assert not [r for r in plus.rows if published.matches(r, record_builder.record("fade"))]
    assert [r.values["mIoU"] for r in plus.rows if published.matches(r, record_builder.record("fade", gate=False))] == [
        43.06
    ]


def test_a_published_table_that_is_not_known_is_a_note_and_nothing_is_lost(tmp_path: Path) -> None:
    text = shown(tmp_path, [record_builder.record(axes={"theta": 5}, published="lda-aqu/table55", theta=5)])
    assert "no published values are shown: unknown published table 'lda-aqu/table55'" in text
    assert rows(text)["5"][0] == "1000"


def test_ranks_know_the_direction_ties_and_peers() -> None:
    values = [3.0, 1.0, 1.0, 2.0, None, 0.5]
    texts = ["3", "1", "1", "2", "-", "0.5"]
    peers = [*"aaaaa", "b"]
    lower = ranks(values, texts, peers, "lower")
    assert lower == [Rank.none, Rank.best, Rank.best, Rank.second, Rank.none, Rank.none]
    assert ranks(values, texts, peers, "higher")[:4] == [Rank.best, Rank.none, Rank.none, Rank.second]
    assert ranks([1.0, 1.0], ["1", "1"], ["a", "a"], "lower") == [Rank.none, Rank.none]


def test_cells_of_other_work_are_not_compared(tmp_path: Path) -> None:
    small = [
        record_builder.record(axes={"shape": "8x4x4", "groups": g}, cell=g, shape="8x4x4", params=g, groups=g)
        for g in (1, 2)
    ]
    large = [
        record_builder.record(
            axes={"shape": "8x8x8", "groups": g}, cell=4 + g, shape="8x8x8", latency_s=0.5 * g, params=g, groups=g
        )
        for g in (1, 2)
    ]
    sheet = json.loads(shown(tmp_path, small + large, form="json"))["tables"][0]
    assert [row.get("Params") for row in sheet["emphasis"]] == ["best", "second", "best", "second"]
    assert sheet["emphasis"][2]["Latency"] == "best"
    assert any("among rows of equal work" in note for note in sheet["notes"])


def test_differences_to_a_base_row_are_printed_as_papers_print_them(tmp_path: Path) -> None:
    records = [
        record_builder.record("nearest", {"upsampler": "nearest"}, cell=0, params=0, flops=0, latency_s=0.01),
        record_builder.record(
            "ldaaqu", {"upsampler": "ldaaqu"}, cell=1, params=41_000, flops=1_700_000_000, latency_s=0.0131
        ),
        record_builder.record(
            "dysample", {"upsampler": "dysample"}, cell=2, params=65_500, flops=300_000_000, latency_s=0.01001
        ),
    ]
    text = shown(tmp_path, records, "--base", "upsampler=nearest", "--columns", "params,macs,latency,peak-memory")
    found = rows(text)
    plain = [bare(cell) for cell in found["ldaaqu"]]
    assert plain == ["+41.0K", "+1.7G", "+3.10 ms", "+0"]
    assert found["nearest"][3] == "1.00 MiB"
    assert "<sup>" in found["dysample"][2]
    assert "difference in latency within measurement uncertainty (verdict SAME or UNSURE)" in text
    assert rows(shown(tmp_path, records, "--base", "nearest", "--columns", "params"))["ldaaqu"] == ["<u>+41.0K</u>"]
    data = list(csv.DictReader(io.StringIO(shown(tmp_path, records, "--base", "nearest", form="csv"))))
    assert [row["params_delta"] for row in data] == ["0", "41000", "65500"]


def test_a_base_of_one_axis_takes_the_others_from_each_row(tmp_path: Path) -> None:
    records = [
        record_builder.record(axes={"theta": t, "groups": g}, cell=10 * t + g, theta=t, groups=g, params=100 * t + g)
        for t in (5, 7)
        for g in (1, 2)
    ]
    records[0] = record_builder.record(
        axes={"theta": 5, "groups": 1}, cell=51, theta=5, groups=1, status="oom", error="too big"
    )
    sheet = json.loads(shown(tmp_path, records, "--base", "theta=5", "--columns", "params", form="json"))["tables"][0]
    assert [row["params_delta"] for row in sheet["rows"]] == [None, 0, None, 200]
    assert any(note["text"].startswith("in full, not a difference") for note in sheet["footnotes"])


def test_wrong_bases_columns_and_pivots_are_refused_with_what_there_is(tmp_path: Path) -> None:
    file = record_builder.file(tmp_path / "r.jsonl", record_builder.theta_sweep())
    assert "unknown axis 'thta'; did you mean 'theta'? Known: theta" in refused("table", file, "--base", "thta=5")
    assert "known: 5, 7, 9, 11, 13" in refused("table", file, "--base", "theta=6")
    assert "unknown base row 'x'" in refused("table", file, "--base", "x")
    said = refused("table", file, "--columns", "latncy")
    assert "unknown column 'latncy'" in said
    assert "did you mean 'latency'?" in said
    assert "AP_L" in said
    assert "needs two axes" in refused("table", file, "--pivot")
    assert "unknown axis 'groups'; known: theta" in refused("table", file, "--across", "groups")
    assert "there is no such file" in refused("table", tmp_path / "none.jsonl")


def test_failed_cells_say_which_way_with_a_footnote_each(tmp_path: Path) -> None:
    failures = {
        "oom": ("OOM", "out of memory: 3 GiB_{x} & more"),
        "timeout": ("timeout", "not done in the time it was given: over 60 s"),
        "crashed": ("crash", "its process died: signal 11"),
        "error": ("error", "it raised an error: ValueError: x"),
        "impossible": ("n/a", "breaks a rule of the upsampler: groups is 3"),
    }
    records = [record_builder.record(axes={"groups": 1}, groups=1, cell=0)]
    records += [
        record_builder.record(axes={"groups": n + 2}, cell=n + 1, status=status, error=text.split(": ", 1)[1])
        for n, (status, (_, text)) in enumerate(failures.items())
    ]
    text = shown(tmp_path, records)
    for n, (word, sentence) in enumerate(failures.values()):
        assert rows(text)[str(n + 2)][0] == f"{word}<sup>{letter(n)}</sup>"
        assert rows(text)[str(n + 2)][2] == word
        assert f"<sup>{letter(n)}</sup> " in text
        assert sentence in text
    assert "**" not in "".join(rows(text)["1"])
    latex = shown(tmp_path, records, form="latex")
    assert "OOM\\tablefootnote{\\label{fn:" in latex
    assert "3 GiB\\_\\{x\\} \\& more" in latex


def test_a_pivot_has_the_smaller_axis_across_and_one_best(tmp_path: Path) -> None:
    records = [
        record_builder.record(
            axes={"theta": t, "groups": g}, cell=10 * t + g, theta=t, groups=g, latency_s=0.001 * t * g
        )
        for t in (5, 7, 9)
        for g in (1, 2)
        if (t, g) != (9, 2)
    ]
    found = rows(shown(tmp_path, records, "--pivot"))
    assert found["theta"] == ["groups=1", "groups=2"]
    assert found["5"] == ["**5.00 ms**", "10.0 ms"]
    assert found["7"] == ["<u>7.00 ms</u>", "14.0 ms"]
    assert found["9"] == ["9.00 ms", "-"]
    turned = rows(shown(tmp_path, records, "--across", "theta", "--columns", "params"))
    assert turned["groups"] == ["theta=5", "theta=7", "theta=9"]
    file = tmp_path / "r.jsonl"
    two = "shows one quantity, but --columns has 2 (params, latency); name one"
    assert f"--pivot {two}" in refused("table", file, "--pivot", "--columns", "params,latency")
    said = refused("table", file, "--across", "theta", "--columns", "params,latency")
    assert said == f"upbench: --across theta {two}\n"
    assert "--across, whose rows are not cells" in refused("table", file, "--across", "theta", "--sort", "params")


def test_two_machines_stand_in_two_groups_and_are_not_compared(tmp_path: Path) -> None:
    records = record_builder.theta_sweep() + record_builder.theta_sweep(device="Other CPU", torch="2.9")
    text = shown(tmp_path, records, "--columns", "latency")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert "*Some CPU, 2 threads; torch 2.13, upbench 0.1.0*" in lines[2]
    assert "*Other CPU, 2 threads; torch 2.9, upbench 0.1.0*" in lines[8]
    assert sum("**10.0 ms**" in line for line in lines) == 2
    assert "times and ratios of two groups do not compare" in text
    assert text.count("Measured on") == 2
    for form in ("table", "latex", "html"):
        assert "Other CPU, 2 threads; torch 2.9, upbench 0.1.0" in shown(tmp_path, records, form=form)


def test_what_tells_rows_of_one_cell_apart_has_a_column(tmp_path: Path) -> None:
    records = record_builder.theta_sweep() + record_builder.theta_sweep(shape="8x4x4")
    found = [line for line in shown(tmp_path, records, "--columns", "params").splitlines() if line.startswith("| 11")]
    assert [line.split("|")[2].strip() for line in found] == ["256x120x120", "8x4x4"]
    loose = [record_builder.record("nearest", sweep=False), record_builder.record("bilinear", sweep=False)]
    assert list(rows(shown(tmp_path, loose)))[1:] == ["nearest", "bilinear"]


def test_the_footer_names_device_versions_convention_resolution_and_samples(tmp_path: Path) -> None:
    text = shown(tmp_path, record_builder.theta_sweep(), "--convention", "F0,P0")
    for part in (
        "Measured on Some CPU",
        "torch 2.13, upbench 0.1.0",
        "FLOPs (F0)",
        "Noise floor (A/A): 2.0 %",
        "40 samples",
    ):
        assert part in text
    assert rows(text)["theta"][6:8] == ["Params (P0)", "FLOPs (F0)"]
    noisy = record_builder.theta_sweep(noise_floor=0.5)
    assert "theta=5 is not told apart from theta=7; theta=9; theta=11; theta=13" in shown(tmp_path, noisy)


def test_torn_and_foreign_lines_are_warned_of_and_left_alone(tmp_path: Path) -> None:
    file = record_builder.file(tmp_path / "r.jsonl", record_builder.theta_sweep())
    before = file.read_text()
    file.write_text(before + '{"schema": 1, "la\n{"x": 1}\n')
    result = upbench("table", file)
    assert result.exit_code == 0
    assert "line 6" in result.stderr
    assert "line 7" in result.stderr
    assert file.read_text() == before + '{"schema": 1, "la\n{"x": 1}\n'
    file.write_text("torn\n")
    assert "no records in" in refused("table", file)


def test_the_last_record_of_a_cell_counts_also_across_files(tmp_path: Path) -> None:
    first = record_builder.file(tmp_path / "a.jsonl", record_builder.theta_sweep())
    second = record_builder.file(tmp_path / "b.jsonl", [record_builder.theta_sweep(params=77)[3]])
    text = upbench("table", first, second, "--format", "markdown", "--columns", "params").stdout
    assert rows(text)["11"] == ["**77**"]
    assert len(rows(text)) == 6


def test_a_cell_that_is_impossible_stands_once_with_each_machine(tmp_path: Path) -> None:
    """One of a run that was stopped before its first measurement joins another machine's."""

    def both(device: str, measured: bool = True) -> list[Record]:
        odd = record_builder.record(
            axes={"groups": 3}, cell=1, groups=3, status="impossible", error="no", device=device
        )
        return [record_builder.record(axes={"groups": 1}, groups=1, device=device), odd] if measured else [odd]

    records = [*both("One"), *both("Two"), *both("Three", measured=False)]
    text = shown(tmp_path, records, "--columns", "params")
    lines = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")][2:]
    assert [line if line in "13" else line.split(",")[0] for line in lines] == ["*One", "1", "3", "*Two", "1", "3"]


def test_published_values_of_dysample_stand_beside_its_sweep(tmp_path: Path) -> None:
    """The paper prints how offsets start and how far they reach, which here is what the upsampler is."""
    names = ("dysample", "dysample+", "dysample-s")
    cells = [
        record_builder.record(
            name, axes={"upsampler": name, "groups": g}, cell=n, groups=g, published="dysample/table3"
        )
        for n, (name, g) in enumerate((name, g) for name in names for g in (1, 4))
    ]
    text = shown(tmp_path, cells, "--columns", "AP", form="csv")
    found = [row["published_AP"] for row in csv.DictReader(io.StringIO(text))]
    assert found == ["38.3", "38.6", "38.4", "38.7", "", ""]
    card = registry.get("dysample")
    assert settings.translated({"scope_factor": 0.5}, card) is None
    assert settings.translated({"init": "nearest"}, card) is None


def test_a_published_metric_with_a_unit_can_be_named(tmp_path: Path) -> None:
    record = record_builder.record(
        "sapa-d", axes={"points": 9, "groups": 4}, points=9, groups=4, published="sapa/table13"
    )
    found = rows(shown(tmp_path, [record], "--columns", "latency (ms),AP"))
    assert [bare(head) for head in found["points"][1:]] == ["latency (ms) (published)", "AP (published)"]
    assert [bare(cell) for cell in found["9"][1:]] == ["25.6", "39.2"]


@pytest.mark.parametrize("factor", [0.7, 0.94, 0.96, 1.0, 1.04, 1.06, 1.5])
@pytest.mark.parametrize("noise_floor", [0.02, 0.1])
def test_the_short_way_to_tell_cells_apart_says_what_the_bootstrap_says(factor: float, noise_floor: float) -> None:
    one, other = (
        record_builder.record(latency_s=0.01 * f, cell=n, noise_floor=noise_floor) for n, f in enumerate((factor, 1.0))
    )
    assert one.latency
    assert other.latency
    ratio = effects.unpaired_ratio(one.latency.samples_s, other.latency.samples_s)
    said = stats.verdict(ratio, noise_floor) in (stats.Verdict.FASTER, stats.Verdict.SLOWER)
    assert result_set.told_apart(one, other) is said


def test_a_table_of_many_equal_cells_needs_no_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 ms for each of 10,000 cells are minutes."""

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(effects, "unpaired_ratio", never)
    cells = [record_builder.record(axes={"seed": n}, cell=n, latency_s=0.01 * (1 + n % 4 / 100)) for n in range(8)]
    assert "not told apart from all 7 cells" in notes.close_calls(ResultSet(cells, ["seed"]))[0]
