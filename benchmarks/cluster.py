"""Classify the same pictures in one process and with Ray: are the rows the same, and how much longer does Ray take?

    python benchmarks/cluster.py FOLDER … [--workers 2] [--rounds 3] [--model NAME|FILE]

For each FOLDER of pictures, each round runs, one after the other:

- `bulk.predict` in this process, with one decoding thread per worker
- `cluster.predict` on a running Ray with as many cores; actors and their classifiers are started each time
- the same, with a `kill -9` of one actor in the middle
- the whole commands `thumbnet predict`, with threads and with `--engine ray`, both on all cores, start-up included

The rows of each way are compared with those of the first, as sorted lines. The first round is not counted, as it fills
the file cache. On one machine Ray can only be slower; the ratio is its cost.
"""

import argparse
import logging
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import thumbnet
from thumbnet.model import classifier
from thumbnet.prediction import bulk, cluster, rows
from thumbnet.sources.expand import expand

import ray  # isort: skip  (after cluster, which sets what Ray reads when it is imported)

LINE = rows.form("jsonl", several=True)
WORKED = 3  # seconds of processor time after which an actor has loaded its model and answered something


def one_process(folder: Path, model: str, workers: int) -> list[str]:
    """Get the rows from threads of this process."""
    answers = bulk.predict(thumbnet.load(model), expand([str(folder)]), workers=workers)
    return [LINE.row(row).rstrip("\n") for row in answers]


def by_ray(folder: Path, model: str) -> list[str]:
    """Get the rows from the running Ray."""
    with tempfile.TemporaryDirectory() as output:
        cluster.predict(classifier.find(model).read_bytes(), [str(folder)], output)
        return shards(Path(output))


def by_ray_with_a_kill(folder: Path, model: str) -> list[str]:
    """Do the same, and kill the first actor that has worked for a while."""
    ended, killed = threading.Event(), threading.Event()

    def kill() -> None:
        while not killed.is_set() and not ended.wait(0.2):
            for actor in actors(WORKED)[:1]:
                os.kill(actor, signal.SIGKILL)
                killed.set()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        found = by_ray(folder, model)
    finally:
        ended.set()
        killer.join()
    if not killed.is_set():
        raise SystemExit(f"no actor worked for {WORKED} s, so none was killed. Give more pictures")
    return found


def command(folder: Path, model: str, *engine: str) -> list[str]:
    """Get the rows from the command as a user types it."""
    with tempfile.TemporaryDirectory() as place:
        output = Path(place, "answers.jsonl")
        typed = ["predict", str(folder), "--model", model, "--format", "jsonl", "--output", str(output), *engine]
        done = subprocess.run([sys.executable, "-m", "thumbnet", *typed], stderr=subprocess.DEVNULL)
        if done.returncode not in (0, 3):
            raise SystemExit(f"thumbnet {' '.join(typed)} ended with {done.returncode}")
        return shards(output) if output.is_dir() else output.read_text().splitlines()


def shards(folder: Path) -> list[str]:
    """Read the lines of all shards."""
    return [line for shard in folder.glob("*.jsonl") for line in shard.read_text().splitlines()]


def actors(least: int) -> list[int]:
    """Find actors of this program that used `least` seconds. Their parent is Ray's process, a child of this one."""
    columns = ["pid=", "ppid=", "cputimes=", "args="]
    listed = subprocess.run(["ps", "-e", "-o", ",".join(columns)], capture_output=True, text=True, check=True)
    found = [line.split(maxsplit=3) for line in listed.stdout.splitlines()]
    parents = {pid: parent for pid, parent, *_ in found}
    return [
        int(pid)
        for pid, parent, seconds, name in found
        if name.startswith("ray::MapWorker") and int(seconds) >= least and parents.get(parent) == str(os.getpid())
    ]


def measure(folder: Path, model: str, workers: int, rounds: int) -> None:
    """Measure all ways over one folder, and print the table."""
    expected = sorted(one_process(folder, model, workers))
    ways: dict[str, Callable[[], list[str]]] = {
        "`bulk.predict`": lambda: one_process(folder, model, workers),
        "Ray that runs already": lambda: by_ray(folder, model),
        "… an actor killed": lambda: by_ray_with_a_kill(folder, model),
        "`thumbnet predict`, whole": lambda: command(folder, model),
        "`… --engine ray`, whole": lambda: command(folder, model, "--engine", "ray"),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    same = dict.fromkeys(ways, True)
    for counted in [False, *[True] * rounds]:
        for name, way in ways.items():
            start = time.perf_counter()
            found = way()
            seconds = time.perf_counter() - start
            same[name] &= sorted(found) == expected
            if counted:
                taken[name].append(seconds)
    failed = sum('"error": {' in line for line in expected)
    print(f"\n{len(expected):,} pictures ({failed} unreadable), {workers} workers, {rounds} rounds\n")
    print("| way | seconds | time ÷ one process | rows the same |\n|---|---|---|---|")
    for name, times in taken.items():
        base = taken["`thumbnet predict`, whole" if "whole" in name else "`bulk.predict`"]
        ratios = [mine / one for mine, one in zip(times, base, strict=True)]
        print(f"| {name} | {spread(times, '.1f')} | {spread(ratios, '.2f')} | {'yes' if same[name] else 'NO'} |")


def spread(values: list[float], form: str) -> str:
    """Format the median, the minimum and the maximum."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def main() -> None:
    """Measure each folder and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--workers", type=int, default=2, help="the number of cores for Ray (2)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count (3)")
    parser.add_argument("--model", default="cifar10-seed", help="the name of a bundled model, or a file (cifar10-seed)")
    arguments = parser.parse_args()
    start = time.perf_counter()
    ray.init(
        address="local", num_cpus=arguments.workers, include_dashboard=False, log_to_driver=False,
        logging_level=logging.CRITICAL,
    )  # fmt: skip
    print(f"Ray started in {time.perf_counter() - start:.1f} s")
    for folder in arguments.folders:
        measure(folder, arguments.model, arguments.workers, arguments.rounds)
    ray.shutdown()


if __name__ == "__main__":
    main()
