"""What all upsamplers share: the way they are called, and the check of what they are called with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.fx import Proxy

from upbench.errors import InputError
from upbench.ops import output_size, pool_map, tracing
from upbench.ops.layers import group_norm
from upbench.upsamplers import _output


class Upsampler(nn.Module):
    """Base of the zoo: called as `module(x)`, or with the guides that `guide_kinds` names: `module(x, guide)`.

    Subclasses define `upsample(x, *guides)`, with `size=` where `any_size` is true, and a constructor with keyword-only
    parameters, which are those of the card. A guide is [B, guide_channels, h, w] of its kind: "feature" has the size of the
    output, "hidden" that of x, "image" any; a method that wants another size says so in `guide_sizes`.

    Args:
        channels: channels C of the low-resolution map.
        scale: output pixels per low-resolution pixel along each axis.
        guide_channels: channels Cy of the guides, where there are any.
    """

    guided = False
    """Whether it is called with a guide."""
    guide_kinds: tuple[str, ...] = ()
    """The kind of each guide, in the order of the call."""
    any_size = False
    """Whether the output may have any size, whatever the scale."""
    least_size = 1
    """The smallest side of x."""
    output_size: tuple[int, int] | None = None
    """The output's size where a call does not give one; the registry sets it."""
    out_channels: int | None = None
    """Channels of the result; None is those of x."""
    backend = "auto"
    """The backend of its ops, see `upbench.backends`."""
    reuses_output = False
    """Whether a call may write over the result of the call before, see `upbench.build`."""
    fused_ops: tuple[str, ...] = ()
    """Those of its ops that a backend may compute, as its card says."""
    channels: int
    guide_channels: int
    scale: Any
    """An int where the method needs a whole number, else a float."""
    upsample: Callable[..., Any]

    def __init__(self, channels: int, scale: float, guide_channels: int | None = None) -> None:
        super().__init__()
        self.channels, self.scale = channels, scale
        if guide_channels is not None:
            self.guide_channels = guide_channels

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.guided and not cls.guide_kinds:
            cls.guide_kinds = ("feature",)
        cls.guided = bool(cls.guide_kinds)

    def forward(
        self,
        x: Float[Tensor, "B C H W"],
        guide: Float[Tensor, "B Cy h1 w1"] | None = None,
        second_guide: Float[Tensor, "B Cy h2 w2"] | None = None,
        size: tuple[int, int] | None = None,
        out: Any = None,
    ) -> Any:
        """Upsample a map.

        Args:
            x: the low-resolution map.
            guide: the first guide, where `guide_kinds` names one.
            second_guide: the second, where it names two.
            size: rows and columns of the output where they are not `output_size` or else floor(H * scale) and
                floor(W * scale). Where `takes_size`, any; else at most one low-resolution pixel away, as the levels of a
                pyramid over an odd-sized image need. Where the result would be larger it is cropped at the bottom and right
                (the guides are first extended by their last row and column); where it would be smaller x is extended by its
                last row and column.
            out: memory of the result, where no gradient is recorded: a tensor of its shape, dtype and device, or a tuple of
                them where a method makes several maps. A fused op writes there where it is in the order of its own result
                (on a CPU channels-last), what else makes a result is copied.

        Returns:
            The high-resolution map [B, out_channels, H', W'], or a tuple of maps where a method makes several; `out` where
            it is given.

        Raises:
            InputError: for maps of other shapes, a guide too many or too few, a size further away, and an `out` that cannot
                take the result.
        """
        if isinstance(x, Proxy):
            return self._as_node(x, guide, second_guide, size, out)
        if out is None and not self.reuses_output:
            return self._upsampled(x, guide, second_guide, size)
        maps = [t for t in (x, guide, second_guide) if isinstance(t, Tensor)]
        call = partial(self._upsampled, x, guide, second_guide, size)
        return _output.reused(self, maps, call) if out is None else _output.into(self, out, maps, call)

    def _upsampled(
        self, x: Tensor, guide: Tensor | None, second_guide: Tensor | None, size: tuple[int, int] | None
    ) -> Any:
        """The result in memory of its own."""
        self._check_x(x)
        self._check_tensors(guide, second_guide)
        size = self.output_size if size is None else size
        given = [g for g in (guide, second_guide) if g is not None]
        if not self.guided and given:
            raise InputError(f"{type(self).__name__} takes no guide; call it as module(x)")
        whole = output_size(x.shape[2], x.shape[3], self.scale)
        if size is None or self.takes_size(x, size):
            target = whole if size is None else size
            wanted = self.guide_sizes(x.shape[2:], target)
            self._check_guides(x, given, wanted, size)
            return self._run((x, *given), target)
        self._check_guides(x, given, self.guide_sizes(x.shape[2:], size), size)
        x = self._extend(x, size)
        target = output_size(x.shape[2], x.shape[3], self.scale)
        given = [_extended(g, s) for g, s in zip(given, self.guide_sizes(x.shape[2:], target), strict=True)]
        out = self._run((x, *given), target)
        if isinstance(out, tuple):
            return tuple(_cropped(each, size) for each in out)
        return _cropped(out, size)

    @property
    def whole(self) -> Upsampler:
        """The upsampler itself: what the node of a graph that `torch.fx` has traced calls, where it is all of the graph."""
        return self

    def _as_node(self, x: Proxy, guide: Any, second_guide: Any, size: Any, out: Any) -> Any:
        """One node of a graph that `torch.fx` traces, as torch's own layers are: what is checked and done inside depends on
        sizes, which such a trace does not know."""
        tracer: Any = x.tracer
        given = {} if out is None else {"out": out}
        return tracer.create_proxy(
            "call_module", tracer.path_of_module(self) or "whole", (x, guide, second_guide, size), given
        )

    def takes_size(self, x: Tensor, size: tuple[int, int]) -> bool:
        """Whether the method itself makes an output of this size, however far it is from the scale."""
        return self.any_size

    def guide_sizes(self, x_size: Sequence[int], out_size: Sequence[int]) -> list[Sequence[int] | None]:
        """Height and width of every guide for an input and an output of these; None for any."""
        of = {"feature": out_size, "hidden": x_size, "image": None}
        return [of[kind] for kind in self.guide_kinds]

    def _run(self, maps: tuple[Tensor, ...], size: tuple[int, int]) -> Any:
        # A trace would write the answer down: what it is for has images.
        if not tracing() and maps[0].shape[0] == 0:
            return self._empty(maps, size)
        return self.upsample(*maps, size=size) if self.any_size else self.upsample(*maps)

    def _empty(self, maps: tuple[Tensor, ...], size: tuple[int, int]) -> Any:
        """The result for a batch of no images, of which all maps and parameters have a gradient: zeros.

        Several of torch's operators refuse such a batch, or their gradients do.
        """
        nothing = torch.stack([t.reshape(-1)[:0].sum().to(maps[0].dtype) for t in (*maps, *self.parameters())]).sum()
        return self._zeros(maps, size, nothing)

    def _zeros(self, maps: tuple[Tensor, ...], size: tuple[int, int], nothing: Tensor) -> Any:
        """What `upsample` returns, of no images: a subclass that returns more maps than one says so here."""
        return maps[0].new_zeros((0, self.out_channels or self.channels, *size)) + nothing

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Upsampler:
        """What `.to` and its like do. A parameter of five dimensions, of which one is 1, is taken as one of four:
        otherwise torch could not convert a whole model to channels-last."""

        def apply(t: Tensor) -> Tensor:
            return fn(t.squeeze(2)).unsqueeze(2) if t.dim() == 5 and t.shape[2] == 1 else fn(t)

        return super()._apply(apply, recurse)

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the keys of a state dict in another released layout to the module's own.

        Args:
            state: the state dict, which stays as it is.

        Returns:
            The state dict with the module's keys; unknown keys are left as they are.
        """
        return state

    def _check_x(self, x: Float[Tensor, "B C H W"]) -> None:
        name = type(self).__name__
        if x.dim() != 4 or x.shape[1] != self.channels:
            raise InputError(
                f"{name} was given x of shape {list(x.shape)}, but takes [batch, {self.channels}, height, width]"
            )
        if not tracing() and (x.shape[2] < 1 or x.shape[3] < 1):
            raise InputError(
                f"{name} was given x of shape {list(x.shape)}, but takes maps of at least one row and one column"
            )
        if self.least_size > 1 and min(x.shape[2:]) < self.least_size:
            raise InputError(
                f"{name} was given x of {x.shape[2]}x{x.shape[3]}, but needs at least {self.least_size} pixels a side here"
            )

    def _check_tensors(self, *guides: Any) -> None:
        wrong = next((g for g in guides if g is not None and not isinstance(g, Tensor)), None)
        if wrong is None:
            return
        call = ", ".join(("x", "guide", "second_guide")[: 1 + len(self.guide_kinds)])
        if isinstance(wrong, int | tuple | list):  # size was once the third argument
            size = (wrong, wrong) if isinstance(wrong, int) else tuple(wrong)
            fix = f"an output size is given by name, module({call}, size={size})"
        else:
            fix = f"call it as module({call})"
        raise InputError(f"{type(self).__name__} was given a guide that is no tensor but {type(wrong).__name__}; {fix}")

    def _extend(self, x: Float[Tensor, "B C H W"], size: tuple[int, int]) -> Float[Tensor, "B C H1 W1"]:
        """x, extended by its last row or column where `size` needs one more low-resolution pixel."""
        if float(self.scale).is_integer():
            # Of whole numbers alone, about which an export that keeps sizes open can reason for all sizes.
            need = [(n + int(self.scale) - 1) // int(self.scale) for n in size]
        else:
            need = [math.ceil(n / self.scale) for n in size]
            need = [n + (math.floor(n * self.scale) < wanted) for n, wanted in zip(need, size, strict=True)]
        rows, columns = need[0] - x.shape[2], need[1] - x.shape[3]
        if abs(rows) > 1 or abs(columns) > 1 or min(size) < 1:
            raise InputError(
                f"size {tuple(size)} is more than one low-resolution pixel away from {self.scale:g} times "
                f"{tuple(x.shape[2:])}; crop or pad the feature first"
            )
        if _never_positive(rows) and _never_positive(columns):
            return x
        most = torch.sym_max if isinstance(rows, torch.SymInt) or isinstance(columns, torch.SymInt) else max
        return F.pad(x, (0, most(columns, 0), 0, most(rows, 0)), mode="replicate")

    def _check_guides(
        self,
        x: Float[Tensor, "B C H W"],
        given: list[Tensor],
        wanted: list[Sequence[int] | None],
        size: tuple[int, int] | None,
    ) -> None:
        name = type(self).__name__
        forms = [
            f"[{'batch' if len(given) < len(wanted) else x.shape[0]}, {self.guide_channels}, "
            f"{', '.join(map(str, s)) if s else 'height, width'}]"
            for s in wanted
        ]
        if len(given) < len(wanted):
            what = "a guide" if len(wanted) == 1 else f"{len(wanted)} guides"
            call = ", ".join(("x", "guide", "second_guide")[: len(wanted) + 1])
            raise InputError(f"{name} needs {what} of shape {' and '.join(forms)}; call it as module({call})")
        if len(given) > len(wanted):
            raise InputError(f"{name} takes one guide, but was given {len(given)}")
        for guide, form, need in zip(given, forms, wanted, strict=True):
            if guide.dim() != 4 or guide.shape[0] != x.shape[0] or guide.shape[1] != self.guide_channels:
                raise InputError(f"{name} was given a guide of shape {list(guide.shape)}, but takes {form}")
            if need is not None and (guide.shape[2] != need[0] or guide.shape[3] != need[1]):
                found = tuple(guide.shape[2:])
                fix = f"pass size={found} to crop or pad as FPNs do" if size is None else "size must be the guide's"
                if "image" in self.guide_kinds or "hidden" in self.guide_kinds:
                    fix = "resize it"
                raise InputError(
                    f"{name} was given a guide of {found[0]}x{found[1]} where {need[0]}x{need[1]} is needed; {fix}"
                )


def _never_positive(n: Any) -> bool:
    """Whether a number is zero or less; one that an export keeps open, whether it is that for all sizes."""
    if not isinstance(n, torch.SymInt):  # a number, or a tensor of one where torch.jit.trace runs
        return bool(n <= 0)
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return statically_known_true(n <= 0)


def _cropped(out: Tensor, size: tuple[int, int]) -> Tensor:
    # A slice of open sizes would have the smaller of two, nested in a model, which torch.export.load takes minutes to read.
    return out.narrow(2, 0, size[0]).narrow(3, 0, size[1])


def _extended(guide: Tensor, size: Sequence[int] | None) -> Tensor:
    """A guide of at least this size: its last row and column are repeated."""
    if size is None:
        return guide
    return F.pad(guide, (0, size[1] - guide.shape[3], 0, size[0] - guide.shape[2]), mode="replicate")


def xavier(module: nn.Module) -> None:
    """Set every convolution in `module` to Xavier-uniform weights and zero biases, as mmcv's xavier_init does."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            zero_bias(layer)


def zero_bias(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Set the bias of a convolution to zero, where it has one."""
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class GroupNorm(nn.GroupNorm):
    """A group norm that is given contiguous rows whatever the memory order of x, and normalises single values too.

    In other memory orders the gradient of torch 2.13 can end the process. A group of one value is its own mean, so
    that what remains of it is the bias; torch's function refuses it in one image, and takes it in two.
    """

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_exporting():  # who writes it elsewhere may sum row by row
            return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
        return group_norm(x.contiguous().flatten(2), self.num_groups, self.weight, self.bias, self.eps).view(x.shape)


class AdaptiveAvgPool2d(nn.AdaptiveAvgPool2d):
    """Adaptive average pooling to a square grid that can be exported for any size of x."""

    output_size: int

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C n n"]:
        return pool_map(x, self.output_size)
