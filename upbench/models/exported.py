"""A model with an upsampler in it as a module that takes and returns tensors alone, as files of other runtimes do."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree

from upbench.errors import SpecError
from upbench.models import advice, cell
from upbench.models.recording import tensors
from upbench.specs.run_spec import RunSpec


class TensorsOnly(nn.Module):
    """A model that is called with tensors in a fixed order, and returns the floating tensors of its output.

    Args:
        model: The model.
        args: Its positional inputs.
        kwargs: Its keyword inputs. Tensors in lists and mappings are taken one by one; what is no tensor stays as it is.
    """

    def __init__(self, model: nn.Module, args: Any, kwargs: Any) -> None:
        super().__init__()
        self.model = model
        leaves, self.form = _pytree.tree_flatten((tuple(args), dict(kwargs)))
        self.constants = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.places = [n for n, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Return what the model returns for these tensors."""
        leaves: list[Any] = list(self.constants)
        for place, one in zip(self.places, given, strict=True):
            leaves[place] = one
        args, kwargs = _pytree.tree_unflatten(leaves, self.form)
        return tuple(one for one in tensors((self.model(*args, **kwargs),)) if one.is_floating_point())


def built(spec: RunSpec, fixed: bool = False) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Build a spec with a model on the CPU, in evaluation mode.

    Args:
        spec: The spec.
        fixed: Whether the file has the traced sizes alone, which it must where tensors stand in lists or mappings.

    Returns:
        The module, whose class is called as the model's, and the tensors that it is called with.

    Raises:
        UpbenchError: If the model or the upsampler cannot be built, or takes something else than tensors.
    """
    with advice.on_parameters(spec.upsampler, alone=True):
        model, args, kwargs = cell.module(spec)
    assert spec.model is not None, "only specs with a model come here"
    other = [type(value).__name__ for value in (*args, *kwargs.values()) if not isinstance(value, Tensor)]
    if other and not fixed:
        raise SpecError(
            [
                f"{spec.model.name} is called with {' and '.join(dict.fromkeys(other))}, but open sizes are those of maps "
                "[batch, channels, height, width]; give --fixed, for a file of these sizes, or export a part that takes tensors"
            ]
        )
    given = tuple(leaf for leaf in _pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
    if not given:
        raise SpecError([f"{spec.model.name} is called with no tensor, but a file takes tensors"])
    named = type(type(model).__name__, (TensorsOnly,), {"__doc__": TensorsOnly.__doc__})
    return named(model, args, kwargs).eval(), given
