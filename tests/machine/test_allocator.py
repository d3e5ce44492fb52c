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
# What comes before must not matter: blocks of other sizes are taken and freed.
for side in SIDES:
    torch.ones(64, side, side) + 1
call = lambda: (x + 1) * 2
for _ in range(3):
    call()
faults = sorted(meter.sample(call, 1).faults for _ in range(9))[4]
print(state, faults, allocator.trim(), allocator.in_effect())
"""


def _run(environment: dict[str, str], sides: str = "(48, 160, 80)") -> list[str]:
    code = CALLS.replace("SIDES", sides)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


@glibc
@pytest.mark.parametrize("sides", ["()", "(48, 160, 80)"])
def test_kept_memory_faults_never_and_returned_memory_always(sides: str) -> None:
    kept = _run(allocator.worker_environment("kept", os.environ), sides)
    assert kept == ["kept", "0", "True", "kept"]
    state, faults, *_ = _run(allocator.worker_environment("returned", os.environ), sides)
    assert state == "returned"
    assert int(faults) >= 2 * 64 * 96 * 96 * 4 // 4096 * 0.9


@glibc
def test_a_process_that_was_not_pinned_says_so() -> None:
    plain = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_") and k != "GLIBC_TUNABLES"}
    assert _run(plain)[0] == "unpinned"
    too_late = "import os; os.environ.update(MALLOC_MMAP_MAX_='0', MALLOC_TRIM_THRESHOLD_=str(2**40)); "
    code = too_late + "from upbench.machine import allocator; print(allocator.in_effect())"
    done = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "unpinned"


@glibc
def test_what_is_asked_for_and_overruled_is_not_in_effect() -> None:
    environment = allocator.worker_environment("kept", os.environ)
    assert _run(environment | {"MALLOC_MMAP_MAX_": "65536"})[0] == "unpinned"


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
