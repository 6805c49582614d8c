"""Two processes that train together on this machine, against one: time, the model that comes out, and a lost worker.

    python benchmarks/workers.py [--data digits] [--recipe seed] [--epochs 10]

Both use all cores, so that two can hardly be faster here than one: the table shows what it costs to train together. The
seconds are those of `model.results.csv`, without the start. In float32, as bfloat16 would hide what differs.
"""

import argparse
import csv
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import thumbnet
from thumbnet.data.load import load_data


def configs(count: int) -> list[str]:
    """TF_CONFIG for each of so many workers, on ports that are free now."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    cluster = {"worker": [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]}
    for server in servers:
        server.close()
    return [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}) for index in range(count)]


def start(arguments: argparse.Namespace, folder: Path, config: str, epochs: int) -> "subprocess.Popen[str]":
    """One worker, whose files go to `folder`."""
    command = [
        sys.executable, "-m", "thumbnet", "train", "--data", arguments.data, "--recipe", arguments.recipe,
        "--epochs", str(epochs), "--precision", "float32", "--output", str(folder / "model.onnx"),
    ]  # fmt: skip
    environment = {**os.environ, "TF_CONFIG": config}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )


def train(arguments: argparse.Namespace, folder: Path, workers: int) -> float:
    """Train to the end; the seconds that it took, by the chief's table."""
    started = [
        start(arguments, folder / str(index), config, arguments.epochs) for index, config in enumerate(configs(workers))
    ]
    for process in started:
        _, error = process.communicate()
        if process.returncode:
            sys.exit(error)
    with (folder / "0" / "model.results.csv").open() as file:
        return float(list(csv.DictReader(file))[-1]["seconds"])


def lose(arguments: argparse.Namespace, folder: Path) -> tuple[float, str]:
    """Kill the second worker after the first epoch: the seconds until the first one ends, and what it says."""
    first, second = (
        start(arguments, folder / str(index), config, 100_000) for index, config in enumerate(configs(2))
    )  # fmt: skip
    while not (folder / "0" / "model.results.csv").exists():
        if first.poll() is not None:
            sys.exit(first.communicate()[1])
        time.sleep(0.1)
    second.kill()
    begun = time.monotonic()
    _, error = first.communicate()
    second.communicate()
    return time.monotonic() - begun, error.splitlines()[-1]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--recipe", default="seed")
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        seconds = {workers: train(arguments, root / str(workers), workers) for workers in (1, 2)}
        models = {workers: thumbnet.load(root / str(workers) / "0" / "model.onnx") for workers in (1, 2)}
        images = load_data(arguments.data, models[1].info.size, framing=models[1].info.framing, seed=0).test.images
        one, two = (models[workers].probabilities(images) for workers in (1, 2))  # (N, C) each
        ended, said = lose(arguments, root / "lost")
    print("| processes | seconds | to one | test images right |\n|---|---|---|---|")
    for workers, model in models.items():
        accuracy = model.info.scores["accuracy"]
        print(f"| {workers} | {seconds[workers]:.1f} | {seconds[workers] / seconds[1]:.2f} | {accuracy:.2%} |")
    same = float((one.argmax(axis=1) == two.argmax(axis=1)).mean())
    print(
        f"\nThe same answer to {same:.2%} of the test images; probabilities {np.abs(one - two).max():.1e} apart at most"
    )
    print(f"A worker killed: after {ended:.1f} s the other one ended: {said}")


if __name__ == "__main__":
    main()
