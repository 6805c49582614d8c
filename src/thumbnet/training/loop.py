"""The training loop: set-up, loop, result. Read it from top to bottom."""

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from thumbnet.data.dataset import Dataset
from thumbnet.errors import TrainingError
from thumbnet.training import checkpoint, history, networks
from thumbnet.training.augment import augment, shrink
from thumbnet.training.checkpoint import State
from thumbnet.training.distributed.team import Team
from thumbnet.training.first_weights import hand_on, whiten
from thumbnet.training.optimizers import optimizer
from thumbnet.training.recipes import Recipe
from thumbnet.training.settings import Settings
from thumbnet.training.views import Views

STATISTICS = 2000  # images, at the least, that give batch normalizations their statistics
LEAST_SHRUNK = 24  # pixels a side; smaller pictures would leave the poolings no room when they are shrunk
AHEAD = 2  # batches that are prepared while the network trains on another
T = TypeVar("T")


@dataclass(frozen=True)
class Fitted:
    """The result of a training."""

    network: keras.Model  # as it ships, with the averaged weights of the epoch that was kept
    state: State
    interrupted: bool  # by Ctrl-C, after at least one epoch


def fit(
    recipe: Recipe,
    train: Dataset | Views,
    validation: Dataset | Views | None,
    settings: Settings,
    *,
    checkpoint_path: Path,
    resume: bool = False,
    write: history.Write = lambda _: None,
    team: Team | None = None,
    start: Callable[[keras.Model], None] | None = None,
) -> Fitted:
    """Train `recipe`'s network on `train`; keep the epoch that is good on `validation`.

    Args:
        recipe: How to train, and for how many epochs.
        train: The pictures to learn from.
        validation: The pictures that choose the epoch; without them it is the last one.
        settings: What else decides the training. A training limited by minutes depends on the machine's speed, so
            it cannot be repeated bit for bit.
        checkpoint_path: The file that takes the state after each epoch.
        resume: Continue from that file.
        write: Takes the history after each epoch.
        team: Those that train together, each of which calls this with the same arguments; only the chief writes.
        start: Gives the network its first weights, in place of random ones.

    Raises:
        TrainingError: Nothing fitting to resume, a loss that is no longer a number, or a worker that is gone.
        KeyboardInterrupt: Ctrl-C before the end of the first epoch; after it, the best so far is returned.
    """
    team = team or Team()
    seed, minutes, patience = settings.seed, settings.minutes, settings.patience
    size, classes = train.size, len(train.names)
    batch_size = batch_size_for(recipe, len(train))
    steps = len(train) // batch_size  # of an epoch; pictures that one epoch leaves out come in another
    # Adam's step does not grow with the batch, and its noise shrinks with the root of it (Malladi et al. 2022).
    peak = recipe.learning_rate * math.sqrt(batch_size / recipe.batch_size)
    targets = np.eye(classes, dtype=np.float32)[train.labels]  # (N, C)
    flips = recipe.flip and settings.mirror and train.mirrored
    mirrored_first = np.random.default_rng(seed).random(len(train)) < 0.5  # (N,)

    keras.utils.set_random_seed(seed)
    build = partial(_build, recipe.network, None if recipe.small else size, classes, settings.precision)
    with team.scope():
        model = _prepared(build(), recipe, train, settings.precision, start)
    judged = build()  # takes the averaged weights, alone in each process
    decided = {
        **settings.with_recipe(recipe), "size": size, "train": train.fingerprint(), "mirrored": train.mirrored,
        "validation": validation and validation.fingerprint(),
    }  # fmt: skip
    state = checkpoint.load(checkpoint_path, decided, model, team) if resume else State()
    if resume and team.chief:
        write(state.history)  # because a kill may have come between the checkpoint and this
    elapsed = team.clock(_stopwatch(state.seconds))
    step = team.step(model)
    interrupted = False

    def share() -> float:  # of the training that is done, 0 to 1
        return elapsed() / (minutes * 60) if minutes else state.step / (steps * recipe.epochs)

    total = minutes * 60 if minutes else steps * recipe.epochs
    with _progress(state, total, shown=team.chief) as bar, team.interruptible():
        try:
            while share() < 1 and not (patience and state.epoch - state.best_epoch >= patience):
                rng = np.random.default_rng((seed, state.epoch + 1))  # so no epoch's draws depend on those before
                mirrored = (mirrored_first ^ bool(state.epoch % 2)) & flips  # (N,)
                results: list[tuple[float, float]] = []  # loss and accuracy of each step
                small = size >= LEAST_SHRUNK and share() < recipe.small
                seen = size * 3 // 4 if small else size  # pixels a side; smaller pictures take about half the time
                for rows, images in _ahead(_batches(recipe, train, mirrored, batch_size, seen, rng)):
                    done = min(share(), 1)
                    if done == 1 and results:
                        break
                    model.optimizer.learning_rate = peak * triangle(done, recipe.warmup)
                    results.append(step(images, targets[rows]))
                    state.step += 1
                    bar.update(min(elapsed(), bar.total) - bar.n if minutes else 1)
                _end_epoch(state, model, judged, train, validation, results, team, elapsed)
                if team.chief:
                    checkpoint.save(checkpoint_path, decided, state, model)
                    bar.write(_row(state), file=sys.stderr)
                    write(state.history)
        except KeyboardInterrupt:
            if not state.kept:
                raise
            interrupted = True
    return Fitted(networks.as_shipped(recipe.network, size, classes, state.kept), state, interrupted)


def batch_size_for(recipe: Recipe, images: int) -> int:
    """The recipe's batch size, or a smaller one (16 at least) that gives an epoch of a small set 64 steps."""
    return min(recipe.batch_size, max(16, images // 64), images)


def triangle(share: float, warmup: float) -> float:
    """The learning rate's schedule: 0 to 1 over the first `warmup` of the training, and back to 0 over the rest."""
    return share / warmup if share < warmup else (1 - share) / (1 - warmup)


def standard_error(share: float, count: int) -> float:
    """The standard error of a share of right answers, 0 to 1, to `count` pictures."""
    return math.sqrt(share * (1 - share) / count)


def judge(model: keras.Model, dataset: Dataset | Views, loss: keras.losses.Loss) -> tuple[float, float]:
    """The mean loss, and the share of pictures whose most probable class is the right one, 0 to 1."""
    probabilities = answers(model, dataset)  # (N, C)
    targets = np.eye(len(dataset.names), dtype=np.float32)[dataset.labels]  # (N, C)
    right = probabilities.argmax(axis=1) == dataset.labels  # (N,)
    return float(loss(targets, probabilities)), float(right.mean())


def answers(model: keras.Model, dataset: Dataset | Views) -> NDArray[np.float32]:
    """What a network gives for each picture, `(N, …)`."""
    at_once = networks.at_once(dataset.size)
    if isinstance(dataset, Dataset):
        return np.asarray(model.predict(dataset.images, batch_size=at_once, verbose=0))
    batches = (dataset.plain(slice(first, first + at_once)) for first in range(0, len(dataset), at_once))
    return np.concatenate([keras.ops.convert_to_numpy(model.predict_on_batch(batch)) for batch in batches])


def renew_statistics(model: keras.Model, images: NDArray[np.uint8]) -> None:
    """Give batch normalizations the means and variances of the model's weights, from some of the images.

    Those collected in training belong to the raw weights and do not fit the averaged ones (Izmailov et al. 2018).
    """
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    usual = [norm.momentum for norm in norms]
    some = images[:: max(1, len(images) // STATISTICS)]  # (n, S, S, 3)
    for index, batch in enumerate(np.array_split(some, math.ceil(len(some) / 256)) if norms else []):
        for norm in norms:
            norm.momentum = index / (index + 1)  # so that every batch counts alike in the end
        model(batch, training=True)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum


def _build(name: str, size: int | None, classes: int, precision: str) -> keras.Model:
    network = networks.TRAINED[name](size, classes, precision)
    if keras.backend.backend() != "tensorflow":  # JAX compiles a step as a whole
        return network
    from thumbnet.training import fast_layers

    return fast_layers.quicker(network)


def _prepared(
    model: keras.Model,
    recipe: Recipe,
    train: Dataset | Views,
    precision: str,
    start: Callable[[keras.Model], None] | None,
) -> keras.Model:
    """The network with its first weights, ready to train or to be filled from a checkpoint."""
    if recipe.whiten and isinstance(train, Dataset):
        whiten(model, train.images)
    if recipe.hand_on:
        hand_on(model)
    if start:
        start(model)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    model.compile(optimizer=optimizer(recipe, precision), loss=loss, metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)  # makes the variables that a checkpoint fills
    return model


def _batches(
    recipe: Recipe,
    train: Dataset | Views,
    mirrored: NDArray[np.bool_],
    batch_size: int,
    size: int,
    rng: np.random.Generator,
) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
    """An epoch of augmented pictures and their rows in the data: `(B,)`, `(B, size, size, 3)`; of views, `(B, L)`."""
    order = rng.permutation(len(train))
    for start in range(0, len(train) - batch_size + 1, batch_size):
        rows = order[start : start + batch_size]
        if isinstance(train, Views):
            yield rows, train.drawn(rows, rng)
            continue
        changed = augment(recipe, train.images[rows], mirrored[rows], rng)  # (B, S, S, 3)
        yield rows, changed if size == train.size else shrink(changed, size)


def _ahead(values: Iterator[T]) -> Iterator[T]:
    """The same values; another thread makes the next ones, one after the other, while one is used."""
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, values, None) for _ in range(AHEAD))
        while (value := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(next, values, None))
            yield value


def _end_epoch(
    state: State,
    model: keras.Model,
    judged: keras.Model,
    train: Dataset | Views,
    validation: Dataset | Views | None,
    results: list[tuple[float, float]],
    team: Team,
    elapsed: Callable[[], float],
) -> None:
    """Judge the averaged weights, in a network of their own, and keep them unless earlier ones were better.

    A few more right answers to few held-out images may be chance, and later epochs, with lower learning rates, are
    mostly better. So an earlier epoch has to be better by more than the `standard_error`.
    """
    loss, training = np.mean(results, axis=0).tolist()
    if not math.isfinite(loss):
        raise TrainingError(f"the loss is {loss} in epoch {state.epoch + 1}. Try a lower learning rate")
    row = {
        "loss": loss,
        "training": training,
        "learning_rate": float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)),
    }
    raw = model.get_weights()
    model.optimizer.finalize_variable_values(model.trainable_variables)
    judged.set_weights(model.get_weights())
    model.set_weights(raw)
    if isinstance(train, Dataset):
        renew_statistics(judged, train.images)
    state.epoch += 1
    if validation is not None:
        row["validation_loss"], right = judge(judged, validation, model.loss)
        row["validation"] = team.chiefs(right)
    state.seconds = elapsed()
    state.history.append({"epoch": state.epoch, **row, "seconds": state.seconds})
    best = max(state.scores)
    chance = standard_error(best, len(validation)) if validation is not None else 0.0
    if state.scores[-1] >= best - chance:
        state.kept, state.kept_epoch = judged.get_weights(), state.epoch


def _stopwatch(before: float) -> Callable[[], float]:
    """Seconds so far, including those of earlier runs of the same training."""
    start = time.monotonic()
    return lambda: before + time.monotonic() - start


def _progress(state: State, total: float, *, shown: bool) -> Any:
    """A bar with the time left, on a terminal, below a table with a line an epoch."""
    if shown:
        print("epoch   loss  training  validation  seconds", file=sys.stderr)
    form = "{percentage:3.0f}% {bar} {elapsed} gone, {remaining} left"
    initial = state.seconds if isinstance(total, float) else state.step
    return tqdm(
        total=total, initial=initial, bar_format=form, file=sys.stderr, disable=None if shown else True, leave=False
    )


def _row(state: State) -> str:
    row = state.history[-1]
    validation = f"{row['validation']:10.2%}" if "validation" in row else f"{'–':>10}"
    kept = " *" if state.kept_epoch == state.epoch and "validation" in row else ""
    return f"{state.epoch:5}  {row['loss']:5.3f}  {row['training']:8.2%}  {validation}  {row['seconds']:7.0f}{kept}"
