"""Published tables: what is printed is what is stored, and the tables agree with each other and with the closed forms."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from upbench import papers, registry
from upbench.cards import Macs
from upbench.errors import SpecError, UnknownName
from upbench.papers import Figure, Row, published

UNITS = {"K": 10**3, "M": 10**6, "G": 10**9}
TABLES = papers.names()


def rows(table: str) -> tuple[Row, ...]:
    return papers.table(table).rows


def find(table: str, **wanted: object) -> Row:
    found = [row for row in rows(table) if all(getattr(row, key) == value for key, value in wanted.items())]
    assert len(found) == 1, f"{len(found)} rows of {table} are {wanted}"
    return found[0]


def test_the_tables_of_the_papers_are_there_in_order() -> None:
    lda = [name for name in TABLES if name.startswith("lda-aqu/table")]
    assert lda == [f"lda-aqu/table{n}" for n in range(1, 9)]
    assert [name for name in TABLES if name.startswith("sapa/table")] == [f"sapa/table{n}" for n in range(1, 14)]
    assert {"dysample/fig8", "fade/readme", "sapa-neurips/readme"} <= set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_a_figure_is_what_is_printed(name: str) -> None:
    """delta or total is the printed number in its unit, and step one unit of its last place."""
    for row in rows(name):
        for default, figure in (("M", row.params), ("G", row.flops)):
            if figure is None:
                continue
            match = re.fullmatch(r"(\+?)(\d+(?:\.\d+)?)([KMG]?)", figure.printed)
            assert match, figure
            number, unit = Decimal(match[2]), UNITS[match[3] or default]
            assert figure.step == Decimal(1).scaleb(int(number.as_tuple().exponent)) * unit, row
            added, total = (number * unit, None) if match[1] else (0, number * unit)
            assert (figure.delta, figure.total) == (added, total), row


@pytest.mark.parametrize("name", TABLES)
def test_a_table_holds_together(name: str) -> None:
    table = papers.table(name)
    assert table.id == name
    assert table.paper == name.split("/")[0]
    printed = {metric for row in table.rows for metric in (*row.values, *row.formulas)}
    printed |= {key for key in ("params", "flops") if any(getattr(row, key) for row in table.rows)}
    assert set(table.metrics) == printed
    for row in table.rows:
        for metric, value in row.values.items():
            decimals = table.metrics[metric].decimals
            assert decimals is None or round(value, decimals) == value, f"{row.label}: {metric}"


def test_every_host_of_a_row_is_known_but_the_one_that_is_said_not_to_be() -> None:
    named = {row.host for name in TABLES for row in rows(name) if row.host is not None}
    assert named - {*papers.hosts(), *papers.aliases()} == {"bts-r50"}
    assert any("BTS is not among the hosts" in note for note in papers.table("sapa-neurips/readme").notes)


def test_rows_that_papers_share_are_the_same() -> None:
    """LDA-AQU copies the ResNet-50 rows of DySample's tables; where a row differs, ours says so."""
    same = ["nearest", "deconv", "pixelshuffle", "carafe", "indexnet", "a2u", "fade", "sapa-b", "dysample+"]
    for mine, theirs in (("lda-aqu/table1", "dysample/table6"), ("lda-aqu/table3", "dysample/table8")):
        for name in same:
            one = find(mine, upsampler=name, backbone="ResNet-50")
            other = find(theirs, upsampler=name, backbone="ResNet-50")
            assert one.values == other.values
            assert one.params == other.params
    for subtask in ("bbox", "segm"):
        for name in same:
            key = {"upsampler": name, "backbone": "ResNet-50", "subtask": subtask}
            assert find("lda-aqu/table2", **key).values == find("dysample/table7", **key).values


def test_what_the_text_of_lda_aqu_quotes_is_in_its_tables() -> None:
    ours = find("lda-aqu/table1", label="LDA-AQU")
    assert ours.values["AP"] - find("lda-aqu/table1", upsampler="nearest").values["AP"] == pytest.approx(1.7)
    small = find("lda-aqu/table1", label="LDA-AQU*")
    assert small.params == Figure(printed="+41.0K", delta=41000, step=100)
    assert small.values == find("lda-aqu/table8", label="reduction=16").values
    default = [
        find(table, label=label) for table, label in (("lda-aqu/table5", "theta=11"), ("lda-aqu/table7", "groups=2"))
    ]
    assert [row.values for row in default] == [ours.values] * 2
    best = find("lda-aqu/table4", upsampler="ldaaqu", backbone="ResNet-50").values["mIoU"]
    gaps = [best - find("lda-aqu/table4", upsampler=name).values["mIoU"] for name in ("bilinear", "carafe", "dysample")]
    assert gaps == pytest.approx([2.53, 1.31, 1.23])


def test_formulas_of_sapa_table_1_are_sums_of_their_steps() -> None:
    """But for SAPA-D, whose printed total is not, which its row says."""
    letters = {"C": 256, "d": 32, "K": 5, "S": 9, "g": 4}
    sums: dict[str, int] = {}
    for row in rows("sapa/table1"):
        value = eval(row.formulas["flops_per_lr_pixel"].expr, {"__builtins__": {}}, letters)
        total = sums.get(str(row.label), 0)
        if row.settings["step"] != "Total":
            sums[str(row.label)] = total + value
        elif row.upsampler != "sapa-d":
            assert value == total, row.label
        else:
            assert value - total == 2 * 9 * 32 * 4
            assert row.note is not None
            assert "38*S*d*g" in row.note


def counted(host: str, name: str, **params: object) -> tuple[int, Macs]:
    """Parameters and MACs of all stages by the closed forms."""
    card, total, macs = registry.get(name), 0, Macs()
    assert card.count_params is not None
    assert card.count_macs is not None
    for stage in papers.host(host).stages:
        guide = stage.guide_channels if card.guided else None
        setting = registry.setting_of(card, stage.channels, guide, stage.scale, params)
        setting = replace(setting, batch=stage.batch, height=stage.height, width=stage.width)
        one = card.count_macs(setting)
        total, macs = total + card.count_params(setting), Macs(macs.conv + one.conv, macs.gather + one.gather)
    return total, macs


def fits(value: float, figure: Figure | None) -> bool:
    """Whether a count rounds to a printed increment."""
    assert figure is not None
    assert figure.delta is not None
    assert figure.step is not None
    return abs(value - figure.delta) <= figure.step / 2


@pytest.mark.parametrize(
    ("host", "table", "name", "params"),
    [
        ("faster-rcnn-r50", "lda-aqu/table1", "deconv", {}),
        ("faster-rcnn-r50", "lda-aqu/table1", "pixelshuffle", {}),
        ("faster-rcnn-r50", "lda-aqu/table1", "carafe", {}),
        ("faster-rcnn-r50", "lda-aqu/table1", "indexnet", {}),
        ("faster-rcnn-r50/three-stage", "sapa-neurips/readme", "carafe", {}),
        ("faster-rcnn-r50/three-stage", "sapa-neurips/readme", "indexnet", {}),
        ("panoptic-fpn-r50", "lda-aqu/table3", "deconv", {}),
        ("panoptic-fpn-r50", "lda-aqu/table3", "pixelshuffle", {}),
        ("panoptic-fpn-r50", "lda-aqu/table3", "ldaaqu", {}),
        ("panoptic-fpn-r50", "sapa/table7", "sapa-d", {}),
        ("segformer-b1", "sapa/table3", "pixelshuffle", {}),
        ("segformer-b1", "fade/readme", "carafe", {}),
        ("upernet-r50", "sapa/table4", "deconv", {}),
        ("upernet-r50", "sapa/table4", "pixelshuffle", {}),
        ("upernet-r50", "sapa/table4", "indexnet", {}),
        ("depthformer-swint", "dysample/table9", "deconv", {}),
        ("depthformer-swint", "dysample/table9", "indexnet", {}),
        ("depthformer-swint", "sapa/table9", "sapa-d", {}),
        ("a2u-matting", "fade/readme", "carafe", {}),
        ("a2u-matting", "fade/readme", "fade", {}),
        ("maskformer-swinb", "sapa-neurips/readme", "carafe", {}),
        ("mask2former-swinb", "sapa-neurips/readme", "carafe", {}),
    ],
)
def test_the_stages_of_a_host_give_the_printed_parameters(
    host: str, table: str, name: str, params: dict[str, object]
) -> None:
    row = find(table, upsampler=name, host=host.split("/")[0], **({} if name != "fade" else {"label": "FADE"}))
    assert fits(counted(host, name, **params)[0], row.params)


@pytest.mark.parametrize(
    ("host", "table", "name", "parts"),
    [
        ("faster-rcnn-r50", "lda-aqu/table1", "pixelshuffle", "conv"),
        ("faster-rcnn-r50", "lda-aqu/table1", "carafe", "conv"),
        ("faster-rcnn-r50/guided-1280x832", "lda-aqu/table1", "indexnet", "conv"),
        ("faster-rcnn-r50/guided-1280x832", "lda-aqu/table1", "fade", "conv"),
        ("segformer-b1", "fade/readme", "carafe", "both"),
        ("segformer-b1", "fade/readme", "indexnet", "both"),
        ("segformer-b1", "fade/readme", "a2u", "both"),
        ("a2u-matting", "fade/readme", "carafe", "both"),
        ("a2u-matting", "fade/readme", "a2u", "both"),
        ("a2u-matting", "fade/readme", "fade", "both"),
        ("maskformer-swinb", "sapa-neurips/readme", "carafe", "both"),
        ("maskformer-swinb", "sapa-neurips/readme", "sapa-b", "both"),
    ],
)
def test_the_stages_of_a_host_give_the_printed_flops(host: str, table: str, name: str, parts: str) -> None:
    """parts: convolutions alone, or those and the gathers."""
    row = find(table, upsampler=name, host=host.split("/")[0])
    _, macs = counted(host, name)
    other = {"conv": "both", "both": "conv"}
    sums = {"conv": macs.conv, "both": macs.conv + macs.gather}
    assert fits(sums[parts], row.flops)
    if macs.gather > 2 * (row.flops.step if row.flops and row.flops.step else 0):
        assert not fits(sums[other[parts]], row.flops)


def test_depthformer_channels_solve_the_printed_increments() -> None:
    stages = papers.host("depthformer-swint").stages
    assert sum(stage.channels for stage in stages) == 1440
    assert sum(stage.channels**2 for stage in stages) == 783_360
    assert sum(stage.guide_channels**2 for stage in stages) == 197_632


def test_a_miss_names_the_nearest_table() -> None:
    with pytest.raises(UnknownName, match="did you mean 'lda-aqu/table5'"):
        papers.table("lda-aqu/tabel5")


def test_a_table_of_ones_own_is_read_and_judged(tmp_path: Path) -> None:
    with_data = yaml.safe_load((Path(published.__file__).parent / "published/lda-aqu/table1.yaml").read_text())
    file = tmp_path / "copy.yaml"
    with_data["rows"][1]["params"] |= {"delta": 9_900_000, "printed": "+9.9M"}
    file.write_text(yaml.safe_dump(with_data))
    figure = papers.read_table(file).rows[1].params
    assert figure is not None
    assert figure.delta == 9_900_000
    with_data["rows"][1]["params"]["delta"] = "2.4M"
    with_data["rows"][2]["upsampler"] = "caraffe"
    with_data["rows"][3]["uncertain"] = True
    with_data["rowz"] = []
    file.write_text(yaml.safe_dump(with_data))
    with pytest.raises(SpecError) as caught:
        papers.read_table(file)
    text = str(caught.value)
    assert len(caught.value.mistakes) == 4
    line = file.read_text()[: file.read_text().index("delta: 2.4M")].count("\n") + 1
    assert f"{file}, line {line}: rows[1].params.delta is 2.4M, but must be" in text
    assert "rows[2]: upsampler 'caraffe' is not known; did you mean 'carafe'?" in text
    assert "rows[3]: an uncertain row says why" in text
    assert "rowz: unknown key" in text
    assert "did you mean 'rows'?" in text


def test_a_value_needs_its_metric_and_a_section_its_row(tmp_path: Path) -> None:
    data = yaml.safe_load((Path(published.__file__).parent / "published/fade/readme.yaml").read_text())
    file = tmp_path / "copy.yaml"
    data["rows"][0]["values"]["IoU"] = 1.0
    file.write_text(yaml.safe_dump(data))
    with pytest.raises(SpecError, match=r"rows\[0\]: IoU is not among the metrics"):
        papers.read_table(file)
    del data["rows"][0]["values"]["IoU"], data["rows"][0]["section"]
    file.write_text(yaml.safe_dump(data))
    with pytest.raises(SpecError, match=r"rows\[0\]\.section: is missing"):
        papers.read_table(file)


def test_reading_every_table_and_host_needs_no_torch() -> None:
    code = (
        "import sys\nfrom upbench import papers\n"
        "assert papers.published._named.cache_info().currsize == 0\n"
        "print(len([papers.table(n) for n in papers.names()]), len(papers.hosts()), 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(TABLES)), str(len(papers.hosts())), "False"]


@pytest.mark.parametrize(
    ("figure", "sentence"),
    [
        ({"printed": "+9.6G", "delta": 1_600_000_000, "step": 100_000_000}, "are not those of the printed +9.6G"),
        ({"printed": "+41.0K", "delta": 41_000, "step": 1000}, "are not those of the printed +41.0K"),
        ({"printed": "46.8M", "total": 45_800_000, "delta": 0, "step": 100_000}, "total 45800000"),
        ({"printed": "+2.65", "delta": 26_500, "step": 100}, "are not those of the printed +2.65"),
        ({"printed": "about 3", "delta": 3, "step": 1}, "is not a number as"),
    ],
)
def test_a_figure_is_what_it_prints(figure: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Figure(**figure)


def test_a_table_has_its_siblings_and_a_paper_names_its_tables() -> None:
    names = [other.id for other in papers.published.siblings(papers.table("lda-aqu/table1"))]
    assert "lda-aqu/table3" in names
    assert "lda-aqu/table1" not in names
    assert all(name.startswith("lda-aqu/") for name in names)
    with pytest.raises(UnknownName, match=r"'sapa' is a paper, not a table; its tables: .*sapa/table13"):
        papers.table("sapa")
