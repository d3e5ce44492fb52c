"""Runtimes that take minutes to import or to compile: ExecuTorch and AOTInductor run, and a package needs no upbench.

Ten minutes; `-k NAME` for one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import upbench as package
from tests.command_line import upbench
from upbench.exchange import formats

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def test_a_package_of_aoti_runs_in_a_process_without_upbench(tmp_path: Path) -> None:
    file = tmp_path / "up.aoti.pt2"
    result = upbench("export", "dysample", "--shape", "16x6x8", "-o", file)
    assert result.exit_code == 0, result.output
    assert json.loads(formats.of(file).metadata(file)["upbench.spec"])["upsampler"] == "dysample"
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    x = torch.randn(1, 16, 9, 5, generator=torch.Generator().manual_seed(0))
    torch.save(x, tmp_path / "x")
    code = (
        "import sys; sys.modules['upbench'] = None\n"
        "import torch\n"
        "up = torch._inductor.aoti_load_package(sys.argv[1])\n"
        "torch.save(up(torch.load(sys.argv[2])), sys.argv[2])\n"
    )
    subprocess.run([sys.executable, "-c", code, str(file), str(tmp_path / "x")], check=True)
    module = package.build("dysample", 16, seed=0).eval()
    torch.testing.assert_close(torch.load(tmp_path / "x"), module(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["carafe", "dysample"])
def test_the_runtimes_that_must_run_do(name: str) -> None:
    for needed in ("onnxruntime", "openvino", "executorch"):
        pytest.importorskip(needed, reason=f"needs {needed}")
    to = "onnxruntime,openvino,executorch,aoti"
    result = upbench("deploy", name, "--shape", "16x6x5", "--to", to, "--limit", 600, "--format", "json")
    assert result.exit_code == 0, result.output
    verdicts = {(row["runtime"], row["variant"]): row["verdict"] for row in json.loads(result.stdout)}
    for runtime, variant in (
        ("onnxruntime", "float32"),
        ("openvino", "f32"),
        ("openvino", "default"),
        ("executorch", "portable"),
        ("aoti", "float32"),
    ):
        assert verdicts[runtime, variant] == "right", (runtime, variant, verdicts)
