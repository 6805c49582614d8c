"""Where the real CIFAR-10 images are, and where what is prepared of them goes; and a few pictures of its form."""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from thumbnet.data.cifar_archives import NAMES

ROOT = Path(__file__).parents[2]
PREPARE = ROOT.parent / "shared" / "data" / "prepare.py"
# Before any test points HOME elsewhere.
CACHE = Path(os.environ.get("THUMBNET_TEST_CACHE", Path.home() / ".cache" / "thumbnet-tests"))


def few_cifar10(root: Path, train: int = 300, test: int = 100) -> tuple[Path, Path]:
    """So many pictures of noise under CIFAR-10's names, as `root/few.npz` and as a folder, `root/few`."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for part, count in (("train", train), ("test", test)):
        images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        labels = np.arange(count) % len(NAMES)
        arrays |= {f"x_{part}": images, f"y_{part}": labels}
        for place, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = root / "few" / part / NAMES[label] / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image[:, :, ::-1])  # OpenCV's are BGR
    np.savez(root / "few.npz", **arrays)
    return root / "few.npz", root / "few"
