"""A Ray cluster of several node processes on this machine, on the loopback address, without dashboard and telemetry."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
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
            started.shutdown()
            assert_stopped()


def assert_stopped() -> None:
    """Fail where a process of Ray that this one started still runs."""
    until = time.monotonic() + 20
    while (left := processes()) and time.monotonic() < until:
        time.sleep(0.2)
    assert left == []


def processes() -> list[str]:
    """The processes of Ray below this one, or left behind by one that has ended, by their command lines."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,sid,args"], capture_output=True, text=True, check=True).stdout
    session = str(os.getsid(0))
    rows = [line.split(None, 3) for line in listed.splitlines()[1:]]
    return [row[3] for row in rows if row[2] == session and ("raylet" in row[3] or row[3].startswith("ray::"))]


def kill(node: Any) -> None:
    """End a node as a power cut does: SIGKILL for its raylet, with which its workers end."""
    from ray._private.ray_constants import PROCESS_TYPE_RAYLET

    for one in node.all_processes[PROCESS_TYPE_RAYLET]:
        one.process.kill()
