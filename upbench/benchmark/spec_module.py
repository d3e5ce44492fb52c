"""Builds the module and inputs of a spec outside of a measurement, as for a file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from upbench import registry
from upbench.benchmark import inputs
from upbench.specs.run_spec import RunSpec
from upbench.weights import load_weights


def built(spec: RunSpec, weights: Path | None = None, prefix: str = "") -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Build a spec on the CPU, in evaluation mode.

    Args:
        spec: The spec.
        weights: A file of weights that is loaded; None leaves the initialisation.
        prefix: Where the upsampler stands in the weights.

    Returns:
        The module, and the tensors that it is called with.

    Raises:
        WeightsError: If the weights do not fit.
    """
    device = torch.device("cpu")
    module = registry.construct(spec.card, spec.setting, spec.input.seed, spec.measure.backend)
    inputs.set_offsets(module, spec)
    if weights is not None:
        load_weights(module, weights, prefix)
    inputs.cast_to(module, spec, device)
    return module.eval(), inputs.make(spec, device)
