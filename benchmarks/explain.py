"""Do heat maps mean something? Hide the hottest parts and compare the effect with that of other parts and maps.

    python benchmarks/explain.py [--data cifar10] [--model NAME|FILE] [--images 500]

Pixels of test pictures are hidden hottest first ("deletion": the probability of the class should fall at once), and
shown hottest first ("insertion": it should rise at once). The scores are the areas under both curves (Petsiuk et al.
2018). Hidden pixels are replaced by a blurred picture or by the mean colour; the maps themselves are made with the mean
colour. The maps are those of `thumbnet.prediction.explain`; RISE, which averages the same masks; occlusion by 225
squares of a quarter of a side; and, as baselines, the middle first, single pixels at random, and a random square.
"""

import argparse
import time
from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

import thumbnet
from thumbnet.data.load import load_data
from thumbnet.model.classifier import Classifier
from thumbnet.pictures.decode import RGB
from thumbnet.prediction import explain

Map: TypeAlias = NDArray[np.float32]  # (S, S); the hottest pixels decide most
STEPS = 16  # per curve
TENTH = 0.1


def main() -> None:
    """Measure and print a row for each map."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--model")
    parser.add_argument("--images", type=int, default=500, help="test pictures (500)")
    arguments = parser.parse_args()
    classifier = thumbnet.load(arguments.model)
    test = load_data(arguments.data, classifier.info.size, framing=classifier.info.framing).test
    random = np.random.default_rng(0)
    squares = test.images[random.permutation(len(test))[: arguments.images]]  # (N, S, S, 3)
    whole = classifier.probabilities(squares)  # (N, C)
    print(f"{len(squares)} pictures, whose answers have a confidence of {whole.max(axis=1).mean():.3f}\n")
    print("| map | CPU ms | blurred: deletion | insertion | tenth hidden | mean: deletion | insertion | tenth hidden |")
    print("|---|---|---|---|---|---|---|---|")
    for name, method in methods(classifier, random).items():
        start = time.process_time()
        maps = [method(square, int(row.argmax())) for square, row in zip(squares, whole, strict=True)]
        spent = (time.process_time() - start) / len(squares) * 1000
        scores: list[float] = []
        for blurred in (True, False):
            each = zip(squares, whole.argmax(axis=1), maps, strict=True)
            scores += list(np.mean([curve(classifier, *one, blurred) for one in each], axis=0))
        print(" | ".join([f"| {name} | {spent:.0f}", *(f"{score:.3f}" for score in scores)]) + " |", flush=True)


def methods(classifier: Classifier, random: np.random.Generator) -> dict[str, Callable[[RGB, int], Map]]:
    """Return the maps by name, each as a function: square, its class → map."""
    size = classifier.info.size
    place = (np.arange(size, dtype=np.float32) + 0.5) / size  # (S,)
    far = np.hypot(place - 0.5, place[:, None] - 0.5)  # (S, S)

    def occlusion(square: RGB, answer: int) -> Map:
        centres = np.arange(1, 31, 2) / 31
        along = (np.abs(place - centres[:, None]) <= 0.125).astype(np.float32)  # (15, S)
        hidden = np.einsum("py,qx->pqyx", along, along).reshape(-1, size, size)  # (225, S, S)
        asked = classifier.probabilities(explain._masked(square, 1 - hidden))[:, answer]
        return np.asarray(np.tensordot(asked.max() - asked, hidden, 1) / hidden.sum(axis=0), np.float32)

    def rise(square: RGB, answer: int) -> Map:
        masks, _ = explain._design()
        asked = classifier.probabilities(explain._masked(square, masks))[:, answer]
        average = np.tensordot(asked, masks, 1) / masks.sum(axis=0)
        return np.asarray(cv2.resize(average, (size, size)), np.float32)

    def patch(_square: RGB, _answer: int) -> Map:
        left, top = random.uniform(0, 1 - TENTH**0.5, 2)
        beside = np.maximum(np.abs(place - left - TENTH**0.5 / 2), np.abs(place - top - TENTH**0.5 / 2)[:, None])
        return np.asarray(-beside, np.float32)

    return {
        "**Thumbnet**": lambda square, _: explain.heat(classifier, square),
        "RISE, the same masks": rise,
        "occlusion": occlusion,
        "the middle first": lambda *_: -far,
        "pixels by chance": lambda *_: random.random((size, size), np.float32),
        "a square anywhere": patch,
    }


def curve(classifier: Classifier, square: RGB, answer: int, heat: Map, blurred: bool) -> tuple[float, float, float]:
    """Compute the areas of deletion and insertion, and the class's probability with the hottest tenth hidden."""
    size = len(square)
    order = np.empty(size * size, int)
    order[np.argsort(-heat, axis=None, kind="stable")] = np.arange(size * size)
    done = np.append(np.linspace(0, 1, STEPS + 1), TENTH)[:, None, None, None] * size * size
    hot = order.reshape(size, size, 1) < np.rint(done)  # (STEPS + 2, S, S, 1)
    mean = np.rint(square.mean(axis=(0, 1))).astype(np.uint8)
    instead = cv2.GaussianBlur(square, (0, 0), size * 0.15) if blurred else np.broadcast_to(mean, square.shape)
    asked = np.concatenate([np.where(hot, instead, square), np.where(hot[:-1], square, instead)]).astype(np.uint8)
    probabilities = classifier.probabilities(asked)[:, answer]
    deleted, tenth, inserted = np.split(probabilities, [STEPS + 1, STEPS + 2])
    return area(deleted), area(inserted), float(tenth[0])


def area(values: NDArray[np.float32]) -> float:
    """Compute the area under a curve with equal steps from 0 to 1, by trapezoids."""
    return float((values[1:] + values[:-1]).mean() / 2)


if __name__ == "__main__":
    main()
