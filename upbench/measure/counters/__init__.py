"""What the FLOPs counters of others would print for one call, predicted by rules; none of them needs to be installed.

One counter is one file in this folder, which has a `RULES`: each rule turns what is known of the call (`_call`) into the
figure that the counter prints, or raises `Unpredicted`. The rules are those of a release, which each rule names.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, field

from torch import Tensor, nn

from upbench.measure.counters._call import Calls
from upbench.measure.counters._rule import Rule, Unpredicted


@dataclass(frozen=True)
class Prediction:
    """What one counter would print for one call.

    Args:
        counter: Name of the counter.
        release: Release whose rules these are.
        per_mac: What it counts for one multiply-accumulate, 1 or 2.
        words: What it adds up, in words.
        figure: What it would print; None where it prints nothing.
        leaves_out: Operators of the call that it counts as nothing -> their multiply-accumulates as upbench counts them.
        why_not: Why there is no figure.
    """

    counter: str
    release: str
    per_mac: int
    words: str
    figure: int | None
    leaves_out: dict[str, int] = field(default_factory=dict)
    why_not: str | None = None


def rules() -> list[Rule]:
    """Return the rules of every counter, those of torch and fvcore first."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))
    found = [rule for name in names for rule in importlib.import_module(f"{__name__}.{name}").RULES]
    return sorted(found, key=lambda rule: rule.order)


def predict(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Prediction]:
    """Predict what each counter would print for one call of a module in evaluation, as it is built.

    The module is called five times, as the counters call it: with and without gradients, with and without hooks on its
    layers, and in a trace. Its mode is left as it is.

    Args:
        module: The module.
        inputs: The tensors of the call.

    Raises:
        Exception: Whatever the module raises.
    """
    calls = Calls(module, inputs)
    return [_predicted(rule, calls) for rule in rules()]


def _predicted(rule: Rule, calls: Calls) -> Prediction:
    about = (rule.counter, rule.release, rule.per_mac, rule.words)
    try:
        figure, left_out = rule.predict(calls)
    except Unpredicted as error:
        return Prediction(*about, figure=None, why_not=str(error))
    most = sorted(((name, macs) for name, macs in left_out.items() if macs), key=lambda item: -item[1])
    return Prediction(*about, figure, dict(most))
