"""Does an exported model answer as the model file does, on real pictures?"""

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
    """How far the answers may move. Shares are of all pictures; one picture may always differ."""

    differing: float  # the share of pictures with another top answer, 0 to 1
    lost: float  # the loss of accuracy, 0 to 1
    moved: float = 1.0  # the change of any probability or sureness, 0 to 1


@dataclass(frozen=True)
class Agreement:
    """How two models' answers to the same pictures compare."""

    images: int
    agreeing: int  # pictures with the same top answer
    accuracy_before: float  # of the model file, 0 to 1
    accuracy: float  # of the exported model
    lost_by_chance: bool  # whether chance explains the loss of accuracy (McNemar's test)
    moved: float  # the largest difference of a probability or a sureness
    learnt: bool = False  # whether both have learnt from these pictures; then the accuracies are cross-validated

    def __str__(self) -> str:
        """One line for people."""
        if self.learnt:
            return (
                f"{self.accuracy:.2%} right, cross-validated (the model file: {self.accuracy_before:.2%}); the same "
                f"answer to {self.agreeing:,} of {self.images:,} pictures that both learnt from, "
                f"probabilities and sureness at most {self.moved:.1e} apart"
            )
        return (
            f"the same answer to {self.agreeing:,} of {self.images:,} test images, "
            f"{self.accuracy:.2%} of them right (the model file: {self.accuracy_before:.2%}), "
            f"probabilities and sureness at most {self.moved:.1e} apart"
        )


def agreement(before: Answers, asked: Asked) -> Agreement:
    """Compare the exported model's answers with the model file's answers to the same pictures."""
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
        learnt=bool(before.info.scores.get("cross_validated")),
    )


def refuse(found: Agreement, tolerance: Tolerance, form: str) -> None:
    """Reject answers that moved further than is tolerated.

    A loss of accuracy counts only if chance does not explain it: among few pictures, one is a large share.

    Raises:
        ExportError: They did.
    """
    differing, lost = found.images - found.agreeing, found.accuracy_before - found.accuracy
    if (
        differing <= max(1, tolerance.differing * found.images)
        and (lost <= tolerance.lost or found.lost_by_chance)
        and found.moved <= tolerance.moved  # false for a NaN, too
    ):
        return
    limits = [
        *([f"{tolerance.differing:.1%} other answers"] if tolerance.differing < 1 else []),
        f"{100 * tolerance.lost:.1f} points of accuracy",
        *([f"{tolerance.moved:g} of a probability"] if tolerance.moved < 1 else []),
    ]
    raise ExportError(
        f"{form} answers differently from the model file: {found}. Tolerated: {', '.join(limits)}. Nothing was written"
    )
