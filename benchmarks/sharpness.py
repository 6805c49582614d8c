"""How sharp photographs are once they are made square, against a data set's own pictures.

    python benchmarks/sharpness.py FOLDER [--data cifar10] [--size 32]

Amplitude of the brightness by its frequency: of the photographs in FOLDER, however deep, divided by that of the data's
first 5,000 training images. Above 1, the photographs are sharper than what a network learned from. The labels are not
looked at, neither is any network.
"""

import argparse
import itertools
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from thumbnet.data.load import load_data
from thumbnet.pictures.decode import decode
from thumbnet.pictures.framing import FRAMINGS, resize
from thumbnet.sources.expand import expand

BANDS = np.linspace(0, 0.5, 6)  # cycles a pixel; half a cycle is the most that pixels can show


def amplitudes(squares: NDArray[np.uint8]) -> NDArray[np.float64]:
    """By band, of pictures that all count the same however strong their contrast is: `(N, S, S, 3)` → `(B,)`."""
    size = squares.shape[1]
    # As one tall picture of floats, which is not rounded: (N, S, S, 3) → (N·S, S) → (N, S, S)
    grey = cv2.cvtColor(squares.reshape(-1, size, 3).astype(np.float32), cv2.COLOR_RGB2GRAY).reshape(-1, size, size)
    window = np.outer(np.hanning(size), np.hanning(size))  # or the borders would count as edges
    power = np.abs(np.fft.fft2((grey - grey.mean(axis=(1, 2), keepdims=True)) * window)) ** 2
    mean = (power / np.maximum(power.sum(axis=(1, 2), keepdims=True), 1)).mean(axis=0)  # (S, S)
    frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    inside = [(frequencies >= low) & (frequencies < high) for low, high in itertools.pairwise(BANDS)]
    return np.sqrt([mean[band].mean() for band in inside])


def main() -> None:
    """Measure, and print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--size", type=int, default=32)
    arguments = parser.parse_args()
    own = amplitudes(load_data(arguments.data, arguments.size).train.images[:5000])
    files = [source for source in expand([str(arguments.folder)]) if isinstance(source, str)]
    pictures = [decode(Path(file).read_bytes()) for file in files]
    print(f"{len(pictures)} photographs\n")
    bands = [f"{low:.1f} to {high:.1f}" for low, high in itertools.pairwise(BANDS)]
    print("| made square by |", " | ".join(bands), "|")
    print("|---" * len(BANDS) + "|")
    for framing in FRAMINGS:
        squares = np.stack([resize(picture, arguments.size, framing) for picture in pictures])
        print(f"| {framing} |", " | ".join(f"{ratio:.2f}" for ratio in amplitudes(squares) / own), "|")


if __name__ == "__main__":
    main()
