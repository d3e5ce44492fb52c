"""What the C kernels return does not depend on how many threads there are, nor on whose they are."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

import upbench
from upbench.machine import environment
from upbench.ops.cpu import compiled, map_kernels, native, threads, window_kernels

pytestmark = pytest.mark.skipif(native._kernels is None, reason="upbench was installed without a C compiler")
MODULES = (native._kernels, window_kernels._kernels, map_kernels._kernels)
FUSED = ("a2u", "carafe", "dysample", "dysample-s+", "fade", "laaqu", "ldaaqu", "resfu", "sapa-b", "sapa-d")
MANY = 150
"""More than have tiles of their own."""
WAIT_S = 60.0


@pytest.fixture(autouse=True)
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small jobs are given to many threads too."""
    monkeypatch.setattr(threads, "GRAIN", 1)


def call_of(name: str) -> Callable[[int], list[Tensor]]:
    """What computes the result and the gradients of an upsampler on some threads."""
    torch.manual_seed(0)
    module = upbench.build(name, channels=64, backend="fused", seed=0)
    x = torch.randn(2, 64, 24, 36, requires_grad=True)
    given = (x, torch.randn(2, 64, 48, 72)) if getattr(module, "guided", False) else (x,)

    def call(number: int) -> list[Tensor]:
        with environment.with_threads(number):
            out = module(*given)
            return [out.detach(), *torch.autograd.grad(out.square().sum(), [x, *module.parameters()])]

    return call


def same(found: list[Tensor], expected: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", FUSED)
def test_the_number_of_threads_changes_nothing(name: str) -> None:
    """Rounding apart, in the products and sums that torch makes."""
    call = call_of(name)
    expected = call(1)
    for number in (2, 3, MANY):
        for a, b in zip(call(number), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))


def test_torch_has_an_openmp_here() -> None:
    """Where it has, threads of our own would fight with it."""
    if not sys.platform.startswith("linux"):
        pytest.skip("known of Linux alone")
    assert all(compiled.openmp())


@pytest.fixture
def own_threads() -> Iterator[None]:
    """The modules as where torch has no OpenMP."""
    for module in MODULES:
        module.use_openmp(0, 0, 0)
    yield
    for module in MODULES:
        module.use_openmp(*compiled.openmp())


@pytest.mark.parametrize("number", [2, MANY])
def test_without_openmp_they_are_started(own_threads: None, number: int) -> None:
    call = call_of("carafe")
    assert same(call(number)[:1], call(1)[:1])


@pytest.mark.parametrize(("terms", "number"), [(3, 1), (8, 2), (40, 4)])
def test_few_terms_are_left_to_few_threads(terms: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where other programs have the cores, waiting for a thread takes longer than the job."""

    class Module:
        def entry(self, *given: int) -> None:
            assert given[2:] == (100, 8, number)

    monkeypatch.setattr(threads, "GRAIN", 4)
    with environment.with_threads(4):
        threads.run(Module(), "entry", map_kernels.Box(), 100, 8, terms)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_process_that_was_forked_off_has_threads_too() -> None:
    """OpenMP's own do not live on in it, and would be waited for without end."""
    rows, x = window_kernels.planes_to_rows, torch.randn(1, 64, 40, 50)
    with environment.with_threads(2):
        expected = rows(x)
        child = os.fork()
        if child == 0:
            found = rows(x)
            torch.set_num_threads(1)  # its own operators would wait
            os._exit(0 if torch.equal(found, expected) else 1)
    until = time.monotonic() + WAIT_S
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < until:
        time.sleep(0.01)
    if ended[0] == 0:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended == (child, 0), "it did not end, or found something else"
