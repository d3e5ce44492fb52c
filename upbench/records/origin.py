"""What a record is of: the spec as it was written down, and the machine and software that it was measured with.

Files of other versions may have more keys than these, or fewer. What is not known here is kept, and written again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from upbench.cards import builtin
from upbench.errors import UpbenchError
from upbench.specs import shapes


class _Open(BaseModel):
    """A mapping with declared keys. Keys that are not declared are kept as they are."""

    model_config = ConfigDict(extra="allow", frozen=True)

    def given(self) -> dict[str, Any]:
        """Return the keys that were written, with plain values, as JSON has them."""
        return self.model_dump(mode="json", exclude_unset=True)

    def value(self, key: str) -> Any:
        """Return the value of a key, declared or not; None where there is none."""
        return getattr(self, key, None)


class InputData(_Open):
    """The input of a spec, see `run_spec.InputSpec`. `shape` is None for a whole host, whose stages have their own shapes."""

    shape: str | None = None
    batch: int = 1
    dtype: str = "float32"
    memory_format: str = "contiguous"
    offsets: str = "init"
    seed: int = 0
    guide_size: str | None = None
    output_size: str | None = None


class MeasureData(_Open):
    """How a spec was measured, see `run_spec.MeasureSpec`."""

    device: str = "auto"
    backend: str = "auto"
    mode: str = "inference"
    compile: str = "off"
    threads: int | None = None
    budget: float = 2.0
    runtime: str | None = None
    allocator: str = "kept"
    flush_denormals: bool = False


class RunSpecData(_Open):
    """A spec as a record holds it. It was validated when it was measured, perhaps by another version of upbench.

    `host` is set in records that sum the stages of a host; channels, scale and shape are then those of the stages.
    """

    upsampler: str = ""
    channels: int | None = None
    guide_channels: int | None = None
    scale: int | float | None = None
    params: dict[str, Any] = {}
    input: InputData = InputData()
    measure: MeasureData = MeasureData()
    host: dict[str, Any] | None = None

    @property
    def sizes(self) -> tuple[int, int, int] | None:
        """Channels, height and width of the input; None where no shape is known."""
        try:
            return shapes.parse(self.input.shape)
        except UpbenchError:
            return None


class Environment(_Open):
    """Machine and software that a record was measured with, see `environment.capture`; None where a value is not known."""

    device: str | None = None
    device_type: str | None = None
    device_id: str | None = None
    cpu: str | None = None
    cores: int | None = None
    cores_usable: int | None = None
    threads: int | None = None
    memory_bytes: int | None = None
    cache_bytes: int | None = None
    load: float | None = None
    system: str | None = None
    machine: str | None = None
    python: str | None = None
    upbench: str | None = None
    measurement_version: int | None = None
    torch: str | None = None
    kernels: str | None = None
    cuda: str | None = None
    commit: str | None = None


KEY = ("device", "threads", "torch", "measurement_version", "kernels", "cuda")
"""The parts of an environment that change a measurement."""


def of_key(spec: RunSpecData | Mapping[str, Any], environment: Environment | Mapping[str, Any]) -> list[Any]:
    """Return everything that distinguishes two measurements, as JSON can hold it.

    A key of the spec, or a param of a built-in upsampler, that one version has and another lacks counts as its default,
    so that both know the same record.

    Args:
        spec: The spec.
        environment: Machine and software, of which only the parts of KEY count.
    """
    known = spec if isinstance(spec, RunSpecData) else RunSpecData.model_validate(dict(spec))
    where = environment if isinstance(environment, Environment) else Environment.model_validate(dict(environment))
    written = known.model_dump(mode="json")
    if written["measure"]["allocator"] == "kept":  # as before there was another
        del written["measure"]["allocator"]
    if not written["measure"]["flush_denormals"]:
        del written["measure"]["flush_denormals"]
    if (card := builtin().get(known.upsampler)) is not None:
        written["params"] = {param.name: param.default for param in card.params} | written["params"]
    return [written, {name: where.value(name) for name in KEY}]
