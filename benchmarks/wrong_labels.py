"""How many wrong labels `thumbnet check-data --labels` finds: of some pictures the label is changed, at random.

    THUMBNET_HOME=EMPTY_FOLDER python benchmarks/wrong_labels.py SET … [--share 0.05] [--runs 3]

Each SET is what `--data` takes, all of whose pictures are judged. Printed are, over the runs, how many of the changed
labels are listed (recall), how many of the listed ones were changed (precision; labels that were wrong before count as
right), and how many of the first ones in the list were changed, as many as were changed in all. The seconds are those
of the first run: with an empty cache, which holds the features afterwards, but without the first look at the files.
"""

import argparse
import dataclasses
import time

import numpy as np

from thumbnet.data import check
from thumbnet.data.check import Judge, Pictures
from thumbnet.transfer.labels import label_judge


def measure(pictures: Pictures, judge: Judge, share: float, seed: int) -> tuple[float, float, float]:
    """Change labels, and look for them: recall, precision, and precision of the first ones."""
    rng = np.random.default_rng(seed)
    count = max(1, round(share * len(pictures)))
    changed = rng.permutation(len(pictures))[:count]
    labels = pictures.labels.copy()  # (N,)
    labels[changed] = (labels[changed] + rng.integers(1, len(pictures.names), count)) % len(pictures.names)
    planted = dataclasses.replace(pictures, labels=labels)
    found = np.isin([suspect.row for suspect in check.suspects(planted, judge(planted))], changed)
    return found.sum() / count, found.mean() if len(found) else 1.0, found[:count].sum() / count


def main() -> None:
    """Measure, and print a row for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="SET")
    parser.add_argument("--share", type=float, default=0.05, help="of the labels to change (0.05)")
    parser.add_argument("--runs", type=int, default=3, help="with other labels changed in each (3)")
    arguments = parser.parse_args()
    judge = label_judge(seed=0)
    print("| set | pictures | classes | recall | precision | of the first | seconds |\n" + "|---" * 7 + "|")
    for name in arguments.sets:
        pictures = check.read(name)
        start = time.monotonic()
        runs = [measure(pictures, judge, arguments.share, 0)]
        seconds = time.monotonic() - start
        runs += [measure(pictures, judge, arguments.share, seed) for seed in range(1, arguments.runs)]
        recall, precision, first = np.mean(runs, axis=0)
        told = f"{recall:.0%} | {precision:.0%} | {first:.0%} | {seconds:.0f}"
        print(f"| {name} | {len(pictures):,} | {len(pictures.names)} | {told} |", flush=True)


if __name__ == "__main__":
    main()
