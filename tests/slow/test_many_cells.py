"""Ten thousand cells take little more memory than ten: the peak of each command, by the real command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import many_records

pytestmark = pytest.mark.slow
MORE_MB = 60.0
PEAK = """
import sys, time
from upbench.__main__ import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) / 1024, time.process_time(), file=sys.stderr)
"""
"""Not getrusage, whose peak a process inherits from the one that started it."""


def _peak(words: list[str]) -> tuple[float, float]:
    """Peak memory of a command in MB, and its processor seconds."""
    done = subprocess.run([sys.executable, "-c", PEAK, *words], capture_output=True, text=True, check=True)
    memory, seconds = done.stderr.splitlines()[-1].split()
    return float(memory), float(seconds)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    found = {}
    for count in (10, 1000, 10_000):
        folder = tmp_path_factory.mktemp(f"many{count}")
        found[count] = many_records.write(folder, count)
    return found


@pytest.mark.parametrize(
    "words",
    [
        ["table", "FILE"],
        ["table", "FILE", "--format", "csv"],
        ["table", "FILE", "--format", "markdown"],
        ["effects", "FILE"],
        ["plot", "FILE", "--kind", "axis", "-o", "PICTURE"],
        ["sweep", "SPEC", "-o", "FILE"],
    ],
    ids=lambda words: " ".join(word for word in words if word.islower()),
)
def test_ten_thousand_cells_are_flat_in_memory(words: list[str], files: dict[int, Path]) -> None:
    peaks = {}
    for count, path in files.items():
        names = {"FILE": str(path), "SPEC": str(path.with_suffix(".yaml")), "PICTURE": str(path.with_suffix(".png"))}
        peaks[count] = _peak([names.get(word, word) for word in words])
    text = ", ".join(f"{count} cells {memory:.0f} MB {seconds:.1f} s" for count, (memory, seconds) in peaks.items())
    print(f"\n{' '.join(words)}: {text}")
    assert peaks[10_000][0] - peaks[10][0] <= MORE_MB
    assert peaks[10_000][1] <= 12 * peaks[1000][1], "no worse than linear"
