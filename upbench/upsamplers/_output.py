"""Results in memory that the caller gives, or that the upsampler kept: what `out=` of a call and of `build` do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from upbench.errors import InputError
from upbench.ops import destination, exporting, tracing


def recorded(module: nn.Module, maps: Sequence[Tensor]) -> bool:
    """Say whether autograd records a call."""
    return torch.is_grad_enabled() and any(t.requires_grad for t in (*maps, *module.parameters()))


def into(module: nn.Module, out: Any, maps: Sequence[Tensor], call: Callable[[], Any]) -> Any:
    """Call an upsampler and bring its result into given memory; in place where its last op can write there.

    Args:
        module: the upsampler.
        out: a tensor, or a tuple of as many as the upsampler returns.
        maps: what it is called with.
        call: calls it and returns its result.

    Returns:
        `out`.

    Raises:
        InputError: where out is of another shape, dtype or device than the result, shares memory with what is read, or
            gradients are recorded.
    """
    name, targets = type(module).__name__, out if isinstance(out, tuple | list) else (out,)
    if wrong := next((t for t in targets if not isinstance(t, Tensor)), None):
        raise InputError(
            f"{name} was given an out that is no tensor but {type(wrong).__name__}; give a tensor of its result"
        )
    if recorded(module, maps) or (torch.is_grad_enabled() and any(t.requires_grad for t in targets)):
        raise InputError(
            f"{name} was given out while gradients are recorded, which would need what out overwrites; call it under "
            "torch.no_grad() or torch.inference_mode(), or leave out away"
        )
    if _symbolic(maps):
        return _copied(name, call(), targets, out)
    if any(t.is_inference() for t in targets) and not torch.is_inference_mode_enabled():
        raise InputError(
            f"{name} was given an out that was made in torch.inference_mode, and is called outside of it; call it inside, or "
            "make out outside"
        )
    read = (*maps, *module.parameters(), *module.buffers())
    if any(_address(t) == _address(other) for t in targets for other in read):
        raise InputError(f"{name} was given an out that shares memory with what it reads; give memory of its own")
    # Of several results one could be written where another belongs.
    with destination.writing_into(targets[0].detach() if isinstance(out, Tensor) else None):
        result = call()
    return _copied(name, result, targets, out)


def reused(module: nn.Module, maps: Sequence[Tensor], call: Callable[[], Any]) -> Any:
    """Call an upsampler and let it write into its result before, where it can and no gradient is recorded.

    Args:
        module: the upsampler.
        maps: what it is called with.
        call: calls it and returns its result.

    Returns:
        The result, which holds until the upsampler is called again in this thread.
    """
    if _symbolic(maps) or recorded(module, maps):
        return call()
    kept = destination.kept(module)
    # Who feeds a result back gets new memory: it is read while it would be written.
    fits = kept is not None and kept.is_inference() == torch.is_inference_mode_enabled()
    if kept is None or not fits or any(_address(t) == _address(kept) for t in maps):
        kept = None
    with destination.writing_into(kept) as opened:
        result = call()
    if not isinstance(result, Tensor):
        return result
    if kept is None or _address(result) != _address(kept):
        destination.keep(module, opened.whole(result))
    return result


def _symbolic(maps: Sequence[Tensor]) -> bool:
    """Whether a call is traced or compiled: there is no memory then."""
    plain = all(type(t) in (Tensor, nn.Parameter) for t in maps)
    return torch.compiler.is_compiling() or tracing() or exporting() or not plain


def _address(t: Tensor) -> tuple[int, torch.device]:
    return (t.untyped_storage().data_ptr() or id(t), t.device)


def _copied(name: str, result: Any, targets: Sequence[Tensor], out: Any) -> Any:
    """out, with the result in it."""
    results = result if isinstance(result, tuple | list) else (result,)
    if len(results) != len(targets):
        raise InputError(
            f"{name} returns {_count(len(results))}, but out has {_count(len(targets))}; give one for each"
        )
    for made, target in zip(results, targets, strict=True):
        for what in ("shape", "dtype", "device"):
            is_, must = getattr(target, what), getattr(made, what)
            if is_ != must:
                said = [list(v) if what == "shape" else str(v).removeprefix("torch.") for v in (is_, must)]
                raise InputError(
                    f"{name} was given an out of {what} {said[0]}, but its result has {what} {said[1]}; give that"
                )
    for made, target in zip(results, targets, strict=True):
        _copy(made, target)
    return out


def _copy(made: Tensor, target: Tensor) -> None:
    if torch.compiler.is_compiling():
        target.copy_(made)
    elif made.data_ptr() != target.data_ptr() or made.stride() != target.stride() or type(made) is not Tensor:
        apart = _address(made) != _address(target)
        target.copy_(made if apart else made.clone())


def _count(n: int) -> str:
    return "one map" if n == 1 else f"{n} maps"
