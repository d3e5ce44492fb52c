"""What the CUDA clock does, on a stand-in for torch.cuda; and what is said of host and graph times."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from upbench.measure import clock, graph


class FakeEvent:
    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda

    def record(self) -> None:
        self.cuda.log.append("record")

    def synchronize(self) -> None:
        self.cuda.log.append("synchronize")

    def elapsed_time(self, end: FakeEvent) -> float:
        return 8.0


class FakeCuda:
    """Keeps a log of what is asked of it; every pair of events is 8 ms apart."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def get_device_properties(self, device: object) -> object:
        return type("Properties", (), {"L2_cache_size": 1024})

    def device(self, device: object) -> object:
        return nullcontext()

    def Event(self, enable_timing: bool) -> FakeEvent:
        return FakeEvent(self)

    def _sleep(self, cycles: int) -> None:
        assert cycles > 0
        self.log.append("hold")


def test_a_cuda_sample_is_calls_between_two_events_behind_a_busy_stream() -> None:
    cuda = FakeCuda()
    watch = clock.CudaClock(torch.device("cpu"), cuda)
    assert watch.flush.numel() == 1024
    assert watch.time_s(lambda: cuda.log.append("call"), 1) == pytest.approx(0.008)
    assert cuda.log == ["record", "call", "record", "synchronize"], "how long issuing takes is not known yet"
    cuda.log.clear()
    watch.time_s(lambda: cuda.log.append("call"), 2)
    assert cuda.log == ["hold", "record", "call", "call", "record", "synchronize"]


def test_the_cache_is_overwritten_before_each_sample() -> None:
    watch = clock.CudaClock(torch.device("cpu"), FakeCuda())
    watch.flush.fill_(1)
    watch.time_s(lambda: None, 1)
    assert not watch.flush.any()


def test_launch_bound_is_said_when_the_host_is_slower() -> None:
    assert graph.Other(host_s=1.1e-3, graph_s=1e-3).warnings([1e-3]) == []
    (sentence,) = graph.Other(host_s=3e-3, graph_s=1e-3).warnings([1e-3])
    assert "launch-bound: a call takes 3.0 times as long on the host" in sentence
    assert "no CUDA graph" in graph.Other(host_s=1e-3, why_not="it allocates").warnings([1e-3])[0]


def test_a_cpu_has_neither_host_nor_graph_time() -> None:
    assert graph.measure(lambda: None, torch.device("cpu")) == graph.Other()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_clock_agrees_with_the_host() -> None:
    device = torch.device("cuda")
    a = torch.randn(4096, 4096, device=device)
    watch = clock.CudaClock(device)

    def call() -> object:
        return a @ a

    for _ in range(5):
        watch.time_s(call, 1)
    on_device = min(watch.time_s(call, 5) / 5 for _ in range(5))
    other = graph.measure(call, device)
    assert other.graph_s is not None
    assert on_device == pytest.approx(other.graph_s, rel=0.5)


@pytest.mark.parametrize(("on", "gone_through"), [(True, [2, 1, 1]), (False, [2, 2, 2])])
def test_what_is_old_is_gone_through_once_where_the_collector_does_it_otherwise(
    on: bool, gone_through: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []
    monkeypatch.setattr(clock, "_gone_through", False)
    monkeypatch.setattr(clock.gc, "collect", found.append)
    monkeypatch.setattr(clock.gc, "isenabled", lambda: on)
    for _ in gone_through:
        with clock.without_garbage_collection():
            pass
    clock.gc.enable()
    assert found == gone_through
