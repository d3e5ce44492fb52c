"""malloc pinned in a new process, and what it does to a call's page faults."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from upbench.machine import allocator

glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="malloc is not glibc's")

CALLS = """
import torch
torch.set_num_threads(1)
from upbench.machine import allocator
from upbench.measure.cpu_clock import ThreadMeter
state = allocator.in_effect()
meter = ThreadMeter()
x = torch.ones(64, 96, 96)
call = lambda: (x + 1) * 2
found = []
# What comes before must not matter: nothing at first, then blocks of other sizes are taken and freed.
for sides in ((), (48, 160, 80)):
    for side in sides:
        torch.ones(64, side, side) + 1
    for _ in range(3):
        call()
    found.append(sorted(meter.sample(call, 1).faults for _ in range(9))[4])
print(state, *found, allocator.trim(), allocator.in_effect())
"""
STATE = "from upbench.machine import allocator; print(allocator.in_effect())"


def _run(environment: dict[str, str], code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


@glibc
def test_kept_memory_faults_never_and_returned_memory_always() -> None:
    kept = _run(allocator.worker_environment("kept", os.environ), CALLS)
    assert kept == ["kept", "0", "0", "True", "kept"]
    state, *found = _run(allocator.worker_environment("returned", os.environ), CALLS)
    assert state == "returned"
    assert all(int(faults) >= 2 * 64 * 96 * 96 * 4 // 4096 * 0.9 for faults in found[:2])


@glibc
def test_a_process_that_was_not_pinned_says_so() -> None:
    plain = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_") and k != "GLIBC_TUNABLES"}
    assert _run(plain, STATE) == ["unpinned"]
    too_late = "import os; os.environ.update(MALLOC_MMAP_MAX_='0', MALLOC_TRIM_THRESHOLD_=str(2**40)); "
    assert _run(plain, too_late + STATE) == ["unpinned"]


@glibc
def test_what_is_asked_for_and_overruled_is_not_in_effect() -> None:
    environment = allocator.worker_environment("kept", os.environ)
    assert _run(environment | {"MALLOC_MMAP_MAX_": "65536"}, STATE) == ["unpinned"]


def test_an_allocator_of_another_kind_is_unpinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_is_glibc", lambda: False)
    assert allocator.in_effect() == "unpinned"
    assert allocator.trim() is False
    monkeypatch.setattr(allocator, "_is_glibc", lambda: True)
    monkeypatch.setattr(allocator, "_replaced", lambda: True)
    assert allocator.in_effect() == "unpinned"


def test_the_environment_keeps_all_that_is_not_mallocs() -> None:
    base = {
        "PATH": "/bin",
        "MALLOC_PERTURB_": "3",
        "MALLOC_MMAP_THRESHOLD_": "5",
        "GLIBC_TUNABLES": "glibc.malloc.mmap_max=9:glibc.cpu.x86_shstk=on",
    }
    found = allocator.worker_environment("kept", base)
    assert found["PATH"] == "/bin"
    assert found["GLIBC_TUNABLES"] == "glibc.cpu.x86_shstk=on"
    assert {name for name in found if name.startswith("MALLOC_")} == set(allocator.PINNED["kept"])
    assert "GLIBC_TUNABLES" not in allocator.worker_environment("returned", {"GLIBC_TUNABLES": "glibc.malloc.check=1"})
