"""The picture loaders of other libraries side by side with ours, on the pictures of the tests' table.

    python benchmarks/decoders.py [--all]

What they give is compared with what Chromium shows on a white page, or, of formats that it does not show, with what the
picture was made of; of a broken picture an error is right. Right is what is off by no more than SMALL levels of 255.
With --all every picture has a row: the largest difference, or what went wrong. A library that is not installed has no
column.
"""

import argparse
import contextlib
import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ["YOLO_AUTOINSTALL"] = "false"  # Ultralytics would install what it finds missing

import cv2
import numpy as np
from support.chromium import Show, chromium
from support.pictures import CASES, Case

from thumbnet.pictures.decode import decode

Loader = Callable[[Path], Any]  # gives (H, W, 3), RGB

SMALL = 24  # levels: chroma, rounding, and the contrast that Chromium 156 adds to a transparent AVIF


def main() -> None:
    """Print a row for each picture and a column for each loader."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true")
    every = parser.parse_args().all
    with_loaders = loaders()
    with tempfile.TemporaryDirectory() as folder, chromium() as (show, version), quiet():
        results = {name: compared(name, case, show, with_loaders, Path(folder)) for name, case in CASES.items()}
    print(f"Chromium {version}; {', '.join(versions())}\n")
    print(f"| | pictures | {' | '.join(with_loaders)} |\n|---|---|{'---|' * len(with_loaders)}")
    formats = {name: name.partition("-")[0] for name in results}
    for each in dict.fromkeys(formats.values()):
        rows = [cells for name, cells in results.items() if formats[name] == each]
        right = [sum(is_right(cell) for cell in column) for column in zip(*rows, strict=True)]
        print(f"| {each} | {len(rows)} | {' | '.join(map(str, right))} |")
    if every:
        print(f"\n| | what comes in | {' | '.join(with_loaders)} |\n|---|---|{'---|' * len(with_loaders)}")
        for name, cells in results.items():
            print(f"| `{name}` | {CASES[name].comes} | {' | '.join(cells)} |")


def loaders() -> dict[str, Loader]:
    """Ours, and those that are installed."""
    found: dict[str, Loader] = {
        "Thumbnet": lambda path: decode(path.read_bytes()),
        "cv2.imread": lambda path: bgr(cv2.imread(str(path))),
    }
    with contextlib.suppress(ImportError):
        from torchvision.datasets.folder import default_loader
        from torchvision.io import ImageReadMode, decode_image, read_file

        found["torchvision decode_image"] = lambda path: (
            decode_image(read_file(str(path)), ImageReadMode.RGB, apply_exif_orientation=True).permute(1, 2, 0).numpy()
        )
        found["torchvision default_loader"] = lambda path: np.asarray(default_loader(str(path)))
    with contextlib.suppress(ImportError):
        from keras.utils import load_img

        found["Keras load_img"] = lambda path: np.asarray(load_img(path))
    with contextlib.suppress(ImportError):
        from ultralytics.utils.patches import imread

        found["Ultralytics imread"] = lambda path: bgr(imread(str(path)))
    return found


def bgr(image: Any) -> Any:
    """BGR → RGB; OpenCV's None is an error."""
    if image is None:
        raise ValueError("not read")
    return image[..., ::-1]


def compared(name: str, case: Case, show: Show, with_loaders: dict[str, Loader], folder: Path) -> list[str]:
    """Each loader's cell."""
    path = folder / f"{name}.{name.partition('-')[0]}"
    path.write_bytes(case.data)
    if isinstance(case.expected, str):
        return [cell(loader, path, None) for loader in with_loaders.values()]
    shown = show(case.data)
    return [cell(loader, path, case.expected if shown is None else shown) for loader in with_loaders.values()]


def cell(loader: Loader, path: Path, expected: Any) -> str:
    """The largest difference, or in a word what is wrong."""
    try:
        image = loader(path)
    except Exception:  # whatever another library raises
        return "error" if expected is not None else "0"
    if expected is None:
        return "no error"
    if image.shape != expected.shape:
        return "other size"
    if image.dtype == np.uint16:  # a loader that leaves 16 bits as they are
        image = image >> 8
    return str(round(np.abs(image.astype(float) - expected).max()))


def is_right(told: str) -> bool:
    """Whether a cell is a small number."""
    return told.isdigit() and int(told) <= SMALL


def versions() -> list[str]:
    """Of the packages that are installed."""
    told = []
    for package in ("opencv-python-headless", "opencv-python", "torchvision", "keras", "pillow", "ultralytics"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            told.append(f"{package} {importlib.metadata.version(package)}")
    return told


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the lines that image libraries print themselves."""
    kept, nowhere = [os.dup(stream) for stream in (1, 2)], os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        yield
        sys.stdout.flush()
    finally:
        for stream, old in zip((1, 2), kept, strict=True):
            os.dup2(old, stream)


if __name__ == "__main__":
    main()
