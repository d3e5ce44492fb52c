"""Pictures as they are asked for: what is drawn, what is said, what is refused."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.command_line import upbench
from upbench import papers
from upbench.records import store
from upbench.records.record import Record, SweepInfo
from upbench.report.plots import growth, picture, request, series, style
from upbench.report.plots.labels import Anchor, Box, crosses, place_labels
from upbench.report.plots.page import Page, settings
from upbench.report.plots.pareto import Cell, front
from upbench.report.plots.quantities import Point, measured
from upbench.report.plots.request import Kind, PlotOptions
from upbench.report.tables.result_set import ResultSet
from upbench.specs import run_spec as spec

NAMES = ("nearest", "deconv", "pixelshuffle", "carafe", "indexnet", "a2u", "fade", "sapa-b", "dysample+", "ldaaqu")


def record(upsampler: str, seconds: float, axes: dict[str, Any], n: int = 0, status: str = "ok", **more: Any) -> Record:
    """A record as a sweep writes it, with samples 2 % around a latency."""
    shape, params = more.pop("shape", "64x32x32"), more.pop("params", {})
    full = spec.load({"upsampler": upsampler, "params": params, "input": {"shape": shape}}, "test")
    flops = more.pop("flops", 1_000_000)
    ok = status == "ok"
    latency = {
        "mode": "inference", "clock": "perf_counter", "first_call_s": 1.0, "warmup_calls": 1, "stable": True,
        "calls_per_sample": 1, "samples_per_round": 2, "stopped": "precise", "discarded_rounds": 0,
        "samples_s": [seconds * (1 + 0.02 * (k % 5 - 2)) for k in range(20)],
    }  # fmt: skip
    memory = {
        "method": "exact", "input_bytes": 1, "weight_bytes": 1, "output_bytes": 1, "workspace_bytes": 1,
        "forward_peak_bytes": 2**20 * (n + 1), "training_peak_bytes": 2**22, "saved_bytes": 2**20,
    }  # fmt: skip
    environment = {"device": "Test CPU", "device_type": "cpu", "threads": 1, "torch": "2.9", "upbench": "0.1.0"}
    return Record.model_validate(
        {
            "label": full.label,
            "spec": full.to_dict(),
            "axes": axes,
            "status": status,
            "started": "2026-01-01T00:00:00Z",
            "error": None if ok else "it failed",
            "environment": environment,
            "latency": latency if ok else None,
            "memory": memory if ok else None,
            "params": 1000 if ok else None,
            "breakdown": {"conv": flops, "weights": 1000} if ok else None,
            "sweep": SweepInfo(name="test", title="A test", published=more.pop("published", None), cell=n).model_dump(),
        }
    )


def theta(**changes: Any) -> list[Record]:
    return [
        record("ldaaqu", 0.010 + t / 1000, {"theta": t}, n, params={"theta": t}, **changes)
        for n, t in enumerate((5, 7, 9, 11))
    ]


def zoo(published: str | None = "lda-aqu/table1") -> list[Record]:
    flops = [0, *(10**6 * 2**k for k in range(len(NAMES) - 1))]
    return [
        record(name, 0.001 * 1.6**n, {"upsampler": name}, n, flops=flops[n], published=published)
        for n, name in enumerate(NAMES)
    ]


def sizes() -> list[Record]:
    """carafe costs 1e-7 * pixels, deconv 3.2e-6 * pixels ** 0.5: equal at 1024 pixels."""
    cells = [(name, side) for name in ("carafe", "deconv") for side in (8, 16, 32)]
    return [
        record(
            name,
            1e-7 * (4 * side**2) if name == "carafe" else 3.2e-6 * (4 * side**2) ** 0.5,
            {"upsampler": name, "shape": f"64x{side}x{side}"},
            n,
            shape=f"64x{side}x{side}",
        )
        for n, (name, side) in enumerate(cells)
    ]


def saved(folder: Path, records: list[Record]) -> Path:
    file = folder / "r.jsonl"
    for one in records:
        store.append(file, one)
    return file


def drawn(records: list[Record], **asked: Any) -> picture.Picture:
    with settings():
        return picture.draw(request.plan(ResultSet.of(records), PlotOptions(**asked)))


def refused(*arguments: object) -> str:
    result = upbench("plot", *arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr


def artists(page: Page, gid: str) -> list[Any]:
    return page.axes.findobj(lambda a: a.get_gid() == gid)


def boxes(page: Page, gid: str) -> list[Box]:
    renderer = page.canvas.get_renderer()
    found = [a.get_window_extent(renderer) for a in artists(page, gid)]
    return [Box(b.x0, b.y0, b.x1, b.y1) for b in found]


def whole(page: Page) -> None:
    """Nothing is cut off, and no letters are smaller than 8 points but the small print's."""
    from matplotlib.text import Text

    box = page.figure.get_tightbbox(page.canvas.get_renderer())
    width, height = page.figure.get_size_inches()
    assert box.x0 >= -0.01
    assert box.y0 >= -0.01
    assert box.x1 <= width + 0.01
    assert box.y1 <= height + 0.01
    sizes_pt = {t.get_fontsize() for t in page.figure.findobj(Text) if t.get_text() and t.get_visible()}
    assert sizes_pt <= {style.LETTERS_PT, style.SMALL_PT}


def test_axis_draws_the_medians_and_their_intervals() -> None:
    page = drawn(theta()).page
    (line,) = [one for one in page.axes.lines if len(one.get_xdata()) == 4]
    assert list(line.get_xdata()) == [5, 7, 9, 11]
    assert list(line.get_ydata()) == pytest.approx([0.015, 0.017, 0.019, 0.021])
    (bars,) = artists(page, "interval")
    low, high = bars.get_segments()[0][:, 1]
    assert 0.0147 <= low < 0.015 < high <= 0.0153
    assert page.axes.get_ylim()[0] == 0
    assert page.axes.get_ylabel() == "Latency (ms)"
    assert page.axes.get_xlabel() == "theta"
    whole(page)


def test_the_range_of_the_data_on_request_and_said() -> None:
    page = drawn(theta(), zoom=True).page
    assert page.axes.get_ylim()[0] > 0.01
    assert "not from 0" in page.axes.get_ylabel()


def test_a_line_for_each_value_of_a_second_axis_distinct_without_colour() -> None:
    cells = [
        record("ldaaqu", 0.01 + g / 500 + t / 1000, {"theta": t, "groups": g}, 10 * g + t)
        for t in (5, 9)
        for g in (1, 2, 4)
    ]
    page = drawn(cells, axis="theta").page
    lines = [one for one in page.axes.lines if len(one.get_xdata()) == 2]
    assert [one.get_label() for one in lines] == ["groups=1", "groups=2", "groups=4"]
    assert len({(one.get_marker(), one.get_linestyle()) for one in lines}) == 3
    whole(page)


def test_an_axis_of_names_has_a_row_for_each() -> None:
    page = drawn(zoo(None), kind=Kind.axis).page
    assert [t.get_text() for t in page.axes.get_yticklabels()] == list(NAMES)
    (line,) = [one for one in page.axes.lines if len(one.get_xdata()) == len(NAMES)]
    assert list(line.get_xdata()) == pytest.approx([0.001 * 1.6**n for n in range(len(NAMES))])
    assert page.axes.get_xscale() == "log"
    whole(page)


def test_bytes_have_round_ticks_in_mebibytes() -> None:
    page = drawn(theta(), metric="peak-memory").page
    ticks = [t / 2**20 for t in page.axes.get_yticks()]
    assert ticks == [pytest.approx(round(2 * t) / 2) for t in ticks]
    assert page.axes.get_ylabel() == "Peak memory, forward (MiB)"


def test_bubbles_stand_at_published_accuracy_with_area_by_flops() -> None:
    page = drawn(zoo()).page
    found = {
        (round(x, 6), y): s
        for b in artists(page, "bubble")
        for (x, y), s in zip(b.get_offsets(), b.get_sizes(), strict=True)
    }
    table = {
        row.upsampler: row.values["AP"]
        for row in papers.table("lda-aqu/table1").rows
        if row.settings.get("reduction") != 16 and row.host == "faster-rcnn-r50"
    }
    assert set(found) == {(round(0.001 * 1.6**n, 6), table[name]) for n, name in enumerate(NAMES)}
    areas = [found[round(0.001 * 1.6**n, 6), table[name]] for n, name in enumerate(NAMES)]
    assert areas[0] == 0
    assert [b / a for a, b in pairwise(areas[1:])] == pytest.approx([2] * (len(NAMES) - 2))
    whole(page)


@pytest.mark.parametrize("kind", [Kind.bubble, Kind.pareto])
@pytest.mark.parametrize("width", [3.5, 7.0])
def test_labels_cover_neither_each_other_nor_a_point(kind: Kind, width: float) -> None:
    page = drawn(zoo(), kind=kind, width_in=width).page
    labels = boxes(page, "label")
    assert sorted(t.get_text() for t in artists(page, "label")) == sorted(NAMES)
    for n, one in enumerate(labels):
        assert not any(one.overlaps(other) for other in labels[n + 1 :])
    frame = page.axes.get_window_extent()
    assert all(one.inside(Box(frame.x0, frame.y0, frame.x1, frame.y1)) for one in labels)
    dots = [b for gid in ("dot", "front", "dominated") for b in boxes(page, gid)]
    assert len(dots) == len(NAMES)
    centres = [((d.x0 + d.x1) / 2, (d.y0 + d.y1) / 2) for d in dots]
    assert not any(b.x0 < x < b.x1 and b.y0 < y < b.y1 for b in labels for x, y in centres)


def test_what_has_no_published_row_is_named_with_the_reason() -> None:
    cells = [*zoo(), record("bicubic", 0.004, {"upsampler": "bicubic"}, 20, published="lda-aqu/table1")]
    cells[-2] = record("ldaaqu", 0.1, {"upsampler": "ldaaqu"}, 9, params={"theta": 5}, published="lda-aqu/table1")
    said = " ".join(drawn(cells).messages)
    assert "Not in the table: bicubic" in said
    assert "theta=11, here 5" in said
    assert "ldaaqu (theta=5)" in said


def test_an_uncertain_row_is_marked() -> None:
    table = next(papers.table(n) for n in papers.names() if any(r.uncertain for r in papers.table(n).rows))
    row = next(r for r in table.rows if r.uncertain)
    from upbench.report.plots import accuracy

    found = accuracy.match([record(row.upsampler, 0.01, {})], table.model_copy(update={"rows": (row,)}))
    if not found.matches:  # its settings are not the defaults: laid beside what it says
        plain = row.model_copy(update={"settings": {}})
        found = accuracy.match([record(row.upsampler, 0.01, {})], table.model_copy(update={"rows": (plain,)}))
    assert found.matches[0].remark == row.why


def test_the_front_is_what_nobody_beats_in_both() -> None:
    known = measured()
    better = known["efficiency"]

    def cell(name: str, x: float, y: float) -> Cell:
        return Cell(name, Point(x, x, x), Point(y, y, y))

    cells = [cell("a", 1, 1), cell("b", 2, 3), cell("c", 3, 2), cell("d", 4, 4), cell("e", 4, 4), cell("f", 1, 0.5)]
    assert [cells[n].name for n in front(cells, known["latency"], better)] == ["a", "b", "d", "e"]
    assert [cells[n].name for n in front(cells, known["latency"], known["peak-memory"])] == ["f"]


def test_the_front_is_drawn_through_its_points() -> None:
    page = drawn(zoo(), kind=Kind.pareto).page
    on = {one.get_xdata()[0] for one in artists(page, "front")}
    off = {one.get_xdata()[0] for one in artists(page, "dominated")}
    (line,) = artists(page, "front-line")
    assert set(line.get_xdata()) == on
    assert len(on) + len(off) == len(NAMES)
    heights = list(line.get_ydata())
    assert heights == sorted(heights)


def test_resolution_finds_exponents_and_where_they_cross() -> None:
    found = drawn(sizes())
    names = [t.get_text() for legend in found.page.figure.legends for t in legend.get_texts()]
    assert "carafe: 1.00 [1.00, 1.00]" in names
    assert "deconv: 0.50 [0.50, 0.50]" in names
    (mark,) = artists(found.page, "crossover")
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (pytest.approx(1024), pytest.approx(1024e-7))
    laws, crossings = found.tables
    assert crossings.raw_rows[0][:4] == ["carafe", "deconv", pytest.approx(1024), True]
    assert laws.raw_rows[0][1] == pytest.approx(1.0)
    assert (found.page.axes.get_xscale(), found.page.axes.get_yscale()) == ("log", "log")
    whole(found.page)


def test_the_order_that_was_measured_is_told_from_the_fits() -> None:
    lines, _ = series.by_size(ResultSet.of(sizes()), measured()["latency"])
    (crossed,) = growth.crossovers(growth.fit(lines))
    assert (crossed.below, crossed.above) == ("carafe", "deconv")
    assert crossed.measured == (256, 1024)  # at 1024 both are equal: carafe is no longer the faster one


def test_failed_cells_are_named_on_the_figure_and_on_stderr(tmp_path: Path) -> None:
    cells = [*theta(), record("ldaaqu", 1, {"theta": 13}, 9, "oom", params={"theta": 13})]
    found = drawn(cells)
    small = [t.get_text() for t in found.page.figure.texts]
    assert any("Failed, not drawn: theta=13 (oom)" in text for text in small)
    result = upbench("plot", saved(tmp_path, cells), "-o", tmp_path / "a.png")
    assert result.exit_code == 0, result.output
    assert "theta=13 (oom)" in result.stderr


def test_the_small_print_says_where_how_and_what_is_published() -> None:
    text = " ".join(t.get_text() for t in drawn(zoo(), width_in=7).page.figure.texts).replace("\n", " ")
    for part in ("Test CPU", "torch 2.9", "upbench 0.1.0", "One multiply-accumulate", "published, not measured"):
        assert part in text


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG\r\n"), ("svg", b"<?xml"), ("pdf", b"%PDF-")])
def test_every_format_the_same_every_time(suffix: str, start: bytes, tmp_path: Path) -> None:
    file = saved(tmp_path, zoo())
    outputs = [tmp_path / f"{n}.{suffix}" for n in range(2)]
    for output in outputs:
        result = upbench("plot", file, "-o", output)
        assert result.exit_code == 0, result.output
    first, second = (output.read_bytes() for output in outputs)
    assert first.startswith(start)
    assert first == second
    if suffix == "svg":
        assert b">dysample+</text>" in first  # letters, not outlines
        assert b"<dc:date>" not in first
    if suffix == "pdf":
        assert b"/FontFile2" in first  # TrueType, embedded
        assert b"/CreationDate" not in first


def test_a_picture_is_made_without_torch(tmp_path: Path) -> None:
    file = saved(tmp_path, zoo())
    code = (
        "import sys\nfrom upbench.cli.app import app\n"
        "try:\n    app(sys.argv[1:])\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert 'matplotlib.figure' in sys.modules\n"
        "assert 'torch' not in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    arguments = [sys.executable, "-c", code, "plot", str(file), "-o", str(tmp_path / "a.svg")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_matplotlib_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    message = refused(saved(tmp_path, theta()), "-o", tmp_path / "a.png")
    assert "in the clone of upbench run: pip install -c constraints.txt -e '.[plot]'" in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--metric", "latancy"], "did you mean 'latency'?"),
        (["--axis", "thta"], "Known: theta"),
        (["--kind", "pie"], "is not one of axis, bubble, pareto, resolution"),
        (["--kind", "pareto", "--y", "AQ"], "unknown quantity for --y"),
        (["--kind", "bubble"], "needs published accuracy"),
        (["--published", "lda-aqu/table55"], "did you mean 'lda-aqu/table5'?"),
        (["--published", "lda-aqu/table1", "--host", "nowhere"], "faster-rcnn-r50"),
        (["--host", "nowhere"], "name the table with --published"),
        (["--metric", "efficiency"], "no cell has efficiency"),
        (["--kind", "axis", "--x", "params"], "--x: not of --kind axis"),
        (["--width", "1"], "not between 2.5 and 20 inches"),
        (["--convention", "F9"], "unknown convention"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments: list[str], part: str, tmp_path: Path) -> None:
    output = tmp_path / "a.png"
    assert part in refused(saved(tmp_path, theta()), "-o", output, *arguments)
    assert not output.exists()


def test_all_mistakes_together(tmp_path: Path) -> None:
    message = refused(tmp_path / "none.jsonl", "-o", tmp_path / "a.bmp", "--kind", "pie")
    assert "a picture ends in .png, .svg, .pdf" in message
    assert "none.jsonl does not exist" in message
    assert "--kind pie" in message
    both = refused(saved(tmp_path, theta()), "-o", tmp_path / "a.png", "--metric", "time", "--axis", "x")
    assert "--metric" in both
    assert "--axis" in both


def test_a_file_without_measured_cells_is_refused(tmp_path: Path) -> None:
    cells = [record("ldaaqu", 1, {"theta": 5}, 0, "timeout")]
    assert "theta=5 (timeout)" in refused(saved(tmp_path, cells), "-o", tmp_path / "a.png")


def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    assert "is a folder" in refused(saved(tmp_path, theta()), "-o", tmp_path / "a.png")


def test_a_torn_line_is_named_and_the_rest_drawn(tmp_path: Path) -> None:
    file = saved(tmp_path, theta())
    with file.open("a") as out:
        out.write('{"schema": 1, "la')
    result = upbench("plot", file, "-o", tmp_path / "a.png")
    assert result.exit_code == 0
    assert "line 5," in result.stderr


def test_labels_are_placed_the_same_every_time_and_apart() -> None:
    random = np.random.default_rng(1)
    anchors = [Anchor(x, y, 40, 8, 3) for x, y in random.uniform(20, 280, (25, 2))]
    area = Box(0, 0, 300, 300)
    stroke = ((0.0, 150.0), (300.0, 150.0))
    places = [p for p in place_labels(anchors, area, [stroke]) if p]
    assert places == [p for p in place_labels(anchors, area, [stroke]) if p]
    assert len(places) == 25
    for n, one in enumerate(places):
        assert one.box.inside(area)
        assert not crosses(stroke, one.box)
        assert not any(one.box.overlaps(other.box) for other in places[n + 1 :])
        assert not any(one.box.overlaps(Box(a.x - 3, a.y - 3, a.x + 3, a.y + 3)) for a in anchors)


def test_a_label_without_room_has_no_place() -> None:
    assert place_labels([Anchor(5, 5, 40, 8, 1)], Box(0, 0, 30, 30)) == [None]


def test_lines_differ_in_grey_print() -> None:
    looks = [style.look(n) for n in range(28)]
    assert len({(look.marker, look.filled) for look in looks}) == 28

    def contrast(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 1.05 / (math.fsum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True)) + 0.05)

    assert all(contrast(colour) > 2 for colour in style.COLOURS)


def test_cells_of_one_upsampler_are_named_by_what_varies() -> None:
    page = drawn(theta(), kind=Kind.pareto).page
    assert sorted(t.get_text() for t in artists(page, "label")) == sorted(f"theta={t}" for t in (5, 7, 9, 11))


def test_without_flops_no_circle_has_an_area() -> None:
    cells = [one.model_copy(update={"breakdown": type(one.breakdown)()}) for one in zoo()]
    page = drawn(cells, kind=Kind.bubble).page
    assert {s for b in artists(page, "bubble") for s in b.get_sizes()} == {0}
    assert artists(page, "size") == []


def test_names_lie_on_no_circle_where_there_is_another_place() -> None:
    """SAPA's Table 13 in a column, whose long names leave the last choice no good place as they come."""
    milliseconds = {(9, 1): 1.24, (9, 2): 1.86, (2, 4): 2.31, (4, 4): 3.43, (9, 4): 6.27, (9, 8): 8.84, (16, 4): 10.1,
                    (25, 4): 14.6}  # fmt: skip
    cells = [
        record("sapa-d", ms / 1000, {"points": p, "groups": g}, n, params={"points": p, "groups": g},
               flops=10**6 * (g * p + 4), published="sapa/table13")
        for n, ((p, g), ms) in enumerate(milliseconds.items())
    ]  # fmt: skip
    page = drawn(cells, kind=Kind.bubble).page
    labels = boxes(page, "label")
    assert len(labels) == 8
    for circle in artists(page, "bubble"):
        (x, y), radius = page.axes.transData.transform(circle.get_offsets()[0]), math.sqrt(circle.get_sizes()[0]) / 2
        radius *= page.figure.dpi / 72
        near = [math.hypot(min(max(x, b.x0), b.x1) - x, min(max(y, b.y0), b.y1) - y) for b in labels]
        assert min(near) > 0.9 * radius


def test_names_with_commas_are_told_apart_and_many_are_counted() -> None:
    cells = [
        record("sapa-d", 0.01 * p * g, {"points": p, "groups": g}, 4 * p + g, params={"points": p, "groups": g},
               published="sapa/table13")
        for p in (2, 4, 9, 16, 25) for g in (1, 2, 4, 8)
    ]  # fmt: skip
    lost = [record("sapa-d", 1, {"points": p, "groups": 3}, p, "impossible") for p in range(12)]
    found = drawn([*cells, *lost], kind=Kind.pareto)
    said = "\n".join(found.messages)
    assert "on the front: points=2, groups=4; points=4, groups=4; points=16, groups=4" in said
    assert "sapa-d (points=2, groups=1)" in said
    assert "points=11, groups=3 (impossible)" in said
    small = " ".join(t.get_text() for t in found.page.figure.texts).replace("\n", " ")
    assert "without published accuracy: 12 of 20 cells." in small
    assert "points=4, groups=3 (impossible) and 7 others." in small
    whole(found.page)


def test_the_name_of_a_line_stands_clear_of_its_last_point() -> None:
    cells = [
        record("sapa-d", 0.01 * p * g, {"points": p, "groups": g}, 4 * p + g, params={"points": p, "groups": g})
        for p in (2, 9) for g in (1, 2, 4, 8)
    ]  # fmt: skip
    page = drawn(cells, axis="points").page
    assert len(artists(page, "label")) == 4
    renderer = page.canvas.get_renderer()
    clear = (style.SETTINGS["lines.markersize"] / 2 + 2) * page.figure.dpi / 72
    for text in artists(page, "label"):
        (line,) = (one for one in page.axes.get_lines() if one.get_label() == text.get_text())
        end = line.get_transform().transform(line.get_xydata()[-1])[0]
        assert text.get_window_extent(renderer).x0 >= end + clear


def test_without_crossings_there_is_no_table_of_them() -> None:
    cells = [c for c in sizes() if c.axes["upsampler"] == "carafe"]
    found = drawn(cells, kind=Kind.resolution)
    assert len(found.tables) == 1
    assert growth.NO_CROSSING in found.messages
