"""A model with upsamplers in it compiled by inductor: as a module, and as the graph that torch.export makes of it.

pytest -n 0 -m slow -s tests/slow/test_compiled_models.py
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import numpy
import pytest
import torch

import upbench
from tests.models.hosts import Segmenter, image, segmenter, with_helper

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
ROUNDS = 30
SIZE = (128, 96)


@pytest.mark.parametrize(("make", "breaks"), [(segmenter, False), (with_helper, True)], ids=["by name", "by a mode"])
def test_inductor_compiles_the_module_or_its_graph(make: Callable[[], Segmenter], breaks: bool) -> None:
    model, x = upbench.replace(make(), "carafe", inputs=image(*SIZE), compressed=8, backend="eager"), image(*SIZE)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch._dynamo.reset()
    try:
        with torch.no_grad():
            want = model(x)
            broken = torch._dynamo.explain(model)(x).graph_break_count
            torch._dynamo.reset()
            program = torch.export.export(model, (x,)).module()
            forms = {
                "eager": model,
                "module": torch.compile(model, fullgraph=not breaks),
                "graph": torch.compile(program, fullgraph=True),
            }
            for name, form in forms.items():
                torch.testing.assert_close(form(x), want, rtol=1e-4, atol=1e-5, msg=name)
            ratios = _ratios(forms, x)
    finally:
        torch.set_num_threads(before)
        torch._dynamo.reset()
    print(f"{make.__name__}: {broken} graph breaks; processor time to eager: {ratios}")
    # The mode is left out of compilation, with the module that it runs in; the graph has its calls as any other's.
    assert (broken > 0) is breaks


def _ratios(forms: dict[str, Callable[..., object]], x: torch.Tensor) -> dict[str, str]:
    """Return the processor time of each form as a part of the first's: interval of the mean over rounds in random order."""
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    order = list(forms)
    for _ in range(ROUNDS):
        random.shuffle(order)
        for name in order:
            start = time.thread_time()
            for _ in range(3):
                forms[name](x)
            seconds[name].append(time.thread_time() - start)
    first = numpy.log(seconds[next(iter(forms))])
    spread = numpy.random.default_rng(0)
    found = {}
    for name, values in seconds.items():
        means = numpy.exp(spread.choice(numpy.log(values) - first, (2000, ROUNDS)).mean(1))
        low, high = numpy.quantile(means, [0.025, 0.975])
        found[name] = f"{low:.2f} to {high:.2f}"
    return found
