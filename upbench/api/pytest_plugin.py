"""The pytest fixture `upbench`: gates in a test suite. Loads nothing until a test asks for it.

def test_my_upsampler_stays_small(upbench):
    upbench.gate("mine.up:Up", "bilinear", max={"params": "40k", "latency": "3x:bilinear"}, shape="64x32x32")
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch import Tensor, nn

    from upbench.api.results import Comparison, Profile, ResultTable


class Gates:
    """What tests do with upbench: measure, and fail with the sentence that `upbench compare` would print."""

    def profile(self, upsampler: Any, *inputs: Tensor, **options: Any) -> Profile:
        """Measure one upsampler, or a module on tensors; see `upbench.profile`."""
        import upbench

        return upbench.profile(upsampler, *inputs, **options)

    def compare(self, *upsamplers: Any, **options: Any) -> Comparison:
        """Measure several upsamplers side by side; see `upbench.compare`."""
        import upbench

        return upbench.compare(*upsamplers, **options)

    def layers(self, module: nn.Module, *inputs: Tensor) -> ResultTable:
        """Count a module layer by layer; see `upbench.layers`."""
        import upbench

        return upbench.layers(module, *inputs)

    def gate(
        self,
        *upsamplers: str | Path | Mapping[str, Any],
        max: Mapping[str, str | int | float] | None = None,
        min: Mapping[str, str | int | float] | None = None,
        strict: bool = False,
        convention: str = "all",
        **options: Any,
    ) -> Comparison:
        """Measure upsamplers and fail the test where one breaks a bound. Time is measured only where a bound is on it.

        Args:
            upsamplers: As of `upbench.compare`: names, "package.module:Class", spec files or mappings.
            max: Upper bounds as --max of `upbench compare` has them: {"params": "40k", "latency": "3x:bilinear"}; a key
                as "carafe.params" binds that upsampler alone.
            min: Lower bounds.
            strict: Fail also where it cannot be told.
            convention: How parameters and MACs are counted.
            options: Options of `upbench.spec`, for all upsamplers.

        Returns:
            What was measured.

        Raises:
            pytest.fail.Exception: With a sentence for each broken bound.
            UpbenchError: If a value is wrong, or an upsampler cannot be built or called.
        """
        from upbench.errors import SpecError
        from upbench.gate import Result, budgets, result_of

        texts = [[f"{name}={value}" for name, value in (side or {}).items()] for side in (max, min)]
        bounds, mistakes = budgets.parse(texts[0], texts[1], (), {}, "")
        if not bounds.bounds and not mistakes:
            mistakes = ["a gate has no bound; give max or min, as max={'params': '40k'}"]
        if mistakes:
            raise SpecError(mistakes)
        timed = any(not bound.metric.exact for bound in bounds.bounds)
        found = self.compare(*upsamplers, timed=timed, **options)
        typed = [str(one) for one in upsamplers] if len(upsamplers) == len(found) else [r.label for r in found]
        names, labels = [r.settings.upsampler for r in found], [r.label for r in found]
        bounds, mistakes = budgets.resolve(bounds, typed, names, labels)
        if mistakes:
            raise SpecError(mistakes)
        broken = [f for f in budgets.judge(bounds, found, convention) if result_of(f, strict) is Result.failed]
        if broken:
            pytest.fail("\n".join(f"{f.upsampler}, {f.gate}: {f.sentence}" for f in broken), pytrace=False)
        return found


@pytest.fixture(scope="session")
def upbench() -> Gates:
    """Gates on upsamplers: `upbench.gate(...)`, `.compare(...)`, `.profile(...)` and `.layers(...)`."""
    return Gates()
