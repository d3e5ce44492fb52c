"""`python -m upbench`, and the console script."""

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command line, or answer a shell that completes one."""
    _end_on_interrupt()
    from upbench.cli import completion
    from upbench.cli.app import app
    from upbench.user_code import isolation

    _raise_on_interrupt()
    try:
        if os.environ.get(completion.VARIABLE) == "complete_bash":
            completion.in_bash(lambda: app(prog_name="upbench"))
        if os.environ.get(completion.VARIABLE) == "complete_zsh":
            completion.in_zsh()
        app(prog_name="upbench")
    finally:
        isolation.silence_exit()


def _end_on_interrupt() -> None:
    """Answer Ctrl-C by a sentence and the end of the process while modules are imported, where nothing catches it.

    A process that ignores Ctrl-C, as what a shell starts in the background, goes on ignoring it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _raise_on_interrupt() -> None:
    """Answer Ctrl-C by KeyboardInterrupt again, which the command line turns into a sentence."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: FrameType | None) -> None:
    """End the process; an exception could be lost among the imports that it interrupts."""
    sys.stderr.write("upbench: interrupted; nothing was begun\n")
    sys.stderr.flush()
    os._exit(130)


if __name__ == "__main__":
    main()
