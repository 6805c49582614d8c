"""Data source → Dataset → fit → calibrate → export → model file → evaluated as shipped: `train` and its steps."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from thumbnet._version import __version__
from thumbnet.data.dataset import Dataset, Splits, as_splits, hold_out
from thumbnet.data.load import load_parts
from thumbnet.errors import TrainingError
from thumbnet.evaluation.judge import answer, ask_foreign, list_foreign
from thumbnet.evaluation.scores import Scores, score
from thumbnet.evaluation.trained import Trained, locked
from thumbnet.model.classifier import Classifier
from thumbnet.model.info import ModelInfo, with_info
from thumbnet.pictures.framing import Framing
from thumbnet.training import calibrate, history, networks
from thumbnet.training.distributed.join import join
from thumbnet.training.distributed.team import Team
from thumbnet.training.loop import fit
from thumbnet.training.places import Places
from thumbnet.training.precision import Precision, settle
from thumbnet.training.recipes import RECIPES, Recipe
from thumbnet.training.settings import Settings
from thumbnet.training.to_onnx import export

SIZE = 32  # pixels a side, if the caller names no size
FRAMING: Framing = "centre"  # how a picture becomes a square, where the data does not say
HELD_OUT = 1000  # pictures that calibration needs
SAMPLES = 1000  # pictures on which Keras and the model file are compared: as many or more, or all of fewer


def train(
    data: str | Splits = "cifar10",
    recipe: str | Recipe = "fast",
    *,
    epochs: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    size: int | None = None,
    output: str | Path = "model.onnx",
    resume: bool = False,
    refit: bool = False,
    mirror: bool = True,
    precision: Precision | None = None,
    patience: int | None = None,
    logs: str | Path | None = None,
    foreign: str | Path | None = None,
) -> Trained:
    """Train a network and write its model file; beside it a `.keras` file for further training and a table of epochs.

    Args:
        data: What `load_data` takes, such as `cifar10`, a folder of pictures or an `.npz` file; or splits already read.
        recipe: A name in `RECIPES`, or a recipe.
        epochs: Instead of the recipe's.
        minutes: Time for the training instead of a number of epochs; the schedule fits it.
        seed: Decides the split, the first weights, the pictures' order and their augmentation: 0 to 2³² - 1.
        size: Pixels a side that the pictures are brought to, 18 or more (32). Splits already read keep theirs.
        output: The model file, which ends in `.onnx`. The other files are named after it.
        resume: Continue a training that was broken off, from the checkpoint beside `output`. It may become longer.
        refit: Train a second time, on all training images, held-out ones too, and ship that network with the
            calibration of the first. This takes twice the time.
        mirror: Whether a picture's mirror image keeps its class. Say no for letters, digits or signs.
        precision: `float32` or `mixed_bfloat16`, for the training. Without it, what the processor computes fast.
        patience: Stop after this many epochs in a row that were no better on the held-out pictures.
        logs: A folder for TensorBoard's logs, which start again, or continue with `resume`. A refit is not logged.
        foreign: A folder of pictures that show none of the classes. They decide nothing; the share of them that the
            model file rejects as unsure goes into its scores.

    Raises:
        DataError: The data cannot be found, read or used.
        TrainingError: An option out of its range, a name that is taken or not allowed, or nothing to resume.
        ThumbnetError: An output cannot be written, or another training writes to it.
        MissingExtraError: `logs` are wanted and TensorBoard is not installed.
        ExportError: The model file does not answer as the network does; nothing was written.
        KeyboardInterrupt: Ctrl-C before the first epoch's end. Later, the best network so far is shipped.
    """
    recipe = _recipe(recipe, epochs)
    settings = Settings(
        seed=seed, minutes=minutes, patience=patience, refit=refit, mirror=mirror, precision=settle(precision or "auto")
    )
    team = join()  # before the data is read, so that a missing worker is soon known
    job = _Job(recipe, settings, Places(Path(output)), team, resume)
    if not team.chief:
        return _train(job, data, size, lambda _: None, None)
    job.places.check()
    write = history.writer(job.places.table, None if logs is None else Path(logs), resume=resume)
    strange = None if foreign is None else Path(foreign)
    if strange:
        list_foreign(strange)
    with locked(job.places.model):
        return _train(job, data, size, write, strange)


@dataclass(frozen=True)
class _Job:
    """What the steps of a training share."""

    recipe: Recipe
    settings: Settings
    places: Places
    team: Team
    resume: bool


def _train(job: _Job, data: str | Splits, size: int | None, write: history.Write, foreign: Path | None) -> Trained:
    """All steps in their order, once nothing is known to be in the way."""
    team, places = job.team, job.places
    splits, origin = _read(data, size, job.settings.seed)
    rest, held_out = _held_out(job, splits)
    if team.chief and not job.resume:
        places.start_over(team.say)
    network, info, content, interrupted = _first(job, rest, held_out, write)
    if job.settings.refit and not interrupted:
        again = _refit(job, splits.train)
        interrupted = again is None
        if again is not None:
            network, content = again, export(again, info, samples(splits.train))
    kept = dataclasses.replace(job.settings, refit=job.settings.refit and not interrupted)
    info = dataclasses.replace(info, recipe=kept.with_recipe(job.recipe), data=origin | _described(splits))
    content, scores = _judged(content, info, splits.test, foreign)
    if team.chief:
        places.write(network, content)
        if not interrupted:
            places.forget()
    team.chiefs(0)  # where the others wait for the files, and fail if the chief does
    return Trained(places.model, Classifier(content), scores, interrupted, team.chief)


def _held_out(job: _Job, splits: Splits) -> tuple[Dataset, Dataset]:
    """The training images in two: to learn from, and to choose and calibrate. The workers compare what they have."""
    train, settings, team = splits.train, job.settings, job.team
    rest, held_out = hold_out(train, held_out_share(job.recipe, len(train)), settings.seed)
    described = [rest.fingerprint(), held_out.fingerprint(), train.mirrored]
    team.check({**settings.with_recipe(job.recipe), "resume": job.resume, "data": described})
    team.say(
        f"{len(rest):,} images to train on, {len(held_out):,} to choose the epoch and calibrate, "
        f"{len(splits.test):,} to test; {len(train.names)} classes"
    )
    return rest, held_out


def _first(
    job: _Job, rest: Dataset, held_out: Dataset, write: history.Write
) -> tuple[keras.Model, ModelInfo, bytes, bool]:
    """Train on `rest`; choose the epoch and calibrate on `held_out`.

    Returns:
        The network, what its file says of it so far, the model file, and whether Ctrl-C ended the training.
    """
    fitted = fit(
        job.recipe, rest, held_out, job.settings,
        checkpoint_path=job.places.checkpoints[0], resume=job.resume, write=write, team=job.team,
    )  # fmt: skip
    mirror_average = job.recipe.mirror_average and job.settings.mirror and rest.mirrored
    log_probs = calibrate.log_probabilities(fitted.network, held_out, mirror=mirror_average)
    info = ModelInfo(
        names=rest.names,
        size=rest.images.shape[1],
        framing=rest.framing,
        threshold=0,  # known once the file answers
        temperature=calibrate.temperature(log_probs, held_out.labels),
        mirror_average=mirror_average,
        # Without the seconds: the same seed gives the same file.
        history=[{key: row[key] for key in row if key != "seconds"} for row in fitted.state.history],
        version=__version__,
    )
    content = export(fitted.network, info, samples(rest))
    threshold = calibrate.threshold(answer(Classifier(content), held_out))
    return fitted.network, dataclasses.replace(info, threshold=threshold), content, fitted.interrupted


def _refit(job: _Job, train: Dataset) -> keras.Model | None:
    """The network, trained again on all training images; nothing if Ctrl-C ended that.

    Half of a refit is worse than the whole of what came before it.
    """
    job.team.say(f"Again, on all {len(train):,} training images")
    checkpoint = job.places.checkpoints[1]
    resume = job.resume and bool(job.team.chiefs(checkpoint.exists()))
    try:
        again = fit(job.recipe, train, None, job.settings, checkpoint_path=checkpoint, resume=resume, team=job.team)
    except KeyboardInterrupt:
        return None
    return None if again.interrupted else again.network


def _described(splits: Splits) -> dict[str, Any]:
    """What the model file says of its pictures."""
    return {
        "train": splits.train.fingerprint(), "train_images": len(splits.train),
        "test": splits.test.fingerprint(), "test_images": len(splits.test),
    }  # fmt: skip


def _judged(content: bytes, info: ModelInfo, test: Dataset, foreign: Path | None) -> tuple[bytes, Scores]:
    """The finished model file with what is measured of it, and its scores on the test images."""
    classifier = Classifier(with_info(content, info))
    answers = answer(classifier, test)
    scores = score(answers)
    measured = scores.as_dict()
    if foreign:
        asked = ask_foreign(classifier, answers, foreign)
        measured |= asked.figures()
    return with_info(content, dataclasses.replace(info, scores=measured)), scores


def held_out_share(recipe: Recipe, images: int) -> float:
    """The recipe's share, or up to a tenth of a small set, because calibration needs some hundred pictures."""
    return max(recipe.validation, min(0.1, HELD_OUT / images))


def samples(dataset: Dataset) -> NDArray[np.uint8]:
    """Pictures for the export, from all over the set in case it is sorted: `(N, S, S, 3)`."""
    return dataset.images[:: max(1, len(dataset) // SAMPLES)]


def _read(data: str | Splits, size: int | None, seed: int) -> tuple[Splits, dict[str, Any]]:
    """The data in a size that the networks have room for, and what the model file says of where it comes from.

    The size is checked before anything is read.
    """
    own = None if isinstance(data, str) else data.train.images.shape[1]
    if own and size not in (None, own):
        raise TrainingError(
            f"the splits have {own} pixels a side, but {size} are asked for. Leave out size, or read them in that size"
        )
    side = (own or SIZE) if size is None else size
    if side < networks.LEAST:
        raise TrainingError(f"expected {networks.LEAST} pixels a side or more, as the networks need room, got {side}")
    if not isinstance(data, str):
        return data, {"source": None, "seed": None}
    parts = load_parts(data, side, framing=FRAMING)
    return as_splits(data, parts, seed), {"source": data, "seed": seed if len(parts) == 1 else None}


def _recipe(recipe: str | Recipe, epochs: int | None) -> Recipe:
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise TrainingError(f"no recipe {recipe!r}. Expected one of: {', '.join(RECIPES)}")
        recipe = RECIPES[recipe]
    if epochs is not None:
        recipe = dataclasses.replace(recipe, epochs=epochs)
    if recipe.epochs < 1:
        raise TrainingError(f"expected 1 epoch or more, got {recipe.epochs}")
    return recipe
