"""A user's pictures: DIR/images/NAME.png or .jpg beside DIR/masks/NAME.png, split by object.

A picture is cropped to its middle square and made smaller, images by the mean of each box of pixels, masks by the nearest
pixel. The values of the masks, sorted, are the classes; masks of more than 20 values are cut in the middle. A fifth of the
objects is the test: the name up to `__` says which object a picture shows, so that one object is never on both sides.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upbench.errors import UpbenchError, install
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
    if pictures is not None and min(pictures) < LEAST:
        raise UpbenchError(
            f"pictures are {pictures[0]} to train on and {pictures[1]} to test with; a folder needs at least {LEAST} of each"
        )
    pillow, pairs = _pillow(), _pairs(Path(folder))
    sides: tuple[list[tuple[Path, Path]], list[tuple[Path, Path]]] = ([], [])
    for image, mask in pairs:
        sides[in_test(image.stem)].append((image, mask))
    limits = pictures or (len(pairs), len(pairs))
    chosen = [side[:limit] for side, limit in zip(sides, limits, strict=True)]
    if min(map(len, chosen)) < LEAST:
        raise UpbenchError(
            f"{folder} has {len(chosen[0])} pictures to train on and {len(chosen[1])} to test with, and needs {LEAST} of "
            "each; objects are told apart by the name up to __, and a fifth of them is the test: add pictures of other objects"
        )
    read = [_stacked([_pair(pillow, image, mask, size) for image, mask in side]) for side in chosen]
    values = np.union1d(read[0][1], read[1][1])
    cut = len(values) > MANY_VALUES
    if not cut and len(values) < 2:
        raise UpbenchError(f"the masks of {folder} hold the value {values[0]} alone; a mask needs at least two classes")
    train, test = ((images, _classes(masks, values, cut)) for images, masks in read)

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
    if not folder.is_dir():
        raise UpbenchError(f"there is no folder {folder}; data are scenes, or DIR with DIR/images and DIR/masks")
    for part in ("images", "masks"):
        if not (folder / part).is_dir():
            raise UpbenchError(f"{folder} has no folder {part}; data are DIR/images/NAME.png and DIR/masks/NAME.png")
    images = sorted(path for path in (folder / "images").iterdir() if path.suffix.lower() in IMAGES)
    lonely = [path.name for path in images if not _mask_of(folder, path).is_file()]
    if lonely:
        more = f" and {len(lonely) - 1} more" if len(lonely) > 1 else ""
        raise UpbenchError(f"{folder / 'images' / lonely[0]}{more} has no mask; add masks/{Path(lonely[0]).stem}.png")
    stems = {path.stem for path in images}
    masks = sorted(path for path in (folder / "masks").iterdir() if path.suffix == ".png" and path.stem not in stems)
    if masks:
        more = f" and {len(masks) - 1} more" if len(masks) > 1 else ""
        raise UpbenchError(f"{masks[0]}{more} has no picture; add images/{masks[0].stem}.png or .jpg, or take it away")
    return [(path, _mask_of(folder, path)) for path in images]


def _mask_of(folder: Path, image: Path) -> Path:
    return folder / "masks" / f"{image.stem}.png"


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError:
        raise UpbenchError(
            f"--data DIR reads pictures with Pillow, which is not installed; {install('quality')}"
        ) from None
    return Image


def _pair(pillow: ModuleType, image: Path, mask: Path, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """A picture and its mask, brought to a size."""
    picture, numbers = _opened(pillow, image, _coloured), _opened(pillow, mask, _numbered)
    if picture.size != numbers.size:
        raise UpbenchError(
            f"{image} has {picture.width}x{picture.height} pixels and its mask {numbers.width}x{numbers.height}; a mask has "
            "a number for each pixel"
        )
    if min(picture.size) < size:
        raise UpbenchError(
            f"{image} has {picture.width}x{picture.height} pixels and would have to be enlarged to {size}; take a smaller "
            "size, or larger pictures"
        )
    way = pillow.Resampling
    return _square(picture, size, way.BOX).astype(np.uint8).transpose(2, 0, 1), _square(numbers, size, way.NEAREST)


def _stacked(
    pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.int32]]],
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    return np.stack([image for image, _ in pairs]), np.stack([mask for _, mask in pairs])


def _opened(pillow: ModuleType, path: Path, read: Callable[[ModuleType, Any, Path], Any]) -> Any:
    """What is read of a picture in a file."""
    try:
        with pillow.open(path) as file:
            return read(pillow, file, path)
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        raise UpbenchError(f"{path} cannot be read as a picture ({error}); replace it or take it away") from None


def _coloured(pillow: ModuleType, file: Any, path: Path) -> Any:
    if file.mode.startswith("I"):  # 16 bits a pixel, which Pillow would cut at 255
        return pillow.fromarray((np.asarray(file.convert("I")) // 257).astype(np.uint8)).convert("RGB")
    return file.convert("RGB")


def _numbered(pillow: ModuleType, file: Any, path: Path) -> Any:
    """The mask with its numbers as they are: those of a palette are the classes, and 16 bits stay 16 bits."""
    if file.mode.startswith("I"):
        return file.convert("I")
    if file.mode in ("P", "L", "1"):
        file.load()
        return file
    bands = np.asarray(file.convert("RGB"))
    if (bands != bands[..., :1]).any():
        raise UpbenchError(f"{path} is coloured; a mask has one number a pixel: save it in grey or with a palette")
    return pillow.fromarray(np.ascontiguousarray(bands[..., 0]))


def _square(picture: Any, size: int, way: Any) -> NDArray[np.int32]:
    """The middle square of a picture, in a size."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((size, size), way)).astype(np.int32)


def _classes(masks: NDArray[np.int32], values: NDArray[np.int32], cut: bool) -> NDArray[np.uint8]:
    """Class numbers from 0 in place of the values of masks."""
    middle = 128 if values.max() < 256 else 32768
    return (masks >= middle).astype(np.uint8) if cut else np.searchsorted(values, masks).astype(np.uint8)
