#!/usr/bin/env bash
# ray 2.60.0: tasks and actors run at niceness 15, whatever the niceness of the driver and of the node's own processes is, also
# where an actor has asked for every core of its node: any other program of the machine goes before it, and only root can
# take it back from inside. Processes that the actor starts inherit it. The variable RAY_worker_niceness=0 in the
# environment of `ray start` or `ray.init` switches it off.
# Expected: the driver's niceness three times.
# Seen: "driver 0", "actor 15", "its process 15"; with RAY_worker_niceness=0 "actor 0", "its process 0".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ray==2.60.0
cd "$folder"
cat > show.py <<'PYTHON'
import os
import subprocess

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # the loopback address
os.environ["RAY_AUTH_MODE"] = "disabled"
import ray

ray.init(address="local", num_cpus=1, include_dashboard=False, object_store_memory=80 * 2**20, logging_level="ERROR")


@ray.remote(num_cpus=1)
class Measure:
    def niceness(self) -> tuple[int, int]:
        mine = os.getpriority(os.PRIO_PROCESS, 0)
        return mine, int(subprocess.run(["nice"], capture_output=True, text=True, check=True).stdout)


here = os.getpriority(os.PRIO_PROCESS, 0)
actor, child = ray.get(Measure.remote().niceness.remote())
ray.shutdown()
print("driver", here, "actor", actor, "its process", child)
wanted = here if os.environ.get("RAY_worker_niceness") == "0" else min(here + 15, 19)
assert actor == child == wanted, (here, actor, child)
PYTHON
"$folder/venv/bin/python" show.py
RAY_worker_niceness=0 "$folder/venv/bin/python" show.py
