"""How a model file does on full-size photographs, by the way in which they are made square.

    python benchmarks/photographs.py FOLDER [--model NAME|FILE]

FOLDER has a subfolder of photographs for each class, named as the model's classes; photographs in any other subfolder
are foreign, and the right answer to them is "unsure".
"""

import argparse
from pathlib import Path

import numpy as np

import thumbnet
from thumbnet import images


def main() -> None:
    """Measure and print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model")
    arguments = parser.parse_args()
    classifier = thumbnet.load(arguments.model)
    names = classifier.info.names
    files = sorted(path for path in arguments.folder.glob("*/*") if path.is_file())
    pictures = [images.decode(path.read_bytes()) for path in files]
    labels = np.array([names.index(path.parent.name) if path.parent.name in names else -1 for path in files])  # (N,)
    ours = labels >= 0
    print(f"{ours.sum()} photographs of the model's classes, {(~ours).sum()} foreign ones\n")
    print("| made square by | right | of these known | foreign ones unsure |\n|---|---|---|---|")
    for fit in images.FITS:
        squares = np.stack([images.resize(picture, classifier.info.size, fit) for picture in pictures])  # (N, S, S, 3)
        probabilities, sureness = classifier.ask(squares)  # (N, C), (N,)
        right = (probabilities.argmax(axis=1) == labels)[ours]
        known = sureness >= classifier.info.threshold  # (N,)
        print(f"| {fit} | {right.mean():.1%} | {known[ours][right].mean():.1%} | {(~known[~ours]).mean():.1%} |")


if __name__ == "__main__":
    main()
