"""Isolates a user's code from upbench: its output, settings, random draws and handlers do not leak into a run.

Whatever upbench calls of a module that somebody else wrote runs within `isolated`, as a whole, and within `kept`, call
by call. torch is imported only when one of them is entered.
"""

from __future__ import annotations

import gc
import io
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

Setting = tuple[Callable[[], Any], Callable[[Any], Any]]
"""Functions that read and set a setting of the process."""

_TINY = 5e-324


@contextmanager
def isolated() -> Iterator[list[str]]:
    """Run a user's code: what it prints goes to stderr, and the process is afterwards as it was before.

    Put back are the settings of `settings`, the state of the random generators of torch, numpy and Python, the filters
    of warnings, and the handler of Ctrl-C.

    Yields:
        A list that at the end names the settings that had changed.
    """
    global _entered
    _entered = True
    changed: list[str] = []
    with ExitStack() as stack:
        stack.enter_context(printing_to_stderr())
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(_generators())
        stack.enter_context(_interrupt())
        before = settings()
        stack.callback(lambda: changed.extend(put_back(before)))
        yield changed


_entered = False


@contextmanager
def printing_to_stderr() -> Iterator[None]:
    """Send stdout to stderr: Python's stream and the file descriptor, which C code writes to."""
    stream = sys.stdout
    _flush()
    kept: int | None = None
    with suppress(OSError):  # a process may have been started without one of the two
        kept = os.dup(1)
        os.dup2(2, 1)
    errors = sys.stderr
    # Each has a stream of its own, so that code that closes or wraps it, as for another encoding, takes nothing away.
    sys.stdout, sys.stderr = _apart(errors), _apart(errors)
    try:
        yield
    finally:
        _flush(stream)
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)
        sys.stdout, sys.stderr = stream, errors


class _Bytes(io.RawIOBase):
    """A stream of bytes that writes to a stream of text, which stays open when this one is closed."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any) -> int:
        """Write UTF-8 as text at once.

        Args:
            data: The bytes.

        Returns:
            Number of bytes.
        """
        content = bytes(data)
        with suppress(OSError, ValueError):
            self._stream.write(content.decode("utf-8", "replace"))
            self._stream.flush()
        return len(content)

    def fileno(self) -> int:
        """Return the file descriptor of the stream, for programs that are started."""
        number: int = self._stream.fileno()
        return number

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return bool(getattr(self._stream, "isatty", bool)())


def _apart(stream: Any) -> Any:
    """Return a new stream of text that writes to another one; None where the process was started without that one."""
    if stream is None:
        return None
    return io.TextIOWrapper(
        io.BufferedWriter(_Bytes(stream)), encoding="utf-8", errors="replace", line_buffering=True, write_through=True
    )


def silence_exit() -> None:
    """Send the output of a user's code to stderr while the process ends; results must have been written before."""
    if not _entered:
        return
    _flush()
    with suppress(OSError):
        os.dup2(2, 1)
    sys.stdout = sys.stderr


def _flush(*streams: Any) -> None:
    """Flush the buffers of Python and C to where stdout goes now."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, *streams):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    import ctypes

    with suppress(OSError, AttributeError, TypeError):  # no C library to be had by that name, as on Windows
        ctypes.CDLL(None).fflush(None)


def seed_generators(seed: int) -> None:
    """Seed the generators that a module may draw from: torch's on every device, numpy's global one, Python's.

    Args:
        seed: The seed, at least 0.
    """
    import numpy

    seed_torch(seed)
    random.seed(seed)
    numpy.random.seed(seed % 2**32)


def seed_torch(seed: int) -> None:
    """Seed torch's generators on every device that this machine has.

    Without an accelerator `torch.manual_seed` writes down the call stack for the kinds that it lacks: 0.2 to 4 ms by the
    depth of the stack, instead of 2 us (torch 2.13).

    Args:
        seed: The seed, as torch.manual_seed takes it.
    """
    import torch

    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def generator_states() -> tuple[Any, ...]:
    """Where the generators that `seed_generators` seeds stand, as values that can be compared."""
    import numpy
    import torch

    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call] # torch gives it no types
    devices = [bytes(state.tolist()) for state in torch.cuda.get_rng_state_all()] if started else []
    arrays: Any = numpy.random.get_state()
    kind, keys, *position = arrays
    return bytes(torch.get_rng_state().tolist()), *devices, random.getstate(), kind, bytes(keys), *position


@contextmanager
def _generators() -> Iterator[None]:
    import numpy
    import torch

    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call] # torch gives it no types
    devices = range(torch.cuda.device_count()) if started else []
    python, arrays = random.getstate(), numpy.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        numpy.random.set_state(arrays)


@contextmanager
def _interrupt() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if handler is not None and signal.getsignal(signal.SIGINT) is not handler:
            signal.signal(signal.SIGINT, handler)


def settings() -> dict[str, Any]:
    """Return the settings of the process that a module can change and that affect the cost or output of another one."""
    return {name: _read(read) for name, (read, _) in _known().items()}


def put_back(before: Mapping[str, Any]) -> list[str]:
    """Restore settings.

    Args:
        before: What `settings` returned before.

    Returns:
        Each setting that had changed, as 'torch.set_num_threads (2 to 1)'.
    """
    changed = []
    for name, (read, write) in _known().items():
        if (now := _read(read)) != before[name]:
            changed.append(f"{name} ({before[name]} to {now})")
            with suppress(OSError, RuntimeError, TypeError):
                write(before[name])
    return changed


def _read(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (OSError, RuntimeError):  # torch refuses to say what was set through the newer of its two interfaces
        return None


def _known() -> dict[str, Setting]:
    global _table
    if not _table:
        _table = _process() | _torch()
    return _table


_table: dict[str, Setting] = {}


def _process() -> dict[str, Setting]:
    found: dict[str, Setting] = {
        "gc.enable": (gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
        "os.chdir": (os.getcwd, os.chdir),
        "sys.setrecursionlimit": (sys.getrecursionlimit, sys.setrecursionlimit),
    }
    if hasattr(os, "sched_setaffinity"):
        found["os.sched_setaffinity"] = (
            lambda: sorted(os.sched_getaffinity(0)),
            lambda cores: os.sched_setaffinity(0, cores),
        )
    return found


def _torch() -> dict[str, Setting]:
    import torch

    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    return {
        "torch.set_num_threads": (torch.get_num_threads, torch.set_num_threads),
        "torch.set_grad_enabled": (torch.is_grad_enabled, torch.set_grad_enabled),
        "torch.set_default_dtype": (torch.get_default_dtype, torch.set_default_dtype),
        "torch.set_default_device": (_default_device, torch.set_default_device),
        "torch.use_deterministic_algorithms": (
            lambda: (
                torch.are_deterministic_algorithms_enabled(),
                torch.is_deterministic_algorithms_warn_only_enabled(),
            ),
            lambda was: torch.use_deterministic_algorithms(was[0], warn_only=was[1]),
        ),
        "torch.set_float32_matmul_precision": (
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
        ),
        "torch.set_flush_denormal": (lambda: _TINY * 1.0 == 0.0, torch.set_flush_denormal),
        "torch.autograd.set_detect_anomaly": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        "torch.set_autocast_enabled": (_autocast, lambda was: [torch.set_autocast_enabled(*one) for one in was]),
        "torch.backends.mkldnn.enabled": _attribute(torch.backends.mkldnn, "enabled"),
        "torch.backends.cudnn.enabled": _attribute(cudnn, "enabled"),
        "torch.backends.cudnn.benchmark": _attribute(cudnn, "benchmark"),
        "torch.backends.cudnn.deterministic": _attribute(cudnn, "deterministic"),
        "torch.backends.cudnn.allow_tf32": _attribute(cudnn, "allow_tf32"),
        "torch.backends.cuda.matmul.allow_tf32": _attribute(cuda, "allow_tf32"),
    }


def _attribute(owner: Any, name: str) -> Setting:
    return (lambda: getattr(owner, name)), (lambda value: setattr(owner, name, value))


def _autocast() -> list[tuple[str, bool]]:
    import torch

    return [(device, torch.is_autocast_enabled(device)) for device in ("cpu", "cuda")]


def _default_device() -> Any:
    """Return the device that torch.set_default_device was given; None where it was not called, or is the CPU."""
    import torch

    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    device = context.device if context is not None else None
    return None if device is None or device == torch.device("cpu") else device
