"""airbench94 of the PyPI package `airbench`, on the CPU. `training.py` runs it, by a Python that has that and PyTorch.

    PYTHON benchmarks/airbench_cpu.py cifar10.npz [--seed 0] [--epochs 9.9]

The package's code is used as it is published (Jordan 2024, arXiv:2404.00498). This script adapts it to a CPU from
outside: bfloat16 replaces float16, which CPUs compute slowly, and the wall clock replaces CUDA's. The package uses
torchvision for the download, which is not needed here, and for `Normalize`. This script replaces both, so torchvision's
version need not fit PyTorch's.

Prints a line of JSON an epoch, `{"epoch", "seconds", "accuracy"}`: test images, one view. The last line is
`{"seconds", "single", "mirror", "six", "torch", "airbench"}`: accuracies by what is averaged. Seconds are the package's
own count, which leaves out its evaluations but the last, from six views.
"""

import argparse
import importlib.metadata
import json
import os
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


class Normalize:
    """torchvision's, for batches."""

    def __init__(self, mean: Any, deviation: Any) -> None:
        self.mean, self.deviation = (values.view(1, -1, 1, 1) for values in (mean, deviation))

    def __call__(self, images: Any) -> Any:
        """`(N, 3, S, S)` → the same, in the same precision."""
        return (images - self.mean.to(images.dtype)) / self.deviation.to(images.dtype)


class Clock:
    """`torch.cuda.Event` for the wall's time."""

    def __init__(self, **_: Any) -> None:
        self.at = 0.0

    def record(self) -> None:
        """Now."""
        self.at = time.monotonic()

    def elapsed_time(self, other: "Clock") -> float:
        """Milliseconds from this to the other."""
        return 1e3 * (other.at - self.at)


class CpuTorch:
    """PyTorch as airbench's loader and averaging of weights are to see it."""

    half = torch.bfloat16

    def device(self, _: Any) -> Any:
        """Never a GPU."""
        return torch.device("cpu")

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def airbench_on_cpu() -> Any:
    """The package `airbench`, once all that it asks of a GPU is there."""
    vision: Any = types.ModuleType("torchvision")
    vision.transforms = types.ModuleType("torchvision.transforms")
    vision.transforms.Normalize = Normalize
    sys.modules.update({"torchvision": vision, "torchvision.transforms": vision.transforms})
    replacements: dict[Any, dict[str, Any]] = {
        torch.Tensor: {"half": torch.Tensor.bfloat16},
        torch.nn.Module: {"half": torch.nn.Module.bfloat16, "cuda": lambda module: module},
        torch.cuda: {"Event": Clock, "synchronize": lambda: None},
    }
    for owner, changes in replacements.items():
        for name, value in changes.items():
            setattr(owner, name, value)
    import airbench
    import airbench.utils

    airbench.utils.torch = CpuTorch()
    return airbench


def main() -> None:
    """Train once, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="an .npz file: x_train, y_train, x_test, y_test; uint8 (N, 32, 32, 3)")
    parser.add_argument("--seed", type=int, default=0, help="(0)")
    parser.add_argument("--epochs", type=float, default=9.9, help="(9.9, the package's)")
    arguments = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    torch.manual_seed(arguments.seed)
    airbench = airbench_on_cpu()
    rows: list[dict[str, Any]] = []

    def show(variables: dict[str, Any], **_: Any) -> None:  # in place of a row of the package's own table
        rows.append({"seconds": variables["total_time_seconds"], "accuracy": variables["val_acc"]})
        if variables["epoch"] != "eval":  # the last evaluation, whose time counts
            print(json.dumps({"epoch": variables["epoch"] + 1, **rows[-1]}), flush=True)

    airbench.utils.print_training_details = show
    airbench.utils.print_columns = lambda *_, **__: None
    arrays = np.load(arguments.data.absolute())
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # where the package looks for its data
        Path("cifar10").mkdir()
        for part in ("train", "test"):
            content = {"images": torch.tensor(arrays[f"x_{part}"]), "labels": torch.tensor(arrays[f"y_{part}"])}
            torch.save({**content, "classes": NAMES}, f"cifar10/{part}.pt")
        network = airbench.train94(epochs=arguments.epochs)
        test = airbench.CifarLoader("cifar10", train=False, batch_size=2000)
        views = {
            name: airbench.evaluate(network, test, level) for level, name in enumerate(("single", "mirror", "six"))
        }
        os.chdir("/")
    version = importlib.metadata.version
    versions = {"torch": version("torch"), "airbench": version("airbench")}
    print(json.dumps({"seconds": rows[-1]["seconds"], **views, **versions}))


if __name__ == "__main__":
    main()
