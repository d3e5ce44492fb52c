"""upbench: benchmarking and ablation of feature upsamplers.

The functions are the verbs of the command line:

    spec("ldaaqu", shape="256x60x60", theta=5)      what is to be measured, judged
    profile(spec), profile(module, x)               everything about one upsampler
    compare("ldaaqu", "carafe", shape=...)          several side by side, in interleaved rounds
    sweep("sweeps/theta.yaml")                      an ablation
    compare_quality("bilinear", "carafe")           a proxy of what they are worth, by training tiny networks
    read("results/theta.jsonl"), table(records)     what was measured before
    build("ldaaqu", channels=256)                   a module
    load_weights(module, "checkpoint.pth")          released weights
    export(module, x, "up.onnx")                    a file that another runtime runs
    layers(module, x)                               parameters and MACs, layer by layer
    names()                                         the upsamplers that there are
    sites(model, x)                                 where a real model upsamples
    replace(model, "dysample", inputs=x)            other upsamplers there; restore(model) takes them back

Results have `.to_markdown()` and `.to_dataframe()`, and show themselves in a notebook. Importing this package loads
neither torch nor pandas; a function loads what it needs when it is called.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # that of typing takes milliseconds, in which Ctrl-C is a traceback
if TYPE_CHECKING:
    from typing import Any

    from upbench.api.layers import layers as layers
    from upbench.api.models import Sites as Sites
    from upbench.api.models import replace as replace
    from upbench.api.models import restore as restore
    from upbench.api.models import sites as sites
    from upbench.api.quality import Quality as Quality
    from upbench.api.quality import compare_quality as compare_quality
    from upbench.api.results import Comparison as Comparison
    from upbench.api.results import Profile as Profile
    from upbench.api.results import Records as Records
    from upbench.api.results import ResultTable as ResultTable
    from upbench.api.verbs import compare as compare
    from upbench.api.verbs import profile as profile
    from upbench.api.verbs import read as read
    from upbench.api.verbs import spec as spec
    from upbench.api.verbs import sweep as sweep
    from upbench.api.verbs import table as table
    from upbench.errors import UpbenchError as UpbenchError
    from upbench.exchange.exporter import export as export
    from upbench.records.record import Record as Record
    from upbench.registry import build as build
    from upbench.registry import names as names
    from upbench.specs.run_spec import RunSpec as RunSpec
    from upbench.weights import load_weights as load_weights

__version__ = "0.1.0"
__all__ = [
    "spec",
    "profile",
    "compare",
    "sweep",
    "compare_quality",
    "read",
    "table",
    "build",
    "load_weights",
    "export",
    "layers",
    "names",
    "sites",
    "replace",
    "restore",
    "Comparison",
    "Profile",
    "Quality",
    "Record",
    "Records",
    "ResultTable",
    "RunSpec",
    "Sites",
    "UpbenchError",
]

_HOME = {
    **dict.fromkeys(("spec", "profile", "compare", "sweep", "read", "table"), "upbench.api.verbs"),
    **dict.fromkeys(("sites", "replace", "restore", "Sites"), "upbench.api.models"),
    **dict.fromkeys(("Comparison", "Profile", "Records", "ResultTable"), "upbench.api.results"),
    **dict.fromkeys(("compare_quality", "Quality"), "upbench.api.quality"),
    "layers": "upbench.api.layers",
    "build": "upbench.registry",
    "export": "upbench.exchange.exporter",
    "names": "upbench.registry",
    "load_weights": "upbench.weights",
    "RunSpec": "upbench.specs.run_spec",
    "Record": "upbench.records.record",
    "UpbenchError": "upbench.errors",
}
_DEPRECATED = {"run": "upbench.api.verbs"}
"""Names of earlier versions, which warn when they are called and say what to call instead."""


def __getattr__(name: str) -> Any:
    home = _HOME.get(name) or _DEPRECATED.get(name)
    if home is None:
        raise AttributeError(f"module 'upbench' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted((*globals(), *__all__))
