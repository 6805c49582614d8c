"""Whether what was made of a model file answers as the file does, on real pictures."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from thumbnet.errors import ExportError
from thumbnet.evaluation.scores import CHANCE, Answers, compare
from thumbnet.model.classifier import Asked

Answer: TypeAlias = Callable[[NDArray[np.uint8]], Asked]  # (N, S, S, 3) → probabilities (N, C), sureness (N,)


@dataclass(frozen=True)
class Tolerance:
    """How far the answers may move. The shares are of the pictures; one picture is always allowed to differ."""

    differing: float  # top answers that are others, 0 to 1
    lost: float  # accuracy, 0 to 1
    moved: float = 1.0  # any probability or sureness, 0 to 1


@dataclass(frozen=True)
class Agreement:
    """Two answers to the same pictures."""

    images: int
    agreeing: int  # of them, those with the same top answer
    accuracy_before: float  # of the model file, 0 to 1
    accuracy: float  # of what was made of it
    lost_by_chance: bool  # whether a loss of accuracy can well be chance (McNemar's test)
    moved: float  # the largest difference of a probability or a sureness

    def __str__(self) -> str:
        """In one line, for people."""
        return (
            f"the same answer to {self.agreeing:,} of {self.images:,} test images, "
            f"{self.accuracy:.2%} of them right (the model file: {self.accuracy_before:.2%}), "
            f"probabilities and sureness at most {self.moved:.1e} apart"
        )


def agreement(before: Answers, asked: Asked) -> Agreement:
    """Hold what was answered against the model file's answers to the same pictures."""
    after = dataclasses.replace(before, **asked._asdict())
    moved = [
        np.abs(mine - other).max() for mine, other in zip((before.probabilities, before.sureness), asked, strict=True)
    ]
    return Agreement(
        images=len(before.labels),
        agreeing=int((before.guesses == after.guesses).sum()),
        accuracy_before=float(before.right.mean()),
        accuracy=float(after.right.mean()),
        lost_by_chance=compare(before, after).p >= CHANCE,
        moved=float(np.max(moved)),  # NaN stays
    )


def refuse(found: Agreement, tolerance: Tolerance, form: str) -> None:
    """Raise ExportError where the answers moved further than is tolerated.

    A loss of accuracy counts only if it is more than chance: of few pictures, one is a large share.
    """
    differing, lost = found.images - found.agreeing, found.accuracy_before - found.accuracy
    if (
        differing <= max(1, tolerance.differing * found.images)
        and (lost <= tolerance.lost or found.lost_by_chance)
        and found.moved <= tolerance.moved  # so written that a NaN is refused
    ):
        return
    raise ExportError(
        f"{form} answers otherwise than the model file: {found}. Tolerated: {tolerance.differing:.1%} other answers, "
        f"{100 * tolerance.lost:.1f} points of accuracy, {tolerance.moved:g} of a probability. Nothing was written"
    )
