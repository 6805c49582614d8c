"""Measure a model in each format: its size, its accuracy and its speed on this machine.

    python benchmarks/formats.py [--data DATA] [--model NAME|FILE …] [--images 10000] [--seconds 5]

Accuracy and agreement with the model file are measured on the first test pictures, all by default. Each format is run
by its own package, as `thumbnet export` does to compare. A .keras file is run by `predict`, whose start dominates the
time of a single picture. The speeds are for pictures in memory, as many at once as Thumbnet asks (256 of 32 pixels, two
of 288) and one alone: the median of all runs in the given seconds.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from thumbnet import export
from thumbnet.evaluation.judge import answer
from thumbnet.evaluation.scores import Answers
from thumbnet.export.agreement import Answer, agreement
from thumbnet.model.classifier import batch_size, find


def main() -> None:
    """Measure, and print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="pictures of the models' classes (what each was trained on)")
    parser.add_argument("--model", nargs="*", default=["cifar10-best", "cifar10-seed"])
    parser.add_argument("--images", type=int, default=10_000, help="test pictures at most (10000)")
    parser.add_argument("--seconds", type=float, default=5, help="seconds for each speed (5)")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores")
    for model in arguments.model:
        path = find(model)
        original = export.Original.read(model, arguments.data)
        test = original.splits.test.take(np.arange(min(arguments.images, len(original.splits.test))))
        before = answer(original.classifier, test)
        print(f"\n{original.name}, {len(test):,} test pictures\n")
        many = batch_size(original.classifier.info.size)
        print(f"| format | size | right | as the model file | apart | pictures a second, {many} at once | one |")
        print("|---|---|---|---|---|---|---|")
        row("model file", path, original.classifier.ask, before, test.images, arguments.seconds)
        with tempfile.TemporaryDirectory() as folder:
            for name, form in export.FORMATS.items():
                if form.tolerance is None or (name == "keras" and original.classifier.info.backbone):
                    continue  # it holds the model file itself, or is not available
                made = Path(folder) / f"made{form.ending}"
                if (answers := form.write(original, made)) is not None:
                    row(name, made, answers, before, test.images, arguments.seconds)


def row(name: str, path: Path, answers: Answer, before: Answers, images: NDArray[np.uint8], seconds: float) -> None:
    """Measure one format and print it."""
    found = agreement(before, answers(images))
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files) / 1e6
    batch = np.resize(images, (batch_size(images.shape[1]), *images.shape[1:]))  # repeated if there are fewer
    many, one = len(batch) / once(answers, batch, seconds), 1 / once(answers, images[:1], seconds)
    shares = f"{found.accuracy:.2%} | {found.agreeing / found.images:.2%} | {found.moved:.0e}"
    print(f"| {name} | {size:.1f} MB | {shares} | {many:,.0f} | {one:,.0f} |", flush=True)


def once(answers: Answer, images: NDArray[np.uint8], seconds: float) -> float:
    """The median seconds of a run, after one to warm up."""
    answers(images)
    times: list[float] = []
    while sum(times) < seconds:
        start = time.perf_counter()
        answers(images)
        times.append(time.perf_counter() - start)
    return median(times)


if __name__ == "__main__":
    main()
