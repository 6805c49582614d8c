"""One picture from the shell, each time in a new process: wall time, processor time and peak memory.

    python benchmarks/cold_start.py [--rounds 5] [--model NAME]

Some ways, one after the other in each round: the plain TensorFlow script that people write, on the network of
cifar10-best (or cifar10-seed) untrained; `thumbnet predict` with the bundled model, and with cifar10-best if that is
another; a bare script with the same libraries and model file, which
nothing that does the work can be faster than; and `thumbnet --help`. The first round is not counted: files are in the
cache. Processor time, of all threads, user and system, is the steadier where other work takes the cores; the bare
script's holds what ONNX Runtime's threads spin while they wait, which they do unless told otherwise.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PREPARE = """
import sys
import cv2
from thumbnet.model.classifier import PRETRAINED, load
from thumbnet.training import networks

folder, example, name = sys.argv[1:]
info = load(name).info
scratch = info if "network" in info.recipe else load("cifar10-best").info
getattr(networks, scratch.recipe["network"])(scratch.size, len(scratch.names)).save(f"{folder}/model.keras")
cv2.imwrite(f"{folder}/cat.jpg", cv2.imread(example))
print(PRETRAINED / f"{name}.onnx", info.size, sep="\\n")
"""
PLAIN = """
import sys
import cv2
import numpy as np
import tensorflow as tf

picture, model = sys.argv[1:]
network = tf.keras.models.load_model(model)
with open(picture, "rb") as file:
    image = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
image = cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), (32, 32))
probabilities = network.predict(image[None], verbose=0)[0]
print(probabilities.argmax(), probabilities.max())
"""
BARE = """
import sys
import cv2
import numpy as np
import onnxruntime

picture, model, size = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
with open(picture, "rb") as file:
    image = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR_RGB)
image = cv2.resize(image, (int(size), int(size)), interpolation=cv2.INTER_AREA)
probabilities = session.run(None, {"images": image[None]})[0][0]
print(probabilities.argmax(), probabilities.max())
"""
# Installed packages have their bytecode at hand, so a checkout shall have it too.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
EXAMPLE = Path(__file__).parent.parent / "examples" / "cat.png"
BEST = "cifar10-best"
PARTS = (("time", 0), ("processor time", 1), ("memory", 2))
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes


def run(command: list[str]) -> tuple[float, float, float]:
    """Seconds, seconds of processor time and peak MB of a process from its start to its end.

    On Linux the peak is at least that of this process, so nothing large may be imported here.
    """
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)  # Popen would wait for it, too
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * MAXRSS_UNIT / 1e6


def ways(folder: str, name: str) -> dict[str, list[str]]:
    """The commands to measure, with what they need in `folder`."""
    prepare = [sys.executable, "-c", PREPARE, folder, str(EXAMPLE), name]
    model, size = subprocess.run(prepare, check=True, capture_output=True, text=True).stdout.split("\n")[:2]
    picture = f"{folder}/cat.jpg"
    thumbnet = str(Path(sys.executable).with_name("thumbnet"))
    best = {} if name == BEST else {BEST: [thumbnet, "predict", "--model", BEST, picture]}
    return {
        **best,
        "TensorFlow script": [sys.executable, "-c", PLAIN, picture, f"{folder}/model.keras"],
        "thumbnet predict": [thumbnet, "predict", "--model", name, picture],
        "bare script": [sys.executable, "-c", BARE, picture, model, size],
        "thumbnet --help": [thumbnet, "--help"],
    }


def spread(values: list[float], form: str) -> str:
    """Median, and least to most."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def main() -> None:
    """Measure and print a table, and ratios within the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="that count (5)")
    parser.add_argument("--model", default="cifar10-photo", metavar="NAME", help="a bundled model (cifar10-photo)")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    with tempfile.TemporaryDirectory() as folder:
        commands = ways(folder, arguments.model)
        measured = [{name: run(command) for name, command in commands.items()} for _ in range(rounds + 1)][1:]
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}; {rounds} rounds, median (least to most)\n")
    print("| one picture by | seconds | processor seconds | peak MB |\n|---|---|---|---|")
    for name in commands:
        seconds, busy, memory = ([each[name][place] for each in measured] for place in range(3))
        print(f"| {name} | {spread(seconds, '.3f')} | {spread(busy, '.3f')} | {spread(memory, '.0f')} |")
    print("\nWithin a round:")
    for what, place, more, less in (
        *((what, place, "thumbnet predict", BEST) for what, place in PARTS if BEST in commands),
        ("time", 0, "TensorFlow script", "thumbnet predict"),
        ("memory", 2, "TensorFlow script", "thumbnet predict"),
        ("time", 0, "thumbnet predict", "bare script"),
        ("processor time", 1, "thumbnet predict", "bare script"),
        ("memory", 2, "thumbnet predict", "bare script"),
    ):
        ratios = [each[more][place] / each[less][place] for each in measured]
        print(f"{what}, {more} ÷ {less}: {spread(ratios, '.2f')}")


if __name__ == "__main__":
    main()
