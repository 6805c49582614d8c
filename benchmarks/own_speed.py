"""How long `thumbnet train --recipe transfer` takes on a folder, against the passes of its network alone.

    python benchmarks/own_speed.py FOLDER [--runs 3]

It prints seconds: a pass for each picture of FOLDER, one after the other, from the median of a hundred; the whole
command with an empty cache; and again with all features in it. The least and the most of the runs are in brackets.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import thumbnet
from thumbnet.transfer.backbone import open_backbone

PASSES = 100


def seconds(command: list[str]) -> float:
    """A process from its start to its end."""
    start = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - start


def main() -> None:
    """Measure, and print three lines."""
    parser = argparse.ArgumentParser(description="Time trainings by a backbone.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    cold, warm = [], []
    with tempfile.TemporaryDirectory() as name:
        os.environ["THUMBNET_HOME"] = str(Path(name) / "home")
        output = Path(name) / "model.onnx"
        program = str(Path(sys.executable).with_name("thumbnet"))
        command = [program, "train", "--data", str(arguments.folder), "--recipe", "transfer", "--output", str(output)]
        backbone = open_backbone()
        for _ in range(arguments.runs):
            for file in Path(name, "home").glob("features*"):
                file.unlink()
            cold.append(seconds(command))
            warm.append(seconds(command))
        count = thumbnet.load(output).info.data["train_images"]
    square = np.random.default_rng(0).integers(0, 256, (1, backbone.size, backbone.size, 3), np.uint8)
    passes = []
    for _ in range(PASSES):
        start = time.perf_counter()
        backbone.features(square)
        passes.append(time.perf_counter() - start)
    print(f"{count:,} passes of the network, one after the other: {count * statistics.median(passes):.2f}")
    for label, values in (("empty cache", cold), ("full cache", warm)):
        print(f"{label}: {statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    main()
