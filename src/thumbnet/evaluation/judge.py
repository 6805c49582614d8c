"""Ask a model file about labelled pictures and measure its answers. The file is measured, never a Keras model."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from thumbnet.data.dataset import Dataset
from thumbnet.errors import DataError, DataWarning, SourceError
from thumbnet.evaluation import scores as scores_module
from thumbnet.evaluation.held_out import MEMORY, are_thumbnails, choose, source_for
from thumbnet.evaluation.scores import (
    Answers,
    ClassScores,
    Scores,
    auroc,
    per_class,
    score,
    uncalibrated_error,
)
from thumbnet.model.classifier import BUNDLED, Asked, Classifier, Prediction, batch_size, load
from thumbnet.pictures.decode import decode
from thumbnet.prediction import bulk
from thumbnet.progress import progress
from thumbnet.sources.expand import expand
from thumbnet.sources.failure import Failure
from thumbnet.sources.read import read

SECONDS = 0.3  # for which each speed is measured, at least
SHOWN = 12  # foreign pictures that are kept, the surest ones


# Out-of-fold answers to the pictures that a model learnt from, as `transfer.learn.cross_validated` gives them.
CrossValidate: TypeAlias = Callable[[Classifier, Dataset], Answers]


@dataclass(frozen=True)
class Speed:
    """The medians of the network's speed on this machine, with pictures in memory."""

    pictures_a_second: float  # in batches of `batch_size`
    milliseconds: float  # for one picture alone


@dataclass(frozen=True)
class Foreign:
    """A model file's answers to pictures that show none of its classes."""

    images: int
    unreadable: int
    rejected: float  # the share that it is unsure of, 0 to 1
    auroc: float  # how often a test picture gets more sureness than a foreign one; 0.5 is chance, 1 is always
    surest: tuple[Prediction, ...]  # the answers with the most sureness, `SHOWN` at most

    def figures(self) -> dict[str, float]:
        """What a model file keeps among its scores."""
        return {"foreign_images": self.images, "foreign_rejected": self.rejected, "foreign_auroc": self.auroc}


def evaluate(classifier: Classifier, dataset: Dataset) -> Scores:
    """Judge `classifier` on `dataset`. Raises what `answer` raises."""
    return score(answer(classifier, dataset))


def answer(classifier: Classifier, dataset: Dataset) -> Answers:
    """Ask `classifier` about every picture of `dataset`. Shows a progress bar.

    Raises:
        DataError: The data set's classes or size are not the model's, or it has no pictures.
        ModelError: The network of a file from elsewhere fails, or its answers are no probabilities.
    """
    info = classifier.info
    if dataset.names != info.names:
        raise DataError(f"the model knows {', '.join(info.names)}; the data has {', '.join(dataset.names)}")
    if not len(dataset) or dataset.images.shape[1] != info.size:
        raise DataError(f"expected pictures of {info.size} pixels a side, got an array {dataset.images.shape}")
    rows: list[Asked] = []
    batch = batch_size(info.size)
    with progress("evaluation", len(dataset), " pictures") as show:
        for start in range(0, len(dataset), batch):
            rows.append(classifier.ask(dataset.images[start : start + batch]))
            show(start + len(rows[-1].sureness))
    probabilities, sureness = map(np.concatenate, zip(*rows, strict=True))
    return Answers(info, dataset.labels, probabilities, sureness)


def list_foreign(folder: str | Path) -> list[str | Failure]:
    """The pictures in `folder`, however deep. One is decoded, so that a wrong folder is known before long work.

    Raises:
        DataError: There is no such folder, or no picture in it can be read.
    """
    if not Path(folder).is_dir():
        raise DataError(f"{folder}: expected a folder of pictures, got {'a file' if Path(folder).exists() else 'none'}")
    found = list(expand([str(folder)]))
    problems: list[str] = []
    for source in found:
        if isinstance(source, Failure):
            problems.append(source.message)
            continue
        try:
            decode(read(source))
        except SourceError as error:
            problems.append(f"{source}: {error}")
        else:
            return found
    raise DataError(f"{folder}: no picture can be read: {problems[0]}")


def ask_foreign(classifier: Classifier, answers: Answers, folder: str | Path) -> Foreign:
    """Ask `classifier` about every picture in `folder`, however deep, and compare with its `answers`.

    Raises:
        DataError: There is no such folder, or no picture in it can be read.
        ModelError: The network of a file from elsewhere fails, or its answers are no probabilities.
    """
    rows = list(bulk.predict(classifier, list_foreign(folder), top_k=1))
    found = [row for row in rows if isinstance(row, Prediction)]
    failures = [row for row in rows if not isinstance(row, Prediction)]
    if failures:
        first = f"{failures[0].source}: {failures[0].message}"
        warnings.warn(f"{folder}: {len(failures)} of {len(rows)} are left out: {first}", DataWarning, stacklevel=2)
    return Foreign(
        images=len(found),
        unreadable=len(failures),
        rejected=sum(not row.known for row in found) / len(found),
        auroc=auroc(answers.sureness, np.array([row.sureness for row in found], np.float32)),
        surest=tuple(sorted(found, key=lambda row: -row.sureness)[:SHOWN]),
    )


def measure_speed(classifier: Classifier, images: NDArray[np.uint8]) -> Speed:
    """Measure the network on `images`, uint8 `(N, S, S, 3)`."""
    batch = np.resize(images, (batch_size(images.shape[1]), *images.shape[1:]))  # repeated if they are fewer
    return Speed(len(batch) / _median_seconds(classifier, batch), 1000 * _median_seconds(classifier, images[:1]))


def _median_seconds(classifier: Classifier, squares: NDArray[np.uint8]) -> float:
    """The median time of a run, after one to warm up."""
    times = [time.perf_counter()]
    while len(times) < 5 or times[-1] - times[0] < SECONDS:
        classifier.probabilities(squares)
        times.append(time.perf_counter())
    return median(end - start for start, end in pairwise(times[1:]))


@dataclass(frozen=True, eq=False)
class Judgement:
    """A model file, the pictures that it was asked about, its answers, and what else was measured."""

    model: str  # as it was named
    data: str
    classifier: Classifier
    dataset: Dataset
    answers: Answers
    speed: Speed
    foreign: tuple[str, Foreign] | None = None  # the folder of foreign pictures, and the answers to them
    note: str = ""  # which pictures of the data these are, if that is not plain
    cross_validated: bool = False  # the model learnt from these pictures; each answer is by a head that has not

    @cached_property
    def scores(self) -> Scores:
        """The figures that a model file keeps."""
        return score(self.answers)

    @property
    def unknown_class(self) -> float | None:
        """The share that it is unsure of, of pictures of a class that it never learnt, by the model file: 0 to 1."""
        share: object = self.classifier.info.scores.get("unknown_class")
        # The file may come from elsewhere.
        return share if isinstance(share, float) and 0 <= share <= 1 else None

    @property
    def held_out(self) -> tuple[float, float] | None:
        """What the recipe `tune` chose by: the shares of held-out pictures that probe and tuned network had right.

        None for other recipes, and for a file made of a tuned one, as in 8 bits, which was not judged so.
        """
        if self.classifier.info.origin:
            return None
        found: list[object] = [self.classifier.info.recipe.get(f"held_out_{name}") for name in ("probe", "tuned")]
        match found:  # the file may come from elsewhere
            case [float(probe), float(tuned)] if 0 <= probe <= 1 and 0 <= tuned <= 1:
                return probe, tuned
        return None

    @cached_property
    def uncalibrated(self) -> float:
        """The calibration error that the network had before its calibration."""
        return uncalibrated_error(self.answers, self.classifier.info.temperature)

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """How often each class (the row) was taken for each (the column): `(C, C)`."""
        return scores_module.confusion(self.answers)

    @cached_property
    def classes(self) -> list[ClassScores]:
        """Each class's figures."""
        return per_class(self.confusion, self.answers.names)


def judge(model: str | None, data: str | None = None, foreign: str | None = None) -> Judgement:
    """Ask a model file about the test pictures of a data set, as `judge_each` does for several."""
    [judged] = judge_each([model], data, foreign)
    return judged


def judge_each(
    models: Sequence[str | None],
    data: str | None = None,
    foreign: str | None = None,
    cross_validate: CrossValidate | None = None,
) -> list[Judgement]:
    """Ask model files about the same test pictures.

    If all pictures are thumbnails, a model that has another network for these is measured by that one.

    Args:
        models: Bundled models' names or files' paths; nothing means the best bundled one.
        data: What `load_data` takes; without it, what the first model was trained on.
        foreign: A folder of pictures that show none of the classes.
        cross_validate: Answers for a model that learnt from just these pictures. Without it, its memory is measured.

    Raises:
        DataError: The data cannot be used or are not the model's, or there is no foreign picture.
        ModelError: No such model, or its network fails.
        MissingExtraError: The data have to be split and scikit-learn is not installed.
    """
    classifiers = [load(model) for model in models]
    if foreign is not None:
        list_foreign(foreign)
    source = source_for(models[0], classifiers[0].info, data)
    small = [""] * len(classifiers)  # notes
    if any(classifier.info.thumbnails for classifier in classifiers) and are_thumbnails(source.data):
        small = [
            f"these are thumbnails, which {name} answers" if (name := classifier.info.thumbnails) else ""
            for classifier in classifiers
        ]
        classifiers = [classifier.for_thumbnails for classifier in classifiers]
    chosen = choose([classifier.info for classifier in classifiers], source)
    judged: list[Judgement] = []
    for model, classifier, by, (dataset, note, learnt) in zip(models, classifiers, small, chosen, strict=True):
        anew = cross_validate if learnt else None
        if anew is not None:
            answers = anew(classifier, dataset)
            note = (
                f"measured by cross-validation on all {len(dataset):,} pictures of {source.data}: each is answered by "
                "a head that has not learnt from it"
            )
        else:
            if learnt:
                warnings.warn(f"{source.data}: {MEMORY}", DataWarning, stacklevel=2)
            answers = answer(classifier, dataset)
        beside = (foreign, ask_foreign(classifier, answers, foreign)) if foreign is not None else None
        speed = measure_speed(classifier, dataset.images)
        notes = "; ".join(filter(None, (source.note, by, note)))
        judged.append(
            Judgement(
                model or BUNDLED[0], source.data, classifier, dataset, answers, speed, beside, notes, anew is not None
            )
        )
    return judged
