"""torch's operators by the work they do: one operation per output value, one per input value, or none at all.

The lists come first; an operator that is in none of them is judged by the tags that torch itself gives to its
operators (`torch.Tag.pointwise`, `torch.Tag.reduction`).
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch

Work = Literal["elementwise", "reduction", "softmax", "movement"]
"""The work of an operator: 1 operation per output value, 1 per input value, 3 per output value, or none."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ELEMENTWISE = _names("""
    add add_ sub sub_ rsub mul mul_ div div_ pow sqrt rsqrt exp log neg reciprocal addcmul addcmul_ addcdiv lerp abs
    sigmoid sigmoid_ tanh tanh_ relu relu_ relu6 hardtanh hardtanh_ leaky_relu leaky_relu_ gelu silu silu_ softplus elu
    prelu sin cos floor remainder floor_divide clamp clamp_ clamp_min clamp_max maximum minimum where masked_fill
    masked_fill_ hardsigmoid hardswish square glu log_sigmoid log_sigmoid_forward _prelu_kernel cumprod cross
    linalg_cross addr outer ger polar scatter_add scatter_add_ index_add index_add_ multiply multiply_ divide
    divide_ true_divide subtract subtract_ float_power _weight_norm
    _weight_norm_interface
""")
"""Operators of one operation per output value."""
REDUCTIONS = _names("""
    sum mean amax amin max min prod norm linalg_vector_norm cumsum avg_pool2d max_pool2d adaptive_avg_pool2d
    adaptive_max_pool2d avg_pool1d avg_pool3d max_pool1d max_pool3d adaptive_avg_pool1d adaptive_avg_pool3d
    adaptive_max_pool1d adaptive_max_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d max_pool1d_with_indices
    max_pool2d_with_indices max_pool3d_with_indices trace median logcumsumexp cummax cummin
""")
"""Operators of one operation per input value."""
SOFTMAX = _names("""
    softmax _softmax log_softmax _log_softmax
""")
"""Operators of three operations per output value."""
MOVEMENT = _names("""
    view reshape permute transpose t flatten unflatten squeeze unsqueeze expand expand_as repeat repeat_interleave
    contiguous clone detach to type_as _to_copy pixel_shuffle pixel_unshuffle im2col unfold col2im cat stack chunk split
    split_with_sizes unbind slice select narrow index index_select gather take_along_dim flip roll copy_ pad
    reflection_pad2d replication_pad2d constant_pad_nd dropout feature_dropout arange zeros ones full empty zeros_like
    ones_like full_like empty_like new_zeros new_ones new_full new_empty scalar_tensor tensor lift_fresh alias size
    numel item Int Float Bool ScalarImplicit eq ne lt gt le ge logical_and logical_or logical_not bitwise_not bitwise_and bitwise_or bitwise_xor __and__
    __or__ __xor__ __not__ meshgrid channel_shuffle native_channel_shuffle linspace swapaxes movedim as_strided view_as
    upsample_nearest2d upsample_nearest1d _upsample_nearest_exact2d upsample_nearest3d _upsample_nearest_exact1d
    _upsample_nearest_exact3d _unsafe_view _reshape_alias fill_ zero_ lift_fresh_copy complex positive copy view_as_real
    view_as_complex real imag conj _conj _conj_physical resolve_conj resolve_neg detach_ squeeze_ unsqueeze_ transpose_
    swapdims moveaxis ravel broadcast_to broadcast_tensors atleast_1d atleast_2d atleast_3d hstack vstack dstack concat
    concatenate tile rot90 fliplr flipud diagonal diag diag_embed tril triu tril_indices triu_indices unsafe_split
    unsafe_split_with_sizes unsafe_chunk tensor_split hsplit vsplit split_copy view_copy set_ resize_
    _pack_padded_sequence _pad_packed_sequence embedding one_hot masked_select masked_scatter index_fill index_fill_
    index_copy index_copy_ index_put index_put_ _index_put_impl_ _unsafe_index scatter scatter_ put_ take nonzero
    argwhere searchsorted bucketize sort argsort topk unique_dim _unique2 slice_scatter select_scatter diagonal_scatter
    column_stack reflection_pad1d reflection_pad3d replication_pad1d replication_pad3d _pad_circular circular_pad
    max_unpool2d max_unpool3d unfold_copy alias_copy __lshift__ __rshift__ isnan isinf isfinite is_nonzero sym_size
    sym_numel eye empty_strided empty_permuted new_empty_strided range rand randn randint randperm rand_like randn_like
    randint_like bernoulli bernoulli_ uniform_ normal_ normal random_ exponential_ multinomial cartesian_prod
    alpha_dropout feature_alpha_dropout dropout_ feature_dropout_ native_dropout to_dense _to_dense to_sparse _to_sparse
    sparse_coo_tensor _sparse_coo_tensor_with_dims_and_tensors _sparse_coo_tensor_unsafe _coalesce coalesce
    _local_scalar_dense _assert_async _assert_scalar _assert_tensor_metadata __getitem__ len dim Complex IntImplicit
    FloatImplicit result_type device quantize_per_tensor quantize_per_tensor_dynamic quantize_per_channel dequantize mT mH
    numpy_T matrix_H adjoint T H _to_sparse_csr _to_sparse_csc _to_sparse_bsr to_sparse_csr to_sparse_csc
    _nested_tensor_from_tensor_list to_padded_tensor _nested_from_padded values indices crow_indices col_indices
""")
"""Operators that move or compare data and do no arithmetic."""
VIEWS = {
    *("view", "reshape", "permute", "transpose", "t", "flatten", "unflatten", "squeeze", "unsqueeze", "contiguous"),
    *("clone", "to", "_to_copy", "type_as", "alias", "detach", "movedim", "moveaxis", "swapaxes", "swapdims", "ravel"),
    *("view_as", "_unsafe_view", "_reshape_alias", "stack", "cat", "concat", "numpy_T", "mT", "adjoint"),
}
"""Operators that return all values of their arguments, each once, in another order or shape."""
VALUELESS = {
    *("size", "numel", "dim", "sym_size", "sym_numel", "zeros", "ones", "full", "empty", "zeros_like", "ones_like"),
    *("full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty", "arange", "linspace", "eye", "rand"),
    *("randn", "rand_like", "randn_like", "randint", "randperm", "new_empty_strided", "empty_strided", "len"),
}
"""Operators whose result depends at most on the shape of their arguments, and on none of their values."""
_WORK: tuple[tuple[Work, frozenset[str]], ...] = (
    ("movement", MOVEMENT),
    ("reduction", REDUCTIONS),
    ("softmax", SOFTMAX),
    ("elementwise", ELEMENTWISE),
)


@cache
def work_of(operator: str) -> Work | None:
    """Return the work of an operator that is no product, sampler or norm; None where nothing is known of it.

    Args:
        operator: Full name of the operator, as aten::sigmoid or aten::add_.
    """
    space, _, name = operator.partition("::")
    if space == "profiler" or operator in ("prim::Constant", "prim::NumToTensor", "prim::device", "prim::layout"):
        return "movement"
    if space != "aten":
        return None
    for work, names in _WORK:
        if name in names or name.removesuffix("_") in names:
            return work
    for spelling in (name, name.removesuffix("_")):
        packet = getattr(torch.ops.aten, spelling, None)
        if packet is None:
            continue
        tags = {tag for overload in packet.overloads() for tag in getattr(packet, overload).tags}
        if torch.Tag.reduction in tags:
            return "reduction"
        if torch.Tag.pointwise in tags:
            return "elementwise"
    return None
