"""DLU against CARAFE, in the figures of its abstract."""

from __future__ import annotations

from upbench import registry
from upbench.cards import Setting


def setting(name: str, scale: int) -> Setting:
    return registry.setting_of(registry.get(name), 256, None, scale, {})


def test_the_abstract_counts_sixteen_times() -> None:
    """91 % fewer parameters, and at least 63 % fewer FLOPs: convolutions and assembly, not the reading of the kernels."""
    ours, theirs = registry.get("dlu"), registry.get("carafe")
    assert ours.count_params is not None
    assert theirs.count_params is not None
    assert ours.count_macs is not None
    assert theirs.count_macs is not None
    few, many = setting("dlu", 16), setting("carafe", 16)
    assert 0.91 <= 1 - ours.count_params(few) / theirs.count_params(many) < 0.92
    less, more = ours.count_macs(few), theirs.count_macs(many)
    read = 4 * few["k_up"] ** 2 * few.high
    assert 0.63 <= 1 - (less.conv + less.gather - read) / (more.conv + more.gather) < 0.64
    assert 1 - (less.conv + less.gather) / (more.conv + more.gather) < 0.63
