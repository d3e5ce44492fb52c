"""The page of `upbench report`: what it holds, what it refuses, and what it does in a real browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import record_builder
from tests.command_line import refused, upbench

EVIL = "</script><script>window.hacked = 1</script><img src=https://example.invalid/x onerror='window.hacked = 2'>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two sweeps, one of them with names that are markup."""
    pytest.importorskip("plotly", reason="needs plotly, the extra report")
    made = tmp_path_factory.mktemp("report")
    failed = record_builder.record(axes={"theta": 15}, theta=15, cell=9, status="oom", error=EVIL)
    times = {"theta=5": 0.010, "theta=7": 0.020}
    record_builder.file(made / "theta.jsonl", [*record_builder.theta_sweep(), failed])
    odd = [
        record_builder.record("dysample", axes={"upsampler": "dysample", "note": EVIL}, latency_s=times["theta=5"]),
        record_builder.record(
            "carafe", axes={"upsampler": "carafe", "note": "b"}, cell=1, latency_s=times["theta=7"], device=EVIL
        ),
        record_builder.record("fade", axes={"upsampler": "fade", "note": "c"}, cell=2, latency_s=0.005),
    ]
    record_builder.file(made / "odd.jsonl", odd)
    lines = [json.loads(line) for line in (made / "odd.jsonl").read_text().splitlines()]
    for line in lines:
        line["sweep"] |= {"name": "odd", "title": f"Odd {EVIL}"}
    (made / "odd.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = upbench("report", made / "theta.jsonl", made / "odd.jsonl", "-o", made / "report.html")
    assert done.exit_code == 0, done.output
    return made / "report.html"


def test_the_page_holds_tables_pictures_machine_and_verdicts(page: Path) -> None:
    text = page.read_text()
    own = text.replace(_library(), "")
    assert "Some CPU" in own
    assert "What is told apart" in own
    assert own.count('class="results"') == 2
    assert "out of memory" in own.lower() or "oom" in own
    assert all(link.startswith("#") for link in re.findall(r'(?:src|href)="([^"]*)"', own))
    # Whatever a user's file says is text.
    assert EVIL not in own
    assert "<img" not in own.lower()
    data = json.loads(own.partition('id="data">')[2].partition("</script>")[0])
    assert [len(section["points"]) for section in data] == [len(record_builder.theta_sweep()), 3]
    (dysample,) = [p for p in data[1]["points"] if p["upsampler"] == "dysample"]
    assert dysample["values"]["latency"][0] == pytest.approx(10, rel=0.02)
    assert "<" not in dysample["at"]["note"]


def _library() -> str:
    from upbench.cli import report_command
    from upbench.report.interactive import page

    return page._script(report_command._library())


PROBE = """
<script>
window.faults = [];
addEventListener("error", (event) => faults.push(String(event.message)));
addEventListener("unhandledrejection", (event) => faults.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) => faults.push("asked for " + event.blockedURI));
for (const kind of ["error", "warn"]) console[kind] = (...said) => faults.push(said.join(" "));
</script>
"""
ACTIONS = """
<script>
(async () => {
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const found = {};
  const table = document.querySelectorAll("table.results")[1];
  const heads = [...table.tHead.rows].at(-1).cells;
  const at = (name) => [...heads].findIndex((head) => head.textContent.startsWith(name));
  const column = (name) => [...table.tBodies].flatMap((body) => [...body.rows]).filter((row) => !row.hidden && row.cells.length > 1)
    .map((row) => row.cells[at(name)].textContent);
  const click = (name) => heads[at(name)].querySelector("button").click();
  found.before = column("upsampler");
  click("Latency"); found.up = column("Latency"); found.sorted = heads[at("Latency")].getAttribute("aria-sort");
  click("Latency"); found.down = column("Latency");
  found.names = column("upsampler");
  const field = document.querySelectorAll("[data-filters]")[1];
  field.value = "dys"; field.dispatchEvent(new Event("input")); found.filtered = column("upsampler");
  found.count = document.querySelectorAll("[data-counts]")[1].textContent;
  const plots = [...document.querySelectorAll(".plot")];
  found.plots = plots.map((plot) => plot.querySelectorAll(".main-svg").length > 0);
  const plot = plots[3];
  found.series = plot.data.map((series) => series.name);
  found.hover = plot.data[0].hovertext[0];
  const toggle = plot.querySelector(".legendtoggle");
  const box = toggle.getBoundingClientRect();
  for (const kind of ["mousedown", "mouseup"]) {
    toggle.dispatchEvent(new MouseEvent(kind, { bubbles: true, view: window, clientX: box.x + 2, clientY: box.y + 2, button: 0 }));
  }
  await wait(1000);
  found.visible = plot.data.map((series) => series.visible !== "legendonly");
  await Plotly.relayout(plot, { "xaxis.range": [1, 2] });
  found.zoomed = plot.layout.xaxis.range;
  found.buttons = [...plot.querySelectorAll(".modebar-btn")].map((button) => button.dataset.title);
  found.servers = plots.map((plot) => plot._context.plotlyServerURL + plot._context.showSendToCloud);
  const pick = document.querySelector('[data-picks="metric"]');
  pick.value = "params"; pick.dispatchEvent(new Event("change"));
  found.picked = plots[0].layout.yaxis.title.text;
  const back = () => getComputedStyle(document.body).backgroundColor;
  const theme = document.getElementById("theme");
  found.light = back();
  theme.value = "dark"; theme.dispatchEvent(new Event("change"));
  found.dark = back(); found.letters = plots[0].layout.font.color;
  found.wide = document.documentElement.scrollWidth <= innerWidth;
  // Tables, and pictures that are still as wide as the window was, scroll in boxes of their own.
  const tables = [...document.querySelectorAll("table")];
  tables.forEach((one) => { one.closest("details")?.setAttribute("open", ""); one.style.width = "3000px"; });
  plots.forEach((one) => { for (const svg of one.querySelectorAll(".main-svg")) svg.style.width = "3000px"; });
  found.page = document.documentElement.scrollWidth;
  found.boxes = [...tables.map((one) => one.parentElement), ...plots].map((box) => box.scrollWidth > box.clientWidth);
  found.resources = performance.getEntriesByType("resource").map((entry) => entry.name);
  found.hacked = window.hacked || null;
  found.ready = document.documentElement.dataset.ready;
  found.faults = faults;
  const out = document.createElement("pre");
  out.id = "found"; out.textContent = JSON.stringify(found);
  document.body.append(out);
})();
</script>
"""


def browse(page: Path, folder: Path, width: int) -> tuple[dict[str, Any], str]:
    """Open a copy of the page that acts on itself; return what it found, and what the browser printed of its console."""
    text = page.read_text()
    copy = folder / f"probe-{width}.html"
    copy.write_text(
        text.replace("<head>", f"<head>{PROBE}", 1).replace("</body>\n</html>", f"{ACTIONS}</body>\n</html>")
    )
    command = [
        str(CHROMIUM),
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"),
        *("--enable-logging=stderr", "--v=0", f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900"),
        *("--virtual-time-budget=20000", "--dump-dom", copy.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    said = done.stdout.rpartition('<pre id="found">')[2].partition("</pre>")[0]
    assert said, done.stderr[-2000:]
    return json.loads(html.unescape(said)), "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, Debian's package of that name")
@pytest.mark.parametrize("width", [1280, 500])
def test_the_page_works_in_a_browser_without_a_network(page: Path, tmp_path: Path, width: int) -> None:
    found, console = browse(page, tmp_path, width)
    assert console == ""
    assert found["faults"] == []
    assert found["resources"] == []
    assert found["hacked"] is None
    assert found["ready"] == "yes"
    assert found["up"] == ["5.00 ms", "10.0 ms", "20.0 ms"]
    # Within each machine: carafe's row is of another one.
    assert (found["sorted"], found["down"]) == ("ascending", ["10.0 ms", "5.00 ms", "20.0 ms"])
    assert (found["before"], found["names"]) == (["dysample", "fade", "carafe"], ["dysample", "fade", "carafe"])
    assert (found["filtered"], found["count"]) == (["dysample"], "1 of 3")
    assert found["plots"] == [True] * 4
    assert found["series"] == ["dysample", "fade", "carafe"]
    assert "Latency [ms]: " in found["hover"]
    assert found["visible"] == [False, True, True]
    assert found["zoomed"] == [1, 2]
    # No other button: since version 7 plotly has one by default that uploads what is drawn.
    zoom = ["Zoom", "Pan", "Zoom in", "Zoom out", "Autoscale", "Reset axes"]
    assert found["buttons"] == ["Download plot as a PNG", *zoom]
    assert found["servers"] == ["false"] * 4
    assert found["picked"].startswith("Params")
    assert found["light"] == "rgb(255, 255, 255)"
    assert (found["dark"], found["letters"]) == ("rgb(22, 23, 26)", "#e6e6ea")
    assert found["wide"]
    assert found["page"] <= width
    assert len(found["boxes"]) > 4 + 4
    assert all(found["boxes"])


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, Debian's package of that name")
@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs pdftotext, of Debian's poppler-utils")
def test_each_printed_page_of_a_long_table_has_its_head(tmp_path: Path) -> None:
    pytest.importorskip("plotly", reason="needs plotly, the extra report")
    records = [record_builder.record(axes={"theta": n}, theta=n, cell=n) for n in range(3, 153)]
    record_builder.file(tmp_path / "long.jsonl", records)
    assert upbench("report", tmp_path / "long.jsonl", "-o", tmp_path / "long.html").exit_code == 0
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={tmp_path / 'long.pdf'}"]
    subprocess.run([*command, (tmp_path / "long.html").as_uri()], capture_output=True, timeout=600, check=True)
    text = subprocess.run(["pdftotext", "-layout", tmp_path / "long.pdf", "-"], capture_output=True, text=True).stdout
    pages = [page for page in text.split("\f") if len(re.findall(r"^ *\d+ +1000 ", page, re.MULTILINE)) > 5]
    assert len(pages) >= 3
    assert all(re.search(r"^ *theta +Params ", page, re.MULTILINE) for page in pages), pages


def test_series_of_one_machine_are_apart_where_its_versions_do_not_compare(tmp_path: Path) -> None:
    pytest.importorskip("plotly", reason="needs plotly, the extra report")
    records = [
        record_builder.record(name, axes={"upsampler": name}, cell=n, torch=version, latency_s=0.01 + n)
        for n, (name, version) in enumerate([("carafe", "2.13"), ("fade", "2.13"), ("dlu", "2.12"), ("a2u", "2.12")])
    ]
    record_builder.file(tmp_path / "two.jsonl", records)
    assert upbench("report", tmp_path / "two.jsonl", "-o", tmp_path / "two.html").exit_code == 0
    text = (tmp_path / "two.html").read_text()
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    found = {point["upsampler"]: point["device"] for point in data[0]["points"]}
    assert found["carafe"] == found["fade"] == "Some CPU, torch 2.13"
    assert found["dlu"] == found["a2u"] == "Some CPU, torch 2.12"
    pairs = text.partition('class="verdicts"')[2].partition("</details>")[0]
    assert re.findall(r'class="name">([^<]*)<', pairs) == ["carafe", "fade", "dlu", "a2u"]
    assert pairs.count("<caption>") == 2


def test_files_beside_results_are_left_out(page: Path, tmp_path: Path) -> None:
    """As `results/*.jsonl` gives them."""
    shutil.copy(page.with_name("theta.jsonl"), tmp_path / "theta.jsonl")
    (tmp_path / "theta.passes.jsonl").write_text('{"schema":"pass 1","cell":0}\n')
    (tmp_path / "quality.jsonl").write_text('{"kind": "quality", "schema": 1}\n')
    done = upbench("report", *sorted(tmp_path.glob("*.jsonl")), "-o", tmp_path / "all.html")
    assert done.exit_code == 0, done.output
    assert done.stderr.count("warning") == 1
    assert "quality.jsonl is a file of `upbench quality`" in done.stderr
    assert "from theta.jsonl." in (tmp_path / "all.html").read_text()
    assert "a file of passes" in refused("report", tmp_path / "theta.passes.jsonl", "-o", tmp_path / "passes.html")


def test_what_cannot_be_a_report_is_refused(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = page.with_name("theta.jsonl")
    assert "its name ends in .html" in refused("report", results, "-o", tmp_path / "report.pdf")
    assert "there is no such file" in refused("report", tmp_path / "none.jsonl", "-o", tmp_path / "a.html")
    assert "read by this command" in refused("report", results, "-o", results)
    (tmp_path / "own.html").write_text("<p>mine</p>")
    assert "--overwrite" in refused("report", results, "-o", tmp_path / "own.html")
    assert (tmp_path / "own.html").read_text() == "<p>mine</p>"
    assert upbench("report", results, "-o", tmp_path / "own.html", "--overwrite").exit_code == 0
    assert upbench("report", results, "-o", tmp_path / "own.html", "--title", "Again").exit_code == 0
    assert "<title>Again</title>" in (tmp_path / "own.html").read_text()
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    assert "-e '.[report]'" in refused("report", results, "-o", tmp_path / "b.html")
    assert not (tmp_path / "b.html").exists()
