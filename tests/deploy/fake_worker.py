"""A worker that does with each cell what the name of its target stands for, without torch."""

from __future__ import annotations

import os
import signal
import time

from upbench.deploy.cell import Cell
from upbench.sweeping import worker
from upbench.sweeping.worker import Message, Say


def main(socket: int, lifeline: int, parent: int) -> None:
    worker.serve(socket, lifeline, parent, _deploy, lambda names: {"ready": True})


def _deploy(message: Message, say: Say) -> Message:
    say("conversion", 0.25)
    if message["target"] == "ncnn":
        os.kill(os.getpid(), signal.SIGSEGV)
    if message["target"] == "openvino":
        time.sleep(60)
    return {"cell": Cell("fake", message["target"], message["variant"], verdict="right", nodes=os.getpid()).to_dict()}
