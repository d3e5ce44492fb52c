"""Makes pictures with masks for `upbench quality --data DIR`: cut-outs with an alpha channel, pasted onto photographs.

    python examples/cutouts.py STAMPS PHOTOGRAPHS OUT

STAMPS is a folder of PNG files with transparency, PHOTOGRAPHS one of pictures for the background; docs/quality.md says
where free ones can be had. OUT/images and OUT/masks hold the pairs afterwards. The part of a name before __ is the
cut-out, so that one object is never in training and in the test. The same arguments give the same pictures.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from PIL import Image

SIDE = 96
"""Rows and columns of a picture."""
SHARE = (0.5, 1.0)
"""The longer side of a cut-out, as a part of SIDE."""

SKIPPED = (
    "symbols",
    "chessboard",
    "color",
    "horse",
    "logo",
    "page",
    "phantom",
    "text",
    "clock_motion",
    "microaneurysms",
)
"""Folders of cut-outs and names of pictures that begin so are left out: letters, drawings and pages of print."""


def wanted(path: Path, folder: Path) -> bool:
    """Return whether neither a name nor a folder on the way to it is left out."""
    return not any(part.startswith(SKIPPED) for part in path.relative_to(folder).parts)


def usable(path: Path) -> Image.Image | None:
    """Return a cut-out without its empty rim; None where it has no transparency, or is too small, thin or full."""
    with Image.open(path) as file:
        stamp = file.convert("RGBA")
    box = stamp.getchannel("A").getbbox()
    if box is None:
        return None
    stamp = stamp.crop(box)
    histogram = stamp.getchannel("A").histogram()
    share = sum(histogram[128:]) / (stamp.width * stamp.height)
    return stamp if min(stamp.size) >= 32 and 0.15 <= share <= 0.9 else None


def photographs(folder: Path) -> list[Image.Image]:
    """Return every photograph of a folder that is large enough."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (".png", ".jpg", ".jpeg") and wanted(path, folder):
            with Image.open(path) as file:
                if file.mode in ("L", "RGB", "RGBA") and min(file.size) >= 2 * SIDE:
                    found.append(file.convert("RGB"))
    return found


def pair(stamp: Image.Image, photograph: Image.Image, draw: random.Random) -> tuple[Image.Image, Image.Image]:
    """Return a picture and its mask: a turned and scaled cut-out somewhere on a piece of a photograph."""
    side = draw.randint(SIDE, min(photograph.size))
    left, top = draw.randint(0, photograph.width - side), draw.randint(0, photograph.height - side)
    picture = photograph.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BOX)
    longer = draw.uniform(*SHARE) * SIDE
    factor = longer / max(stamp.size)
    small = stamp.resize([max(4, round(n * factor)) for n in stamp.size], Image.Resampling.BOX)
    small = small.rotate(draw.uniform(-30, 30), Image.Resampling.BILINEAR, expand=True)
    at = tuple(draw.randint(-small_n // 6, SIDE - small_n + small_n // 6) for small_n in small.size)
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(small.getchannel("A"), at)
    picture.paste(small.convert("RGB"), at, small.getchannel("A"))
    return picture, mask


def main() -> None:
    """Read the arguments, and write the pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("stamps", "photographs", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--number", type=int, default=1600, help="pairs to make (1600)")
    given = parser.parse_args()
    paths = [path for path in sorted(given.stamps.rglob("*.png")) if wanted(path, given.stamps)]
    stamps = [(path.stem, stamp) for path in paths if (stamp := usable(path)) is not None]
    backgrounds = photographs(given.photographs)
    if not stamps or not backgrounds:
        parser.error(f"found {len(stamps)} cut-outs and {len(backgrounds)} photographs; at least one of each is needed")
    for part in ("images", "masks"):
        (given.out / part).mkdir(parents=True, exist_ok=True)
    for n in range(given.number):
        draw = random.Random(n)
        name, stamp = stamps[n % len(stamps)]
        picture, mask = pair(stamp, draw.choice(backgrounds), draw)
        picture.save(given.out / "images" / f"{name}__{n:04d}.png")
        mask.save(given.out / "masks" / f"{name}__{n:04d}.png")
    print(f"{given.number} pairs of {len(stamps)} cut-outs on {len(backgrounds)} photographs in {given.out}")


if __name__ == "__main__":
    main()
