"""How models are built: what their libraries say of themselves is not said to who measures them."""

from __future__ import annotations

import warnings

from torch import nn

from upbench.models import factory


def scripted() -> nn.Module:
    """Return a model whose library scripts a part of it, as torchvision does."""
    warnings.warn("`torch.jit.script` is deprecated. Please switch to `torch.compile`.", FutureWarning, stacklevel=1)
    warnings.warn("this model has no head", UserWarning, stacklevel=1)
    return nn.Identity()


def test_that_a_library_scripts_its_models_is_not_remarked_and_a_warning_of_the_model_is() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        factory.build("tests.models.test_factory:scripted")
    assert [str(warning.message) for warning in caught if "torch.jit" in str(warning.message)] == []
    assert any("no head" in str(warning.message) for warning in caught)
