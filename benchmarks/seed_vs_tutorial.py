"""The `seed` recipe against the plain training of the same network, in one run, one after the other.

    python benchmarks/seed_vs_tutorial.py [--runs 3] [--seed-epochs N]

The plain training is that of TensorFlow's CNN tutorial: 10 epochs, batch 32, float32, Adam's defaults, no
augmentation, all 50,000 training images, the test images evaluated after each epoch. Ours is `thumbnet.train` as it
is, to the written model file: 45,000 images to train on, 5,000 held out. Both are measured on the test images from
one view of each picture, ours with the mirror average too. Seconds are wall-clock, reading the data excluded.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from thumbnet import datasets
from thumbnet.datasets import Splits
from thumbnet.training import keras
from thumbnet.training.fit import accuracy
from thumbnet.training.networks import seed as network
from thumbnet.training.pipeline import train
from thumbnet.training.recipes import SEED


def tutorial(splits: Splits, seed: int) -> tuple[float, float]:
    """Test accuracy and seconds of the tutorial's training: https://www.tensorflow.org/tutorials/images/cnn."""
    keras.utils.set_random_seed(seed)
    (x, y), (x_test, y_test) = ((part.images / np.float32(255), part.labels) for part in splits)
    start = time.monotonic()
    body = network(32, 10).layers[1:]  # without the division by 255
    model = keras.Sequential([keras.Input((32, 32, 3)), *body])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=10, batch_size=32, validation_data=(x_test, y_test), verbose=0)
    return history.history["val_accuracy"][-1], time.monotonic() - start


def ours(splits: Splits, seed: int, epochs: int | None) -> tuple[float, float, float]:
    """Test accuracy from a single view and with the mirror average, and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        trained = train(splits, SEED, epochs=epochs, seed=seed, output=Path(folder) / "model.onnx")
        seconds = time.monotonic() - start
        model = keras.models.load_model(Path(folder) / "model.keras")
    return accuracy(model, splits.test), trained.scores.accuracy, seconds


def processor() -> str:
    """Its name, where Linux tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def spread(values: list[float], form: str) -> str:
    """Median, and least to most."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="of each training (3)")
    parser.add_argument("--seed-epochs", type=int, help="in place of the recipe's")
    arguments = parser.parse_args()
    splits = datasets.cifar10()
    plain, recipe = [], []
    for seed in range(arguments.runs):
        plain.append(tutorial(splits, seed))
        print(f"run {seed + 1}: tutorial {plain[-1][0]:.2%} in {plain[-1][1]:.0f} s", flush=True)
        recipe.append(ours(splits, seed, arguments.seed_epochs))
        print(f"run {seed + 1}: seed     {recipe[-1][0]:.2%} in {recipe[-1][2]:.0f} s", flush=True)
    ratios = [mine[2] / theirs[1] for mine, theirs in zip(recipe, plain, strict=True)]
    epochs = arguments.seed_epochs or SEED.epochs
    print(f"\n{processor()}, {os.cpu_count()} cores; {arguments.runs} runs each, median (least to most)")
    print(f"test images' fingerprint {splits.test.fingerprint()[:12]}\n")
    print("| training | one view | mirror average | seconds |\n|---|---|---|---|")
    print(
        f"| tutorial, 10 epochs | {spread([r[0] for r in plain], '.2%')} | | {spread([r[1] for r in plain], '.0f')} |"
    )
    print(
        f"| recipe `seed`, {epochs} epochs | {spread([r[0] for r in recipe], '.2%')} "
        f"| {spread([r[1] for r in recipe], '.2%')} | {spread([r[2] for r in recipe], '.0f')} |"
    )
    print(f"\nTime of `seed` ÷ tutorial, pair by pair: {spread(ratios, '.2f')}")


if __name__ == "__main__":
    main()
