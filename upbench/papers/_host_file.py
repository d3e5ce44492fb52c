"""Hosts as they are written in YAML, and the hosts made from them, with every size filled in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from upbench.errors import SpecError
from upbench.papers._host import COUNT, Base, Host, HostInput, Stage, Variant, low_pixels, resized
from upbench.specs.strict import Many, Strict
from upbench.specs.yaml_file import told

_SIZES = ("height", "width", "out_height", "out_width")


class _StageDraft(Strict):
    """A stage as written: with a stride, with its size, or with both, which then agree."""

    name: str = Field(description="a name")
    channels: int = Field(ge=1, description=COUNT)
    guide_channels: int | None = Field(None, ge=1, description=COUNT)
    scale: int = Field(2, ge=2, description="an integer of at least 2")
    stride: int | None = Field(None, ge=1, description=COUNT)
    height: int | None = Field(None, ge=1, description=COUNT)
    width: int | None = Field(None, ge=1, description=COUNT)
    out_height: int | None = Field(None, ge=1, description=COUNT)
    out_width: int | None = Field(None, ge=1, description=COUNT)
    batch: int = Field(1, ge=1, description=COUNT)


_STAGES: Any = Field(min_length=1, strict=False, description="a list of at least one stage")


class _VariantDraft(Strict):
    base: Base = Field(Base(), description="a mapping of params and flops")
    input: HostInput | None = Field(None, description="a mapping of height, width and divisor")
    stages: tuple[_StageDraft, ...] = _STAGES
    lr_pixels: int | None = None
    fits: str | None = None
    replaces: str | None = None
    uncertain: bool = False
    why: str | None = None
    note: str | None = None


class _Alias(Strict):
    backbone: str
    base: Base = Base()


class HostDraft(Strict):
    """A host as written."""

    name: str | None = Field(None, description="a name")
    title: str | None = Field(None, description="text")
    backbone: str | None = Field(None, description="text")
    task: str | None = Field(None, description="text")
    dataset: str | None = Field(None, description="text")
    base: Base = Field(Base(), description="a mapping of params and flops")
    input: HostInput | None = Field(None, description="a mapping of height, width and divisor")
    stages: tuple[_StageDraft, ...] = _STAGES
    lr_pixels: int | None = Field(None, description="an integer")
    fits: str | None = Field(None, description="text")
    notes: Many[str] = Field((), description="a list of texts")
    variants: dict[str, _VariantDraft] = Field({}, description="a mapping of names to variants")
    aliases: dict[str, _Alias] = Field({}, description="a mapping of names to backbones")


class HostFile(Strict):
    """The file of all hosts."""

    about: str
    hosts: dict[str, HostDraft]


def build_host(draft: HostDraft, name: str, source: str) -> Host:
    """Return the host of a draft, with every size filled in.

    Args:
        draft: The host as written.
        name: The name of the host.
        source: The file and the place in it, for errors.

    Raises:
        SpecError: The draft has mistakes; the error lists all of them together.
    """
    mistakes: list[str] = []
    stages = _stages(draft.stages, draft.input, draft.lr_pixels, "stages", mistakes)
    variants = {}
    for key, variant in draft.variants.items():
        size = variant.input or draft.input
        variant_stages = _stages(variant.stages, size, variant.lr_pixels, f"variants.{key}.stages", mistakes)
        if variant.uncertain != (variant.why is not None):
            mistakes.append(f"variants.{key}: an uncertain variant says why, and only an uncertain one")
        written = variant.model_dump(exclude={"base", "input", "stages", "lr_pixels"})
        variants[key] = Variant(
            name=key,
            base=variant.base,
            input=size,
            stages=variant_stages,
            lr_pixels=low_pixels(variant_stages),
            **written,
        )
    if mistakes:
        raise SpecError([told(source, sentence) for sentence in mistakes])
    return Host(
        name=name,
        title=draft.title or name,
        backbone=draft.backbone,
        task=draft.task,
        dataset=draft.dataset,
        base=draft.base,
        input=draft.input,
        stages=stages,
        lr_pixels=low_pixels(stages),
        fits=draft.fits,
        notes=draft.notes,
        variants=variants,
    )


def _stages(
    drafts: Sequence[_StageDraft], size: HostInput | None, low: int | None, where: str, mistakes: list[str]
) -> tuple[Stage, ...]:
    """Stages with every size filled in; what is wrong with them is added to `mistakes`."""
    before, stages = len(mistakes), []
    names = [draft.name for draft in drafts]
    mistakes += [f"{where}: the name {n!r} is given twice" for n in dict.fromkeys(names) if names.count(n) > 1]
    for index, draft in enumerate(drafts):
        stage = _stage(draft, size, f"{where}[{index}] ({draft.name})", mistakes)
        stages += [stage] if stage else []
    if len(mistakes) == before and low is not None and low != low_pixels(stages):
        mistakes.append(f"{where}: their low-resolution pixels are {low_pixels(stages)}, but lr_pixels is {low}")
    return tuple(stages)


def _stage(draft: _StageDraft, size: HostInput | None, where: str, mistakes: list[str]) -> Stage | None:
    given = draft.model_dump(exclude_none=True)
    if draft.stride is not None and size is not None:
        empty = Stage(**{**dict.fromkeys(_SIZES, 1), "guide_channels": draft.channels, **given})
        whole = resized(empty, size)
        given_sizes = [key for key in _SIZES if key in given]
        wrong = [
            f"{key} {given[key]} (it is {getattr(whole, key)})"
            for key in given_sizes
            if given[key] != getattr(whole, key)
        ]
        if wrong:
            input_size = f"{size.height}x{size.width}, divisor {size.divisor}"
            mistakes.append(
                f"{where}: stride {draft.stride} at the input {input_size} does not give {', '.join(wrong)}"
            )
        return whole
    if draft.height is None or draft.width is None:
        needs = "an input, because it has a stride" if draft.stride is not None else "height and width, or a stride"
        mistakes.append(f"{where}: needs {needs}")
        return None
    rest = {
        "guide_channels": draft.channels,
        "out_height": draft.height * draft.scale,
        "out_width": draft.width * draft.scale,
    }
    stage = Stage(**{**rest, **given})
    for key, low in (("out_height", stage.height), ("out_width", stage.width)):
        least, most = (low - 1) * stage.scale + 1, low * stage.scale
        if not least <= getattr(stage, key) <= most:
            mistakes.append(
                f"{where}: {key} is {getattr(stage, key)}, but {low} x{stage.scale} can only be cropped to {least} to {most}"
            )
    return stage
