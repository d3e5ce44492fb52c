"""A worker process: what it answers, how it dies, and what it may take."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from upbench.benchmark.case import RunError
from upbench.machine import memory_limit
from upbench.records import record
from upbench.specs import run_spec as spec
from upbench.sweeping import worker
from upbench.sweeping.worker import Worker, WorkerError

pytestmark = pytest.mark.usefixtures("started_workers")
FAKE = "tests.sweeping.fake_worker"


@pytest.fixture
def fake() -> Iterator[Worker]:
    """A worker that is ready, and that sleeps a tenth of a second for every seed."""
    _, one = worker.places(["cpu"], FAKE)
    yield one
    one.kill()


def job(seed: int = 0) -> worker.Message:
    plan = spec.load({"upsampler": "carafe", "input": {"shape": "16x6x5", "seed": seed}, "measure": {"budget": 0.02}})
    return {"spec": plan.to_dict(), "device": "cpu", "memory_bytes": None}


def final(one: Worker) -> worker.Message | None:
    """The answer after all that is said of its progress."""
    while (found := one.answer()) is not None and "part" in found:
        pass
    return found


def is_gone(process: int, within_s: float = 10) -> bool:
    """Whether a process has ended; one that nobody has asked for its exit code has."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.05)
    return False


def test_a_real_worker_measures_again_and_again_and_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    places, one = worker.places(["cpu", "auto"])
    try:
        assert places["cpu"][0]["device_id"] == "cpu"
        assert len(places["auto"]) == max(torch.cuda.device_count(), 1)
        for _ in range(2):
            one.ask(job())
            answer = final(one)
            assert answer is not None
            assert answer["healthy"]
            found = record.from_dict(answer["record"], "here")
            assert found.environment.device_id == "cpu"
            assert found.key == record.key(found.spec, places["cpu"][0])
            assert found.macs is not None
            assert answer["call_s"] > 0
    finally:
        one.kill()


def test_devices_that_are_not_there_are_refused() -> None:
    with pytest.raises(WorkerError) as caught:
        worker.places(["cuda:97", "cpu", "cuda:98"])
    assert "cuda:97 was asked for" in str(caught.value)
    assert "cuda:98 was asked for" in str(caught.value)


def test_a_worker_that_cannot_start_is_an_error() -> None:
    with pytest.raises(WorkerError, match=r"cannot be started: the process ended with exit code 1$"):
        worker.places(["cpu"], "tests.no_such_module")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError(), "oom"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "oom"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "oom"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "oom"),
        (RuntimeError("shapes cannot be multiplied"), "error"),
        (ValueError("out of memory"), "error"),
        (SystemExit(0), "error"),
    ],
)
def test_what_was_raised_decides_the_status(error: BaseException, status: str) -> None:
    assert worker.status_of(error) == status
    wrapped = RunError("carafe failed")
    wrapped.__cause__ = error
    assert worker.status_of(wrapped) == status


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_death_by_a_signal_is_a_crash_that_names_it(fake: Worker, name: str) -> None:
    fake.ask(job(seed=90))
    os.kill(fake.process.pid, signal.Signals[name])
    assert final(fake) is None
    status, why = fake.death()
    assert status == "crashed"
    assert name in why


def test_death_by_the_kernels_want_of_memory(fake: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_limit, "kills", lambda: 3)
    fake.ask(job(seed=90))
    monkeypatch.setattr(memory_limit, "kills", lambda: 4)
    os.kill(fake.process.pid, signal.SIGKILL)
    assert final(fake) is None
    assert fake.death()[0] == "oom"


def test_ctrl_c_does_not_reach_a_worker(fake: Worker) -> None:
    fake.ask(job(seed=3))
    os.kill(fake.process.pid, signal.SIGINT)
    answer = final(fake)
    assert answer is not None
    assert "record" in answer
    assert os.getsid(fake.process.pid) != os.getsid(0)


def test_a_worker_dies_with_its_parent() -> None:
    """Killed in the middle of a cell, without a chance to tidy up."""
    code = (
        f"from upbench.sweeping.worker import Worker; w = Worker({FAKE!r}); w.ask({job(seed=90)!r}); "
        "print(w.process.pid, flush=True); w.answer(); print('measuring', flush=True); w.answer()"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root) as parent:
        assert parent.stdout is not None
        process = int(parent.stdout.readline())
        assert parent.stdout.readline() == "measuring\n"
        assert not is_gone(process, within_s=0.1)
        parent.kill()
    assert is_gone(process)


def test_more_memory_than_allowed_is_an_error_and_the_limit_ends_with_the_cell() -> None:
    with memory_limit.limited(64 * 2**20):
        with pytest.raises(RuntimeError) as caught:
            torch.ones(2**28)
        with pytest.raises(MemoryError):
            bytearray(2**30)
        torch.ones(2**20)
    assert worker.status_of(caught.value) == "oom"
    torch.empty(2**28)
    with memory_limit.limited(64 * 2**20, applies=False):
        torch.empty(2**28)


def test_what_is_free_is_less_than_there_is() -> None:
    free = memory_limit.available_bytes()
    assert free is not None
    assert 0 < free < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
