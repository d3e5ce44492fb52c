"""README's command takes a third of the processor seconds of the build that UPBENCH_OLD names, or less."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.slow import processor_seconds

OLD = os.environ.get("UPBENCH_OLD")
pytestmark = pytest.mark.slow


@pytest.mark.skipif(OLD is None, reason="set UPBENCH_OLD to the upbench command of an older build")
def test_readmes_command_takes_a_third_of_an_older_builds_time() -> None:
    found = processor_seconds.compare(Path(str(OLD)).absolute(), runs=3)
    print(f"\n{found}")
    assert found.ratio <= processor_seconds.LIMIT
