"""How long an epoch takes: by images, their size, classes and cores, for the networks of the recipes seed and fast.

    python benchmarks/scaling.py FOLDER [--seconds 6]
    python benchmarks/scaling.py FOLDER --seconds 0.1 --sizes 32 --cores 1      (does it run?)

Steps of `fit` itself are timed, on random pictures, as speed does not depend on what they show: batches of 256,
augmentation by its second thread, from the start of one step to that of the next; the median of those that fit into
--seconds, three at the least, after one that is not counted. Each row is a process of its own, with its cores alone.

Seconds an epoch are **extrapolated** from that: steps of an epoch × seconds a step; `fast` trains half of its epochs on
pictures of three quarters of a side, so its are the mean of both. What an epoch has besides its steps is left out: it
judges the held-out pictures and writes a checkpoint. How far that is from the truth, the last lines tell: whole epochs
of `seed`, timed.

FOLDER gets rows.json, table.md, seed.svg and fast.svg.
"""

import argparse
import dataclasses
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BATCH = 256
CLASSES = (100, 1000)  # besides ten
COUNTS = (1000, 10_000, 50_000, 100_000, 1_000_000)  # images that are extrapolated to
WHOLE = (16_384, 50_000)  # images of the epochs that are timed whole; with fewer, batches are smaller
LEAST = 3  # steps

Row = dict[str, Any]


class _EnoughError(Exception):
    pass


def step_seconds(recipe: Any, size: int, classes: int, seconds: float) -> float:
    """The median from one step's start to the next one's."""
    import keras

    from thumbnet.training.loop import fit
    from thumbnet.training.settings import Settings

    original = keras.Model.train_on_batch
    starts: list[float] = []

    def noting(model: Any, *batch: Any) -> Any:
        starts.append(time.monotonic())
        if len(starts) > LEAST + 1 and starts[-1] - starts[1] > seconds:
            raise _EnoughError
        return original(model, *batch)

    keras.Model.train_on_batch = noting
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "checkpoint"
            fit(recipe, pictures(BATCH * 64, size, classes), None, Settings(), checkpoint_path=path)
    except _EnoughError:
        pass
    finally:
        keras.Model.train_on_batch = original
    return statistics.median(later - earlier for earlier, later in itertools.pairwise(starts[1:]))


def pictures(count: int, size: int, classes: int) -> Any:
    """A data set of noise, in which a few pictures come again and again, so that it is made in little time."""
    import numpy as np

    from thumbnet.data.dataset import Dataset

    rng = np.random.default_rng(0)
    few = rng.integers(0, 256, (BATCH, size, size, 3), dtype=np.uint8)
    labels = rng.integers(0, classes, count)
    return Dataset(np.resize(few, (count, size, size, 3)), labels, tuple(map(str, range(classes))))


def one(row: Row, seconds: float) -> Row:
    """What a process of its own measures: seconds a step, and of whole epochs if `row` says so."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: row["cores"]])
    from thumbnet.training.loop import fit
    from thumbnet.training.recipes import RECIPES
    from thumbnet.training.settings import Settings

    recipe = dataclasses.replace(RECIPES[row["recipe"]], epochs=3)
    if "images" in row:  # the second and the third epoch, as the first one compiles
        with tempfile.TemporaryDirectory() as folder:
            data = pictures(row["images"], row["size"], row["classes"])
            path = Path(folder) / "checkpoint"
            fitted = fit(recipe, data, data.take(data.labels[:1000] * 0), Settings(), checkpoint_path=path)
        ends = [each["seconds"] for each in fitted.state.history]
        return {**row, "epoch": (ends[2] - ends[0]) / 2}
    shares = {0.0: 1 - recipe.small, 1.0: recipe.small}  # of the epochs, by whether their pictures are small
    steps = {
        small: step_seconds(dataclasses.replace(recipe, small=small), row["size"], row["classes"], seconds)
        for small, share in shares.items()
        if share
    }
    return {**row, "step": sum(shares[small] * step for small, step in steps.items()), "step_full": steps[0.0]}


def measure(row: Row, seconds: float) -> Row:
    """`one`, in a process of its own."""
    command = [sys.executable, __file__, "-", "--row", json.dumps(row), "--seconds", str(seconds)]
    printed = subprocess.run(command, capture_output=True, text=True, check=False)
    if printed.returncode:
        raise SystemExit(f"{row}:\n{printed.stderr}")
    measured: Row = json.loads(printed.stdout.splitlines()[-1])
    told = f"{measured['epoch']:.1f} s an epoch" if "epoch" in measured else f"{measured['step']:.3f} s a step"
    print(f"{json.dumps(row)}: {told}", flush=True)
    return measured


def table(rows: list[Row]) -> str:
    """Steps first, then epochs that were timed whole."""
    heads = [f"{count:,}" for count in COUNTS]
    lines = [
        f"| recipe | size | classes | cores | images a second | seconds an epoch of {' | '.join(heads)} images |",
        "|---|---|---|---|---" + "|---" * len(COUNTS) + "|",
    ]
    for row in rows:
        if "step" in row:
            cells = [f"{count / BATCH * row['step']:,.1f}" for count in COUNTS]
            speed = f"{BATCH / row['step']:,.0f}"
            lines.append(f"| {named(row)} | {row['classes']:,} | {row['cores']} | {speed} | {' | '.join(cells)} |")
    lines += [
        "",
        "| whole epochs | size | cores | images | seconds, timed | extrapolated from steps |",
        "|---|---|---|---|---|---|",
    ]
    keys = ("recipe", "size", "classes", "cores")
    steps = {tuple(row[key] for key in keys): row["step"] for row in rows if "step" in row}
    for row in rows:
        if "epoch" in row:
            extrapolated = row["images"] // BATCH * steps[tuple(row[key] for key in keys)]
            timed = f"{row['cores']} | {row['images']:,} | {row['epoch']:.1f}"
            lines.append(f"| {named(row)} | {timed} | {extrapolated:.1f} |")
    return "\n".join(lines)


def named(row: Row) -> str:
    """Two cells of the table."""
    return f"`{row['recipe']}` | {row['size']}"


def main() -> None:
    """Measure, and write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="for rows.json, table.md and the plots")
    parser.add_argument("--seconds", type=float, default=6, help="for the steps of each row (6)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 96], help="pixels a side (32 64 96)")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2], help="(1 2)")
    parser.add_argument("--row", type=json.loads, help=argparse.SUPPRESS)  # what the processes are started with
    arguments = parser.parse_args()
    if arguments.row:
        print(json.dumps(one(arguments.row, arguments.seconds)))
        return
    from plots import draw

    most = max(arguments.cores)
    asked = [
        {"recipe": recipe, "size": size, "classes": 10, "cores": cores}
        for recipe in ("seed", "fast")
        for size in arguments.sizes
        for cores in arguments.cores
    ]
    base = {"size": arguments.sizes[0], "cores": most}
    asked += [{"recipe": recipe, "classes": classes, **base} for recipe in ("seed", "fast") for classes in CLASSES]
    asked += [{"recipe": "seed", "classes": 10, "images": images, **base} for images in WHOLE]
    rows = [measure(row, arguments.seconds) for row in asked]
    head = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; batches of {BATCH}"
    arguments.folder.mkdir(parents=True, exist_ok=True)
    (arguments.folder / "rows.json").write_text(json.dumps(rows, indent=1))
    (arguments.folder / "table.md").write_text(f"{head}\n\n{table(rows)}\n")
    print(f"\n{head}\n\n{table(rows)}")
    for recipe in ("seed", "fast"):
        lines: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            if "step" in row and row["recipe"] == recipe and row["classes"] == 10:
                cores = f"{row['cores']} core{'s' * (row['cores'] > 1)}"
                lines.setdefault(cores, []).append((row["size"], row["step"] / BATCH * 1e3))
        draw(
            arguments.folder / f"{recipe}.svg",
            f"Milliseconds that the recipe {recipe} trains on an image, against the size of the images.",
            ("pixels a side", "ms an image"), lines, lines,
            (0, 1.05 * max(y for points in lines.values() for _, y in points)),
        )  # fmt: skip


if __name__ == "__main__":
    main()
