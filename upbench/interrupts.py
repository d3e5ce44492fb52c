"""Ctrl-C of a process of upbench: one sentence and exit code 130, whenever it is pressed.

A KeyboardInterrupt in the middle of an import is lost or becomes another error there, as a class that pydantic was making.
So before and after a command Ctrl-C ends the process at once, where nothing can be lost; within a command it is raised
as usual, but noted while modules are imported and raised after that. Loaded first of all, it imports next to nothing.
"""

import _thread
import os
import signal
import sys
import time
from contextlib import suppress
from types import FrameType

CODE = 130
"""The exit code."""
AGAIN_S = 0.02
"""How often it is looked whether an import that was interrupted has ended."""
_IMPORTING = "<frozen importlib._bootstrap>"
"""The file that Python's frames of an import are of."""

_left = ""
_noted = _again = False


def end_at_once(left: str, first: bool = False) -> None:
    """Answer Ctrl-C by a sentence and the end of the process, from now on.

    A process that ignores Ctrl-C, as what a shell starts in the background, goes on ignoring it, and a handler of somebody
    else stays.

    Args:
        left: What the sentence says; empty for none, where it was said already.
        first: False does so only where this module answers Ctrl-C already, so that nothing changes within a test of pytest.
    """
    global _left
    _left = left
    if signal.getsignal(signal.SIGINT) in ((signal.default_int_handler,) if first else (_end, _raise)):
        signal.signal(signal.SIGINT, _end)


def say_unsaid() -> None:
    """Say that Ctrl-C came in the few lines between a command and `end_at_once`, where it was raised and nobody answered it."""
    if signal.getsignal(signal.SIGINT) is _raise:
        end_at_once("")
        os.write(2, b"upbench: interrupted; the command had ended\n")


def raise_after_imports(always: bool = False) -> None:
    """Answer Ctrl-C by KeyboardInterrupt from now on; one during an import is raised when that has ended, a second one at once.

    Args:
        always: False does so only where `end_at_once` was in effect, so that a process of somebody else keeps its own.
    """
    if always or signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, _raise)


def is_usual() -> bool:
    """Return whether Ctrl-C is answered by Python or by this module, and not by somebody else's handler."""
    return signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _end, _raise)


def caused(error: BaseException) -> bool:
    """Return whether an error is what a library made of a KeyboardInterrupt that came in its way."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, KeyboardInterrupt) or "KeyboardInterrupt" in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _end(number: int, frame: FrameType | None) -> None:
    with suppress(Exception):  # its buffer may be what was interrupted
        sys.stdout.flush()
    if _left:
        with suppress(OSError):
            os.write(2, f"upbench: interrupted; {_left}\n".encode())
    os._exit(CODE)


def _raise(number: int, frame: FrameType | None) -> None:
    global _noted, _again
    again, _again = _again, False
    if _is_importing(frame) and (again or not _noted):
        _noted = True
        _thread.start_new_thread(_deliver_again, (_thread.get_ident(),))
        return
    _noted = False
    raise KeyboardInterrupt


def _deliver_again(main: int) -> None:
    """Send the signal again, to the main thread, where a call that waits is interrupted by it."""
    global _again
    time.sleep(AGAIN_S)
    if not _noted:
        return
    _again = True
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, signal.SIGINT)
    else:
        _thread.interrupt_main()


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            return True
        frame = frame.f_back
    return False
