"""The recipe `tune`: pictures → probe → rest of the backbone trained → whichever is better → model file.

The probe is what the recipe `transfer` makes (linear probing, then fine-tuning: Kumar et al. 2022). Pictures that were
held out decide between it and the tuned network. If that one is better, they calibrate it, and it is trained again on
all pictures.
"""

import contextlib
import dataclasses
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from thumbnet.errors import DataError, DataWarning
from thumbnet.evaluation.judge import list_foreign
from thumbnet.evaluation.trained import Trained, locked
from thumbnet.files import write_atomically
from thumbnet.model.classifier import Classifier
from thumbnet.pictures.decode import RGB
from thumbnet.training import calibrate, checkpoint, history
from thumbnet.training.distributed.join import join
from thumbnet.training.distributed.team import Team
from thumbnet.training.loop import answers, fit
from thumbnet.training.places import Places
from thumbnet.training.precision import Precision, settle
from thumbnet.training.recipes import TUNE, Recipe
from thumbnet.training.settings import Settings
from thumbnet.training.views import Views, look, views_folder
from thumbnet.transfer import familiarity, folds, halves
from thumbnet.transfer.backbone import DEFAULT, Backbone, open_backbone
from thumbnet.transfer.data import Listed, Seen, list_pictures, pictures_in, samples, see
from thumbnet.transfer.familiarity import Familiarity
from thumbnet.transfer.features import Picture, extract, frame
from thumbnet.transfer.head import Head
from thumbnet.transfer.learn import Learned, learn
from thumbnet.transfer.make import Part, put_together, with_foreign
from thumbnet.transfer.pipeline import FEW

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # weights of the network's own head, of which held-out pictures choose one


def train(
    data: str,
    *,
    epochs: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    size: int | None = None,
    output: str | Path = "model.onnx",
    resume: bool = False,
    mirror: bool = True,
    precision: Precision | None = None,
    patience: int | None = None,
    logs: str | Path | None = None,
    foreign: str | Path | None = None,
    backbone: str | Path = DEFAULT,
    other: str | Path | None = None,
) -> Trained:
    """Tune a backbone for some pictures, and write the model file; beside it a table of epochs.

    Data without a test split are split. The arguments are those of `thumbnet.train`.

    Raises:
        DataError: The data cannot be found, read or used, or the cache folder cannot be written to or is full.
        TrainingError: An option out of its range, a name that is taken or not allowed, a backbone that cannot be tuned,
            or nothing to resume.
        MissingExtraError: The backbone's package is not installed.
        ModelError: There is no such backbone, or it does not do what it declares.
        ThumbnetError: An output cannot be written, or another training writes to it.
        ExportError: The model file does not answer as what it was made of; nothing was written.
        KeyboardInterrupt: Ctrl-C before the first epoch's end, or while a trained network is judged; `resume` goes on
            from there. In the first training, its best epoch is judged; in the second, the first one's network ships.
    """
    recipe = TUNE if epochs is None else dataclasses.replace(TUNE, epochs=epochs)
    settings = Settings(
        seed=seed,
        minutes=None if minutes is None else minutes / 2,  # of each of the two trainings
        patience=patience,
        refit=True,
        mirror=mirror,
        precision=settle(precision or "float32"),  # in bfloat16 it takes longer (docs/experiments.md)
    )
    network = open_backbone(backbone, size)
    halves.Front(network)  # refuses another network before the work
    views_folder()  # likewise a cache folder that cannot be written to
    team = join()
    places = Places(Path(output))
    write: history.Write = _nowhere
    if team.chief:
        places.check(network=False)
        write = history.writer(places.table, None if logs is None else Path(logs), resume=resume)
        if foreign is not None:
            list_foreign(foreign)
    if resume and not team.chiefs(places.checkpoints[0].exists()):
        raise checkpoint.absent(places.checkpoints[0])  # before the views, which take long
    others = [] if other is None else pictures_in(other)
    job = _Job(recipe, settings, places, team, resume, network, list_pictures(data, network), others)
    with locked(places.model) if team.chief else contextlib.nullcontext():
        return _train(job, write, foreign)


def _nowhere(_: list[dict[str, float]]) -> None:
    """Only the chief of several processes writes the table."""


@dataclass(frozen=True, eq=False)
class _Job:
    """What the steps of a training share."""

    recipe: Recipe
    settings: Settings
    places: Places
    team: Team
    resume: bool
    backbone: Backbone  # as it was before
    listed: Listed
    others: list[Picture]

    def see(self, backbone: Backbone) -> Seen:
        """The features of all pictures by this backbone. Data without a test split are split."""
        return see(self.listed, self.others, backbone, split_by=self.settings.seed)

    def learn(self, part: Part, others: NDArray[np.float32] | None) -> Learned:
        """A head on features, as the recipe `transfer` has it."""
        return learn(
            part.features, part.labels, len(self.listed.names),
            parts=self.backbone.parts, seed=self.settings.seed, others=others,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Kept:
    """What ships: a backbone with a head, the probe or the tuned network."""

    backbone: Backbone
    seen: Seen
    head: Head


@dataclass(frozen=True)
class _Judged:
    """How good some answers to held-out pictures are."""

    loss: float  # cross-entropy in nats
    accuracy: float  # 0 to 1


@dataclass(frozen=True)
class _Measured(_Judged):
    """A tuned network, judged and calibrated by held-out pictures."""

    share: float  # of the network's own head, 0 to 1
    temperature: float
    familiarity: Familiarity
    threshold: float


def _train(job: _Job, write: history.Write, foreign: str | Path | None) -> Trained:
    """All steps in their order, once nothing is known to be in the way."""
    seen = job.see(job.backbone)
    rest, held_out = _held_out(seen.train, job.settings.seed)
    counts = np.bincount(seen.train.labels)
    if np.median(counts[counts > 0]) < FEW:
        job.team.say(f"note: with fewer than {FEW} pictures a class, tuning gains little over the recipe transfer")
    views = _views(job, seen)
    job.team.check(
        {**job.settings.with_recipe(job.recipe), "resume": job.resume, "data": views.take(rest).fingerprint()}
    )
    if job.team.chief and not job.resume:
        job.places.start_over(job.team.say)
    probe = job.learn(_rows(seen.train, rest), None).head
    fitted = fit(
        job.recipe, views.take(rest), views.take(held_out), job.settings,
        checkpoint_path=job.places.checkpoints[0], resume=job.resume, write=write, team=job.team,
        start=partial(_start, job.backbone, probe),
    )  # fmt: skip
    before = _judged(probe.log_probabilities(seen.train.features[held_out]), seen.train.labels[held_out])
    after = _measured(job, fitted.network, views, rest, held_out)
    better = after.loss < before.loss
    job.team.say(
        f"{len(held_out):,} held-out pictures: the probe answers {before.accuracy:.1%} rightly with a loss of "
        f"{before.loss:.3f}, the tuned network {after.accuracy:.1%} with {after.loss:.3f}. "
        f"The {'tuned network' if better else 'probe'} ships"
    )
    network, interrupted = fitted.network, fitted.interrupted
    if better and not interrupted:
        again = _again(job, views, probe)
        interrupted = again is None
        network = again or network
    kept = _tuned(job, network) if better else _Kept(job.backbone, seen, probe)
    learned = job.learn(kept.seen.train, kept.seen.others)
    made = put_together(
        kept.backbone, job.listed.names, _calibrated(learned, kept.head, after) if better else learned,
        kept.seen.train, kept.seen.test, samples(job.listed, kept.seen, kept.backbone),
        recipe={
            **dataclasses.replace(job.settings, refit=not interrupted).with_recipe(job.recipe),
            "kept": "tuned" if better else "probe", "head_share": after.share, "held_out_images": len(held_out),
            "held_out_probe": before.accuracy, "held_out_tuned": after.accuracy,
        },
        data={"source": job.listed.source, "seed": job.settings.seed, **kept.seen.described},
        history=[{key: row[key] for key in row if key != "seconds"} for row in fitted.state.history],
    )  # fmt: skip
    if foreign is not None:
        made = with_foreign(made, foreign)
    if job.team.chief:
        with write_atomically(job.places.model) as file:
            file.write(made.content)
        if not interrupted:
            job.places.forget()
    job.team.chiefs(0)  # where the others wait for the file
    return Trained(job.places.model, Classifier(made.content), made.scores, interrupted, job.team.chief)


def _held_out(train: Part, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows to learn from, and a fifth to choose and calibrate by. Pictures that look alike are on one side.

    Raises:
        DataError: Too few pictures are left to hold any out.
    """
    held_out = folds.assign(train.features, train.labels, seed) == 0  # (N,)
    lost = np.setdiff1d(train.labels, train.labels[~held_out])
    held_out &= ~np.isin(train.labels, lost)  # a class needs pictures to learn from first
    if not held_out.any():
        raise DataError("expected two pictures a class or more that do not look alike, to hold one out. Add some")
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _rows(part: Part, rows: NDArray[np.int64]) -> Part:
    return Part(part.features[rows], part.labels[rows])


def _views(job: _Job, seen: Seen) -> Views:
    """Views of all training pictures, those held out too: the second training learns from them."""
    squares = [partial(_square, job.listed.pictures[row], job.backbone) for row in seen.rows[0]]
    return look(
        job.recipe, squares, seen.train.labels, job.listed.names, halves.Front(job.backbone),
        mirror=job.settings.mirror and job.listed.mirrored, seed=job.settings.seed,
        mark=f"{seen.described['train']} {job.backbone.sha256}",
    )  # fmt: skip


def _square(picture: Picture, backbone: Backbone) -> RGB:
    return frame(picture(), backbone)


def _start(backbone: Backbone, probe: Head, network: keras.Model) -> None:
    """Give the network the backbone's weights, and the probe as its head."""
    constants = halves.rest(backbone)
    for layer in _convolutions(network):
        name = layer.name.replace("_", "/")
        axes = (2, 3, 0, 1) if isinstance(layer, keras.layers.DepthwiseConv2D) else (2, 3, 1, 0)
        layer.set_weights([constants[f"{name}/weight"].transpose(axes), constants[f"{name}/bias"]])
    network.get_layer("probabilities").set_weights([probe.weights, probe.bias])


def _tuned(job: _Job, network: keras.Model) -> _Kept:
    """All pictures, seen by a trained network."""
    backbone = _put_back(job.backbone, network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # of the pictures, given before
        return _Kept(backbone, job.see(backbone), _head(network))


def _put_back(backbone: Backbone, network: keras.Model) -> Backbone:
    """The backbone with what was trained of it."""
    constants: dict[str, NDArray[np.float32]] = {}
    for layer in _convolutions(network):
        if not isinstance(layer, keras.layers.DepthwiseConv2D):  # those were not trained
            kernel, bias = layer.get_weights()
            name = layer.name.replace("_", "/")
            constants |= {f"{name}/weight": kernel.transpose(3, 2, 0, 1), f"{name}/bias": bias}
    return halves.joined(backbone, constants)


def _head(network: keras.Model) -> Head:
    return Head(*network.get_layer("probabilities").get_weights())


def _convolutions(network: keras.Model) -> list[keras.Layer]:
    return [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)]


def _measured(
    job: _Job, network: keras.Model, views: Views, rest: NDArray[np.int64], held_out: NDArray[np.int64]
) -> _Measured:
    """Judge and calibrate a network that has not seen the held-out pictures.

    Its features of pictures that it has seen are too good to calibrate by.
    """
    head = _head(network)
    train = Part(answers(keras.Model(network.input, network.get_layer("features").output), views), views.labels)
    others = None
    if job.others:
        found = extract(job.others, _put_back(job.backbone, network))
        others = found.values[found.readable]
    learned = job.learn(_rows(train, rest), others)
    features, labels = train.features[held_out], train.labels[held_out]
    known = learned.familiarity.measured_by(features)

    def calibrated(share: float) -> tuple[_Judged, float, float, NDArray[np.float64]]:
        logs = _both(learned.head, head, share, 1.0).log_probabilities(features)  # (n, C)
        temperature = calibrate.temperature(logs, labels)
        logs = log_softmax(logs / temperature, axis=1)
        return _judged(logs, labels), share, temperature, logs

    judged, share, temperature, logs = min(map(calibrated, SHARES), key=lambda each: each[0].loss)
    threshold = familiarity.threshold(known.sureness(features, np.exp(logs)), logs.argmax(axis=1) == labels)
    return _Measured(judged.loss, judged.accuracy, share, temperature, known, threshold)


def _judged(logs: NDArray[np.float64], labels: NDArray[np.int64]) -> _Judged:
    return _Judged(float(-logs[np.arange(len(labels)), labels].mean()), float((logs.argmax(axis=1) == labels).mean()))


def _both(analysis: Head, trained: Head, share: float, temperature: float) -> Head:
    """The mean of two heads' logits: of the analysis of the tuned features, and of what was trained with them.

    Each is better on some sets (docs/experiments.md).

    Args:
        analysis: What the recipe `transfer` learns from features.
        trained: The network's own.
        share: Its weight, 0 to 1.
        temperature: Divides the logits.
    """
    weights = (1 - share) * analysis.weights + share * trained.weights
    bias = (1 - share) * analysis.bias + share * trained.bias
    return Head((weights / temperature).astype(np.float32), (bias / temperature).astype(np.float32))


def _again(job: _Job, views: Views, probe: Head) -> keras.Model | None:
    """The network, trained on all training pictures; nothing if Ctrl-C ended that."""
    job.team.say(f"Again, on all {len(views):,} training pictures")
    path = job.places.checkpoints[1]
    resume = job.resume and bool(job.team.chiefs(path.exists()))
    try:
        fitted = fit(
            job.recipe, views, None, job.settings,
            checkpoint_path=path, resume=resume, team=job.team, start=partial(_start, job.backbone, probe),
        )  # fmt: skip
    except KeyboardInterrupt:
        return None
    return None if fitted.interrupted else fitted.network


def _calibrated(learned: Learned, trained: Head, measured: _Measured) -> Learned:
    """What was learnt from all pictures, with the calibration of what had not seen the held-out ones."""
    known = measured.familiarity
    return dataclasses.replace(
        learned,
        head=_both(learned.head, trained, measured.share, measured.temperature),
        familiarity=dataclasses.replace(learned.familiarity, usual=known.usual, power=known.power),
        threshold=measured.threshold,
        temperature=learned.temperature * measured.temperature,
        unknown_class=None,
    )
