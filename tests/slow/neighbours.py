"""Other programs for measurements to stand beside: processes that do nothing but take time, each of a group of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def spinning(count: int = 2) -> Iterator[None]:
    """Let so many processes spin; each is a session of its own, as another user's program would be."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for one in busy:
            one.kill()
            one.wait()
