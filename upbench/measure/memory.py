"""Peak memory of one call: bytes allocated beyond those that were allocated before it.

On the CPU the events of torch's own allocator are added up: exact and repeatable, where the resident set of the
process reads 0 for a peak that the allocator serves from memory it already has. Not seen: what oneDNN takes for
itself. On CUDA the allocator's own peak statistic.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

# Keeps the profiler library from writing its start and stop to stderr; read when torch is loaded.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

import torch
from torch import Tensor
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from upbench.errors import UpbenchError

METHODS = {
    "cpu": "torch allocator events (oneDNN scratch is not seen)",
    "cuda": "torch CUDA allocator, max_memory_allocated",
}
"""Type of device -> how its peak is measured, as a record has it."""


def peak_bytes(call: Callable[[], object], device: torch.device) -> int:
    """Return the bytes at the peak of one call above those allocated before it; the tensors that it returns count.

    Args:
        call: The call. Run it once beforehand, so that caches it fills on first use do not count.
        device: Device that it runs on.

    Raises:
        UpbenchError: If torch's profiler gives no events of the allocator.
    """
    return _cuda(call, device) if device.type == "cuda" else _cpu(call)


@contextmanager
def saved_bytes(known: Iterable[Tensor]) -> Iterator[dict[int, int]]:
    """Collect the bytes that autograd keeps for backward within this context.

    Args:
        known: Tensors that do not count: inputs, weights.

    Yields:
        Address of each storage -> its bytes, filled while calls run.
    """
    seen = {tensor.untyped_storage().data_ptr() for tensor in known}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield kept


def _cpu(call: Callable[[], object]) -> int:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        kept = call()
    del kept
    results = profiler.profiler.kineto_results if profiler.profiler else None
    if results is None:
        raise UpbenchError("torch's profiler gave no allocator events; memory cannot be measured with this build")
    events = sorted(
        (event.start_ns(), n, event.nbytes())
        for n, event in enumerate(results.events())
        if event.name() == "[memory]" and event.device_type() == DeviceType.CPU
    )
    held = peak = 0
    for _, _, size in events:
        held += size
        peak = max(peak, held)
    return peak


def _cuda(call: Callable[[], object], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    kept = call()
    torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device)
    del kept
    return peak - before
