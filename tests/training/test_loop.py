"""The training loop: it learns, ends in time, and goes on after a break as if there had been none."""

import csv
import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")

import keras
from support.tensorboard import logged
from support.trainings import RECIPE, SMALL, TRAIN, VALIDATION, stripes

from thumbnet.data.dataset import Dataset
from thumbnet.errors import TrainingError
from thumbnet.training import augment
from thumbnet.training.history import Logs
from thumbnet.training.loop import Fitted, batch_size_for, fit, judge, renew_statistics, triangle
from thumbnet.training.precision import fastest
from thumbnet.training.recipes import BEST, RECIPES, SEED, Recipe


def run(path: Path, recipe: Recipe = RECIPE, validation: Dataset | None = VALIDATION, **options: Any) -> Fitted:
    return fit(recipe, TRAIN, validation, **{"seed": 0, "checkpoint_path": path / "checkpoint", **options})


def same(first: Fitted, second: Fitted) -> bool:
    pairs = zip(first.network.get_weights(), second.network.get_weights(), strict=True)
    return all(np.array_equal(one, other) for one, other in pairs)


def test_it_learns_and_keeps_a_good_epoch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fitted = run(tmp_path, dataclasses.replace(RECIPE, epochs=8))
    scores = [row["validation"] for row in fitted.state.history]
    assert max(scores) > 0.9
    assert [layer.name for layer in fitted.network.layers if "norm" in layer.name] == []
    smoothed = keras.losses.CategoricalCrossentropy(label_smoothing=RECIPE.label_smoothing)
    loss, accuracy = judge(fitted.network, VALIDATION, smoothed)
    kept = fitted.state.history[fitted.state.kept_epoch - 1]
    assert accuracy == pytest.approx(kept["validation"], abs=0.03)  # float32 beside bfloat16
    assert loss == pytest.approx(kept["validation_loss"], abs=0.03)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len([line for line in printed.err.splitlines() if line.split()[:1] == ["8"]]) == 1


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = run(tmp_path), run(tmp_path), run(tmp_path, seed=1)
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize(("size", "seen"), [(32, [24, 24, 32]), (23, [23, 23, 23])])
def test_small_pictures_come_first_where_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, seen: list[int]
) -> None:
    original, shapes = keras.Model.train_on_batch, []

    def step(self: keras.Model, images: Any, targets: Any) -> Any:
        shapes.append(images.shape)
        return original(self, images, targets)

    monkeypatch.setattr(keras.Model, "train_on_batch", step)
    recipe = dataclasses.replace(BEST, **SMALL, small=0.6)
    fit(recipe, stripes(32, 0, size), None, seed=0, checkpoint_path=tmp_path / "checkpoint")
    assert shapes == [(16, side, side, 3) for side in seen for _ in range(2)]


def test_patience_ends_a_training_that_gets_no_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.5, 0.6, 0.55, 0.55, 0.9])
    monkeypatch.setattr("thumbnet.training.loop.judge", lambda *_: (1.0, next(scores)))
    recipe = dataclasses.replace(RECIPE, epochs=5)
    fitted = run(tmp_path, recipe, patience=2)
    assert (fitted.state.epoch, fitted.state.best_epoch, fitted.interrupted) == (4, 2, False)
    assert run(tmp_path, recipe, patience=2, resume=True).state.epoch == 4  # to resume is no new chance
    assert run(tmp_path, recipe, patience=3, resume=True).state.epoch == 5


@pytest.mark.parametrize(("last", "kept"), [(0.6, 3), (0.5, 3), (0.4, 2)])
def test_an_earlier_epoch_is_kept_if_it_was_better_by_more_than_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: float, kept: int
) -> None:
    scores = iter([0.3, 0.6, last])
    judged: list[list[np.ndarray]] = []

    def judge(model: keras.Model, *_: Any) -> tuple[float, float]:
        judged.append(model.get_weights())
        return 1.0, next(scores)

    monkeypatch.setattr("thumbnet.training.loop.judge", judge)
    some = VALIDATION.take(np.arange(20))  # 0.6 of them are off by 0.11
    fitted = run(tmp_path, dataclasses.replace(RECIPE, epochs=3), validation=some)
    assert fitted.state.kept_epoch == kept
    for expected, found in zip(judged[kept - 1], fitted.state.kept, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_without_validation_the_last_epoch_counts(tmp_path: Path) -> None:
    assert run(tmp_path, validation=None).state.kept_epoch == RECIPE.epochs


class _KilledError(Exception):
    pass


def raise_at(last: int, error: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise in place of this step."""
    steps = itertools.count()
    original = keras.Model.train_on_batch

    def step(self: keras.Model, *batch: Any) -> Any:
        if next(steps) == last:
            raise error
        return original(self, *batch)

    monkeypatch.setattr(keras.Model, "train_on_batch", step)


@pytest.mark.parametrize("name", RECIPES)
def test_resumed_is_as_if_never_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    recipe = dataclasses.replace(RECIPES[name], **SMALL)
    whole = run(tmp_path, recipe)
    with monkeypatch.context() as patch:
        raise_at(8, _KilledError, patch)  # in the second epoch
        with pytest.raises(_KilledError):
            run(tmp_path / "broken", recipe)
    resumed = run(tmp_path / "broken", recipe, resume=True)
    assert same(whole, resumed)
    shown = [{key: row[key] for key in row if key != "seconds"} for row in whole.state.history]
    assert [{key: row[key] for key in row if key != "seconds"} for row in resumed.state.history] == shown
    assert resumed.state.seconds > 0


def test_the_table_of_epochs_is_there_after_each_and_right_after_a_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "results.csv"
    with monkeypatch.context() as patch:
        raise_at(8, _KilledError, patch)  # in the second epoch
        with pytest.raises(_KilledError):
            run(tmp_path, table=table)
    lines = table.read_text().splitlines()
    assert lines[0] == "epoch,loss,training,validation,seconds"
    assert len(lines) == 2
    table.unlink()  # as if the kill had come right after the checkpoint
    raise_at(0, _KilledError, monkeypatch)
    with pytest.raises(_KilledError):
        run(tmp_path, table=table, resume=True)
    assert table.read_text().splitlines() == lines


def test_logs_have_each_epoch_once_whatever_broke_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed: pip install -e '.[logs]'")
    logs = tmp_path / "logs"
    with monkeypatch.context() as patch:
        raise_at(8, _KilledError, patch)  # in the second epoch
        with pytest.raises(_KilledError):
            run(tmp_path, logs=Logs(logs, resume=False))
    fitted = run(tmp_path, logs=Logs(logs, resume=True), resume=True)
    history = fitted.state.history
    read = logged(logs)
    for split, column in (("train", "loss"), ("validation", "validation_loss")):
        steps, losses = zip(*read[split, "epoch_loss"], strict=True)
        assert steps == tuple(row["epoch"] - 1 for row in history)
        assert losses == pytest.approx([row[column] for row in history])
    rates = [rate for _, rate in read["train", "epoch_learning_rate"]]
    assert rates == sorted(rates, reverse=True)  # it peaks in the first epoch


def test_the_table_says_nothing_where_nothing_is_held_out(tmp_path: Path) -> None:
    run(tmp_path, validation=None, table=tmp_path / "results.csv")
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert [row["validation"] for row in rows] == ["", "", ""]


def test_resuming_a_finished_training_trains_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(tmp_path)

    def trains(*_: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(keras.Model, "train_on_batch", trains)
    assert same(whole, run(tmp_path, resume=True))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 3}, "seed"),
        ({"recipe": dataclasses.replace(RECIPE, epochs=9)}, "recipe"),
        ({"minutes": 1.0}, "minutes"),
        ({"validation": None}, "validation"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    run(tmp_path)
    with pytest.raises(TrainingError, match=rf"other settings \({named}\)"):
        run(tmp_path, resume=True, **change)


def test_ctrl_c_keeps_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_epochs = run(tmp_path / "two", dataclasses.replace(RECIPE, epochs=3))
    raise_at(14, KeyboardInterrupt, monkeypatch)  # in the third epoch
    fitted = run(tmp_path)
    assert fitted.interrupted
    assert fitted.state.epoch == 2
    assert fitted.state.scores == two_epochs.state.scores[:2]


def test_ctrl_c_in_the_first_epoch_leaves_nothing_to_keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.Model, "train_on_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)


def test_a_budget_ends_the_training_with_its_schedule_run_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0, 0.5)  # half a second passes at each look
    monkeypatch.setattr("thumbnet.training.loop.time.monotonic", lambda: float(next(clock)))
    rates = []
    original = keras.Model.train_on_batch

    def noting(self: keras.Model, *batch: Any) -> Any:
        rates.append(float(self.optimizer.learning_rate))
        return original(self, *batch)

    monkeypatch.setattr(keras.Model, "train_on_batch", noting)
    fitted = run(tmp_path, minutes=0.5)
    assert fitted.state.seconds == pytest.approx(30, abs=2)
    assert max(rates) == pytest.approx(RECIPE.learning_rate, rel=0.1)
    assert rates[-1] < 0.1 * RECIPE.learning_rate


def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the loss is nan in epoch 1\. Try a lower learning rate"):
        run(tmp_path, dataclasses.replace(RECIPE, learning_rate=1e30))


@pytest.fixture
def flips(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """All that is given to `augment.flip`, which goes on flipping."""
    seen: list[tuple[Any, Any]] = []
    original = augment.flip

    def noting(images: Any, chosen: Any) -> Any:
        seen.append((images, chosen))
        return original(images, chosen)

    monkeypatch.setattr(augment, "flip", noting)
    return seen


def test_pictures_that_must_not_be_mirrored_are_not(tmp_path: Path, flips: list[tuple[Any, Any]]) -> None:
    for mirrored in (False, True):
        train = dataclasses.replace(TRAIN, mirrored=mirrored)
        fit(RECIPE, train, None, seed=0, checkpoint_path=tmp_path / "checkpoint")
        assert any(chosen.any() for _, chosen in flips) is mirrored


def test_every_picture_is_seen_from_both_sides_in_two_epochs(tmp_path: Path, flips: list[tuple[Any, Any]]) -> None:
    run(tmp_path, dataclasses.replace(RECIPE, epochs=2, shift=0), None)
    sides: dict[bytes, set[bool]] = {}
    for images, chosen in flips:
        for image, side in zip(images, chosen, strict=True):
            sides.setdefault(image.tobytes(), set()).add(bool(side))
    assert len(sides) == len(TRAIN)
    assert all(len(each) == 2 for each in sides.values())


def test_statistics_are_those_of_the_images() -> None:
    images = np.random.default_rng(0).integers(0, 200, (700, 4, 4, 3), dtype=np.uint8)
    norm = keras.layers.BatchNormalization(momentum=0.9)
    model = keras.Sequential([keras.Input((4, 4, 3), dtype="uint8"), keras.layers.Rescaling(0.1), norm])
    renew_statistics(model, images)
    pixels = images.reshape(-1, 3) * 0.1
    np.testing.assert_allclose(np.asarray(norm.moving_mean), pixels.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(np.asarray(norm.moving_variance), pixels.var(axis=0), rtol=0.01)
    assert norm.momentum == 0.9


def test_averaged_weights_come_with_statistics_of_their_own(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPES["best"], **SMALL)
    model = run(tmp_path, recipe, None).network
    given = [np.asarray(weight) for weight in model.non_trainable_variables]
    renew_statistics(model, TRAIN.images)
    for before, after in zip(given, model.non_trainable_variables, strict=True):
        np.testing.assert_allclose(before, np.asarray(after), rtol=0.1, atol=0.05)  # float32 beside bfloat16


@pytest.mark.parametrize(("images", "size"), [(50_000, 256), (1293, 20), (100, 16), (5, 5)])
def test_a_small_set_gets_small_batches(images: int, size: int) -> None:
    assert batch_size_for(SEED, images) == size


def test_the_learning_rate_rises_and_falls_to_zero() -> None:
    assert [triangle(share, 0.2) for share in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0, 0.5, 1, 0.5, 0])


@pytest.mark.parametrize(
    ("flags", "precision"), [("fpu avx512_bf16", "mixed_bfloat16"), ("amx_bf16", "mixed_bfloat16"), ("avx2", "float32")]
)
def test_bfloat16_is_used_where_the_processor_has_it(tmp_path: Path, flags: str, precision: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags}\n")
    assert fastest(tmp_path / "cpuinfo") == precision


def test_a_machine_that_does_not_tell_gets_float32(tmp_path: Path) -> None:
    assert fastest(tmp_path / "none") == "float32"
