"""The sizes of a spec: of the output, which need not be scale times x, and of the image that guides it."""

from __future__ import annotations

from dataclasses import replace

from upbench.cards import Card, Setting
from upbench.specs.shapes import NamedShape, Size


def scale_and_output(
    card: Card, height: int, scale: float | None, output: Size | None, named: NamedShape | None
) -> tuple[float | None, Size | None]:
    """Return the scale, None for the card's own, and the size of the output, None for scale times x.

    A scale that is written stands. A size without one makes the scale its ratio to x, in height where the two
    directions have two ratios. The size of a named shape is not for methods that have another only scale.

    Args:
        card: of the upsampler.
        height: of x.
        scale: as written, or None.
        output: as written, or None.
        named: the named shape that the spec gives.
    """
    if output is None and scale is None and named is not None and named.output is not None:
        fits = card.only_scale in (None, named.output[0] / height)
        output = named.output if fits else None
    if output is None or scale is not None or card.only_scale is not None:
        return scale, output
    ratio = output[0] / height
    return max(1, int(ratio) if ratio.is_integer() else ratio), output


def settled(card: Card, setting: Setting, output: Size | None, image: Size | None, named: NamedShape | None) -> Setting:
    """Return the setting with the sizes that do not follow from x and the scale.

    Args:
        card: of the upsampler.
        setting: with the height and width of x.
        output: of the output, or None.
        image: of the guiding image as written, or None; a method without one does not look at it.
        named: the named shape that the spec gives, whose image is taken by methods that can.
    """
    if output is not None and output != (setting.out_height, setting.out_width):
        setting = replace(setting, output=output)
    if card.guide_kind != "image":
        return setting
    if image is None and named is not None:
        fits = named.image == card.guides[0].size_in(replace(setting, image=named.image))
        image = named.image if fits else None
    return setting if image == setting.image_size else replace(setting, image=image)
