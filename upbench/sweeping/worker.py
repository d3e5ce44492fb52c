"""A worker: a process in which cells are measured, so that what a cell does to its process costs that cell alone.

`Worker` is the parent's handle of it; `serve` is what runs in it. The two exchange JSON messages over a socket. A worker
is in a session of its own, so that Ctrl-C reaches the parent only, and it ends with its parent, however that ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from upbench.errors import DEBUG, UpbenchError, whole_traceback
from upbench.machine import allocator, memory_limit
from upbench.machine.allocator import Pinning
from upbench.records.record import Status
from upbench.sweeping.announcement import Announcement

Message = dict[str, Any]
Say = Callable[[str, float], None]
Measure = Callable[[Message, Say], Message]

MODULE = "upbench.sweeping.cell_worker"
"""What runs in the workers of a sweep."""
ANNOUNCE = "UPBENCH_ANNOUNCE"
"""The environment variable with the file descriptor that a worker shares with its parent; see `Announcement`."""
START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from importlib import import_module; import_module(sys.argv[2]).main(*map(int, sys.argv[3:]))"
)
"""The parent's sys.path comes before the first import: what the parent could import, the worker can."""
IN_PROCESS = "UPBENCH_IN_PROCESS"
"""Environment variable that keeps all measurements in the process that asks for them, as a debugger needs it. Workers have
it, so that a user's file which measures when it is imported starts no more of them."""
SAY_EVERY_S = 0.5
"""A message costs the parent a wake-up, which is not to happen between every two samples."""

START_S = 600.0
"""A worker has this long to import torch and find its devices, which a cold network disk can make slow."""


class WorkerError(UpbenchError):
    """A worker that cannot be started."""


def not_ready() -> WorkerError:
    """Return the error of a worker process that did not start in time."""
    return WorkerError(
        f"a worker process was not ready after {START_S:.0f} s; run `upbench env` to see whether torch is"
    )


def start_command(module: str, paths: Sequence[str]) -> list[str]:
    """Return the command of a worker in this Python.

    Args:
        module: What runs in it.
        paths: Its sys.path.
    """
    return [sys.executable, "-c", START, json.dumps(list(paths)), module]


class Worker:
    """A worker process, seen from its parent. Used as a context it is ended with it, whatever happens.

    Args:
        module: whose `main` runs in it, in this Python.
        command: what runs instead. The file descriptors of its socket and of its lifeline and the number of this
            process are added as arguments.
        folder: where it runs; by default here.
        environment: its environment variables; by default this process's.
        shared: open files that it inherits, under the same numbers.
    """

    def __init__(
        self,
        module: str = MODULE,
        command: Sequence[str] | None = None,
        folder: str | Path | None = None,
        environment: Mapping[str, str] | None = None,
        shared: Sequence[int] = (),
    ) -> None:
        self.pipe, theirs = Pipe()
        self._lifeline: int | None
        ends_with_us, self._lifeline = os.pipe()
        handed = (theirs.fileno(), ends_with_us)
        try:
            self.process = subprocess.Popen(
                [*(command or start_command(module, sys.path)), *map(str, handed), str(os.getpid())],
                cwd=folder,
                env=environment,
                pass_fds=(*handed, *shared),
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a module prints is not part of the result
                start_new_session=True,
            )
        except OSError as error:
            raise WorkerError(f"the worker process cannot be started ({error.strerror})") from None
        finally:
            theirs.close()
            os.close(ends_with_us)
        self._killed_before = memory_limit.kills()

    def ask(self, message: Message) -> None:
        """Give it something to do. A worker that has died meanwhile is noticed by `answer`."""
        self._killed_before = memory_limit.kills()
        with suppress(OSError):
            self.pipe.send_bytes(json.dumps(message).encode())

    def answer(self) -> Message | None:
        """Wait for the next message of the process and return it; None when it died."""
        try:
            found: Message = json.loads(self.pipe.recv_bytes())
        except (EOFError, OSError):
            return None
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def serves(self, device: str) -> bool:
        """Return True: a process of this machine can use each of its devices."""
        return True

    def gone(self) -> None:
        """Return None: it dies by its own doing, or with this machine."""
        return

    def kill(self) -> int:
        """End it and all that it started, at once; its exit code, negative for a signal."""
        if self._lifeline is not None:  # only once: later its number may be that of another process
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.pipe.close()
            os.close(self._lifeline)
            self._lifeline = None
        return self.process.wait()

    def death(self) -> tuple[Status, str]:
        """Return the status and the sentence for a cell in which it died."""
        with suppress(subprocess.TimeoutExpired):  # it has closed its socket and is about to end by itself
            self.process.wait(5)
        code = self.kill()
        if code >= 0:
            return "crashed", f"the process ended with exit code {code}"
        name = signal.Signals(-code).name
        said = f"the process was killed by {name} ({signal.strsignal(-code)})"
        if -code != signal.SIGKILL:
            return "crashed", said
        now = memory_limit.kills()
        if now is not None and self._killed_before is not None and now > self._killed_before:
            return "oom", f"{said} by the kernel, which had run out of memory"
        return "crashed", f"{said}, not by upbench; kernels do so when memory runs out"


class PinnedWorker(Worker):
    """A worker whose malloc is pinned, and that leaves a word of what it does; see `allocator` and `Announcement`.

    Args:
        module, command: See `Worker`.
        pinning: What its malloc does with large blocks that are freed.
        base: The environment variables that it is started from; by default this process's.
    """

    def __init__(
        self,
        module: str = MODULE,
        pinning: Pinning = "kept",
        base: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        self.announcement = Announcement()
        announce = {ANNOUNCE: str(self.announcement.descriptor), IN_PROCESS: "1"}
        given = {**allocator.worker_environment(pinning, os.environ if base is None else base), **announce}
        super().__init__(module, command, environment=given, shared=(self.announcement.descriptor,))


def places(names: Sequence[str], module: str | None = None) -> tuple[dict[str, list[Message]], PinnedWorker]:
    """Return where specs with these devices run, and the worker that said so, which is ready to measure.

    Args:
        names: Names of devices, as specs have them.
        module: The module that runs in the worker.

    Returns:
        For each name the devices it stands for ("auto": every GPU, or the CPU), each as an environment whose
        `device_id` is the name torch has for it; and the worker.

    Raises:
        DeviceError: For devices that are not there.
        WorkerError: When no worker starts.
    """
    worker = PinnedWorker(module or MODULE)
    try:
        worker.ask({"places": list(names)})
        if not worker.pipe.poll(START_S):
            raise not_ready()
        found = worker.answer()
        if found is None:
            _, why = worker.death()
            raise WorkerError(f"the worker process cannot be started: {why}")
        if found.get("refused"):
            raise WorkerError("\n".join(found["refused"]))
    except BaseException:
        worker.kill()
        raise
    return found["places"], worker


def serve(socket: int, lifeline: int, parent: int, measure: Measure, where: Callable[[Sequence[str]], Message]) -> None:
    """Answer the parent's messages until it closes the socket.

    Args:
        socket: File descriptor of the connection to the parent.
        lifeline: File descriptor that is never written to and ends with the parent.
        parent: Process id of the parent.
        measure: Does a job, and may announce its parts.
        where: Returns the environments of devices.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    memory_limit.be_the_first_to_go()
    _end_with(parent, lifeline)
    pipe = Connection(socket)
    while True:
        try:
            message = json.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        answer = where(message["places"]) if "places" in message else measure(message, _say(pipe))
        pipe.send_bytes(json.dumps(answer).encode())


def _say(pipe: Connection) -> Say:
    last, step = 0.0, ""

    def say(what: str, part: float) -> None:
        nonlocal last, step
        if (now := time.monotonic()) - last >= SAY_EVERY_S or what != step:
            last, step = now, what
            pipe.send_bytes(json.dumps({"what": what, "part": part}).encode())

    return say


def _end_with(parent: int, lifeline: int) -> None:
    """Die when the parent dies, even by SIGKILL, and even in the middle of a call that never returns."""

    def watch() -> None:
        while os.read(lifeline, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    if sys.platform == "linux":  # a thread cannot run while a call holds the interpreter; the kernel can always kill
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:
            os.killpg(0, signal.SIGKILL)


def where(names: Sequence[str]) -> Message:
    """Return the devices that the names of specs stand for, or what is wrong with them."""
    import torch

    from upbench.machine import environment

    found: dict[str, list[Message]] = {}
    refused: list[str] = []
    for name in names:
        try:
            first = environment.resolve_device(name)
        except UpbenchError as error:
            refused.append(str(error))
            continue
        every = range(torch.cuda.device_count()) if name == "auto" and first.type == "cuda" else ()
        devices = [torch.device("cuda", n) for n in every] or [first]
        found[name] = [environment.capture(device) | {"device_id": str(device)} for device in devices]
    return {"places": found, "refused": refused}


def healthy(device: Any) -> bool:
    """Return whether the device still computes: after an error in a kernel a process cannot use its GPU any more."""
    import torch

    if device.type != "cuda":
        return True
    try:
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.zeros(1, device=device).item()
    except Exception:  # noqa: BLE001 - whatever it says, the process is of no use
        return False
    return True


def status_of(error: BaseException) -> Status:
    """Return "oom" for an error that says that memory ran out, or that was raised from one; else "error"."""
    return "oom" if memory_limit.ran_out(error) else "error"


def describe(error: BaseException) -> tuple[Status, str]:
    """Return status and sentence for what a cell raised; its traceback is printed where UPBENCH_DEBUG is set."""
    from upbench.benchmark.workload import reason

    complain(error)
    return status_of(error), reason(error)


def complain(error: BaseException) -> None:
    """Print the traceback of an error where UPBENCH_DEBUG asks for it."""
    if os.environ.get(DEBUG):
        sys.stderr.write(whole_traceback(error))
