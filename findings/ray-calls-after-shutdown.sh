#!/usr/bin/env bash
# ray 2.60.0: after ray.shutdown(), ray.get, ray.wait, ray.kill and a method of an actor that are called with what is left of the
# old session do not just fail: each first starts a new cluster on this machine (or joins one that runs here), leaves the
# process connected to it, and raises only then. A thread that polls an actor, or a cleanup that kills one, does so in silence
# when it comes a moment too late, and the next ray.init of the program is refused or goes to that cluster. ray.nodes raises alone.
# RAY_ENABLE_AUTO_CONNECT=0 in the environment before Ray is imported switches it off.
# Expected: an error, and ray.is_initialized() False.
# Seen: an error each time; "get True", "wait True", "kill True", "method True", "nodes False"; with the variable False five times.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ray==2.60.0
cd "$folder"
cat > show.py <<'PYTHON'
import os

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # the loopback address
os.environ["RAY_AUTH_MODE"] = "disabled"
import ray

ray.init(address="local", num_cpus=1, include_dashboard=False, object_store_memory=80 * 2**20, logging_level="ERROR")


@ray.remote(num_cpus=1)
class Answers:
    def one(self) -> int:
        return 1


actor = Answers.remote()
reference = actor.one.remote()
assert ray.get(reference) == 1
ray.shutdown()
assert not ray.is_initialized()
late = {
    "get": lambda: ray.get(reference),
    "wait": lambda: ray.wait([reference], timeout=1),
    "kill": lambda: ray.kill(actor),
    "method": lambda: actor.one.remote(),
    "nodes": lambda: ray.nodes(),
}
usual = os.environ.get("RAY_ENABLE_AUTO_CONNECT") != "0"
for name, call in late.items():
    try:
        call()
    except Exception as error:
        raised = type(error).__name__
    else:
        raised = None
    connected = ray.is_initialized()
    print(name, connected, raised)
    assert raised is not None, name
    assert connected == (usual and name != "nodes"), name
    if connected:
        ray.shutdown()
PYTHON
"$folder/venv/bin/python" show.py 2> /dev/null
RAY_ENABLE_AUTO_CONNECT=0 "$folder/venv/bin/python" show.py 2> /dev/null
