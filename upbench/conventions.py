"""Counting conventions: what a FLOPs column and a parameter column add up.

Papers print the same upsampler with numbers that differ by a factor of three because they do not count the same
things. A `Breakdown` holds every part once; a convention is the list of parts that it adds. One multiply-accumulate
(MAC) is one FLOP in all of them, as in fvcore and in the papers.
The conventions are those that reproduce published tables, as `upbench reproduce` shows.
"""

from __future__ import annotations

from dataclasses import dataclass

from upbench.errors import UpbenchError, unknown

DEFAULT = "all"
"""Name of the convention that adds up everything."""


@dataclass(frozen=True)
class Breakdown:
    """The parts of one call's MACs and of the module's parameters; integers, never rounded.

    The first seven are counted on a trace (`upbench.measure.macs`) and add up to its total; the next four are what hooks
    on modules see, and only those.

    Args:
        conv: Convolutions and linear layers, which is every product with a learned weight, however it is spelled.
        similarity: Query-key products.
        sampling: Reading between pixels, 4 per bilinear value.
        assembly: Weighted sums of the values that were read.
        fusion: Mixing the result with the guide.
        norm: Norms, 4 or 5 per element.
        elementwise: Arithmetic and activations.
        bias: Biases, one per output value of a layer that has one.
        hook_norm: Norms, 2 per element.
        activation: Activations, 1 per element.
        pooling: Pooling, 1 per input element.
        weights: Parameters that are weights.
        position_bias: Parameters that are learned tables of positions.
        biases: Parameters that are biases of convolutions and linear layers.
        norm_affine: Parameters that are weights and biases of norms.
    """

    conv: int = 0
    similarity: int = 0
    sampling: int = 0
    assembly: int = 0
    fusion: int = 0
    norm: int = 0
    elementwise: int = 0
    bias: int = 0
    hook_norm: int = 0
    activation: int = 0
    pooling: int = 0
    weights: int = 0
    position_bias: int = 0
    biases: int = 0
    norm_affine: int = 0


@dataclass(frozen=True)
class Sum:
    """The parts of a `Breakdown` that a convention adds.

    Args:
        parts: Names of the parts.
        words: The same for a reader.
    """

    parts: tuple[str, ...]
    words: str


_F0 = ("conv",)
_F2 = (*_F0, "similarity")
_F3 = (*_F2, "sampling", "assembly")
_F4 = (*_F3, "fusion")
FLOPS = {
    "F0": Sum(_F0, "convolutions and linear layers only"),
    "F1": Sum(
        (*_F0, "bias", "hook_norm", "activation", "pooling"),
        "what hooks on modules see: convolutions and linear layers, their biases, norms at 2 per element, activations "
        "and pooling at 1; no gathers",
    ),
    "F2": Sum(_F2, "convolutions, linear layers and query-key products"),
    "F3": Sum(_F3, "convolutions, linear layers, query-key products, sampling (4 per bilinear value) and assembly"),
    "F4": Sum(
        _F4, "convolutions, linear layers, query-key products, sampling (4 per bilinear value), assembly and fusion"
    ),
    DEFAULT: Sum(
        (*_F4, "norm", "elementwise"),
        "everything: conv + gather + norm + element-wise; gather = sampling (4 per bilinear value), similarity, "
        "assembly and fusion",
    ),
}
_P0 = ("weights", "position_bias")
_P1 = (*_P0, "biases")
PARAMS = {
    "P0": Sum(_P0, "weights and position biases only"),
    "P1": Sum(_P1, "weights, position biases and biases; no norms"),
    "P2": Sum((*_P1, "norm_affine"), "all, biases and norms included"),
    DEFAULT: Sum((*_P1, "norm_affine"), "all, biases and norms included"),
}
NAMES = (DEFAULT, *(name for name in (*FLOPS, *PARAMS) if name != DEFAULT))


def parse(convention: str) -> tuple[str, str]:
    """Return the names of the FLOPs rule and of the parameter rule in "all", "F3", "P0" or "F3,P0".

    Args:
        convention: One rule or both; a rule that is left out is "all".

    Raises:
        UnknownName: If a name is not a rule.
        UpbenchError: If there are two rules of one kind.
    """
    given: dict[str, str] = {}
    for part in (text.strip() for text in convention.split(",")):
        name = next((known for known in NAMES if known.lower() == part.lower()), None)
        if name is None:
            raise unknown("convention", part, NAMES)
        kind = "every number" if name == DEFAULT else "FLOPs" if name in FLOPS else "parameters"
        if kind in given or (given and "every number" in (kind, *given)):
            raise UpbenchError(
                f"convention {convention!r} says twice how to count; give at most one of {', '.join(FLOPS)} "
                f"and one of {', '.join(PARAMS)}, as F3,P0"
            )
        given[kind] = name
    return given.get("FLOPs", DEFAULT), given.get("parameters", DEFAULT)


def flops(breakdown: Breakdown, convention: str = DEFAULT) -> int:
    """Return the MACs of one call under a convention. Raises as `parse` does."""
    return _add(breakdown, FLOPS[parse(convention)[0]])


def params(breakdown: Breakdown, convention: str = DEFAULT) -> int:
    """Return the parameters of the module under a convention. Raises as `parse` does."""
    return _add(breakdown, PARAMS[parse(convention)[1]])


def describe(convention: str = DEFAULT) -> str:
    """Return the sentence that a table prints under its numbers. Raises as `parse` does."""
    of_flops, of_params = parse(convention)
    return (
        f"One multiply-accumulate counts as one FLOP. FLOPs ({of_flops}): {FLOPS[of_flops].words}. "
        f"Parameters ({of_params}): {PARAMS[of_params].words}."
    )


def _add(breakdown: Breakdown, rule: Sum) -> int:
    return sum(getattr(breakdown, part) for part in rule.parts)
