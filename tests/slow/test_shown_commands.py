"""Every command that the manual shows, at small shapes: `pytest -n 0 -m slow tests/slow/test_shown_commands.py`.

Ten minutes; `-k PAGE` for one page. tests/docs/shown.py says how a command that is run differs from the one that is shown.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.docs.running import run_page
from tests.docs.test_commands import RUN, SHOWN
from tests.models import torchvision_operators

pytestmark = pytest.mark.slow
NEEDS = {
    "deploy.md": ("onnxruntime", "openvino", "ncnn", "coremltools"),
    "export.md": ("onnxruntime", "openvino", "safetensors"),
    "models.md": ("torchvision", "transformers", "segmentation_models_pytorch", "onnxruntime"),
    "commands.md": ("torchvision", "segmentation_models_pytorch", "onnxruntime", "openvino", "plotly", "matplotlib"),
    "report.md": ("plotly",),
    "quality.md": ("PIL",),
    "accuracy.md": ("matplotlib",),
}
"""Packages that a page needs beside upbench itself."""
PAGES = [page for page, found in SHOWN.items() if any(c in RUN and c.is_slow for c in found)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = [name for name in NEEDS.get(page.name, ()) if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"the page needs {', '.join(missing)}; docs/index.md says which extra has them")
    if {"torchvision", "segmentation_models_pytorch"} & set(NEEDS.get(page.name, ())):
        torchvision_operators.available()
        if torchvision_operators.STAND_IN:
            monkeypatch.setenv("UPBENCH_IN_PROCESS", "1")  # a worker process would need one of its own
    folder = tmp_path / "folder"
    folder.mkdir()
    run_page(page, [command for command in SHOWN[page] if command in RUN], folder, monkeypatch)


def test_every_slow_command_is_on_such_a_page() -> None:
    assert {command.page for command in RUN if command.is_slow} == set(PAGES)
