"""Folders of pictures, a subfolder for each class."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def encoded(image: NDArray[np.uint8]) -> bytes:
    """A PNG file's bytes, from RGB `(H, W, 3)`."""
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def plain(label: int, number: int) -> bytes:
    """A PNG of one colour: red tells its class, green its number."""
    return encoded(np.full((8, 8, 3), (label, number, 0), np.uint8))


def tree(root: Path, classes: dict[str, int]) -> Path:
    """For each class so many pictures, of the class's place among `classes`."""
    places = {name: place for place, name in enumerate(dict.fromkeys(name.split("/")[-1] for name in classes))}
    for name, count in classes.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / name / f"{number}.png").write_bytes(plain(places[name.split("/")[-1]], number))
    return root
