"""What the recipe `tune` gains for its seconds, by the number of epochs: held-out pictures right, against the probe.

    python benchmarks/tuning_curve.py FOLDER SETS [--epochs 1 2 4 8 16] [--only SET …]

SETS has a folder for each set with `train/` and `test/` in it. Test pictures play no part: the points are those of the
pictures that the training held out, between the tuned network and the probe. Seconds are those of the whole command,
with features in the cache from the first one on. FOLDER gets runs.jsonl, a line a training, which is not done again;
and curve.svg, of a line a set.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from own_pictures import run
from plots import draw

import thumbnet

Run = dict[str, Any]  # `set`, `epochs`, `probe` and `tuned` (shares of held-out pictures), `images`, `seconds`


def train(folder: Path, epochs: int) -> Run:
    """A training by the command line."""
    with tempfile.TemporaryDirectory() as temporary:
        model = Path(temporary) / "model.onnx"
        command = [str(Path(sys.executable).with_name("thumbnet")), "train", "--data", str(folder), "--recipe", "tune"]
        start = time.monotonic()
        run([*command, "--epochs", str(epochs), "--output", str(model)])
        seconds = time.monotonic() - start
        recipe = thumbnet.load(str(model)).info.recipe
    figures = {name: recipe[f"held_out_{name}"] for name in ("probe", "tuned", "images")}
    return {"set": folder.name, "epochs": epochs, **figures, "seconds": seconds}


def main() -> None:
    """Train, print a table and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="for runs.jsonl and curve.svg")
    parser.add_argument("sets", type=Path, metavar="SETS", help="a folder of sets")
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 2, 4, 8, 16], metavar="N")
    parser.add_argument("--only", nargs="+", metavar="SET", help="of the sets")
    arguments = parser.parse_args()
    sets = [path.parent for path in sorted(arguments.sets.glob("*/train"))]
    arguments.folder.mkdir(parents=True, exist_ok=True)
    path = arguments.folder / "runs.jsonl"
    runs: list[Run] = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for folder in sets:
        for epochs in arguments.epochs:
            there = any((each["set"], each["epochs"]) == (folder.name, epochs) for each in runs)
            if there or folder.name not in (arguments.only or [folder.name]):
                continue
            runs.append(train(folder, epochs))
            with path.open("a") as file:
                file.write(json.dumps(runs[-1]) + "\n")
    print("| set | epochs | held out | probe | tuned | seconds |\n|---|---|---|---|---|---|")
    lines: dict[str, list[tuple[float, float]]] = {}
    for each in sorted(runs, key=lambda each: (each["set"], each["epochs"])):
        cells = [each["set"], each["epochs"], each["images"], f"{each['probe']:.1%}", f"{each['tuned']:.1%}"]
        print(f"| {' | '.join(map(str, cells))} | {each['seconds']:.0f} |")
        lines.setdefault(each["set"], []).append((each["seconds"], each["tuned"] - each["probe"]))
    points = [0.0, *(point for line in lines.values() for _, point in line)]
    draw(
        arguments.folder / "curve.svg", "Points gained on held-out pictures against seconds of training; a line a set.",
        ("seconds", "gained"), lines, {}, (min(points), max(points)), percent=True, logarithmic=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
