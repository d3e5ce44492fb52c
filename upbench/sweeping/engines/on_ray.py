"""The engine `ray`: worker processes on the nodes of a Ray cluster, each device of a node held by one actor.

An actor that measures on a CPU takes all cores that Ray has on its node, one that measures on a GPU takes that GPU: no
two blocks share what is timed. Lanes, blocks and files are those of the local engine; a message goes by way of the actor.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import Any

from upbench.errors import DEBUG, first_line, install
from upbench.sweeping import worker
from upbench.sweeping.engines import kinds, ray_code, same_code
from upbench.sweeping.engines.crew import Crew, Environment, Request
from upbench.sweeping.engines.ray_worker import RayWorker, Station
from upbench.sweeping.jobs import Message
from upbench.sweeping.worker import WorkerError

INSTALL = f"the engine ray needs Ray on every node, which is not installed; {install('ray')}"
BUSY_S = 60.0
"""How long nodes that others use are waited for while some are free."""
REACHED_S = 5.0
OBJECT_STORE_BYTES = 80 * 2**20
"""Of a cluster that is started here; Ray refuses less than 75 MiB, and messages are small."""


@contextmanager
def crew(request: Request) -> Iterator[Crew]:
    """Yield the nodes of a Ray cluster that have the same software as this machine, of one kind for each device.

    Args:
        request: What is to be measured, and the address of the cluster.

    Raises:
        DeviceError: If no node has a device.
        WorkerError: If Ray is not there, no cluster is, or no node can take part.
    """
    ray = _ray(request.choice.address)
    ours = not ray.is_initialized()
    if not ours:
        _check_same_cluster(ray, request.choice.address)
    else:
        _connect(ray, request.choice.address or "auto", ray_code.runtime_env(list(request.specs.values())))
    opening = _Opening(request, _stations(ray, request))
    try:
        yield opening.crew()
    finally:
        for station in opening.stations:
            station.leave()
        if ours:
            ray.shutdown()


def _ray(address: str | None) -> Any:
    """Import Ray without its telemetry; a cluster of this process alone listens to this machine only."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address == "local":
        os.environ.setdefault("RAY_worker_niceness", "0")
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError:
        raise WorkerError(INSTALL) from None
    return ray


def _connect(ray: Any, address: str, runtime_env: Mapping[str, Any]) -> None:
    if address not in ("auto", "local"):
        _check_reachable(ray, address)
    own = {"num_cpus": os.cpu_count(), "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    try:
        ray.init(
            address=address,
            runtime_env=dict(runtime_env),
            log_to_driver=bool(os.environ.get(DEBUG)),
            logging_level="ERROR",
            configure_logging=False,
            **(own if address == "local" else {}),
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise WorkerError(
            f"--address {address}: no Ray cluster can be reached ({first_line(error)}); start one with "
            "`ray start --head`, or give --address local"
        ) from None


def _check_same_cluster(ray: Any, address: str | None) -> None:
    """Refuse an address beside a connection to another cluster: a process has one, and the sweep would go there."""
    if address in (None, "auto", "local"):
        return
    host, port = _host_and_port(ray, str(address))
    known = ray.get_runtime_context().gcs_address
    if f"{host}:{port}" != known:
        raise WorkerError(
            f"--address {address}: this process is connected to the Ray cluster at {known} already; call ray.shutdown() "
            "before, or leave the address out"
        )


def _host_and_port(ray: Any, address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise WorkerError(f"--address {address}: give auto, local or HOST:PORT, as 10.0.0.1:6379")
    if host in ("localhost", "127.0.0.1", "::1"):
        host = ray.util.get_node_ip_address()  # Ray asks there in its place
    return host, int(port)


def _check_reachable(ray: Any, address: str) -> None:
    """Refuse an address that nobody answers at: Ray itself tries for minutes."""
    host, port = _host_and_port(ray, address)
    try:
        socket.create_connection((host, port), REACHED_S).close()
    except OSError as error:
        raise WorkerError(
            f"--address {address}: nothing answers at {host}:{port} ({error.strerror or error}); start the "
            "cluster there with `ray start --head`, or give another address"
        ) from None


def _stations(ray: Any, request: Request) -> list[Station]:
    """The devices of all nodes that the specs may run on."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    hosts = [node["NodeManagerHostname"] for node in nodes]
    found: list[Station] = []
    for node, host in zip(nodes, hosts, strict=True):
        name = host if hosts.count(host) == 1 else f"{host}:{node['NodeID'][:6]}"
        has = {kind: int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU")}
        common = {"node": name, "node_id": node["NodeID"], "module": request.module}
        for gpu in range(has["GPU"]):
            one = 1 if has["CPU"] else 0
            found.append(Station(f"{name}/cuda:{gpu}", device="cuda:0", cpus=one, gpus=1, **common))
        if has["CPU"]:
            found.append(Station(f"{name}/cpu", device="cpu", cpus=has["CPU"], gpus=0, **common))
    return found


@dataclass
class _Opening:
    """Finds out which stations can take part, and what is there. Sentences on those that cannot go to `refused`."""

    request: Request
    stations: list[Station]
    refused: list[str] = field(default_factory=list)
    workers: dict[str, RayWorker] = field(default_factory=dict)

    def crew(self) -> Crew:
        """Return the stations that measure, with a worker on each that is ready."""
        wanted = self._wanted()
        kinds_of_device = list(dict.fromkeys(s.device for every in wanted.values() for s in every))
        places: dict[str, list[Environment]] = {}
        spread: list[str] = []
        for device in kinds_of_device:  # GPUs first: all cores of a node cannot be had while one of its GPUs is held
            for other in self.stations:
                other.close()
            stations = [s for s in self.stations if s.device == device]
            environments = self._captured(stations)
            if not environments:
                raise WorkerError("\n".join(dict.fromkeys(self.refused)) or "no node of the cluster could be used")
            best, left_out = kinds.choose(environments, self.request.choice.on, self.request.finished)
            for sentence in left_out:
                self.request.notice(sentence)
            spread.append(f"The blocks are given to {self._named(best)}.")
            places |= {name: best for name, every in wanted.items() if every[0].device == device}
        for sentence in dict.fromkeys(self.refused):
            self.request.notice(sentence)
        taking_part = {env["device_id"] for every in places.values() for env in every}
        for station in self.stations:
            if station.name not in taking_part:
                station.close()
        known = {station.name: station for station in self.stations}
        idle = [one for one in self.workers.values() if one.serves(one.station.name)]
        return Crew(
            {name: places[name] for name in self.request.devices},
            lambda name, pinning: self._start(known[name]).start(pinning),
            [*idle],
            lambda name: known[name].name,
            spread,
        )

    def _start(self, station: Station) -> Station:
        """Free the other devices of its node where the station takes all cores, or where that one does."""
        for other in self.stations:
            if other.node_id == station.node_id and other.device != station.device:
                other.close()
        return station

    def _wanted(self) -> dict[str, list[Station]]:
        """For each device of a spec the stations that it may run on, those on GPUs first."""
        on_gpu = [s for s in self.stations if s.gpus]
        on_cpu = [s for s in self.stations if not s.gpus]
        found: dict[str, list[Station]] = {}
        for name in self.request.devices:
            if name.startswith("cuda:"):
                raise WorkerError(f"device {name} is a GPU of one machine; with --engine ray give cuda, for any GPU")
            found[name] = on_cpu if name == "cpu" else on_gpu if name == "cuda" else on_gpu or on_cpu
            if not found[name]:
                raise WorkerError(f"device {name} was asked for, but no node of the cluster has one that Ray knows of")
        return dict(sorted(found.items(), key=lambda one: one[1][0].device == "cpu"))

    def _captured(self, stations: Sequence[Station]) -> list[Environment]:
        """The environments of the stations that can take part."""
        ready = self._same_versions(stations)
        answers = self._ask(ready, {"places": []})
        environments = []
        for station in list(ready):
            answer = answers.get(station.name)
            if answer is None or answer["refused"]:
                self._refuse(station, "; ".join(answer["refused"]) if answer else "its worker could not be started")
                continue
            (env,) = answer["places"][station.device]
            environments.append({**env, "device_id": station.name})
        code = {name: spec.sources() for name, spec in self.request.specs.items()}
        if own := {name: hashes for name, hashes in code.items() if hashes is not None}:
            taking_part = [s for s in ready if any(env["device_id"] == s.name for env in environments)]
            for name, answer in self._ask(
                taking_part, {"code": [self.request.specs[name].to_dict() for name in own]}
            ).items():
                why = answer.get("error") or same_code.changed_code(own, answer["code"])
                if why:
                    self._refuse(next(s for s in taking_part if s.name == name), why)
                    environments = [env for env in environments if env["device_id"] != name]
        return environments

    def _same_versions(self, stations: Sequence[Station]) -> list[Station]:
        """The stations whose versions are those of this machine, each with a worker that begins to start."""
        import ray

        for station in stations:
            station.open()
        asked = {station.actor.describe.remote(): station for station in stations}
        answered, waiting = ray.wait(list(asked), num_returns=len(asked), timeout=BUSY_S)
        if not answered:
            answered, waiting = ray.wait(waiting, num_returns=1, timeout=worker.START_S - BUSY_S)
        here, same = same_code.described(), []
        for one in waiting:
            self._refuse(asked[one], "others are using it, and it was not free in time")
        for one in answered:
            station = asked[one]
            try:
                there = ray.get(one)
            except Exception as error:  # noqa: BLE001 - an older upbench may fail in many ways there
                self._refuse(station, f"upbench cannot be run there as it is here ({_last_line(error)})")
                continue
            if why := same_code.difference(here, there):
                self._refuse(station, why)
                continue
            if there["niceness"] > there["niceness_of_node"]:
                self.request.notice(
                    f"{station.node}: Ray runs its workers at niceness {there['niceness']}, so that other programs come "
                    "first; start Ray with RAY_worker_niceness=0 in its environment"
                )
            self.workers[station.name] = station.start("kept")
            same.append(station)
        return sorted(same, key=lambda station: station.name)

    def _ask(self, stations: Sequence[Station], message: Message) -> dict[str, Message]:
        """Ask the workers of some stations, and return their answers by station."""
        waiting: dict[Any, str] = {}
        for station in stations:
            one = self.workers[station.name]
            one.ask(message)
            waiting[one.pipe] = station.name
        found: dict[str, Message] = {}
        until = time.monotonic() + worker.START_S
        while waiting and time.monotonic() < until:
            for pipe in connection.wait(list(waiting), timeout=1.0):
                name = waiting.pop(pipe)
                answer = self.workers[name].answer()
                if answer is not None:
                    found[name] = answer
        return found

    def _refuse(self, station: Station, why: str) -> None:
        self.refused.append(f"{station.node} is refused: {why}")
        if (one := self.workers.pop(station.name, None)) is not None:
            one.kill()
        station.close()

    def _named(self, environments: Sequence[Mapping[str, Any]]) -> str:
        names = ", ".join(str(env["device_id"]) for env in environments)
        return f"{names} ({kinds.text(environments[0])})"


def _last_line(error: Exception) -> str:
    text = str(error)
    with suppress(AttributeError):
        text = str(error.cause)  # type: ignore[attr-defined]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
