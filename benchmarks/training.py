"""Ways to train on CIFAR-10, one after the other on the same images: accuracy against seconds.

    python benchmarks/training.py FOLDER [--runs 2] [--seed-epochs 6,8,10] [--airbench PYTHON] [--only NAME …]
    python benchmarks/training.py FOLDER --runs 1 --epochs 1 --images 2048      (does it run?)

    tutorial   TensorFlow's CNN tutorial, https://www.tensorflow.org/tutorials/images/cnn: the network of the recipe
               `seed`, 10 epochs, batch 32, float32, Adam's defaults, no augmentation, all 50,000 training images, the
               test images evaluated after each epoch
    seed-N     the recipe `seed`, with N epochs, for each of --seed-epochs: when is it as good as the tutorial?
    seed       as the recipe is
    seed-x3    the recipe `seed`, for three times the seconds of this run's tutorial, less what comes after training
    fast       as the recipe is
    best       as the recipe is; it takes an hour, so only where --only names it
    airbench   airbench94 of its published package, on the CPU (`airbench_cpu.py`), by a Python in which
               `pip install airbench torch` was done

Ours is `thumbnet.train` as it is, to the written model file, evaluation included; a part of the training images is held
out. Seconds are wall-clock, reading the data excluded; those of airbench its own count, without its evaluations.
Accuracies are on the test images: from one view, averaged with the mirror image, and over airbench's six views
(the picture, half the weight, and two moved by a pixel to opposite corners, each with its mirror image).

FOLDER gets runs.jsonl, a line a training; table.md; and curves.svg. What is in runs.jsonl is not trained again, so that
the work can be done in pieces.
"""

import argparse
import csv
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from plots import draw

from thumbnet.data.cifar10 import read_cifar10
from thumbnet.data.dataset import Splits
from thumbnet.training.networks import seed as network
from thumbnet.training.pipeline import train
from thumbnet.training.recipes import BEST, FAST, SEED, Recipe

EPOCHS = 10  # of the tutorial
AFTER = 15  # seconds that the model file and its evaluation take, and some
VIEWS = ("single", "mirror", "six")
FLOOR = 1e-30  # keeps logarithms finite

Run = dict[str, Any]  # `seconds`, an accuracy for each of VIEWS, `curve` as pairs of seconds and accuracy
Logs = Callable[[NDArray[np.uint8]], NDArray[np.float64]]  # (N, S, S, 3) → (N, C), logarithms of probabilities


def views(single: Logs, mirrored: Logs, splits: Splits) -> dict[str, float]:
    """Accuracy by what is averaged; `mirrored` has the mirror images in it already. Averaged logarithms are logits."""
    images, labels = splits.test.images, splits.test.labels
    size = images.shape[1]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    corners = [mirrored(np.ascontiguousarray(padded[:, at : at + size, at : at + size])) for at in (0, 2)]
    both = mirrored(images)
    answers = (single(images), both, both / 2 + sum(corners) / 4)
    return {name: float((logs.argmax(axis=1) == labels).mean()) for name, logs in zip(VIEWS, answers, strict=True)}


def logs_of(model: keras.Model, scale: float = 1) -> Logs:
    """What a Keras model says of pictures, times `scale`."""

    def logs(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        probabilities = model.predict(images * np.float32(scale), batch_size=1000, verbose=0)
        return np.asarray(np.log(np.maximum(probabilities.astype(np.float64), FLOOR)))

    return logs


def tutorial(splits: Splits, seed: int, epochs: int) -> Run:
    """The tutorial's training."""
    keras.utils.set_random_seed(seed)
    (x, y), (x_test, y_test) = ((part.images / np.float32(255), part.labels) for part in splits)
    curve: list[tuple[float, float]] = []
    start = time.monotonic()
    body = network(32, 10).layers[1:]  # without the division by 255
    model = keras.Sequential([keras.Input((32, 32, 3)), *body])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    noting = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda _, logs: curve.append((time.monotonic() - start, logs["val_accuracy"]))
    )
    model.fit(x, y, epochs=epochs, batch_size=32, validation_data=(x_test, y_test), verbose=0, callbacks=[noting])
    seconds = time.monotonic() - start
    logs = logs_of(model, 1 / 255)
    return {"seconds": seconds, "curve": curve, **views(logs, lambda x: (logs(x) + logs(x[:, :, ::-1])) / 2, splits)}


def ours(splits: Splits, seed: int, recipe: Recipe, minutes: float | None = None) -> Run:
    """A recipe's training, to the model file. Its curve is on held-out images: it does not look at the test images."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "model.onnx"
        start = time.monotonic()
        trained = train(splits, recipe, minutes=minutes, seed=seed, output=output)
        seconds = time.monotonic() - start
        model = keras.models.load_model(output.with_suffix(".keras"))
        rows = list(csv.DictReader(output.with_suffix(".results.csv").read_text().splitlines()))
    classifier = trained.classifier

    def mirrored(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.log(np.maximum(classifier.probabilities(images).astype(np.float64), FLOOR))

    curve = [(float(row["seconds"]), float(row["validation"])) for row in rows]
    return {"seconds": seconds, "curve": curve, "epochs": len(rows), **views(logs_of(model), mirrored, splits)}


def airbench(splits: Splits, seed: int, python: str, epochs: float | None) -> Run:
    """airbench94's training, in a process of its own Python."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "cifar10.npz"
        arrays = {f"{key}_{part}": getattr(split, name) for part, split in zip(("train", "test"), splits, strict=True)
                  for key, name in (("x", "images"), ("y", "labels"))}  # fmt: skip
        np.savez(data, **arrays)
        script = Path(__file__).with_name("airbench_cpu.py")
        command = [python, str(script), str(data), "--seed", str(seed), *(["--epochs", str(epochs)] if epochs else [])]
        printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    *rows, last = map(json.loads, printed.splitlines())
    return {"curve": [(row["seconds"], row["accuracy"]) for row in rows], **last}


def train_all(splits: Splits, path: Path, arguments: argparse.Namespace, done: dict[tuple[str, int], Run]) -> None:
    """Train what is not there yet, and add it to `path` and to `done`."""
    shorter = {f"seed-{epochs}": dataclasses.replace(SEED, epochs=epochs) for epochs in arguments.seed_epochs}
    recipes = {**shorter, "seed": SEED, "seed-x3": SEED, "fast": FAST, "best": BEST}
    names = ["tutorial", *recipes, *(["airbench"] if arguments.airbench else [])]
    wanted = arguments.only or [name for name in names if name != "best"]
    for seed in range(arguments.runs):
        for name in names:
            if (name, seed) in done or name not in wanted:
                continue
            if name == "tutorial":
                run = tutorial(splits, seed, arguments.epochs or EPOCHS)
            elif name == "airbench":
                run = airbench(splits, seed, arguments.airbench, arguments.epochs)
            else:
                recipe = recipes[name]
                if arguments.epochs:
                    recipe = dataclasses.replace(recipe, epochs=min(recipe.epochs, arguments.epochs))
                minutes = (3 * done["tutorial", seed]["seconds"] - AFTER) / 60 if name == "seed-x3" else None
                run = ours(splits, seed, recipe, minutes)
            done[name, seed] = {"name": name, "seed": seed, **run}
            with path.open("a") as file:
                file.write(json.dumps(done[name, seed]) + "\n")
            print(
                f"{name}, seed {seed}: {run['seconds']:.0f} s, " + ", ".join(f"{run[view]:.2%}" for view in VIEWS),
                flush=True,
            )


def table(runs: list[Run]) -> str:
    """A row a way: median, and least to most."""
    rows = ["| training | runs | one view | mirror average | six views | seconds |", "|---|---|---|---|---|---|"]
    for name in dict.fromkeys(run["name"] for run in runs):
        same = [run for run in runs if run["name"] == name]
        cells = [spread([run[view] for run in same], ".2%") for view in VIEWS]
        rows.append(
            f"| `{name}` | {len(same)} | "
            + " | ".join(cells)
            + f" | {spread([run['seconds'] for run in same], '.0f')} |"
        )
    return "\n".join(rows)


def spread(values: list[float], form: str) -> str:
    """Median, and least to most."""
    middle = f"{statistics.median(values):{form}}"
    return middle if len(values) == 1 else f"{middle} ({min(values):{form}} to {max(values):{form}})"


def against_tutorial(runs: list[Run]) -> str:
    """How long each way took to be as good as the tutorial, by the medians, from one view."""
    medians = {
        name: {key: statistics.median(run[key] for run in runs if run["name"] == name) for key in ("seconds", "single")}
        for name in dict.fromkeys(run["name"] for run in runs)
    }
    if "tutorial" not in medians:
        return ""
    base = medians.pop("tutorial")
    enough = {name: each for name, each in medians.items() if each["single"] >= base["single"]}
    lines = [
        f"{name}: {each['seconds'] / base['seconds']:.2f} of the tutorial's seconds" for name, each in medians.items()
    ]
    if enough:
        first = min(enough, key=lambda name: enough[name]["seconds"])
        lines.append(
            f"The shortest that is as good as the tutorial from one view: {first}, {enough[first]['single']:.2%} in "
            f"{enough[first]['seconds']:.0f} s against {base['single']:.2%} in {base['seconds']:.0f} s"
        )
    return "\n".join(lines)


def processor() -> str:
    """Its name, where Linux tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    """Train, and write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="for runs.jsonl, table.md and curves.svg")
    parser.add_argument("--runs", type=int, default=2, help="of each training (2)")
    parser.add_argument("--epochs", type=int, help="of every training at the most, to try this out")
    parser.add_argument("--images", type=int, help="training images, and test images, likewise; 1,024 or more")
    parser.add_argument(
        "--seed-epochs", type=lambda text: [int(part) for part in text.split(",")], default=[], metavar="N,N…",
        help="shorter trainings of the recipe seed",
    )  # fmt: skip
    parser.add_argument("--airbench", metavar="PYTHON", help="a Python with airbench and torch")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="of the names above")
    arguments = parser.parse_args()
    splits = read_cifar10()
    if arguments.images:
        splits = Splits(*(split.take(np.arange(min(arguments.images, len(split)))) for split in splits))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    path = arguments.folder / "runs.jsonl"
    stored = map(json.loads, path.read_text().splitlines() if path.exists() else [])
    done = {(run["name"], run["seed"]): run for run in stored}
    train_all(splits, path, arguments, done)
    runs = list(done.values())
    head = (
        f"{processor()}, {os.cpu_count()} cores; TensorFlow's Keras {keras.__version__}; "
        f"test images' fingerprint {splits.test.fingerprint()[:12]}; median (least to most)"
    )
    text = f"{head}\n\n{table(runs)}\n\n{against_tutorial(runs)}\n"
    (arguments.folder / "table.md").write_text(text)
    print(f"\n{text}")
    first = {run["name"]: run for run in reversed(runs) if "-" not in run["name"]}  # seed 0 wins
    ends: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        ends.setdefault(run["name"].partition("-")[0], []).append((run["seconds"], run["six"]))
    lowest = min(y for run in first.values() for _, y in run["curve"])
    draw(
        arguments.folder / "curves.svg",
        "Accuracy against seconds of training. Lines: one view after each epoch; dots: six views, at the end.",
        ("seconds", "accuracy"),
        {name: run["curve"] for name, run in sorted(first.items())}, ends, (max(0, lowest // 0.1 * 0.1), 1),
        percent=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
