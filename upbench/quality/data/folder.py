"""A user's pictures: DIR/images/NAME.png or .jpg beside DIR/masks/NAME.png, split by object.

A picture is cropped to its middle square and made smaller, images by the mean of each box of pixels, masks by the nearest
pixel. The values of the masks, sorted, are the classes; masks of more than 20 values are cut at 128. A fifth of the
objects is the test: the name up to `__` says which object a picture shows, so that one object is never on both sides.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from upbench.errors import UpbenchError
from upbench.quality.pictures import Pairs, Pictures

MANY_VALUES = 20
"""With more values than this a mask is no list of classes but the edge of one object, softened."""
IMAGES = (".png", ".jpg", ".jpeg")
LEAST = 8
"""Fewer pictures than this on either side are refused."""


def load(size: int, folder: str | None = None, pictures: tuple[int, int] | None = None) -> Pictures:
    """Read a folder.

    Args:
        size: Rows and columns that every picture is brought to.
        folder: Path of the folder.
        pictures: At most so many to train on and to test with, the first by name; None for all.

    Raises:
        UpbenchError: If it holds no pairs, or something in it cannot be read.
    """
    if folder is None:
        raise UpbenchError("data folder needs the path of a folder; give --data DIR with DIR/images and DIR/masks")
    pillow, pairs = _pillow(), _pairs(Path(folder))
    sides: tuple[list[tuple[Path, Path]], list[tuple[Path, Path]]] = ([], [])
    for image, mask in pairs:
        sides[in_test(image.stem)].append((image, mask))
    limits = pictures or (len(pairs), len(pairs))
    chosen = [side[:limit] for side, limit in zip(sides, limits, strict=True)]
    if min(map(len, chosen)) < LEAST:
        raise UpbenchError(
            f"{folder} has {len(chosen[0])} pictures to train on and {len(chosen[1])} to test with, and needs {LEAST} of "
            "each; objects are told apart by the name up to __, and a fifth of them is the test"
        )
    train, test = (
        (np.stack([_image(pillow, i, size) for i, _ in side]), np.stack([_mask(pillow, m, size) for _, m in side]))
        for side in chosen
    )
    values = np.union1d(train[1], test[1])
    cut = len(values) > MANY_VALUES
    if not cut and len(values) < 2:
        raise UpbenchError(f"the masks of {folder} hold the value {values[0]} alone; a mask needs at least two classes")
    train, test = ((images, _classes(masks, values, cut)) for images, masks in (train, test))

    def same(seed: int) -> Pairs:
        return train

    return Pictures(same, test, 2 if cut else len(values), len(train[0]), f"pictures of {Path(folder).name}")


def in_test(name: str) -> bool:
    """Return whether a picture belongs to the test.

    Args:
        name: Its name without the ending; what stands before `__` is the object.
    """
    return zlib.crc32(name.partition("__")[0].encode()) % 5 == 0


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    for part in ("images", "masks"):
        if not (folder / part).is_dir():
            raise UpbenchError(f"{folder} has no folder {part}; data are DIR/images/NAME.png and DIR/masks/NAME.png")
    images = sorted(path for path in (folder / "images").iterdir() if path.suffix.lower() in IMAGES)
    lonely = [path.name for path in images if not _mask_of(folder, path).is_file()]
    if lonely:
        more = f" and {len(lonely) - 1} more" if len(lonely) > 1 else ""
        raise UpbenchError(f"{folder / 'images' / lonely[0]}{more} has no mask; add masks/{Path(lonely[0]).stem}.png")
    return [(path, _mask_of(folder, path)) for path in images]


def _mask_of(folder: Path, image: Path) -> Path:
    return folder / "masks" / f"{image.stem}.png"


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError:
        raise UpbenchError(
            "--data DIR reads pictures with Pillow, which is not installed; pip install 'upbench[quality]'"
        ) from None
    return Image


def _opened(pillow: ModuleType, path: Path, mode: str, size: int, nearest: bool) -> NDArray[np.uint8]:
    try:
        with pillow.open(path) as file:
            # A palette's numbers are the classes; other modes are brought to one value a pixel.
            picture = file if nearest and file.mode in ("P", "L", "1") else file.convert(mode)
            side = min(picture.size)
            left, top = (picture.width - side) // 2, (picture.height - side) // 2
            square = picture.crop((left, top, left + side, top + side))
            way = pillow.Resampling.NEAREST if nearest else pillow.Resampling.BOX
            return np.asarray(square.resize((size, size), way)).astype(np.uint8)
    except (OSError, ValueError, SyntaxError) as error:
        raise UpbenchError(f"{path} cannot be read as a picture ({error}); replace it or take it away") from None


def _image(pillow: ModuleType, path: Path, size: int) -> NDArray[np.uint8]:
    return _opened(pillow, path, "RGB", size, nearest=False).transpose(2, 0, 1)


def _mask(pillow: ModuleType, path: Path, size: int) -> NDArray[np.uint8]:
    return _opened(pillow, path, "L", size, nearest=True)


def _classes(masks: NDArray[np.uint8], values: NDArray[np.uint8], cut: bool) -> NDArray[np.uint8]:
    """Class numbers from 0 in place of the values of masks."""
    return (masks >= 128).astype(np.uint8) if cut else np.searchsorted(values, masks).astype(np.uint8)
