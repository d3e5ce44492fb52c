"""torch.compile as users get it: C++ or Triton is compiled, which takes a minute where nothing is cached."""

from __future__ import annotations

import pytest

from upbench.benchmark import run
from upbench.specs import run_spec as spec

pytestmark = [pytest.mark.slow]


def test_a_compiled_module_is_measured_and_counted_as_it_was() -> None:
    plan = {"upsampler": "bilinear", "input": {"shape": "32x6x5"}}
    measure = {"budget": 0.02, "device": "cpu"}
    plain = run.run(spec.load({**plan, "measure": measure}))
    found = run.run(spec.load({**plan, "measure": {**measure, "compile": "default"}}))
    assert found.macs == plain.macs
    assert found.latency is not None
    assert found.latency.first_call_s > found.latency.samples_s[-1]
