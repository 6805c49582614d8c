"""How a model file does on full-size photographs, by the way in which they are made square, and by one view or two.

    python benchmarks/photographs.py FOLDER [--model NAME|FILE]

FOLDER has a subfolder of photographs for each class, named as the model's classes; photographs in any other subfolder
are foreign, and the right answer to them is "unsure". AUROC: how often a photograph of a class has more sureness than a
foreign one.
"""

import argparse
from pathlib import Path

import numpy as np

import thumbnet
from thumbnet.evaluation.scores import auroc
from thumbnet.model.classifier import together
from thumbnet.pictures.decode import decode
from thumbnet.pictures.framing import FRAMINGS, resize, views


def main() -> None:
    """Measure and print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model")
    arguments = parser.parse_args()
    classifier = thumbnet.load(arguments.model)
    names = classifier.info.names
    files = sorted(path for path in arguments.folder.glob("*/*") if path.is_file())
    pictures = [decode(path.read_bytes()) for path in files]
    labels = np.array([names.index(path.parent.name) if path.parent.name in names else -1 for path in files])  # (N,)
    ours = labels >= 0
    print(f"{ours.sum()} photographs of the model's classes, {(~ours).sum()} foreign ones\n")
    print("| made square by | views | right | of these known | wrong ones known | foreign ones unsure | AUROC |")
    print("|---|---|---|---|---|---|---|")
    for framing in FRAMINGS:
        size = classifier.info.size
        one = [resize(picture, size, framing)[None] for picture in pictures]  # (1, S, S, 3) each
        two = [views(picture, size, framing) for picture in pictures]  # (V, S, S, 3) each
        for seen in (one, two):
            counts = [len(views) for views in seen]
            probabilities, sureness = together(classifier.ask(np.concatenate(seen)), counts)  # (N, C), (N,)
            right = (probabilities.argmax(axis=1) == labels)[ours]
            known = sureness >= classifier.info.threshold  # (N,)
            shares = right, known[ours][right], known[ours][~right], ~known[~ours]
            told = " | ".join(f"{share.mean():.1%}" for share in shares)
            print(f"| {framing} | {max(counts)} | {told} | {auroc(sureness[ours], sureness[~ours]):.3f} |")


if __name__ == "__main__":
    main()
