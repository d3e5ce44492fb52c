"""Where a call writes its result: memory that its caller gives, or that was kept from the call before.

An op asks `memory_layout.empty_map` for the memory of a map. Inside `writing_into` the first map of the size, dtype and
order of the given memory gets that instead of new memory, once a call: what is asked for later is never the same memory, so
that an op may read one and write the other. Whoever opens it compares what was returned with what was given: an
upsampler whose result comes from elsewhere is copied (`upsamplers._output`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn


class Destination:
    """Memory for one map of a call.

    Args:
        target: Map that may be written over; None where maps are only noted.

    Attributes:
        made: Address of every map that was made meanwhile -> the map's shape and strides.
    """

    def __init__(self, target: Tensor | None) -> None:
        self.target = target
        self.made: dict[int, tuple[torch.Size, tuple[int, ...]]] = {}

    def take(self, like: Tensor, shape: tuple[int, ...], last: bool) -> Tensor:
        """Return memory for a map: the target where it is such a map and was not taken, else new memory.

        Args:
            like: gives dtype and device.
            shape: rows of the memory: (B, H, W, C) where the channels are last, else (B, C, H, W).
            last: whether they are.

        Returns:
            Contiguous memory of that shape.
        """
        target = self.target
        if target is not None and target.dtype == like.dtype and target.device == like.device:
            rows = target.permute(0, 2, 3, 1) if last and target.dim() == 4 else target
            if rows.shape == torch.Size(shape) and rows.is_contiguous():
                self.target = None
                return rows
        fresh = like.new_empty(shape)
        made = fresh.permute(0, 3, 1, 2) if last else fresh
        self.made[fresh.untyped_storage().data_ptr()] = made.shape, made.stride()
        return fresh

    def whole(self, result: Tensor) -> Tensor | None:
        """Return the map made meanwhile that a result lies in; None where it lies in none.

        Args:
            result: what the call returned: such a map, or a part of it.
        """
        storage = result.untyped_storage()
        shape, strides = self.made.get(storage.data_ptr(), (torch.Size(), ()))
        if not shape or shape.numel() * result.element_size() != storage.nbytes():
            return None
        return result.as_strided(shape, strides, 0)


class _Thread(threading.local):
    """What every thread has of its own: results of two calls at once must not share memory."""

    def __init__(self) -> None:
        self.destination: Destination | None = None
        self.kept: WeakKeyDictionary[nn.Module, Tensor] = WeakKeyDictionary()


_thread = _Thread()


def current() -> Destination | None:
    """Return the destination that is open in this thread, or None."""
    return _thread.destination


@contextmanager
def writing_into(target: Tensor | None) -> Iterator[Destination]:
    """Let the op that makes the result of a call write it into given memory.

    Args:
        target: Memory that may be written over; None to note only which maps are made.
    """
    before, opened = _thread.destination, Destination(target)
    _thread.destination = opened
    try:
        yield opened
    finally:
        _thread.destination = before


def kept(module: nn.Module) -> Tensor | None:
    """Return the memory that a module wrote its last result of this thread into; None where none was kept."""
    return _thread.kept.get(module)


def keep(module: nn.Module, memory: Tensor | None) -> None:
    """Keep memory for the next call of a module in this thread, until the module or the thread ends.

    Args:
        module: The module.
        memory: Its last result, as memory has it; None to keep none.
    """
    if memory is None:
        _thread.kept.pop(module, None)
    else:
        _thread.kept[module] = memory


def forget() -> None:
    """Give back what was kept in this thread for all modules: the next call of each takes new memory."""
    _thread.kept.clear()
