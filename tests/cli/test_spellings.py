"""The same arithmetic is the same MACs of the same class, however it is spelled."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upbench import ops
from upbench.measure import counting, cross_check, dispatched, macs

B, C, H, W, K = 2, 6, 4, 5, 3
ASSEMBLY = B * C * K * K * H * W
"""One product for each channel, tap and pixel."""
Assemble = Callable[[Tensor, Tensor], Tensor]


def windows_of(x: Tensor) -> Tensor:
    return F.unfold(x, K, padding=K // 2).view(B, C, K * K, H, W)


def by_einsum(x: Tensor, weight: Tensor) -> Tensor:
    return torch.einsum("bkhw,bckhw->bchw", weight, windows_of(x))


def by_matmul(x: Tensor, weight: Tensor) -> Tensor:
    windows = windows_of(x).flatten(3).permute(0, 3, 1, 2)
    return (windows @ weight.flatten(2).transpose(1, 2).unsqueeze(3)).squeeze(3).transpose(1, 2).unflatten(2, (H, W))


def by_bmm(x: Tensor, weight: Tensor) -> Tensor:
    windows = windows_of(x).flatten(3).permute(0, 3, 1, 2).flatten(0, 1)
    taps = weight.flatten(2).transpose(1, 2).flatten(0, 1).unsqueeze(2)
    return torch.bmm(windows, taps).view(B, H, W, C).permute(0, 3, 1, 2)


def by_sum(x: Tensor, weight: Tensor) -> Tensor:
    return (windows_of(x) * weight.unsqueeze(1)).sum(2)


def by_sum_of_torch(x: Tensor, weight: Tensor) -> Tensor:
    return torch.sum(torch.mul(weight.unsqueeze(1), windows_of(x)), dim=2)


def by_methods(x: Tensor, weight: Tensor) -> Tensor:
    return windows_of(x).mul(weight.unsqueeze(1)).sum(dim=2, keepdim=True).squeeze(2)


def in_place(x: Tensor, weight: Tensor) -> Tensor:
    windows = windows_of(x).clone()
    return windows.mul_(weight.unsqueeze(1)).sum(2)


def with_views_between(x: Tensor, weight: Tensor) -> Tensor:
    product = windows_of(x) * weight.unsqueeze(1)
    rows = product.permute(0, 3, 4, 1, 2).contiguous().view(product.shape[0], H * W, C, K * K)
    return rows.sum(-1).transpose(1, 2).reshape(B, C, H, W)


def by_stack(x: Tensor, weight: Tensor) -> Tensor:
    windows = windows_of(x)
    return torch.stack([windows[:, :, n] * weight[:, n : n + 1] for n in range(K * K)]).sum(0)


def by_cat(x: Tensor, weight: Tensor) -> Tensor:
    windows = windows_of(x)
    return torch.cat([(windows[:, :, n] * weight[:, n : n + 1]).unsqueeze(2) for n in range(K * K)], 2).sum(dim=(2,))


def by_vecdot(x: Tensor, weight: Tensor) -> Tensor:
    return torch.linalg.vecdot(windows_of(x), weight.unsqueeze(1).expand(-1, C, -1, -1, -1), dim=2)


def by_grouped_convolution(x: Tensor, weight: Tensor) -> Tensor:
    windows = windows_of(x).permute(1, 0, 3, 4, 2).reshape(C, B * H * W, K, K)
    kernels = weight.permute(0, 2, 3, 1).reshape(B * H * W, 1, K, K)
    return F.conv2d(windows, kernels, groups=B * H * W).view(C, B, H, W).transpose(0, 1)


def scripted_sum(windows: Tensor, weight: Tensor) -> Tensor:
    if windows.size(0) > 0:
        windows = windows * weight
    return windows.sum(2)


def by_script(x: Tensor, weight: Tensor) -> Tensor:
    return (torch.jit.script(scripted_sum))(windows_of(x), weight.unsqueeze(1))


def by_ours(x: Tensor, weight: Tensor) -> Tensor:
    return ops.window_assemble(x, weight.unsqueeze(1), K, 1)


class Assembly(nn.Module):
    def __init__(self, assemble: Assemble) -> None:
        super().__init__()
        self.assemble = assemble
        self.encoder = nn.Conv2d(C, K * K, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.assemble(x, F.softmax(self.encoder(x), dim=1))


SPELLINGS: list[Assemble] = [
    by_einsum,
    by_matmul,
    by_bmm,
    by_sum,
    by_sum_of_torch,
    by_methods,
    in_place,
    with_views_between,
    by_stack,
    by_cat,
    by_vecdot,
    by_grouped_convolution,
    by_script,
    by_ours,
]
X = torch.rand(B, C, H, W, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("assemble", SPELLINGS, ids=lambda function: function.__name__)
def test_every_spelling_of_an_assembly_is_one_gather(assemble: Assemble) -> None:
    torch.manual_seed(0)
    module = Assembly(assemble).eval()
    expected = {
        "conv": B * C * K * K * H * W,
        "gather": ASSEMBLY,
        "norm": 0,
        "elementwise": 3 * B * K * K * H * W,
    }
    counted = counting.count(module, (X,))
    assert counted.by_kind == expected
    assert dispatched.count(module, (X,)).by_kind == expected
    assert counted.missing == {}
    assert counted.notes == ()
    assert cross_check.disagreements(None, counted, cross_check.torch_count(module, (X,))) == []
    torch.testing.assert_close(module(X), by_einsum(X, F.softmax(module.encoder(X), dim=1)))


def by_loop(x: Tensor, weight: Tensor) -> Tensor:
    windows = windows_of(x)
    out = windows[:, :, 0] * weight[:, :1]
    for n in range(1, K * K):
        out = out + windows[:, :, n] * weight[:, n : n + 1]
    return out


def test_a_sum_that_is_written_out_says_by_how_much_it_may_differ() -> None:
    counted = counting.count(Assembly(by_loop), (X,))
    additions = ASSEMBLY - ASSEMBLY // 9
    assert counted.by_kind["elementwise"] == 3 * B * K * K * H * W + ASSEMBLY + additions
    assert counted.notes == (
        "a sum of 9 products is written out (aten::mul, aten::add) and counts as element-wise; as one einsum "
        f"its {ASSEMBLY} products would be gather, and {additions} additions less",
    )


def kept(m: nn.Module, x: Tensor) -> Tensor:
    product = x * x.flip(1)
    return product.sum(1, keepdim=True) + product


def scaled(m: nn.Module, x: Tensor) -> Tensor:
    return (x * 2.0).sum(1) + (x * torch.tensor(3.0)).sum(1)


def summed_twice(m: nn.Module, x: Tensor) -> Tensor:
    product = x * x.flip(1)
    return product.sum((1, 2)).sum() + product.sum((1, 3)).sum()


class Of(nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.ones(C))
        self.matrix = nn.Parameter(torch.ones(C, C))
        self.register_buffer("fixed", torch.ones(C, C))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


@pytest.mark.parametrize("function", [kept, scaled, summed_twice], ids=lambda function: function.__name__)
def test_a_product_that_goes_elsewhere_or_has_a_number_for_a_factor_stays_elementwise(
    function: Callable[..., Tensor],
) -> None:
    for counted in (macs.count(Of(function), (X,)), dispatched.count(Of(function), (X,))):
        assert (counted.by_kind["conv"], counted.by_kind["gather"]) == (0, 0)
        assert counted.by_kind["elementwise"] >= 2 * X.numel()


def written(m: nn.Module, x: Tensor) -> Tensor:
    """Features that reach a product through an assignment into a new tensor."""
    held = torch.zeros_like(x)
    held[:, 1:] = x[:, 1:]
    return torch.einsum("bchw,bdhw->bcd", held, x)


# With a learned factor it is the arithmetic of a layer; of two features, or with a fixed factor, it is a gather.
CLASSES: dict[str, tuple[Callable[..., Tensor], str, int]] = {
    "weight @ x": (lambda m, x: m.matrix @ x.flatten(2), "conv", X.numel() * C),
    "einsum": (lambda m, x: torch.einsum("dc,bchw->bdhw", m.matrix, x), "conv", X.numel() * C),
    "product and sum": (lambda m, x: (x * m.weight.view(1, -1, 1, 1)).sum(1), "conv", X.numel()),
    "through a softmax": (lambda m, x: F.softmax(m.matrix, 1) @ x.flatten(2), "conv", X.numel() * C),
    "a fixed matrix": (lambda m, x: m.fixed @ x.flatten(2), "gather", X.numel() * C),
    "two features": (lambda m, x: x.flatten(2) @ x.flatten(2).mT, "gather", X.numel() * C),
    "linear of two features": (lambda m, x: F.linear(x[0, 0], x[0, 1]), "gather", H * H * W),
    "through an assignment": (written, "gather", X.numel() * C),
    "the shape of a feature": (lambda m, x: m.matrix.expand(x.shape[0], C, C) @ x.flatten(2), "conv", X.numel() * C),
}


@pytest.mark.parametrize("name", list(CLASSES))
def test_the_class_of_a_product_is_that_of_its_factors(name: str) -> None:
    function, kind, expected = CLASSES[name]
    module = Of(function)
    for counted in (macs.count(module, (X,)), dispatched.count(module, (X,))):
        assert {k: counted.by_kind[k] for k in ("conv", "gather")} == {"conv": 0, "gather": 0, kind: expected}
    assert cross_check.disagreements(None, macs.count(module, (X,)), cross_check.torch_count(module, (X,))) == []
