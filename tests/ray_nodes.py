"""A Ray cluster of several node processes on this machine, on the loopback address, without dashboard and telemetry."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray replaces 127.0.0.1 by the address of a network card otherwise
    "RAY_AUTH_MODE": "disabled",
    "RAY_enable_metrics_collection": "0",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_worker_niceness": "0",
}
STORE_BYTES = 80 * 2**20


@contextmanager
def cluster(folder: Path, *nodes: dict[str, str], head_cpus: int = 1) -> Iterator[Any]:
    """Start a cluster, and stop every process of it.

    Args:
        folder: Short path for Ray's own files.
        nodes: Environment variables of each node after the first.
        head_cpus: Cores of the first node; 0 for one that does not measure.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.chdir(folder)  # Ray lets its processes import from the folder that they are started in
        from ray.cluster_utils import Cluster

        common = {"num_gpus": 0, "object_store_memory": STORE_BYTES}
        head = {**common, "num_cpus": head_cpus, "include_dashboard": False, "node_ip_address": "127.0.0.1"}
        started = Cluster(initialize_head=True, head_node_args=head)
        try:
            for variables in nodes:
                started.add_node(wait=False, num_cpus=1, env_vars=variables, **common)
            started.wait_for_nodes(timeout=120)
            yield started
        finally:
            # The raylets and other daemons, and what they started.
            daemons = [one.process.pid for node in started.list_all_nodes() for one in _daemons(node)]
            pids = {pid for daemon in daemons for pid in (daemon, *below(daemon))}
            started.shutdown()
            assert_ended(pids)


def _daemons(node: Any) -> list[Any]:
    return [one for listed in node.all_processes.values() for one in listed]


def below(ancestor: int) -> set[int]:
    """The processes that a process has started, and those that they have."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    pairs = [(int(pid), int(parent)) for pid, parent in (line.split() for line in listed.splitlines()[1:])]
    found, more = set[int](), {ancestor}
    while more:
        more = {pid for pid, parent in pairs if parent in more}
        found |= more
    return found


def assert_ended(pids: Collection[int]) -> None:
    """Fail where one of some processes still runs."""
    until = time.monotonic() + 30
    while (left := [pid for pid in pids if _runs(pid)]) and time.monotonic() < until:
        time.sleep(0.2)
    assert left == []


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def kill(node: Any) -> None:
    """End a node as a power cut does: SIGKILL for its raylet, with which its workers end."""
    from ray._private.ray_constants import PROCESS_TYPE_RAYLET

    for one in node.all_processes[PROCESS_TYPE_RAYLET]:
        one.process.kill()
