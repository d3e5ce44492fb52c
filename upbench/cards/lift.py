"""LiFT (Suri et al., ECCV 2024)."""

from upbench.cards.card import Card, Guide, Macs, Paper, Param, Setting

E = 32


def _params(s: Setting) -> int:
    c, g = s.channels, s.guide_channels
    half, out = (c + E) // 2, c // 2
    image = 9 * g * E + E + 2 * (9 * E * E + E) + 3 * 2 * E
    up = 4 * (c + E) * half + half + 9 * (half + E) * out + 2 * out + 9 * out * out + 2 * out
    return image + up + out * c + c


def _macs(s: Setting) -> Macs:
    c = s.channels
    half, out = (c + E) // 2, c // 2
    height, width = _image(s)
    first, second = (((height - 1) // n + 1) * ((width - 1) // n + 1) for n in (2, 4))
    image = s.batch * (first * 9 * s.guide_channels * E + second * 9 * E * E) + s.low * 9 * E * E
    return Macs(conv=image + s.low * (4 * (c + E) * half + 36 * (half + E) * out + 36 * out * out + 4 * out * c))


def _image(s: Setting) -> tuple[int, int]:
    """The size of the image: patch times x, or any."""
    return s.image_size if s["any_image"] else (s["patch"] * s.height, s["patch"] * s.width)


CARDS = (
    Card(
        name="lift",
        module="upbench.upsamplers.lift:LiFT",
        summary="one step of a U-Net that gets the image at twice the resolution of the features",
        paper=Paper(
            "LiFT: A Surprisingly Simple Lightweight Feature Transform for Dense ViT Descriptors",
            "ECCV",
            2024,
            "saksham-s/lift fd6d929",
            "MIT",
        ),
        params=(
            Param(
                "patch",
                16,
                "side of the backbone's patches: the image is so many times x",
                "patch_size",
                choices=(8, 16),
            ),
            Param("any_image", False, "pool the image's features to twice x, so that the image may have any size"),
        ),
        guides=(Guide("image", 3, size=_image),),
        scales="2",
        count_params=_params,
        count_macs=_macs,
        notes=(
            "The release takes and returns tokens by default; upbench takes and returns maps.",
            "any_image is how LoftUp's copy of LiFT takes images of any size; the released module needs patch times x.",
            "An odd number of channels is halved downwards.",
        ),
    ),
)
