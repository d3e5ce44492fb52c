"""Writes what runtimes take for upsamplers at one thread, a section for each upsampler, into results/runtimes.md.

    python -m tests.slow.runtimes_page results/runtimes.md                   six upsamplers at 256x120x120
    python -m tests.slow.runtimes_page results/runtimes.md ldaaqu fade       these alone

Each section is the table of one `upbench compare`, which stands above it. The page is written after each upsampler; sections of
others, and what was written by hand, stay as they are. A runtime that fails has its reason above the table of the others, an upsampler
that is refused or times out instead of one.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

NAMES = ("carafe", "dysample", "ldaaqu", "fade", "sapa-b", "resfu")
RUNTIMES = ("torch", "compile", "onnxruntime", "openvino")


def section(name: str, shape: str, budget: float, limit: float, runtimes: Sequence[str] = RUNTIMES) -> list[str]:
    """Measure one upsampler and return the lines of its section."""
    arguments = ["compare", name, "--shape", shape, "--threads", "1", "--backend", "eager", "--offsets", "trained"]
    arguments += ["--runtime", ",".join(runtimes), "--budget", f"{budget:g}", "-v", "--format", "markdown"]
    lines = [f"## {name} at {shape}", "", f"`upbench {' '.join(arguments)}`", ""]
    load, start = os.getloadavg()[0], time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "upbench", *arguments],
            capture_output=True,
            text=True,
            timeout=limit,
            env={**os.environ, "COLUMNS": "200"},
        )
    except subprocess.TimeoutExpired:
        return [*lines, f"Not measured: more than {limit:g} s."]
    print(f"{name}: {time.monotonic() - start:.0f} s, exit code {done.returncode}", flush=True)
    if not done.stdout.strip():
        why = re.sub(
            r" \(/.*\)$", "", done.stderr.strip().rpartition("\nupbench: ")[2].strip()
        )  # without a path of here
        failed = re.search(r"\[(\w+)\] failed", why)
        if failed and failed[1] in runtimes[1:]:
            others = section(name, shape, budget, limit, [one for one in runtimes if one != failed[1]])
            return [*others[:4], f"{failed[1]} is left out: {why}", "", *others[4:]]
        return [*lines, f"Not measured (exit code {done.returncode}): {why}"]
    said = f"Load {load:.0f} before and {os.getloadavg()[0]:.0f} after, on {os.cpu_count()} cores."
    # A runtime whose values are off fails a check, which is told beside the table.
    checks = [line.strip() for line in done.stderr.splitlines() if "FAIL" in line]
    return [*lines, said, "", *(f"{line}\n" for line in checks), done.stdout.strip()]


def put(text: str, name: str, lines: list[str]) -> str:
    """Return a page with the section of one upsampler replaced, or added before the first that is of none."""
    head, *parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    new = "\n".join(lines) + "\n\n"
    for n, part in enumerate(parts):
        if part.startswith(f"## {name} at "):
            parts[n] = new
            break
    else:
        known = [n for n, part in enumerate(parts) if part.split()[1] in NAMES]
        parts.insert(known[-1] + 1 if known else 0, new)
    return (head + "".join(parts)).rstrip("\n") + "\n"


def main() -> None:
    """Write the sections."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--shape", default="256x120x120")
    parser.add_argument("--budget", type=float, default=30, help="seconds of sampling a row")
    parser.add_argument("--limit", type=float, default=3600, help="seconds that one upsampler may take")
    given = parser.parse_args()
    for name in given.names:
        lines = section(name, given.shape, given.budget, given.limit)
        text = given.path.read_text() if given.path.exists() else "# Runtimes side by side\n\n"
        given.path.write_text(put(text, name, lines))


if __name__ == "__main__":
    main()
