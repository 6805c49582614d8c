"""data source → Dataset → fit → calibrate → export → model file → evaluated as shipped. One function, top to bottom."""

import dataclasses
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from thumbnet._version import __version__
from thumbnet.data.dataset import Dataset, Splits, hold_out
from thumbnet.data.folder import read_pictures
from thumbnet.data.load import load_data
from thumbnet.errors import TrainingError
from thumbnet.evaluation.judge import answer
from thumbnet.evaluation.scores import Answers, Scores, auroc, score
from thumbnet.files import write_atomically
from thumbnet.model.classifier import Classifier
from thumbnet.model.info import ModelInfo
from thumbnet.pictures.framing import Framing
from thumbnet.training import calibrate, history, networks
from thumbnet.training.distributed.join import join
from thumbnet.training.loop import fit
from thumbnet.training.precision import settle
from thumbnet.training.recipes import RECIPES, Precision, Recipe
from thumbnet.training.to_onnx import export, with_info

SIZE = 32  # pixels a side, unless told otherwise
FIT: Framing = "centre"  # what of a picture is taken, where the data leave that open
HELD_OUT = 1000  # pictures that calibration wants
SAMPLES = 1000  # pictures on which Keras and the model file are compared, at the least where there are as many


@dataclass(frozen=True)
class Trained:
    """What a training leaves behind."""

    path: Path  # the model file; the Keras model and the table of epochs are beside it
    classifier: Classifier  # the model file, loaded
    scores: Scores  # of that file, on the test images
    interrupted: bool  # by Ctrl-C; the model is the best until then
    written: bool  # by this process; of several that train together, only the first one writes


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
    """Train a network and write its model file; beside it, a `.keras` file for further training, and `results.csv`.

    Args:
        data: `cifar10`, `digits`, a folder of pictures, an `.npz` file, or splits that are already read.
        recipe: A name in `RECIPES`, or a recipe.
        epochs: In place of the recipe's.
        minutes: Time for the training instead of a number of epochs; its schedule is fitted to that.
        seed: Decides the split of the data, the first weights, the pictures' order and their augmentation.
        size: Pixels a side that the pictures are brought to, 18 or more (32). Splits that are already read keep theirs.
        output: The model file.
        resume: Go on with a training that was broken off, from the checkpoint beside `output`.
        refit: After the training that holds pictures out to choose the epoch and to calibrate, train again on all
            training images, and ship that network with the calibration of the first. Takes twice the time.
        mirror: Whether a picture's mirror image keeps its class. Say no for letters, digits or signs.
        precision: In place of the recipe's, which is what the processor computes fast.
        patience: Stop once so many epochs in a row were no better on the held-out pictures.
        logs: A folder for TensorBoard's logs, of another training before; with `resume`, they go on. Not of a refit.
        foreign: A folder of pictures that show none of the classes. They decide nothing; what share of them the model
            file rejects as unsure goes into its scores.

    Raises:
        DataError: The data cannot be found, read or used.
        TrainingError: Settings that do not fit, or nothing to resume.
        MissingExtraError: `logs` are wanted and TensorBoard is not installed.
        ExportError: The model file does not answer as the network does; nothing was written.
        KeyboardInterrupt: Ctrl-C before the first epoch's end. Later, the best network so far is shipped.
    """
    output = Path(output)
    if output.is_dir():
        raise TrainingError(f"{output} is a folder. Expected a file's name for the model, such as model.onnx")
    table = output.with_name(history.TABLE)
    recipe = _settle(recipe, epochs, precision)
    if patience is not None and patience < 1:
        raise TrainingError(f"expected a patience of 1 epoch or more, got {patience}")
    if recipe.epochs < 1 or (minutes is not None and not minutes > 0):
        raise TrainingError(f"expected 1 epoch or more, or minutes above 0, got {recipe.epochs} and {minutes}")
    team = join()  # before the data is read, so that a worker that is missing is soon known
    if team.chief:
        output.parent.mkdir(parents=True, exist_ok=True)
        history.refuse_foreign_table(table)
    logged = history.Logs(Path(logs), resume=resume) if logs is not None and team.chief else None
    splits = _read(data, size, seed)
    if not mirror:
        splits = Splits(*(dataclasses.replace(split, mirrored=False) for split in splits))
    strange = None  # (M, S, S, 3)
    if foreign is not None and team.chief:
        strange = read_pictures(Path(foreign), splits.train.images.shape[1], framing=splits.train.framing)
    rest, held_out = hold_out(splits.train, held_out_share(recipe, len(splits.train)), seed)
    mirror_average = recipe.mirror_average and splits.train.mirrored
    team.check(
        {
            "recipe": recipe.as_dict(), "precision": settle(recipe.precision), "seed": seed,
            "minutes": minutes, "resume": resume, "refit": refit, "patience": patience,
            "data": [rest.fingerprint(), held_out.fingerprint(), splits.train.mirrored],
        }
    )  # fmt: skip
    say = _say if team.chief else lambda _: None
    say(
        f"{len(rest):,} images to train on, {len(held_out):,} to choose and calibrate, {len(splits.test):,} to test; "
        f"{len(splits.train.names)} classes"
    )

    checkpoints = [output.with_name(f"{output.name}{suffix}") for suffix in (".checkpoint", ".refit.checkpoint")]
    if not resume and team.chief and any(path.exists() for path in checkpoints):
        say(f"Starting over. {checkpoints[0].name} is of a training that did not end: --resume would go on with it")
        checkpoints[1].unlink(missing_ok=True)  # or a later --resume would take it for one of this training
    fitted = fit(
        recipe, rest, held_out, seed=seed, minutes=minutes, checkpoint_path=checkpoints[0], resume=resume, table=table,
        logs=logged, patience=patience, team=team,
    )  # fmt: skip
    network = fitted.network
    log_probs = calibrate.log_probabilities(network, held_out, mirror=mirror_average)
    interrupted = fitted.interrupted
    info = ModelInfo(
        names=splits.train.names,
        size=splits.train.images.shape[1],
        framing=splits.train.framing,
        threshold=0,
        temperature=calibrate.temperature(log_probs, held_out.labels),
        mirror_average=mirror_average,
        data={
            "train": splits.train.fingerprint(), "train_images": len(splits.train),
            "test": splits.test.fingerprint(), "test_images": len(splits.test),
        },
        version=__version__,
    )  # fmt: skip
    content = export(network, info, samples(rest))
    threshold = calibrate.threshold(answer(Classifier(content), held_out))

    if refit and not interrupted:
        say(f"Again, on all {len(splits.train):,} training images")
        try:
            again = fit(
                recipe, splits.train, None, seed=seed, minutes=minutes,
                checkpoint_path=checkpoints[1], resume=resume and bool(team.chiefs(checkpoints[1].exists())), team=team,
            )  # fmt: skip
            interrupted = again.interrupted
        except KeyboardInterrupt:
            interrupted = True
        if not interrupted:  # half of a refit is worse than the whole of what came before it
            network = again.network
            content = export(network, info, samples(splits.train))

    told = {**recipe.as_dict(), "minutes": minutes, "seed": seed, "refit": refit and not interrupted}
    info = dataclasses.replace(info, recipe=told, threshold=threshold)
    classifier = Classifier(with_info(content, info))
    answers = answer(classifier, splits.test)
    scores = score(answers)
    kept = scores.as_dict() if strange is None else scores.as_dict() | _rejection(classifier, answers, strange)
    content = with_info(content, dataclasses.replace(info, scores=kept))
    if team.chief:
        _save_keras(network, output.with_suffix(".keras"))
        with write_atomically(output) as file:
            file.write(content)
        if not interrupted:
            for path in checkpoints:
                path.unlink(missing_ok=True)
    team.chiefs(0)  # where the others wait for the files, and fail if the chief does
    return Trained(output, Classifier(content), scores, interrupted, team.chief)


def held_out_share(recipe: Recipe, images: int) -> float:
    """The recipe's, or more (a tenth at most) of a small set: probabilities want some hundred pictures to be judged."""
    return max(recipe.validation, min(0.1, HELD_OUT / images))


def samples(dataset: Dataset) -> NDArray[np.uint8]:
    """Pictures for the export, from all over the set, were it sorted: `(N, S, S, 3)`."""
    return dataset.images[:: max(1, len(dataset) // SAMPLES)]


def _rejection(classifier: Classifier, answers: Answers, strange: NDArray[np.uint8]) -> dict[str, float]:
    """What a model file says to pictures of other things, `(M, S, S, 3)`, as `evaluation.Foreign` has it."""
    sureness = classifier.ask(strange).sureness  # (M,)
    return {
        "foreign_images": len(strange),
        "foreign_rejected": float((sureness < answers.info.threshold).mean()),
        "foreign_auroc": auroc(answers.sureness, sureness),
    }


def _settle(recipe: str | Recipe, epochs: int | None, precision: Precision | None) -> Recipe:
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise TrainingError(f"no recipe {recipe!r}. There is: {', '.join(RECIPES)}")
        recipe = RECIPES[recipe]
    epochs = recipe.epochs if epochs is None else epochs
    return dataclasses.replace(recipe, epochs=epochs, precision=precision or recipe.precision)


def _read(data: str | Splits, size: int | None, seed: int) -> Splits:
    """The data in a size that the networks have room for; it is asked before anything is read."""
    own = None if isinstance(data, str) else data.train.images.shape[1]
    if own and size not in (None, own):
        raise TrainingError(
            f"the splits have {own} pixels a side, asked for are {size}. Leave out size, or read them so"
        )
    side = (own or SIZE) if size is None else size
    if side < networks.LEAST:
        raise TrainingError(f"expected {networks.LEAST} pixels a side or more, as the networks need room, got {side}")
    return load_data(data, side, framing=FIT, seed=seed) if isinstance(data, str) else data


def _save_keras(network: keras.Model, path: Path) -> None:
    """Write a `.keras` file in one step; Keras itself writes only to a path with that ending."""
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        network.save(temporary)
        temporary.replace(path)


def _say(message: str) -> None:
    print(message, file=sys.stderr)
