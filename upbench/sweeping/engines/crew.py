"""What every engine provides: the environments that cells can run in, and worker processes there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from upbench.machine.allocator import Pinning
from upbench.specs.run_spec import RunSpec
from upbench.sweeping.engines.choice import Choice
from upbench.sweeping.jobs import Handle

Environment = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What a crew is needed for.

    Args:
        devices: Names of devices, as specs have them.
        specs: Of each upsampler that will be measured, by its name, one spec.
        module: What runs in the workers.
        choice: The engine and its settings.
        finished: Returns how many cells the results file has that were measured in an environment.
        notice: Called with a sentence for the user.
    """

    devices: Sequence[str]
    specs: Mapping[str, RunSpec]
    module: str
    choice: Choice
    finished: Callable[[Environment], int] = lambda env: 0
    notice: Callable[[str], None] = lambda sentence: None


@dataclass
class Crew:
    """Where cells run, and the workers that are ready.

    Args:
        places: By the device of a spec, the environments that it stands for; `device_id` is what a lane knows each by.
        start: Starts a worker process for a device_id; it is not ready yet.
        idle: Workers that are ready.
        line_of: Returns the machine of a device_id, for a line of its own in the progress; "" where there is only one.
        spread: Sentences on where the blocks go, for a dry run.
    """

    places: dict[str, list[Environment]]
    start: Callable[[str, Pinning], Handle]
    idle: list[Handle] = field(default_factory=list)
    line_of: Callable[[str], str] = lambda device: ""
    spread: list[str] = field(default_factory=list)


Opened = Callable[[Request], AbstractContextManager[Crew]]
"""The function `crew` of an engine: yields a crew and dismisses it at the end. Raises WorkerError or DeviceError."""
