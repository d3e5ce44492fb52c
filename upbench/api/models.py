"""Real models behind `import upbench`: their upsampling calls, and other upsamplers in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, overload

from upbench.api.results import Shown
from upbench.errors import SpecError
from upbench.report.formats.table import Table
from upbench.report.tables import sites as tables

if TYPE_CHECKING:
    from torch import nn

    from upbench.models.site import Site


class Sites(Shown, Sequence["Site"]):
    """The upsampling calls of a model, in the order of a forward, with a table.

    Args:
        sites: The calls.
        title: Title of the table.
        answered: Name of a site -> the upsampler that answers it.
    """

    def __init__(self, sites: Sequence[Site], title: str, answered: dict[str, str] | None = None) -> None:
        self.sites, self.title, self.answered = list(sites), title, answered or {}

    @overload
    def __getitem__(self, index: int) -> Site: ...
    @overload
    def __getitem__(self, index: slice) -> list[Site]: ...
    def __getitem__(self, index: int | slice) -> Site | list[Site]:
        return self.sites[index]

    def __len__(self) -> int:
        return len(self.sites)

    def __repr__(self) -> str:
        return f"<Sites of {len(self)}: {', '.join(site.name for site in self.sites)}>"

    def _table(self) -> Table:
        return tables.listing(self.sites, self.title, self.answered)


def sites(model: nn.Module, *inputs: Any, **named: Any) -> Sites:
    """List the upsampling calls of a model: `sites(model, torch.rand(1, 3, 512, 512))`.

    The model is run once, in evaluation mode and without gradients.

    Args:
        model: Any module.
        inputs: Its positional inputs; none for a model whose upsampling was replaced.
        named: Its keyword inputs.

    Returns:
        The calls of F.interpolate, nn.Upsample, pixel shuffle, transposed convolution and max unpooling, each with its
        owner, its shapes, what it enlarges, and why it is left where it is no feature map.

    Raises:
        UpbenchError: If the model fails on these inputs, or has none.
    """
    from upbench.models import replacing

    listed = replacing.list_sites(model, inputs, named)
    answered: dict[str, str] = {}
    if replacing.is_replaced(model):
        modules = model.get_submodule(replacing.ATTRIBUTE)
        keys = {replacing.key_of(site): site.name for site in listed}
        answered = {keys[key]: type(module).__name__ for key, module in modules.named_children()}
    return Sites(listed, f"Upsampling calls of {type(model).__name__}", answered)


def replace(
    model: nn.Module,
    upsampler: str | Callable[[Site], nn.Module],
    where: str | Sequence[str] | None = None,
    *,
    inputs: Any = (),
    sites: Sequence[Site] | None = None,
    start: str = "released",
    seed: int | None = 0,
    backend: str = "auto",
    **params: Any,
) -> nn.Module:
    """Replace upsampling calls of a model: `replace(model, "dysample", where="decoder.*", inputs=torch.rand(1, 3, 64, 64))`.

    The model is changed in place and returned, an instance of a subclass of its own class. Its weights keep their names;
    the new modules stand in `model.upsamplers`.

    Args:
        model: Any module.
        upsampler: Registered name, "package.module:Class", "repeat" (every call as it is), or a function that is given a
            site and returns a module, called as module(x) or module(x, guide).
        where: Names of sites, or patterns as "decoder.*"; None for every feature map. A prediction, a pooled map or a
            layer that is learned already is replaced only where it is named itself.
        inputs: What the model is called with: a tensor, a tuple of positional or a mapping of keyword inputs.
        sites: The result of `sites`, instead of inputs.
        start: "released" initialises as the method's authors do; "original" lets the first output equal the old one, for
            methods that can begin as the call they replace.
        seed: Seed of the initialisation, another one for each site; None uses torch's generator as it is.
        backend: Backend of the upsamplers' ops.
        params: Parameters of the upsampler.

    Returns:
        The model.

    Raises:
        SpecError: With every mistake, if sites or values are wrong; the model is unchanged then.
    """
    from upbench.models import replacing

    if not isinstance(upsampler, str) and not callable(upsampler):
        raise SpecError(
            [f"upsampler is {upsampler!r}, but must be a name or a function that makes a module for a site"]
        )
    return replacing.replace(
        model, upsampler, where, inputs=inputs, sites=sites, start=start, seed=seed, backend=backend, **params
    )


def restore(model: nn.Module) -> nn.Module:
    """Give a replaced model its own upsampling calls back; its upsamplers are dropped.

    Args:
        model: What `replace` returned, or a copy of it.

    Returns:
        The same model, of its own class.

    Raises:
        SpecError: If its upsampling was not replaced.
    """
    from upbench.models import replacing

    return replacing.restore(model)
