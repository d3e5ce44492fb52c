"""A model with an upsampler in it as a module that takes and returns tensors alone, as files of other runtimes do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from upbench.errors import SpecError
from upbench.models import cell
from upbench.models.recording import tensors
from upbench.specs.run_spec import RunSpec


class TensorsOnly(nn.Module):
    """A model that is called with tensors in a fixed order, and returns the floating tensors of its output.

    Args:
        model: The model.
        names: Of each tensor the keyword that it is given as; "" for a positional one.
    """

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, tuple(names)

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Return what the model returns for these tensors."""
        pairs = list(zip(self.names, given, strict=True))
        out = self.model(*(one for name, one in pairs if not name), **{name: one for name, one in pairs if name})
        return tuple(one for one in tensors((out,)) if one.is_floating_point())


def built(spec: RunSpec) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Build a spec with a model on the CPU, in evaluation mode.

    Args:
        spec: The spec.

    Returns:
        The module, and the tensors that it is called with.

    Raises:
        UpbenchError: If the model or the upsampler cannot be built, or takes something else than tensors.
    """
    model, args, kwargs = cell.module(spec)
    given: Mapping[str, Any] = kwargs
    if wrong := [type(value).__name__ for value in (*args, *given.values()) if not isinstance(value, Tensor)]:
        assert spec.model is not None, "only specs with a model come here"
        raise SpecError(
            [
                f"{spec.model.name} is called with {' and '.join(dict.fromkeys(wrong))}, but a file takes tensors alone; "
                "export a part of it that takes tensors"
            ]
        )
    names = [*("" for _ in args), *given]
    return TensorsOnly(model, names).eval(), (*args, *given.values())
