"""What runs in the worker of a deployment: one cell a message."""

from __future__ import annotations

import os
from typing import Any

from upbench.errors import DEBUG, whole_traceback
from upbench.sweeping import worker
from upbench.sweeping.worker import Message, Say


def main(socket: int, lifeline: int, parent: int) -> None:
    """Deploy what the parent asks until it closes the socket.

    Args:
        socket: File descriptor of the socket.
        lifeline: File descriptor of a pipe that ends with the parent.
        parent: Process id of the parent.
    """
    if not os.environ.get(DEBUG):
        # Converters write progress bars and warnings, some from C++: none of that is part of the result.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    worker.serve(socket, lifeline, parent, _deploy, _ready)


def _ready(names: Any) -> Message:
    """Import what every cell needs, so that no cell's time holds it."""
    from upbench.deploy import job  # noqa: F401

    return {"ready": True}


def _deploy(message: Message, say: Say) -> Message:
    import torch

    from upbench.deploy import job

    torch.set_num_threads(message.pop("threads"))
    try:
        return {"cell": job.deploy(**message, say=say).to_dict()}
    except BaseException as error:  # noqa: BLE001 - the parent raises it again, whatever it is
        return {"traceback": whole_traceback(error)}
