"""The recipe `transfer` on sets of own pictures, learnt from 5, 20 and all training pictures of each class.

    python benchmarks/few_pictures.py SETS [--foreign FOLDER] [--int8] [--only SET …]

SETS has a folder for each set with `train/` and `test/` in it, and there a folder of pictures for each class. The head
learns from the first pictures of each class in NumPy's permutation with the seed 0. Files of 0 bytes are left out.

It prints a table: the share of the test pictures that is answered rightly; and, learnt from all pictures, the
calibration error, how often a test picture gets more sureness than one of FOLDER, the share of FOLDER that is unsure,
and the share of a class never learnt that is. With --int8, also the accuracy of the 8-bit file.
"""

import argparse
import contextlib
import io
import os
import tempfile
import warnings
from pathlib import Path
from statistics import fmean

import numpy as np

import thumbnet
from thumbnet import export

COUNTS = (5, 20, None)  # pictures of each class; None: all


def pictures(folder: Path) -> list[Path]:
    """The files of a split that are not empty."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def subset(source: Path, count: int | None, folder: Path) -> None:
    """Link a set into `folder`, with so many training pictures of each class."""
    files = pictures(source / "train")
    taken: dict[str, int] = {}
    for row in np.random.default_rng(0).permutation(len(files)).tolist():
        name = files[row].parent.name
        taken[name] = taken.get(name, 0) + 1
        if count is None or taken[name] <= count:
            link(files[row], folder / "train" / name)
    for file in pictures(source / "test"):
        link(file, folder / "test" / file.parent.name)


def link(file: Path, folder: Path) -> None:
    """A link of the same name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file.name).symlink_to(file.resolve())


def measure(source: Path, count: int | None, foreign: str | None, *, int8: bool = False) -> dict[str, float]:
    """What the model file says of itself; with `int8`, also the accuracy of the file that is made of it."""
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", thumbnet.DataWarning)  # of pictures that cannot be read
        subset(source, count, Path(name) / "set")
        output = Path(name) / "model.onnx"
        scores = thumbnet.train(f"{name}/set", "transfer", output=output, foreign=foreign).classifier.info.scores
        if not int8:
            return scores
        small = export.export(output, "int8", f"{name}/small.onnx", data=f"{name}/set").path
        return {**scores, "int8": thumbnet.load(small).info.scores["accuracy"]}


def main() -> None:
    """Print a row for each set, and the means."""
    parser = argparse.ArgumentParser(description="Learn from few pictures.")
    parser.add_argument("sets", type=Path)
    parser.add_argument("--foreign")
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--only", nargs="+")
    arguments = parser.parse_args()
    print("| set | tested | 5 | 20 | all | int8 | calibration error | AUROC | foreign unsure | unknown class unsure |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    rows: list[list[float]] = []
    with tempfile.TemporaryDirectory() as home:
        os.environ["THUMBNET_HOME"] = home  # each picture is run once
        for source in sorted(path for path in arguments.sets.iterdir() if path.is_dir()):
            if arguments.only and source.name not in arguments.only:
                continue
            scores = [measure(source, count, None) for count in COUNTS[:-1]]
            last = measure(source, None, arguments.foreign, int8=arguments.int8)
            keys = ("accuracy", "int8", "calibration_error", "foreign_auroc", "foreign_rejected", "unknown_class")
            rows.append([*(each["accuracy"] for each in scores), *(last.get(key, float("nan")) for key in keys)])
            print(row(f"{source.name} | {last['images']:.0f}", rows[-1]), flush=True)
    means = ([value for value in column if value == value] for column in zip(*rows, strict=True))
    print(row("mean |", [fmean(values) if values else float("nan") for values in means]))


def row(name: str, values: list[float]) -> str:
    """A line of the table."""
    forms = [".1%"] * 4 + [".3f"] * 2 + [".0%"] * 2
    cells = ["–" if each != each else format(each, form) for each, form in zip(values, forms, strict=True)]
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
