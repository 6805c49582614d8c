"""Training steps with Keras's own layers and with those of `thumbnet.training.fast_layers`, in turns.

    python benchmarks/layers.py [--steps 20] [--precisions mixed_bfloat16 float32]

Batches of 256 random pictures, since speed does not depend on what they show; the median of the steps after three that
are not counted (least to most), and the median of the ratios of steps beside each other. `kernels` are the networks
with Keras's layers but for the convolutions, so that one sees what their share is.
"""

import argparse
import statistics
import time
from unittest import mock

import keras
import numpy as np

from thumbnet.training import fast_layers, networks
from thumbnet.training.optimizers import optimizer
from thumbnet.training.precision import fastest
from thumbnet.training.recipes import FAST, SEED, Recipe

BATCH = 256
UNCOUNTED = 3
SETTINGS = ((SEED, 32), (FAST, 32), (FAST, 24))


def compiled(recipe: Recipe, size: int, precision: str, kind: str) -> keras.Model:
    """The recipe's network with layers of one kind."""
    keras.utils.set_random_seed(0)
    network = networks.TRAINED[recipe.network](size, 10, precision)
    if kind == "quick":
        network = fast_layers.quicker(network)
    elif kind == "kernels":
        same = {"Normalization": keras.layers.BatchNormalization, "Silu": keras.layers.Activation}
        with mock.patch.multiple(fast_layers, **same):
            network = fast_layers.quicker(network)
    network.compile(optimizer=optimizer(recipe, precision), loss="categorical_crossentropy", metrics=["accuracy"])
    return network


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="of each network (20)")
    parser.add_argument("--precisions", nargs="+", default=[fastest()], help="(what recipes take here)")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    targets = np.eye(10, dtype=np.float32)[rng.integers(0, 10, BATCH)]
    print("| recipe | size | precision | layers | ms a step | against Keras's |\n|---|---|---|---|---|---|")
    for precision in arguments.precisions:
        for recipe, size in SETTINGS:
            images = rng.integers(0, 256, (BATCH, size, size, 3), dtype=np.uint8)
            kinds = ("Keras's", "kernels", "quick") if recipe is FAST else ("Keras's", "quick")
            models = {kind: compiled(recipe, size, precision, kind) for kind in kinds}
            taken: dict[str, list[float]] = {kind: [] for kind in kinds}  # ms
            for _ in range(UNCOUNTED + arguments.steps):
                for kind, model in models.items():
                    start = time.perf_counter()
                    model.train_on_batch(images, targets)
                    taken[kind].append((time.perf_counter() - start) * 1e3)
            for kind, all_steps in taken.items():
                steps = all_steps[UNCOUNTED:]
                ratios = [ours / keras_s for ours, keras_s in zip(steps, taken["Keras's"][UNCOUNTED:], strict=True)]
                spread = f"{statistics.median(steps):.0f} ({min(steps):.0f} to {max(steps):.0f})"
                print(
                    f"| `{recipe.name}` | {size} | {precision} | {kind} | {spread} | {statistics.median(ratios):.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
