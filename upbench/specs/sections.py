"""The sections of a spec: what an upsampler is fed with, and how it is measured."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, field_serializer, model_serializer

from upbench import backends, runtimes
from upbench.errors import UpbenchError
from upbench.specs import shapes
from upbench.specs.strict import Strict

DTYPES = ("float32", "float16", "bfloat16", "float64", "autocast-float16", "autocast-bfloat16")
"""Names of the dtypes that can be measured."""
MODES = ("inference", "training", "training-forward", "training-backward")
"""Names of the modes that can be measured."""


def _shape(value: object) -> object:
    try:
        return shapes.parse(value)
    except UpbenchError as error:
        raise ValueError(str(error)) from None


def _size(value: object) -> object:
    try:
        return None if value is None else shapes.size(value)
    except UpbenchError as error:
        raise ValueError(str(error)) from None


Size = Annotated[tuple[int, int] | None, BeforeValidator(_size)]


def _off(value: object) -> object:
    """YAML reads a bare off as false."""
    return "off" if value is False else value


class InputSpec(Strict):
    """The input of a spec. A guide that is a feature has the output's height and width.

    Args:
        shape: Channels, height and width of the low-resolution feature.
        guide_size: Rows and columns of the image, for methods that one guides; others do not look at it. None is the
            image of a named shape, or the output's size.
        output_size: Rows and columns of the output; None is those of a named shape, or scale times x.
        batch: Number of samples.
        dtype: Dtype of features and weights, or of autocast.
        memory_format: Order of the values in memory.
        offsets: How far sampling methods reach, see `inputs.set_offsets`.
        seed: Seed of weights and features.
    """

    shape: Annotated[tuple[int, int, int], BeforeValidator(_shape)] = Field(
        shapes.NAMED["paper"].shape, description=shapes.FORM
    )
    guide_size: Size = Field(None, description="HxW (224x224), or null")
    output_size: Size = Field(None, description="HxW (224x224), or null")
    batch: int = Field(1, ge=1, description="an integer of at least 1")
    dtype: Literal["float32", "float16", "bfloat16", "float64", "autocast-float16", "autocast-bfloat16"] = Field(
        "float32", description="one of " + ", ".join(DTYPES)
    )
    memory_format: Literal["contiguous", "channels_last"] = Field(
        "contiguous", description="contiguous or channels_last"
    )
    offsets: Literal["init", "trained", "max"] = Field("init", description="init, trained or max")
    seed: int = Field(0, ge=0, lt=2**63, description="an integer of at least 0")

    @field_serializer("shape")
    def _text(self, shape: tuple[int, int, int]) -> str:
        return shapes.text(shape)

    @field_serializer("guide_size", "output_size")
    def _size_text(self, size: tuple[int, int] | None) -> str | None:
        return None if size is None else shapes.text(size)

    @model_serializer(mode="wrap")
    def _without_sizes(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Sizes that follow from the shape are left out, as in specs and records written before there were others."""
        data: dict[str, Any] = serialise(self)
        return {k: v for k, v in data.items() if v is not None or k not in ("guide_size", "output_size")}


class MeasureSpec(Strict):
    """How a spec is measured.

    Args:
        device: auto, cpu, cuda or cuda:N.
        backend: eager computes as released, fused without holding what it reads; auto takes fused where it can run and was not
            measured to be slower.
        mode: Forward without autograd (inference), forward and backward (training), or either of them alone.
        compile: Mode of torch.compile.
        runtime: Name of the runtime, see `runtimes`; None, which is not written down, leaves it to `compile`.
        threads: Number of torch's threads; None leaves torch's default.
        budget: Seconds of sampling for each upsampler.
        allocator: What malloc does with large blocks that are freed, see `machine.allocator`: they stay with the process
            (kept, which is not written down) or go back to the system (returned).
        flush_denormals: Whether a CPU takes numbers near 0 that it has no fast way for as 0, see `environment.flushing`; false is
            not written down.
    """

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N")
    backend: backends.Name = Field("auto", description="auto, eager or fused")
    mode: Literal["inference", "training", "training-forward", "training-backward"] = Field(
        "inference", description="one of " + ", ".join(MODES)
    )
    compile: Annotated[Literal["off", "default", "max-autotune"], BeforeValidator(_off)] = Field(
        "off", description="off, default or max-autotune"
    )
    runtime: str | None = Field(None, description="one of " + ", ".join(runtimes.CLASSES))
    threads: int | None = Field(None, ge=1, description="an integer of at least 1, or null")
    budget: float = Field(2.0, gt=0, description="a number of seconds above 0")
    allocator: Literal["kept", "returned"] = Field("kept", description="kept or returned")
    flush_denormals: bool = Field(False, description="true or false")

    @property
    def run_by(self) -> str:
        """Name of the runtime that runs the module."""
        return self.runtime or runtimes.OF_COMPILE[self.compile]

    @model_serializer(mode="wrap")
    def _written(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = whole(self)
        if data.get("runtime", "") is None:
            del data["runtime"]
        if data.get("allocator") == "kept":
            del data["allocator"]
        if data.get("flush_denormals") is False:
            del data["flush_denormals"]
        return data
