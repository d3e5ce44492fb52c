#!/usr/bin/env bash
# torch 2.13.0: a map that a generator or a lambda of the same function reads cannot be let go of with `del` under
# torch.compile. Upsamplers delete a padded map after its windows were summed, so that it is not held at the peak; Python compiles
# that `del` to DELETE_DEREF where an inner function reads the name, and Dynamo does not know the instruction.
# Expected: as without an inner function, where `del` is followed: one graph of all operators.
# Seen: with fullgraph=True "Dynamo does not know how to handle the bytecode instruction `DELETE_DEREF`"; without it, and without a
# word, the graph ends at the `del`: of 11 operators the compiled graph has 10, and the one after the `del` runs as it is.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
import torch.nn.functional as F

WEIGHTS = (0.25, 0.5, 0.25)


def listed(x):
    padded = F.pad(x, (1, 1))
    parts = []
    for n, weight in enumerate(WEIGHTS):
        parts.append(weight * padded[..., n : n + x.shape[-1]])
    del padded
    return sum(parts).relu()


def held(x):
    padded = F.pad(x, (1, 1))
    total = sum(weight * padded[..., n : n + x.shape[-1]] for n, weight in enumerate(WEIGHTS))
    del padded
    return total.relu()


def kept(x):
    padded = F.pad(x, (1, 1))
    total = sum(weight * padded[..., n : n + x.shape[-1]] for n, weight in enumerate(WEIGHTS))
    return total.relu()


def compiled(function, fullgraph: bool):
    """How many operators each graph has that the backend was given, or the error."""
    torch._dynamo.reset()
    given = []

    def backend(graph, inputs):
        given.append(sum(node.op in ("call_function", "call_method") for node in graph.graph.nodes))
        return graph.forward

    x = torch.randn(2, 8, 30, 40)
    try:
        out = torch.compile(function, backend=backend, fullgraph=fullgraph)(x)
    except torch._dynamo.exc.Unsupported as error:
        return str(error).splitlines()[1].strip()
    assert torch.equal(out, function(x))
    return given


for function in (listed, kept):
    for fullgraph in (True, False):
        found = compiled(function, fullgraph)
        print(function.__name__, "fullgraph" if fullgraph else "", found)
        assert found == [11], found
alone, broken = compiled(held, True), compiled(held, False)
print("held fullgraph", alone)
print("held", broken)
assert "`DELETE_DEREF`" in alone, alone
assert broken == [10], broken
PYTHON
