"""Compare pictures per second and processor time over a folder: `thumbnet predict`, usual Keras code, and limits.

    python benchmarks/bulk.py [FOLDER] [--pictures 10000] [--rounds 3] [--model NAME|FILE]

FOLDER holds full-size photographs. Without it, small JPEGs (quality 75) are made from the images of CIFAR-10, the test
images first. Each round runs, one after the other:

- decoding alone: read, decode and resize as `Classifier.square` does, in a thread pool with one thread per core
- decoding + network, no bookkeeping: each of these threads decodes a batch and runs the network on it. Without order,
  rows and errors, this is the least work that yields the answers. If the network takes longer than the decoding, no
  way to get answers can be close to decoding alone.
- decoding, then the network: decoding alone, followed by `Classifier.describe` of all squares, in batches
- `bulk.predict` in this process, and the whole command `thumbnet predict FOLDER --format csv --output FILE`
- the plain loop: cv2.imread, cv2.resize, `model.predict(…, verbose=0)` one by one, on `--sample` pictures only
- Keras's `image_dataset_from_directory` and `model.predict` in batches of 256

Keras runs the untrained `seed` network once on each picture. Thumbnet runs the bundled model of the same network, which
averages each picture with its mirror image and so runs the network twice. Start-up time counts only for the whole
command. The first round is not counted, as it fills the file cache. Processor time is the sum over all threads and
child processes, user and system.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

import thumbnet
from thumbnet.data.cifar10 import read_cifar10
from thumbnet.model.classifier import Classifier, batch_size
from thumbnet.prediction import bulk
from thumbnet.sources.expand import expand
from thumbnet.training.networks import seed

CHUNK = 64  # files per task of the thread pool; a task for each file would cost as much as decoding


def make_pictures(folder: Path, number: int) -> None:
    """Write `number` small JPEGs."""
    splits = read_cifar10()
    images = np.concatenate([splits.test.images, splits.train.images])[:number]  # (N, 32, 32, 3)
    for place, image in enumerate(images):
        cv2.imwrite(f"{folder}/{place}.jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 75])


def decoded(classifier: Classifier, files: list[str]) -> list[NDArray[np.uint8]]:
    """Decode each file to what the network sees: `(1, S, S, 3)`."""
    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        squares = pool.map(lambda chunk: [classifier.squares(file) for file in chunk], chunks)
        return [each for chunk in squares for each in chunk]


def answered(classifier: Classifier, files: list[str]) -> NDArray[np.float32]:
    """Run the network on all files: `(N, C)`."""
    batch = batch_size(classifier.info.size)
    batches = [files[start : start + batch] for start in range(0, len(files), batch)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = pool.map(
            lambda batch: classifier.probabilities(np.stack(list(map(classifier.square, batch)))), batches
        )
        return np.concatenate(list(answers))


def command(folder: Path, model: str) -> None:
    """Run the command as a user types it."""
    with tempfile.TemporaryDirectory() as place:
        typed = ["predict", str(folder), "--model", model, "--format", "csv", "--output", f"{place}/answers.csv"]
        subprocess.run([sys.executable, "-m", "thumbnet", *typed], check=True, stderr=subprocess.DEVNULL)


def plain_loop(network: "keras.Model", files: list[str]) -> None:
    """Classify one picture after the other."""
    for file in files:
        image = cv2.resize(cv2.imread(file, cv2.IMREAD_COLOR_RGB), (32, 32))  # type: ignore[arg-type]
        network.predict(image[None], verbose=0)


def in_batches(network: "keras.Model", folder: Path) -> None:
    """Classify a folder in the way that Keras provides."""
    data = keras.utils.image_dataset_from_directory(
        folder, labels=None, shuffle=False, image_size=(32, 32), batch_size=256, verbose=False
    )
    network.predict(data, verbose=0)


def seconds(way: Callable[[], object]) -> tuple[float, float]:
    """Measure elapsed time and processor time."""
    start, before = time.perf_counter(), sum(os.times()[:4])
    way()
    return time.perf_counter() - start, sum(os.times()[:4]) - before


def spread(values: list[float], form: str) -> str:
    """Format the median, the minimum and the maximum."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def measure(folder: Path, model: str, rounds: int, sample: int) -> None:
    """Measure all ways over one folder, and print the table."""
    classifier, network = thumbnet.load(model), seed(32, 10)
    found = list(expand([str(folder)]))
    files = [source for source in found if isinstance(source, str)]
    number, some = len(files), files[:sample]
    ways: dict[str, tuple[Callable[[], object], int]] = {
        "decoding alone": (lambda: decoded(classifier, files), number),
        "decoding + network, no bookkeeping": (lambda: answered(classifier, files), number),
        "decoding, then the network": (lambda: classifier.describe(files, decoded(classifier, files)), number),
        "`bulk.predict`": (lambda: list(bulk.predict(classifier, expand([str(folder)]))), number),
        "`thumbnet predict`, whole": (lambda: command(folder, model), number),
        f"plain loop, {len(some)} pictures": (lambda: plain_loop(network, some), len(some)),
        "`image_dataset_from_directory`": (lambda: in_batches(network, folder), number),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}  # seconds per picture, of both kinds
    for counted in [False, *[True] * rounds]:
        for name, (way, pictures) in ways.items():
            wall, busy = seconds(way)
            if counted:
                taken[name].append((wall / pictures, busy / pictures))
    decoding, both = taken["decoding alone"], taken["decoding + network, no bookkeeping"]
    size = sum(Path(file).stat().st_size for file in files) / number / 1000
    print(f"\n{number:,} pictures of {size:,.1f} kB on average, {os.cpu_count()} cores, {rounds} rounds\n")
    print(
        "| way | pictures a second | time ÷ decoding alone | time ÷ (decoding + network, no bookkeeping) "
        "| processor µs a picture | processor time ÷ (decoding + network, no bookkeeping) |\n|---|---|---|---|---|---|"
    )
    for name, times in taken.items():
        speed = spread([1 / wall for wall, _ in times], ",.0f")
        processor = spread([busy * 1e6 for _, busy in times], ",.0f")
        to_decoding, to_both, busy_to_both = (
            spread([a[place] / b[place] for a, b in zip(times, limit, strict=True)], ".2f")
            for limit, place in ((decoding, 0), (both, 0), (both, 1))
        )
        print(f"| {name} | {speed} | {to_decoding} | {to_both} | {processor} | {busy_to_both} |")


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--pictures", type=int, default=10_000, help="small JPEGs to make (10000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count (3)")
    parser.add_argument("--sample", type=int, default=500, help="pictures for the plain loop (500)")
    parser.add_argument("--model", default="cifar10-seed", help="the name of a bundled model, or a file (cifar10-seed)")
    arguments = parser.parse_args()
    if arguments.folder is not None:
        measure(arguments.folder, arguments.model, arguments.rounds, arguments.sample)
        return
    with tempfile.TemporaryDirectory() as folder:
        make_pictures(Path(folder), arguments.pictures)
        measure(Path(folder), arguments.model, arguments.rounds, arguments.sample)


if __name__ == "__main__":
    main()
