"""Run the commands of the manual, and write what they print into its pages: `python -m tests.refresh_outputs [PAGE...]`.

Without arguments every page that shows output is made anew. Run it on a quiet machine: the pages show times.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.docs.pages import COLUMNS, PAGES, ROOT, lay_out, run, runs


def refreshed(page: str, folder: Path) -> str:
    """Return a page with the output that its commands print now.

    Args:
        page: The text of the page.
        folder: Where its commands run.
    """
    environment = {**os.environ, "COLUMNS": COLUMNS, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}

    def execute(words: list[str]) -> tuple[str, str]:
        program = [sys.executable, "-m", *words] if words[0] in ("upbench", "pytest") else words
        print("  ", *words, file=sys.stderr)
        done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode not in (0, 1):
            raise SystemExit(f"{' '.join(words)}\n{done.stderr}")
        return done.stdout, done.stderr

    found = list(run(page, folder, execute))
    for block, printed in reversed(found):
        page = page[: block.start] + printed + page[block.end :]
    return page


def main() -> None:
    """Refresh the pages that are named, or all."""
    for path in [Path(name).resolve() for name in sys.argv[1:]] or PAGES:
        text = path.read_text()
        if runs(text):
            with tempfile.TemporaryDirectory() as folder:
                lay_out(path, Path(folder))
                path.write_text(refreshed(text, Path(folder)))
            print(f"{path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
