"""Features and labels → model file, judged on test pictures or by cross-validation."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thumbnet._version import __version__
from thumbnet.evaluation.judge import ask_foreign
from thumbnet.evaluation.scores import Answers, Scores, score
from thumbnet.model.classifier import Classifier
from thumbnet.model.info import ModelInfo, with_info
from thumbnet.transfer.backbone import Backbone
from thumbnet.transfer.learn import Learned, learn
from thumbnet.transfer.shipped import model_file, refuse_difference

NAME = "transfer"


@dataclass(frozen=True, eq=False)
class Part:
    """The features of a split's pictures."""

    features: NDArray[np.float32]  # (N, D)
    labels: NDArray[np.int64]  # (N,)


class Samples(NamedTuple):
    """A few pictures on which the model file is compared with what it was made of."""

    squares: NDArray[np.uint8]  # (n, S, S, 3)
    features: NDArray[np.float32]  # (n, D)


class Made(NamedTuple):
    """A model file, and what it is judged by."""

    content: bytes
    info: ModelInfo
    answers: Answers | None  # None if there are too few pictures to measure anything

    @property
    def scores(self) -> Scores | None:
        """The figures that the file keeps."""
        return score(self.answers) if self.answers else None


def make(
    backbone: Backbone,
    names: tuple[str, ...],
    train: Part,
    test: Part | None,
    samples: Samples,
    *,
    seed: int = 0,
    others: NDArray[np.float32] | None = None,
    **about: Any,
) -> Made:
    """Learn from the training part, and put the model file together.

    Args:
        backbone: Gave the features.
        names: The classes, C of them.
        train: What is learnt from.
        test: What is judged on; without it, the training part is judged by cross-validation.
        samples: Pictures of the training part.
        seed: Decides the folds of the cross-validation.
        others: `(M, D)`, features of pictures that show none of the classes.
        about: More fields of `ModelInfo`, such as `data`.

    Raises:
        ExportError: The file does not answer as what it was made of.
    """
    learned = learn(train.features, train.labels, len(names), parts=backbone.parts, seed=seed, others=others)
    recipe = {"name": NAME, "seed": seed, **learned.chosen}
    return put_together(backbone, names, learned, train, test, samples, recipe=recipe, **about)


def put_together(
    backbone: Backbone,
    names: tuple[str, ...],
    learned: Learned,
    train: Part,
    test: Part | None,
    samples: Samples,
    **about: Any,
) -> Made:
    """Put the model file together from what was learnt, with its scores; `make` says what the arguments are.

    Raises:
        ExportError: The file does not answer as what it was made of.
    """
    info = ModelInfo(
        names=names,
        size=backbone.size,
        framing=backbone.framing,
        threshold=learned.threshold,
        temperature=learned.temperature,
        mirror_average=False,
        backbone=backbone.about(),
        version=__version__,
        **about,
    )
    answers = _answers(info, learned, train, test)
    if answers is None:
        print(
            "Not measured, so all answers are unsure: with one picture of each class, none can be left out",
            file=sys.stderr,
        )
    else:
        figures: dict[str, Any] = score(answers).as_dict()
        if not test:
            figures["cross_validated"] = True
        if learned.unknown_class is not None:
            figures["unknown_class"] = learned.unknown_class
        info = replace(info, scores=figures)
    content = model_file(backbone, learned.head, learned.familiarity, info)
    refuse_difference(content, *samples, learned.head, learned.familiarity)
    return Made(content, info, answers)


def with_foreign(made: Made, folder: str | Path) -> Made:
    """Measure how many pictures of other things the file rejects, and let it keep the figures.

    Raises:
        DataError: No picture in the folder can be read.
    """
    if made.answers is None:
        return made
    found = ask_foreign(Classifier(made.content), made.answers, folder)
    info = replace(made.info, scores={**made.info.scores, **found.figures()})
    return Made(with_info(made.content, info), info, made.answers)


def _answers(info: ModelInfo, learned: Learned, train: Part, test: Part | None) -> Answers | None:
    """What the file is judged by. It answers as `learned` does, which `refuse_difference` proves."""
    if test:
        probabilities = np.exp(learned.head.log_probabilities(test.features)).astype(np.float32)  # (N, C)
        sureness = learned.familiarity.sureness(test.features, probabilities)  # (N,)
        return Answers(info, test.labels, probabilities, sureness)
    if np.bincount(train.labels).max() == 1:
        return None
    return Answers(info, train.labels, learned.probabilities, learned.sureness)
