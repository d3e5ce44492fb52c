"""The golden vectors, and how a released constructor's arguments are written in our specs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import upbench

FOLDER = Path(__file__).parent / "golden"

# Relative to the maximum of the reference. The released modules themselves drift by up to 1e-5 in float32.
OUTPUT, GRADIENT = 1e-5, 5e-5

NAMES = {
    "carafe": {
        "up_kernel": "k_up",
        "encoder_kernel": "k_enc",
        "up_group": "groups",
        "compressed_channels": "compressed",
        "encoder_dilation": "dilation",
    },
    "lda_aqu": {
        "range_factor": "theta",
        "n_groups": "groups",
        "reduction_factor": "reduction",
        "k_u": "k_u",
        "k_e": "k_e",
        "nh": "heads",
        "rpb": "position_bias",
    },
    "dysample": {"groups": "groups"},
    "fade": {"up_kernel_size": "k_up", "gating": "gate"},
    "sapa": {
        "up_kernel_size": "k_up",
        "groups": "groups",
        "num_point": "points",
        "embedding_dim": "embedding",
        "qkv_bias": "bias",
    },
    "indexnet": {"use_nonlinear": "nonlinear", "use_context": "context"},
    "a2u": {"up_kernel": "k_up", "up_kernel_size": "k_up", "encode_kernel_size": "k_enc"},
    "resfu": {
        "groups": "groups",
        "kernel_size": "k_up",
        "embedding_dim": "embedding",
        "radius": "radius",
        "eps": "eps",
        "gn_dim": "gn_groups",
        "gf_scale": "gf_scale",
        "normx": "norm",
    },
    "deconv": {"kernel_size": "kernel"},
    "pixelshuffle": {},
    "maxunpool": {"kernel_size": "kernel"},
    "freqfusion": {"compressed_channels": "compressed", "feature_resample": "resample"},
    "jbu": {"key_dim": "key_dim", "radius": "radius"},
    "jafar": {"qk_dim": "dim", "kernel_size": "kernel", "num_heads": "heads"},
    "anyup": {
        "qk_dim": "dim",
        "kernel_size": "kernel",
        "num_heads": "heads",
        "kernel_size_lfu": "lfu_kernel",
        "window_ratio": "window",
    },
    "loftup": {
        "n_freqs": "frequencies",
        "num_heads": "heads",
        "num_layers": "layers",
        "lr_size": "lr_size",
        "lr_pe_type": "position",
    },
    "naf": {"dim": "dim", "heads_attn": "heads", "kernel_size": "kernel"},
    "lift": {"patch_size": "patch"},
    "sam": {},
    "convex": {"hidden_size": "hidden", "multiplier": "multiplier"},
    "dlu": {"compressed_channels": "compressed", "up_kernel": "k_up", "encoder_kernel": "k_enc"},
}

# What one builder of a vector means in our params, beyond its constructor's arguments.
BUILDERS: dict[str, dict[str, Any]] = {
    "ff_plain": {"border": "reflect"},
    "ff_segnext": {"similarity": "only"},
    "loftup_hub": {"input_norm": True},
}
NAMED = {"jbustack": "jbu-stack", "sam": "sam-mask", "sam2": "sam2-mask", "lda_aqu": "ldaaqu"}


@dataclass
class Golden:
    """One vector: arrays, and what its meta says."""

    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name])

    @property
    def state(self) -> dict[str, Tensor]:
        return {key.removeprefix("state/"): self.tensor(key) for key in self.arrays if key.startswith("state/")}

    @property
    def name(self) -> str:
        """Our name of the released variant."""
        family, variant, ctor = self.meta["upsampler"], self.meta["variant"], self.meta["ctor"]
        if family == "dysample":
            return "dysample" + ("-s" if ctor["style"] == "pl" else "") + ("+" if ctor["dyscope"] else "")
        if family == "fade":
            return "fade-lite" if variant.startswith("lite") else "fade"
        if family == "sapa":
            return f"sapa-{variant[0]}"
        return NAMED.get(self.meta.get("builder", family), NAMED.get(family, family))

    @property
    def params(self) -> dict[str, Any]:
        """The released constructor's arguments as our params."""
        family, variant, ctor = self.meta["upsampler"], self.meta["variant"], self.meta["ctor"]
        params = {ours: ctor[theirs] for theirs, ours in NAMES[family].items() if theirs in ctor}
        if family == "sapa" and variant[0] in "bd":
            params["norm"] = ctor["norm"]
        if family == "sapa" and variant[0] == "d":
            params["dof"] = "s2" if ctor["high_offset"] else 1
            params.pop("k_up", None)
        if family == "indexnet":
            params["kind"] = variant.split("_")[0]
        if variant == "semishiftup":
            params["gate"] = False
        return params | BUILDERS.get(self.meta.get("builder", ""), {})

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the output."""
        height, width = self.arrays["y"].shape[2:]
        return height, width

    def inputs(self, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """x and the guides by their names in the vector, in the order of our call."""
        names = [name for name in ("x", "guide", "guide_s1") if name in self.arrays]
        return {name: self.tensor(name).to(dtype).requires_grad_() for name in names}

    def build(self) -> nn.Module:
        """Our module with the released weights, in the mode in which the vector was made."""
        channels, guide = self.arrays["x"].shape[1], self.arrays.get("guide")
        scale = self.meta["scale"]
        module = upbench.build(
            self.name,
            channels=channels,
            scale=int(scale[0]) if self.name == "maxunpool" and isinstance(scale, list) else _one(scale),
            guide_channels=None if guide is None else guide.shape[1],
            **self.params,
        )
        return upbench.load_weights(module, self.state).train(self.meta["mode"] == "train")


def _one(scale: Any) -> float:
    """The scale of both directions, or of the height where they differ."""
    return scale[0] if isinstance(scale, list) else scale


def load(path: Path) -> Golden:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    return Golden(arrays, json.loads(str(arrays.pop("meta"))))


def paths() -> list[Path]:
    return sorted(FOLDER.glob("*.npz"))


def error(ours: Tensor, reference: Tensor) -> float:
    """Largest difference, relative to the largest value of the reference."""
    assert ours.shape == reference.shape
    return float((ours.detach() - reference).abs().max() / reference.abs().max().clamp_min(1e-12))
