"""Out-of-fold answers to one's own pictures → what to do next: what is confused, what looks wrong, what is missing.

A picture may have the wrong label if the answer of a head that has not learnt from it gives the label less than a tenth
of the likeliest class's probability. docs/experiments.md compares this with other rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from thumbnet.data import duplicates
from thumbnet.evaluation.scores import Answers, confused, confusion, wilson

MEASURABLE = 5  # pictures of a class from which on its accuracy is told
DOUBT = 0.1  # the label's probability divided by the likeliest class's, below which the label is suspect
PAIRS = 12  # of classes that are confused
SHOWN = 12  # pictures of each such pair
SUSPECTS = 60  # of each kind
WELL = 0.9  # the accuracy of a class from which on it needs no more pictures
MANY = 30  # pictures of each class, likewise
SIDE = duplicates.SIDE
COLOURS = 12.0  # by which the colours of copies differ in the mean, at most: in CIELAB, without lightness
VIVID = 0.5  # likewise, as a share of how vivid the picture is: vivid colours fade by more
SOFT = 2.0  # pixels, the radius in which colours are mixed for that


class Share(NamedTuple):
    """A share of pictures, with its 95 % interval: 0 to 1."""

    value: float
    low: float
    high: float


class OfClass(NamedTuple):
    """How well a class is told."""

    name: str
    pictures: int
    accuracy: Share | None  # None if it has fewer than `MEASURABLE` pictures


class Confusion(NamedTuple):
    """Pictures of one class that were taken for another."""

    truth: int
    answer: int
    times: int
    rows: list[int]  # the surest mistakes first, `SHOWN` at most


class WrongLabel(NamedTuple):
    """A picture that may belong to another class."""

    row: int
    label: int  # the likelier one
    confidence: float  # its probability, 0 to 1


class Copy(NamedTuple):
    """A picture that shows the same as an earlier one."""

    row: int
    of: int


@dataclass(frozen=True)
class Review:
    """What is known of N pictures of C classes, and what to do next."""

    accuracy: Share | None  # cross-validated; None while a class has fewer than `MEASURABLE` pictures
    unknown_class: float | None  # see `learn.Learned`; None likewise
    classes: list[OfClass]
    confusions: list[Confusion]  # the most frequent first
    labels: list[WrongLabel]  # the likeliest first
    copies: list[Copy]  # those with different labels first
    next: str  # a sentence


def review(
    answers: Answers | None,
    names: Sequence[str],
    labels: NDArray[np.int64],
    copies: Sequence[Copy],
    unknown_class: float | None = None,
) -> Review:
    """Say what cross-validated answers tell.

    Args:
        answers: To N pictures of C classes, each by a head that has not learnt from it; None if there are none.
        names: The classes.
        labels: `(N,)`.
        copies: As `find_copies` gives them.
        unknown_class: As the model file's scores have it.
    """
    counts = np.bincount(labels, minlength=len(names))  # (C,)
    measured = answers is not None and bool((counts >= MEASURABLE).all())
    matrix = confusion(answers) if answers is not None else np.diag(counts)  # (C, C)
    hits = matrix.diagonal()
    classes = [
        OfClass(
            name, int(count), _share(int(right), int(count)) if answers is not None and count >= MEASURABLE else None
        )
        for name, count, right in zip(names, counts, hits, strict=True)
    ]
    wrong = _wrong_labels(answers) if answers is not None else []
    copies = sorted(copies, key=lambda copy: labels[copy.row] == labels[copy.of])[:SUSPECTS]
    return Review(
        _share(int(hits.sum()), len(labels)) if measured else None,
        unknown_class if measured else None,
        classes,
        _confusions(answers, matrix) if answers is not None else [],
        wrong[:SUSPECTS],
        list(copies),
        _next(names, counts, matrix, len(wrong), sum(int(labels[copy.row] != labels[copy.of]) for copy in copies)),
    )


def find_copies(squares: NDArray[np.uint8], keys: Sequence[object], *, mirrored: bool = True) -> list[Copy]:
    """The pictures that show the same as an earlier one, each once.

    Two things of one shape and different colours are no copies: drawings of a kind are alike in grey. A copy that is
    brighter, mirrored, cropped or encoded again keeps its colours; one in black and white is not found.

    Args:
        squares: uint8 `(N, SIDE, SIDE, 3)`.
        keys: Equal for two pictures only if they are the same, N.
        mirrored: Whether mirror images count, too.
    """
    first: dict[object, int] = {}
    found: dict[int, int] = {}  # a picture → the earlier one
    for row, key in enumerate(keys):
        if (of := first.setdefault(key, row)) != row:
            found[row] = of
    distinct = list(first.values())
    if len(distinct) > 1:
        for match in duplicates.find(squares[distinct], mirrored=mirrored).matches:
            first_row, second_row = distinct[match.first], distinct[match.second]
            other = squares[second_row, :, ::-1] if match.mirrored else squares[second_row]
            if _are_of_like_colours(squares[first_row], other):
                found.setdefault(second_row, first_row)
    return [Copy(row, of) for row, of in sorted(found.items())]


def _are_of_like_colours(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    colours = []
    for square in (one, other):
        lab = cv2.cvtColor(np.ascontiguousarray(square, np.float32) / 255, cv2.COLOR_RGB2LAB)  # (SIDE, SIDE, 3)
        colours.append(cv2.GaussianBlur(lab[..., 1:], (0, 0), SOFT))  # (SIDE, SIDE, 2), grey is 0
    vivid = max(float(np.linalg.norm(each, axis=-1).mean()) for each in colours)
    return float(np.linalg.norm(colours[0] - colours[1], axis=-1).mean()) <= max(COLOURS, VIVID * vivid)


def _share(part: int, whole: int) -> Share:
    return Share(part / whole, *wilson(part, whole))


def _confusions(answers: Answers, matrix: NDArray[np.int64]) -> list[Confusion]:
    surest = np.argsort(-answers.confidence, kind="stable")
    found = []
    for truth, answer in confused(matrix, PAIRS):
        rows = [row for row in surest.tolist() if answers.labels[row] == truth and answers.guesses[row] == answer]
        found.append(Confusion(truth, answer, len(rows), rows[:SHOWN]))
    return found


def _wrong_labels(answers: Answers) -> list[WrongLabel]:
    own = answers.probabilities[np.arange(len(answers.labels)), answers.labels]  # (N,)
    doubts = own / answers.confidence  # (N,)
    rows = np.flatnonzero(doubts < DOUBT)
    rows = rows[np.argsort(doubts[rows], kind="stable")]
    return [WrongLabel(int(row), int(answers.guesses[row]), float(answers.confidence[row])) for row in rows]


def _next(names: Sequence[str], counts: NDArray[np.int64], matrix: NDArray[np.int64], wrong: int, copies: int) -> str:
    """What helps most now. Wrong labels first: more pictures would not mend them."""
    rare = int(counts.argmin())
    if counts[rare] < MEASURABLE:
        return f"Show more {names[rare]}: {_pictures(counts[rare])}. From {MEASURABLE} of each on, accuracy is told."
    if copies:
        return f"Look at {_pictures(copies)} that {_is(copies)} in two classes: one of them is wrong."
    if wrong:
        return f"Look at {_pictures(wrong)} that may be in the wrong class."
    accuracies = matrix.diagonal() / counts  # (C,)
    worst = int(accuracies.argmin())
    if accuracies[worst] < WELL:
        mistakes = matrix[worst].copy()
        mistakes[worst] = 0
        other = int(mistakes.argmax())
        taken = f"{mistakes[other]:,} of them taken for {names[other]}"
        return f"Show more {names[worst]}: {_pictures(counts[worst])}, {taken}."
    if counts[rare] < MANY:
        return f"Show more {names[rare]}, as different as they come: {_pictures(counts[rare])} so far."
    return "Try it with new pictures. Where it is wrong, say what it is."


def _pictures(count: int) -> str:
    return f"{count:,} picture{'' if count == 1 else 's'}"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
