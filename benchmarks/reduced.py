"""What it changes, and saves, that a large JPEG is decoded at a part of its size.

    python benchmarks/reduced.py FOLDER [--model NAME|FILE] [--margins 4 8 16]

FOLDER holds photographs, at any depth. Each is made the network's square twice: from all of its pixels, and from fewer,
of which the shorter side still has the margin times the square's. `decode.REDUCED_MARGIN` is the margin in use. As
photographs from the web are small, they are also taken enlarged, with grain, as a camera has them; and 16 to a picture,
which has more detail than any photograph.
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import thumbnet
from thumbnet.pictures import decode as decoding
from thumbnet.pictures import framing as framings
from thumbnet.pictures.decode import RGB, decode
from thumbnet.pictures.framing import FRAMINGS, resize


def main() -> None:
    """Measure and print a row for each set and margin."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--margins", type=int, nargs="+", default=[4, 8, 16])
    arguments = parser.parse_args()
    classifier = thumbnet.load(arguments.model)
    files = [path.read_bytes() for path in sorted(arguments.folder.rglob("*")) if path.is_file()]
    files = [data for data in files if data.startswith(b"\xff\xd8")]
    # To a multiple of 16, as a camera's are: other sizes are never decoded smaller.
    pictures = [picture[: len(picture) & -16, : picture.shape[1] & -16] for picture in map(decode, files)]
    pictures = [picture for picture in pictures if min(picture.shape[:2]) >= 256]
    random = np.random.default_rng(0)
    sets = {
        "as they are": files,
        "enlarged 4 times": [enlarged(picture, 4, random) for picture in pictures],
        "enlarged 8 times": [enlarged(picture, 8, random) for picture in pictures[::5]],
        "16 to a picture": [mosaic(pictures, random) for _ in range(100)],
    }
    print("| JPEGs | number | margin | smaller | levels, most | mean | other answers | probability, most | ms each |")
    print("|---|---|---|---|---|---|---|---|---|")
    size = classifier.info.size
    for name, each in sets.items():
        whole, _, seconds = squares(each, size, None)
        probabilities = classifier.probabilities(whole)
        print(f"| {name} | {len(each)} | all pixels | | | | | | {seconds / len(each) * 1000:.1f} |")
        for margin in arguments.margins:
            for module in (decoding, framings):
                setattr(module, "REDUCED_MARGIN", margin)  # noqa: B010  # a constant, of which each holds its own
            reduced, smaller, seconds = squares(each, size, size)
            apart = np.abs(reduced.astype(int) - whole)[np.repeat(smaller, len(FRAMINGS))]  # (FM, S, S, 3)
            answers = classifier.probabilities(reduced)
            others = int((answers.argmax(1) != probabilities.argmax(1)).sum())
            levels = f"{apart.max()} | {apart.mean():.2f}" if len(apart) else "|"
            print(
                f"| | | {margin} | {smaller.sum()} | {levels} | {others} of {len(FRAMINGS) * smaller.sum()} "
                f"| {np.abs(answers - probabilities).max():.4f} | {seconds / len(each) * 1000:.1f} |"
            )


def squares(files: list[bytes], size: int, least: int | None) -> tuple[NDArray[np.uint8], NDArray[np.bool_], float]:
    """Every file's squares `(FN, S, S, 3)`, one for each of F fits; which came smaller `(N,)`; seconds of decoding."""
    made, smaller, seconds = [], [], 0.0
    for data in files:
        start = time.perf_counter()
        picture = decode(data, least)
        seconds += time.perf_counter() - start
        smaller.append(least is not None and picture.shape != decode(data).shape)
        made += [resize(picture, size, framing) for framing in FRAMINGS]
    return np.stack(made), np.array(smaller), seconds


def enlarged(picture: RGB, by: int, random: np.random.Generator) -> bytes:
    """A JPEG as of a camera with more pixels: smooth, but for the sensor's noise."""
    large = cv2.resize(picture, None, fx=by, fy=by, interpolation=cv2.INTER_CUBIC)
    return jpeg(np.clip(large + random.normal(0, 6, large.shape), 0, 255).astype(np.uint8))


def mosaic(pictures: list[RGB], random: np.random.Generator) -> bytes:
    """A JPEG of 4 × 4 photographs, each cut to 256 pixels a side."""
    chosen = [pictures[place][:256, :256] for place in random.integers(0, len(pictures), 16)]
    return jpeg(np.vstack([np.hstack(chosen[row : row + 4]) for row in (0, 4, 8, 12)]))


def jpeg(picture: RGB) -> bytes:
    """As most cameras save it: quality 90, half of the chroma's pixels each way."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


if __name__ == "__main__":
    main()
