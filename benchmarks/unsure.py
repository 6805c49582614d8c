"""How well pictures of other things can be told from those of a model's classes, by what the model file answers.

    python benchmarks/unsure.py [--model NAME|FILE] [--data DATA] [--photos FOLDER] [--foreign FOLDER]

In-class are the test pictures of DATA and, with --photos, photographs in a subfolder for each class. Foreign are sets
that are made here and, with --foreign, any pictures. Printed is, for each score, the AUROC: how often an in-class
picture gets more than a foreign one.

Of the logits only their differences are left in the probabilities. `max logit` (Hendrycks et al. 2022) and `energy`
(Liu et al. 2020) are taken here from the logits less their mean; docs/evaluation.md tells what the logits would give.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import thumbnet
from thumbnet import bulk, datasets, images
from thumbnet.classifier import Classifier
from thumbnet.evaluation import auroc

COUNT = 1000  # pictures of a set, at the most
Squares = NDArray[np.uint8]  # (N, S, S, 3)

SCORES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {  # of log-probabilities (N, C) → (N,)
    "top probability": lambda logs: logs.max(axis=1),
    "entropy": lambda logs: (np.exp(logs) * logs).sum(axis=1),
    "margin": lambda logs: np.exp(np.sort(logs, axis=1)[:, -2:]) @ np.array([-1, 1]),
    "margin of logits": lambda logs: np.sort(logs, axis=1)[:, -2:] @ np.array([-1, 1]),
    "max logit": lambda logs: logs.max(axis=1) - logs.mean(axis=1),
    "energy": lambda logs: -logs.mean(axis=1),  # log Σ exp of the logits less their mean, as Σ exp(logs) is 1
}


def main() -> None:
    """Ask about every set and print a table for each in-class one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--foreign", type=Path)
    arguments = parser.parse_args()
    classifier = thumbnet.load(arguments.model)
    info, rng = classifier.info, np.random.default_rng(0)
    test = datasets.load(arguments.data, info.size, fit=info.fit).test
    known = {f"test pictures of {arguments.data}": test.images[rng.permutation(len(test))[:COUNT]]}
    if arguments.photos:
        known["photographs"] = read(classifier, *(arguments.photos / name for name in info.names))
    foreign = {f"made: {name}": squares for name, squares in made(info.size, rng).items()}
    if arguments.foreign:
        foreign[str(arguments.foreign.name)] = read(classifier, arguments.foreign)
    others = {name: log_probabilities(classifier, squares) for name, squares in foreign.items()}
    for name, squares in known.items():
        ours = log_probabilities(classifier, squares)
        print(f"\n{len(ours)} {name}, {unsure(ours, info.threshold)} of them unsure\n")
        print(f"| against | pictures | unsure | {' | '.join(SCORES)} |\n|---|---|---|{'---|' * len(SCORES)}")
        for other, logs in others.items():
            areas = " | ".join(f"{auroc(score(ours), score(logs)):.3f}" for score in SCORES.values())
            print(f"| {other} | {len(logs)} | {unsure(logs, info.threshold)} | {areas} |")


def log_probabilities(classifier: Classifier, squares: Squares) -> NDArray[np.float64]:
    """`(N, C)`; what float32 rounds to zero counts as its smallest."""
    return np.log(np.maximum(classifier.probabilities(squares), np.finfo(np.float32).tiny).astype(np.float64))


def unsure(logs: NDArray[np.float64], threshold: float) -> str:
    """The share below the threshold."""
    return f"{(np.exp(logs.max(axis=1)) < threshold).mean():.1%}"


def read(classifier: Classifier, *folders: Path) -> Squares:
    """All pictures in those of the folders that are there."""
    sources = bulk.expand([str(folder) for folder in folders if folder.is_dir()])
    return np.stack([classifier.square(source) for source in sources if isinstance(source, str)])


def made(size: int, rng: np.random.Generator) -> dict[str, Squares]:
    """Foreign pictures that need no download: uint8 `(N, size, size, 3)` each."""
    digits = datasets.digits(size).test.images[:COUNT]
    noise = rng.integers(0, 256, (COUNT, size, size, 3)).astype(np.uint8)
    drawn = {name: np.stack([draw(size, rng) for _ in range(COUNT)]) for name, draw in DRAWN.items()}
    return {"digits": digits, "noise": noise, **drawn}


def gradient(size: int, rng: np.random.Generator) -> Squares:
    """From one colour to another, in any direction."""
    one, other = rng.uniform(0, 255, (2, 3))
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    share = np.clip((x * np.cos(angle) + y * np.sin(angle) + 1) / 2, 0, 1)[..., np.newaxis]  # (S, S, 1)
    return np.asarray(one + (other - one) * share, np.uint8)


def texture(size: int, rng: np.random.Generator) -> Squares:
    """Stripes or checks of two colours."""
    one, other = rng.integers(0, 256, (2, 3))
    y, x = np.mgrid[:size, :size] // rng.integers(1, size // 4)
    fields = [x, y, x + y, x - y][rng.integers(4)] % 2
    return np.asarray(np.where(fields[..., np.newaxis] == 1, one, other), np.uint8)


def text(size: int, rng: np.random.Generator) -> Squares:
    """Three lines of letters on one colour, drawn large and made smaller."""
    page = np.full((256, 256, 3), rng.integers(128, 256, 3), np.uint8)
    colour = rng.integers(0, 100, 3).tolist()
    for line in range(3):
        letters = "".join(chr(letter) for letter in rng.integers(65, 91, 6))
        cv2.putText(page, letters, (5, 80 + 75 * line), cv2.FONT_HERSHEY_SIMPLEX, 2, colour, 6)
    return images.resize(page, size, "stretch")


DRAWN = {"gradients": gradient, "textures": texture, "text": text}

if __name__ == "__main__":
    main()
