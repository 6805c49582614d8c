"""Images a second in training steps of the seed network alone, by precision, batch size and compiler.

    python benchmarks/steps.py [--seconds 6]

On random pictures, since speed does not depend on what they show; the last lines are what augmentation takes.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from thumbnet.training import augment, networks

SETTINGS = (
    ("float32", 32, True),
    ("float32", 32, False),
    ("float32", 256, True),
    ("float32", 256, False),
    ("mixed_bfloat16", 128, False),
    ("mixed_bfloat16", 256, False),
    ("mixed_bfloat16", 512, False),
)


def seconds_each(work: Callable[[], object], seconds: float) -> float:
    """The mean time of `work`, repeated for `seconds`, after three calls that are not counted."""
    for _ in range(3):
        work()
    start, count = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        work()
        count += 1
    return (time.monotonic() - start) / count


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6, help="for each row (6)")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (512, 32, 32, 3), dtype=np.uint8)
    targets = np.eye(10, dtype=np.float32)[rng.integers(0, 10, 512)]
    print("| precision | batch | XLA | images a second | ms a step |\n|---|---|---|---|---|")
    for precision, batch, xla in SETTINGS:
        model = networks.TRAINED["seed"](32, 10, precision)
        model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"], jit_compile=xla)
        x, y = images[:batch], targets[:batch]
        taken = seconds_each(lambda model=model, x=x, y=y: model.train_on_batch(x, y), arguments.seconds)  # type: ignore[misc]
        compiler = "yes" if xla else "no"
        print(f"| {precision} | {batch} | {compiler} | {batch / taken:,.0f} | {taken * 1e3:.1f} |", flush=True)
    batch_of = images[:256]
    chosen = rng.random(256) < 0.5
    print(f"\nflip, 256 pictures: {seconds_each(lambda: augment.flip(batch_of, chosen), 1) * 1e3:.1f} ms")
    print(f"shift, 256 pictures: {seconds_each(lambda: augment.shift(batch_of, 2, rng), 1) * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
