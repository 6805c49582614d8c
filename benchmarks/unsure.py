"""How well pictures of other things can be told from those of a model's classes, by what the model file answers.

    python benchmarks/unsure.py [--model NAME|FILE] [--data DATA] [--photos FOLDER] [--foreign FOLDER]

In-class are the test pictures of DATA and, with --photos, photographs in a subfolder for each class. Foreign are sets
that are made here and, with --foreign, any pictures. Printed is, for each score, the AUROC: how often an in-class
picture gets more than a foreign one.

`sureness` is what a model file gives as its own, the confidence times the familiarity to the power 16; from both
follow the scores of the familiarity alone and of other powers. The probabilities keep only the differences between
logits. `max logit` (Hendrycks et al. 2022) and `energy` (Liu et al. 2020) are taken here from the logits less
their mean; docs/evaluation.md says what the logits would give.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import thumbnet
from thumbnet.data.digits import read_digits
from thumbnet.data.load import load_data
from thumbnet.evaluation.scores import auroc
from thumbnet.model.classifier import Asked, Classifier
from thumbnet.pictures.framing import resize
from thumbnet.sources.expand import expand
from thumbnet.training.calibrate import POWER

COUNT = 1000  # pictures of a set, at the most
Squares = NDArray[np.uint8]  # (N, S, S, 3)

BY_SURENESS: dict[str, Callable[[Asked], NDArray[np.float64]]] = {  # (N,)
    "**sureness**": lambda asked: asked.sureness.astype(np.float64),
    "power 4": lambda asked: confidence(asked) * familiarity(asked) ** 4,
    "power 8": lambda asked: confidence(asked) * familiarity(asked) ** 8,
    "power 32": lambda asked: confidence(asked) * familiarity(asked) ** 32,
    "familiarity": lambda asked: familiarity(asked),
}
BY_LOGS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {  # of log-probabilities (N, C) → (N,)
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
    test = load_data(arguments.data, info.size, framing=info.framing).test
    known = {f"test pictures of {arguments.data}": test.images[rng.permutation(len(test))[:COUNT]]}
    if arguments.photos:
        known["photographs"] = read(classifier, *(arguments.photos / name for name in info.names))
    foreign = {f"made: {name}": squares for name, squares in made(info.size, rng).items()}
    if arguments.foreign:
        foreign[str(arguments.foreign.name)] = read(classifier, arguments.foreign)
    others = {name: classifier.ask(squares) for name, squares in foreign.items()}
    for name, squares in known.items():
        asked = classifier.ask(squares)
        ours = scores(asked)
        print(f"\n{len(squares)} {name}, {unsure(asked, info.threshold)} of them unsure\n")
        print(f"| against | pictures | unsure | {' | '.join(ours)} |\n|---|---|---|{'---|' * len(ours)}")
        for other, theirs in others.items():
            areas = " | ".join(f"{auroc(ours[name], score):.3f}" for name, score in scores(theirs).items())
            print(f"| {other} | {len(theirs.sureness)} | {unsure(theirs, info.threshold)} | {areas} |")


def scores(asked: Asked) -> dict[str, NDArray[np.float64]]:
    """Every score, `(N,)` each. What float32 rounds to zero counts as its smallest."""
    logs = np.log(np.maximum(asked.probabilities, np.finfo(np.float32).tiny).astype(np.float64))  # (N, C)
    return {name: score(asked) for name, score in BY_SURENESS.items()} | {
        name: score(logs) for name, score in BY_LOGS.items()
    }


def confidence(asked: Asked) -> NDArray[np.float64]:
    """The top probability, `(N,)`."""
    return np.asarray(asked.probabilities.max(axis=1), np.float64)


def familiarity(asked: Asked) -> NDArray[np.float64]:
    """The cosine to the nearest training picture that the model file keeps, `(N,)`; 1 where it keeps none."""
    return np.power(asked.sureness / confidence(asked), 1 / POWER, dtype=np.float64)


def unsure(asked: Asked, threshold: float) -> str:
    """The share below the threshold."""
    return f"{(asked.sureness < threshold).mean():.1%}"


def read(classifier: Classifier, *folders: Path) -> Squares:
    """All pictures in those of the folders that are there."""
    sources = expand([str(folder) for folder in folders if folder.is_dir()])
    return np.stack([classifier.square(source) for source in sources if isinstance(source, str)])


def made(size: int, rng: np.random.Generator) -> dict[str, Squares]:
    """Foreign pictures that need no download: uint8 `(N, size, size, 3)` each."""
    digits = read_digits(size).test.images[:COUNT]
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
    return resize(page, size, "stretch")


DRAWN = {"gradients": gradient, "textures": texture, "text": text}

if __name__ == "__main__":
    main()
