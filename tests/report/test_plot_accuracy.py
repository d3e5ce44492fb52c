"""Pictures of given and published accuracy, crowded ones, and styles."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import refused, upbench
from tests.report.test_plot import artists, boxes, drawn, record, saved, sizes, theta, whole, zoo
from upbench.records.accuracy import Accuracy
from upbench.records.record import Record
from upbench.report.plots import picture, request, style
from upbench.report.plots.page import Page, settings
from upbench.report.plots.request import Kind, PlotOptions
from upbench.report.tables.result_set import ResultSet

MANY = (
    *("nearest", "bilinear", "bicubic", "deconv", "pixelshuffle", "carafe", "indexnet", "a2u", "fade", "fade-lite"),
    *("sapa-i", "sapa-b", "sapa-d", "dysample", "dysample+", "dysample-s", "dysample-s+", "laaqu", "ldaaqu", "resfu"),
)


def given(one: Record, **values: float) -> Record:
    return one.model_copy(
        update={"accuracy": {n: Accuracy(value=v, unit="percent", sd=0.2, runs=3) for n, v in values.items()}}
    )


def crowd() -> list[Record]:
    """Twenty upsamplers, all with an accuracy."""
    return [
        given(record(name, 0.001 * 1.2**n, {"upsampler": name}, n, flops=10**8 * (n + 1)), AP=37 + (7 * n % 20) / 8)
        for n, name in enumerate(MANY)
    ]


def seven() -> list[Record]:
    """Twenty upsamplers at seven sizes."""
    return [
        record(name, 1e-8 * (4 * s * s) * (k + 2), {"upsampler": name, "shape": f"64x{s}x{s}"}, k, shape=f"64x{s}x{s}")
        for k, name in enumerate(MANY)
        for s in (8, 16, 24, 32, 48, 64, 96)
    ]


def notes_share(page: Page) -> float:
    """The part of the page's height that the small print takes."""
    small = [t for t in page.figure.texts if t.get_fontsize() == style.SMALL_PT and t.get_text()]
    height = sum(t.get_window_extent(page.canvas.get_renderer()).height for t in small)
    return float(height / page.figure.dpi / page.figure.get_figheight())


def test_the_own_method_has_a_mark_of_its_own_among_published_ones() -> None:
    cells = [*zoo(), given(record("bicubic", 0.004, {"upsampler": "bicubic"}, 20, flops=10**7), AP=39.0)]
    for kind in (Kind.bubble, Kind.pareto):
        page = drawn(cells, kind=kind).page
        (mark,) = artists(page, "own")
        assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (0.004, 39.0)
        assert page.axes.get_ylabel() == "AP (%)"
        text = " ".join(t.get_text() for t in page.figure.texts).replace("\n", " ")
        assert "AP, not measured here: published (lda-aqu Table 1); given" in text
        whole(page)


def test_given_accuracy_alone_is_drawn_with_its_deviation_and_no_mark() -> None:
    found = drawn([given(one, AP=38.0 + n / 10) for n, one in enumerate(theta())], kind=Kind.pareto, x="macs")
    assert found.page.axes.get_ylabel() == "AP, given (%)"
    assert artists(found.page, "own") == []
    text = " ".join(t.get_text() for t in found.page.figure.texts).replace("\n", " ")
    assert "AP: bars are one standard deviation over 3 runs." in text
    assert any("on the front" in sentence for sentence in found.messages)
    page = drawn([given(one, AP=38.0 + n / 10) for n, one in enumerate(theta())], metric="AP").page
    (bars,) = artists(page, "interval")
    assert list(bars.get_segments()[0][:, 1]) == pytest.approx([37.8, 38.2])


def test_a_comparison_of_several_upsamplers_with_accuracy_is_drawn_as_bubbles() -> None:
    cells = [one.model_copy(update={"axes": {}, "sweep": None}) for one in crowd()[:5]]
    assert request.plan(ResultSet.of(cells), PlotOptions()).kind is Kind.bubble


@pytest.mark.parametrize("style_name", style.STYLES)
@pytest.mark.parametrize(("cells", "kind"), [(crowd, "bubble"), (crowd, "pareto"), (seven, "resolution"), (seven, "axis"), (theta, "axis"), (sizes, "resolution")])  # fmt: skip
def test_notes_take_their_part_of_the_height_at_most_and_the_rest_is_said(
    cells: Any, kind: str, style_name: str
) -> None:
    with settings(style_name):
        found = picture.draw(request.plan(ResultSet.of(cells()), PlotOptions(kind=Kind(kind), style=style_name)))
        assert notes_share(found.page) <= style.STYLES[style_name].notes
        whole(found.page)
    for sentence in found.page.unprinted:
        assert any(sentence in said for said in found.messages)


def test_twenty_upsamplers_in_a_column_have_names_that_do_not_touch() -> None:
    for kind in (Kind.bubble, Kind.pareto):
        page = drawn(crowd(), kind=kind).page
        labels = boxes(page, "label")
        assert len(labels) >= 18
        assert not any(one.overlaps(other, -1.5) for n, one in enumerate(labels) for other in labels[n + 1 :])


def test_seven_sizes_have_ticks_that_do_not_touch_and_a_page_that_is_no_scroll() -> None:
    page = drawn(seven(), kind=Kind.resolution).page
    renderer = page.canvas.get_renderer()
    ticks = [t.get_window_extent(renderer) for t in page.axes.get_xticklabels() if t.get_text()]
    assert len(ticks) >= 4
    assert all(a.x1 < b.x0 for a, b in pairwise(ticks))
    assert artists(page, "crossover") == []
    for kind in (Kind.resolution, Kind.axis):
        width, height = drawn(seven(), kind=kind).page.figure.get_size_inches()
        assert height <= 2 * width


def test_the_style_is_chosen_on_the_command_line(tmp_path: Path) -> None:
    file = saved(tmp_path, theta())
    for name, width in (("paper", 3.5 * 300), ("slides", 5 * 400)):
        path = tmp_path / f"{name}.png"
        assert upbench("plot", file, "-o", path, "--style", name).exit_code == 0
        assert int.from_bytes(path.read_bytes()[16:20], "big") == width
    assert "--style poster: is not one of paper, slides" in refused(
        "plot", file, "-o", tmp_path / "a.png", "--style", "poster"
    )
