"""A worker process on a node of a Ray cluster, seen from the machine that runs the sweep; and the node's device."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from typing import Any

from upbench.errors import first_line
from upbench.machine.allocator import Pinning
from upbench.records.record import Status
from upbench.sweeping.jobs import Gone, Message
from upbench.sweeping.worker import ANNOUNCE, IN_PROCESS

WAIT_S = 1.0
"""How often a node says what its worker does; a message is passed on at once."""
LEAVE_S = 10.0
"""How long the end of a sweep waits for a thread that listens; it ends with its actor."""
LISTENER = "upbench-ray-listener"
"""Name of the threads that wait for what nodes say."""


@dataclass
class Station:
    """A device of a node, and the actor that holds it while it measures.

    Args:
        name: What the device is known by, as "node1/cuda:0".
        node, node_id: Its node: the name, and Ray's id.
        device: The name that torch has for it in the worker.
        cpus, gpus: What the actor takes of the node: all cores, or one GPU.
        module: What runs in the workers.
    """

    name: str
    node: str
    node_id: str
    device: str
    cpus: int
    gpus: int
    module: str
    actor: Any = None
    workers: list[RayWorker] = field(default_factory=list)

    def open(self) -> None:
        """Ask Ray for the actor. It waits while others use the device."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from upbench.sweeping.engines import ray_agent

        if self.actor is None:
            where = NodeAffinitySchedulingStrategy(self.node_id, soft=False)
            self.actor = (
                ray.remote(ray_agent.Agent)
                .options(
                    num_cpus=self.cpus,
                    num_gpus=self.gpus,
                    max_concurrency=ray_agent.THREADS,
                    scheduling_strategy=where,
                )
                .remote(_variables())
            )

    def close(self) -> None:
        """End the actor and its worker."""
        import ray

        actor, self.actor = self.actor, None
        if actor is not None:
            with suppress(Exception):  # it may be gone with its node
                ray.kill(actor)

    def leave(self) -> None:
        """End the actor for good, and the threads that listen to its workers: one that asked Ray later would connect anew."""
        for one in self.workers:
            one.kill()
        self.close()
        for one in self.workers:
            one.listener.join(LEAVE_S)

    def start(self, pinning: Pinning) -> RayWorker:
        """Start a worker; the one before is ended."""
        self.open()
        self.workers.append(RayWorker(self, len(self.workers) + 1, pinning))
        return self.workers[-1]

    def is_alive(self) -> bool:
        """Return whether Ray knows the node as alive."""
        import ray

        nodes: list[dict[str, Any]] = ray.nodes()
        return any(node["NodeID"] == self.node_id and node["Alive"] for node in nodes)


def _variables() -> dict[str, str]:
    """The settings of upbench in this environment, which hold on every node."""
    apart = (ANNOUNCE, IN_PROCESS)
    return {k: v for k, v in os.environ.items() if k.startswith("UPBENCH_") and k not in apart}


@dataclass
class Said:
    """The last announcement that a node has passed on; see `Announcement`."""

    number: int | None = None
    times: int = 0

    def clear(self) -> None:
        """Forget the last number."""
        self.number = None

    def read(self) -> int | None:
        """Return the last number, None when there is none."""
        return self.number

    def count(self) -> int:
        """Return how often a number was left."""
        return self.times


@dataclass
class RayWorker:
    """What `lanes` needs of a worker, by way of the agent of its node. A thread waits for what the agent passes on.

    Args:
        station: The device that it measures.
        number: Which worker of the station it is.
        pinning: What its malloc does with large blocks.
    """

    station: Station
    number: int
    pinning: Pinning
    announcement: Said = field(default_factory=Said)
    _actor: Any = None
    _death: tuple[Status, str] = ("crashed", "its process was ended")
    _gone: Gone | None = None
    _actor_is_dead: bool = False
    _ended: bool = False

    def __post_init__(self) -> None:
        self.pipe, self._theirs = Pipe()
        self.process = self
        self._actor = self.station.actor
        started = self._actor.start.remote(self.number, self.station.module, self.pinning)
        self.listener = threading.Thread(target=self._listen, args=(started,), name=LISTENER, daemon=True)
        self.listener.start()

    def ask(self, message: Message) -> None:
        """Have a message sent to the process; the names of devices are those that it knows."""
        if "device" in message:
            message = {**message, "device": self.station.device}
        elif "places" in message:
            message = {**message, "places": [self.station.device]}
        self._actor.ask.remote(self.number, message)

    def answer(self) -> Message | None:
        """Wait for the next message of the process and return it; None when it died."""
        try:
            found: Message = json.loads(self.pipe.recv_bytes())
        except (EOFError, OSError):
            return None
        if "record" in found:
            found["record"]["environment"]["device_id"] = self.station.name
        return found

    def poll(self) -> int | None:
        """Return None while it lives."""
        return 0 if self._ended else None

    def kill(self) -> int:
        """Have the process ended, and all that it started."""
        if not self._ended:
            self._ended = True
            with suppress(Exception):  # the cluster may be gone
                self._actor.stop.remote(self.number)
        return 0

    def death(self) -> tuple[Status, str]:
        """Return the status and the sentence for a cell in which it died."""
        self.kill()
        if self._actor_is_dead and self.station.actor is self._actor:
            self.station.close()  # the next worker gets a new one
        return self._death

    def serves(self, device: str) -> bool:
        """Return whether it can do jobs on a device: its own, while it lives."""
        return device == self.station.name and not self._ended and self.station.actor is self._actor

    def gone(self) -> Gone | None:
        """Return why its node or agent was lost, if it was."""
        return self._gone

    def _listen(self, started: Any) -> None:
        import ray

        try:
            ray.get(started)
            while not self._ended:
                found = ray.get(self._actor.events.remote(self.number, WAIT_S))
                self.announcement.number, self.announcement.times = found["said"], found["count"]
                for message in found["messages"]:
                    self._theirs.send_bytes(json.dumps(message).encode())
                if found["death"]:
                    self._death = found["death"]
                    break
                if found["ended"]:
                    break
        except Exception as error:  # noqa: BLE001 - whatever Ray raises, the worker cannot be reached any more
            if not self._ended:
                self._hear_of_loss(error)
        finally:
            with suppress(OSError):
                self._theirs.close()

    def _hear_of_loss(self, error: Exception) -> None:
        from ray.exceptions import OutOfMemoryError

        self._actor_is_dead = True
        if isinstance(error, OutOfMemoryError) or "low on memory" in str(error):
            self._death = ("oom", f"Ray ended the process, as the node ran out of memory: {first_line(error)}")
            return
        alive = True
        with suppress(Exception):
            alive = self.station.is_alive()
        why = "Ray has lost its process there" if alive else f"the node {self.station.node} has died"
        self._gone = Gone(why, for_good=not alive)
