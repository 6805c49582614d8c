"""A training step of what the recipe `tune` trains, against PyTorch's: the same network, frozen layers and precision.

    python benchmarks/tuning_steps.py [--torch PYTHON] [--size 288] [--batch 32] [--rounds 5]

Prints pictures a second, the median and least to most of the rounds, which take turns. The numbers are random, since
speed does not depend on them. PYTHON is that of an environment with PyTorch; it trains by AdamW in `channels_last`.
"""

import argparse
import statistics
import subprocess
import time
from collections.abc import Callable

STEPS = 8  # of a round
TORCH = """
import sys, time, torch
from torch import nn
size, batch, first, *shapes = map(int, sys.argv[1:])
class Block(nn.Module):
    def __init__(self, kernel, stride, before, inner, channels):
        super().__init__()
        self.adds = stride == 1 and before == channels
        depthwise = nn.Conv2d(inner, inner, kernel, stride, kernel // 2, groups=inner)
        depthwise.requires_grad_(False)
        self.all = nn.Sequential(
            nn.Conv2d(before, inner, 1), nn.ReLU6(), depthwise, nn.ReLU6(), nn.Conv2d(inner, channels, 1))
    def forward(self, x):
        return self.all(x) + x if self.adds else self.all(x)
blocks = [Block(*shapes[at : at + 5]) for at in range(0, len(shapes), 5)]
network = nn.Sequential(*blocks, nn.Conv2d(shapes[-1], 1280, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                        nn.Linear(1280, 10)).to(memory_format=torch.channels_last)
x = torch.rand(batch, shapes[2], first, first).to(memory_format=torch.channels_last)
targets = torch.arange(batch) % 10
optimizer = torch.optim.AdamW([each for each in network.parameters() if each.requires_grad], 1e-4)
def step():
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(x), targets).backward()
    optimizer.step()
for _ in range(3):
    step()
for line in sys.stdin:
    start = time.perf_counter()
    for _ in range(int(line)):
        step()
    print(time.perf_counter() - start, flush=True)
"""


def ours(size: int, batch: int) -> Callable[[], float]:
    """A round of Thumbnet's steps, in seconds."""
    import keras
    import numpy as np

    from thumbnet.training import fast_layers, networks, optimizers
    from thumbnet.training.recipes import TUNE

    model = fast_layers.quicker(networks.lite0_rest(size, 10))
    model.compile(optimizer=optimizers.optimizer(TUNE, "float32"), loss=keras.losses.CategoricalCrossentropy())
    rows = np.random.default_rng(0).normal(size=(batch, model.input.shape[1])).astype(np.float16)
    targets = np.eye(10, dtype=np.float32)[np.arange(batch) % 10]
    for _ in range(3):
        model.train_on_batch(rows, targets)

    def work() -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            model.train_on_batch(rows, targets)
        return time.perf_counter() - start

    return work


def theirs(python: str, size: int, batch: int) -> Callable[[], float]:
    """A round of PyTorch's steps, in seconds; its process waits between them."""
    from thumbnet.transfer.efficientnet import BLOCKS
    from thumbnet.transfer.halves import FIRST, REDUCTION

    shapes = [str(number) for block in BLOCKS[FIRST:] for number in block[:5]]
    process = subprocess.Popen(
        [python, "-c", TORCH, str(size), str(batch), str(size // REDUCTION), *shapes],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    given, found = process.stdin, process.stdout

    def work() -> float:
        print(STEPS, file=given, flush=True)
        return float(found.readline())

    return work


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", metavar="PYTHON", help="a Python with PyTorch")
    parser.add_argument("--size", type=int, default=288, help="pixels a side (288)")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    ways = {"Thumbnet": ours(arguments.size, arguments.batch)}
    if arguments.torch:
        ways["PyTorch"] = theirs(arguments.torch, arguments.size, arguments.batch)
    rounds = [{name: STEPS * arguments.batch / work() for name, work in ways.items()} for _ in range(arguments.rounds)]
    for name in ways:
        speeds = [each[name] for each in rounds]
        print(f"{name}: {statistics.median(speeds):.0f} pictures a second ({min(speeds):.0f} to {max(speeds):.0f})")
    if arguments.torch:
        ratios = [each["Thumbnet"] / each["PyTorch"] for each in rounds]
        print(f"ratio: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
