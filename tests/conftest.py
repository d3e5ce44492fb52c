"""One thread for every test: on small maps more threads cost time, and many of them starve each other."""

import gc
import os
import signal
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

# Without a GPU Triton's kernels run in its interpreter, which it must be told before anything imports it.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

from tests import shape_checks

shape_checks.install()  # before anything imports upbench

from tests import forked_workers, made_once  # noqa: E402
from upbench.sweeping.worker import IN_PROCESS  # noqa: E402

made_once.install()

# What a shell starts in the background ignores Ctrl-C, and so would what the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="module")
def _small_heap() -> None:
    """Every timing begins with a garbage collection: what lives since earlier modules (torch's compiler, plots) is left out."""
    gc.set_threshold(10_000)  # exports make millions of objects, most of which live
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are as wide as they need, whatever terminal the tests were started in; xdist passes its width on."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands measure in the process of the tests, which has torch; `in_workers` gives them the workers that users have."""
    monkeypatch.setenv(IN_PROCESS, "1")


@pytest.fixture(autouse=True, scope="module")
def _forked_workers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Workers are forked off one that has torch, where nothing is measured for its own sake."""
    with nullcontext() if "slow" in request.path.parts else forked_workers.installed():
        yield


@pytest.fixture
def started_workers() -> Iterator[None]:
    """Workers are started as they are for users: Python first, then torch."""
    with forked_workers.taken_out():
        yield


@pytest.fixture
def in_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands measure in worker processes, as they do for users."""
    monkeypatch.delenv(IN_PROCESS)


@pytest.fixture(autouse=True)
def _short_warm_up(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Warm-up of two calls or so, in workers too: the way of the numbers matters here, not their calm. Slow tests measure."""
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setenv("UPBENCH_WARMUP", "0.01")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's calibration, nor waits for one that comes by itself."""
    monkeypatch.setenv("UPBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UPBENCH_CALIBRATE", "off")
