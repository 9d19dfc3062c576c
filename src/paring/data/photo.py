"""One photo: what its header says, and its pixels. Every fault is a `ParingError` that names the file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from paring.core.errors import ParingError

_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})  # what turns into 8-bit RGB without a choice to make


def check(path: Path) -> None:
    """Reads the header.

    Raises:
        ParingError: it is no image, or one of a mode that has no one way to 8-bit RGB.
    """
    with _opened(path):
        pass


def pixels(path: Path, size: int) -> NDArray[np.uint8]:
    """The middle of a photo, (size, size, 3): the largest square in it, scaled, upright as its camera was held.

    Raises:
        ParingError: as `check`, or the pixels are damaged.
    """
    with _opened(path) as image:
        upright = ImageOps.exif_transpose(image)
        square: NDArray[Any] = np.asarray(
            ImageOps.fit(upright.convert("RGB"), (size, size), Image.Resampling.BILINEAR), np.uint8
        )
    return square


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # doubts of the decoder: it reads the image, or raises
            with Image.open(path) as image:
                _check_mode(image, path)
                yield image
    except ParingError:
        raise
    except Exception as error:  # decoders meet damage in many ways: OSError, SyntaxError, ValueError, struct.error …
        problem = f"cannot be read as an image ({error})"
        raise ParingError(problem, str(path), "replace the file by a sound copy, or remove it") from error


def _check_mode(image: ImageFile.ImageFile, path: Path) -> None:
    # Pillow cuts 16-bit RGB down to 8 without a word; the decoder's own name for the data tells.
    deep = image.mode.startswith(("I", "F")) or any(";16" in str(tile) for tile in image.tile)
    if deep or image.mode not in _MODES:
        kind = "has more than 8 bits for each channel" if deep else f"is a {image.mode} image"
        remedy = "convert it to 8-bit RGB or gray (with the colour profile or the range of values that you want)"
        raise ParingError(kind, str(path), remedy)
