"""What replacing costs by itself: SegFormer-B1 with every call answered by its own call, against the plain model.

pytest -n 0 -m slow -s tests/slow/test_replacing_overhead.py
"""

from __future__ import annotations

import random
import time

import numpy
import pytest
import torch

from tests.models import torchvision_operators
from upbench.models import example_inputs, factory, model_case, replacing

pytestmark = pytest.mark.slow
ROUNDS = 40


def test_a_replaced_model_is_as_fast_as_the_plain_one() -> None:
    pytest.importorskip("transformers")
    torchvision_operators.available()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        plain = factory.build("transformers/segformer-b1")
        args, kwargs = example_inputs.for_image(plain, 256, 256)
        sites = replacing.list_sites(plain, args, kwargs)
        learnable = [site.name for site in sites if site.learnable]
        other = replacing.replace(model_case.shared_copy(plain), replacing.REPEAT, learnable, sites=sites)
        twin = model_case.shared_copy(plain)
        seconds = {name: [] for name in ("plain", "repeated", "twin")}
        models = {"plain": plain, "repeated": other, "twin": twin}
        order = [*models] * 2
        with torch.inference_mode():
            for model in models.values():
                model(*args, **kwargs)
            for _ in range(ROUNDS):
                random.shuffle(order)
                spent = dict.fromkeys(models, 0.0)
                for name in order:
                    start = time.thread_time()
                    models[name](*args, **kwargs)
                    spent[name] += time.thread_time() - start
                for name, value in spent.items():
                    seconds[name].append(value)
    finally:
        torch.set_num_threads(before)
    logs = {name: numpy.log(numpy.array(seconds[name]) / numpy.array(seconds["plain"])) for name in models}
    spread = numpy.random.default_rng(0)
    ends = {}
    for name in ("repeated", "twin"):
        means = numpy.exp(spread.choice(logs[name], (4000, ROUNDS)).mean(1))
        ends[name] = numpy.quantile(means, [0.025, 0.975])
    each = float(numpy.median(seconds["repeated"]) - numpy.median(seconds["plain"])) / 2
    print(
        f"repeated / plain {ends['repeated']}, twin / plain {ends['twin']}, {1e6 * each / len(learnable):.0f} us a call"
    )
    assert ends["repeated"][1] < 1.02 * max(1.0, ends["twin"][1])
