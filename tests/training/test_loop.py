"""The training loop: it learns, ends in time, and goes on after a break as if there had been none."""

import csv
import dataclasses
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")

import keras
from support.tensorboard import logged
from support.trainings import RECIPE, SMALL, TINY, TRAIN, VALIDATION, Steps, of_tiny, stand_in, stripes

from thumbnet.data.dataset import Dataset
from thumbnet.errors import TrainingError
from thumbnet.training import augment
from thumbnet.training.history import Logs, write_table
from thumbnet.training.loop import Fitted, batch_size_for, fit, judge, renew_statistics, triangle
from thumbnet.training.precision import fastest
from thumbnet.training.recipes import BEST, RECIPES, SEED, Recipe
from thumbnet.training.settings import MOST_SEED, Settings


@pytest.fixture
def _made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch)


PLAIN = Settings(precision="float32")
LARGER = dataclasses.replace(TRAIN, images=np.pad(TRAIN.images, ((0, 0), (2, 2), (2, 2), (0, 0))))
made_up = pytest.mark.usefixtures("_made_up")


def run(
    path: Path,
    recipe: Recipe = TINY,
    validation: Dataset | None = VALIDATION,
    settings: Settings = PLAIN,
    *,
    train: Dataset = TRAIN,
    **options: Any,
) -> Fitted:
    """A training of the stand-in, unless `recipe` is of another network."""
    options = {"team": Steps() if recipe.network == "tiny" else None, **options}
    return fit(recipe, train, validation, settings, checkpoint_path=path / "checkpoint", **options)


def same(first: Fitted, second: Fitted) -> bool:
    pairs = zip(first.network.get_weights(), second.network.get_weights(), strict=True)
    return all(np.array_equal(one, other) for one, other in pairs)


def test_it_learns_and_keeps_a_good_epoch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fitted = run(tmp_path, dataclasses.replace(RECIPE, epochs=8), settings=Settings())
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


@made_up
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = (run(tmp_path, settings=Settings(seed, precision="float32")) for seed in (0, 0, MOST_SEED))
    assert same(first, again)
    assert not same(first, other)


@made_up
@pytest.mark.parametrize(("size", "seen"), [(32, [24, 24, 32]), (23, [23, 23, 23])])
def test_small_pictures_come_first_where_there_is_room(tmp_path: Path, size: int, seen: list[int]) -> None:
    steps = Steps()
    recipe = dataclasses.replace(of_tiny(BEST), small=0.6)
    run(tmp_path, recipe, None, train=stripes(32, 0, size), team=steps)
    assert steps.shapes == [(16, side, side, 3) for side in seen for _ in range(2)]


@made_up
def test_patience_ends_a_training_that_gets_no_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.5, 0.6, 0.55, 0.55, 0.9])
    monkeypatch.setattr("thumbnet.training.loop.judge", lambda *_: (1.0, next(scores)))
    recipe = dataclasses.replace(TINY, epochs=5)
    two, three = Settings(patience=2), Settings(patience=3)
    fitted = run(tmp_path, recipe, settings=two)
    assert (fitted.state.epoch, fitted.state.best_epoch, fitted.interrupted) == (4, 2, False)
    assert run(tmp_path, recipe, settings=two, resume=True).state.epoch == 4  # to resume is no new chance
    assert run(tmp_path, recipe, settings=three, resume=True).state.epoch == 5


@made_up
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
    fitted = run(tmp_path, validation=some)
    assert fitted.state.kept_epoch == kept
    assert not np.array_equal(judged[1][0], judged[2][0])
    for expected, found in zip(judged[kept - 1], fitted.state.kept, strict=True):
        np.testing.assert_array_equal(found, expected)


@made_up
def test_without_validation_the_last_epoch_counts(tmp_path: Path) -> None:
    assert run(tmp_path, validation=None).state.kept_epoch == TINY.epochs


class _KilledError(Exception):
    pass


def raise_at(last: int, error: type[BaseException]) -> Steps:
    """Steps of which this one is an error."""

    def before(step: int) -> None:
        if step == last:
            raise error

    return Steps(before)


@made_up
@pytest.mark.parametrize("name", RECIPES)
def test_resumed_is_as_if_never_interrupted(tmp_path: Path, name: str) -> None:
    recipe = of_tiny(RECIPES[name])
    whole = run(tmp_path, recipe)
    with pytest.raises(_KilledError):
        run(tmp_path / "broken", recipe, team=raise_at(8, _KilledError))  # in the second epoch
    resumed = run(tmp_path / "broken", recipe, resume=True)
    assert same(whole, resumed)
    shown = [{key: row[key] for key in row if key != "seconds"} for row in whole.state.history]
    assert [{key: row[key] for key in row if key != "seconds"} for row in resumed.state.history] == shown
    assert resumed.state.seconds > 0


@made_up
def test_a_longer_training_can_be_resumed_and_differs_from_an_uninterrupted_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    longer = dataclasses.replace(TINY, epochs=6)
    whole = run(tmp_path / "whole", longer)
    run(tmp_path)
    resumed = run(tmp_path, longer, resume=True)
    assert resumed.state.epoch == 6
    assert not same(whole, resumed)
    assert "The training now takes 6 epochs in place of 3. Its learning rate follows that" in capsys.readouterr().err


@made_up
def test_the_table_of_epochs_is_there_after_each_and_right_after_a_break(tmp_path: Path) -> None:
    table = tmp_path / "results.csv"
    write = partial(write_table, table)
    with pytest.raises(_KilledError):
        run(tmp_path, write=write, team=raise_at(8, _KilledError))  # in the second epoch
    lines = table.read_text().splitlines()
    assert lines[0] == "epoch,loss,training,validation,seconds"
    assert len(lines) == 2
    table.unlink()  # as if the kill had come right after the checkpoint
    with pytest.raises(_KilledError):
        run(tmp_path, write=write, resume=True, team=raise_at(0, _KilledError))
    assert table.read_text().splitlines() == lines


@made_up
def test_logs_have_each_epoch_once_whatever_broke_off(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed: pip install -e '.[logs]'")
    logs = tmp_path / "logs"
    with pytest.raises(_KilledError):
        run(tmp_path, write=Logs(logs, resume=False).write, team=raise_at(8, _KilledError))  # in the second epoch
    fitted = run(tmp_path, write=Logs(logs, resume=True).write, resume=True)
    history = fitted.state.history
    read = logged(logs)
    for split, column in (("train", "loss"), ("validation", "validation_loss")):
        steps, losses = zip(*read[split, "epoch_loss"], strict=True)
        assert steps == tuple(row["epoch"] - 1 for row in history)
        assert losses == pytest.approx([row[column] for row in history])
    rates = [rate for _, rate in read["train", "epoch_learning_rate"]]
    assert rates == sorted(rates, reverse=True)  # it peaks in the first epoch


@made_up
def test_the_table_says_nothing_where_nothing_is_held_out(tmp_path: Path) -> None:
    run(tmp_path, validation=None, write=partial(write_table, tmp_path / "results.csv"))
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert [row["validation"] for row in rows] == ["", "", ""]


@made_up
def test_resuming_a_finished_training_trains_no_more(tmp_path: Path) -> None:
    whole = run(tmp_path)
    assert same(whole, run(tmp_path, resume=True, team=raise_at(0, AssertionError)))


@made_up
@pytest.mark.parametrize(
    ("settings", "change", "named"),
    [
        (Settings(3, precision="float32"), {}, "seed was 0, is 3"),
        (Settings(precision="mixed_bfloat16"), {}, "precision was float32, is mixed_bfloat16"),
        (Settings(minutes=1.0, precision="float32"), {}, "minutes was None, is 1.0"),
        (Settings(mirror=False, precision="float32"), {}, "mirror was True, is False"),
        (PLAIN, {"recipe": dataclasses.replace(TINY, epochs=2)}, "epochs was 3, is 2"),
        (PLAIN, {"train": LARGER}, f"size was {TRAIN.size}, is {LARGER.size}, train was .*"),
        (PLAIN, {"validation": None}, "validation was .*, is None"),
        (PLAIN, {"train": dataclasses.replace(TRAIN, mirrored=False)}, "mirrored was True, is False"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(
    tmp_path: Path, settings: Settings, change: dict[str, Any], named: str
) -> None:
    run(tmp_path)
    with pytest.raises(TrainingError, match=rf"is of a training with other settings: {named}\. Resume with the same"):
        run(tmp_path, settings=settings, resume=True, **change)


@made_up
def test_ctrl_c_keeps_what_there_is(tmp_path: Path) -> None:
    fitted = run(tmp_path, team=raise_at(14, KeyboardInterrupt))  # in the third epoch
    assert fitted.interrupted
    assert fitted.state.epoch == 2
    whole = run(tmp_path / "whole").state
    assert fitted.state.scores == whole.scores[:2]


@made_up
def test_ctrl_c_in_the_first_epoch_leaves_nothing_to_keep(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, team=raise_at(5, KeyboardInterrupt))


@made_up
def test_a_budget_ends_the_training_with_its_schedule_run_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0, 0.5)  # half a second passes at each look
    monkeypatch.setattr("thumbnet.training.loop.time.monotonic", lambda: float(next(clock)))
    steps = Steps()
    fitted = run(tmp_path, settings=Settings(minutes=0.5), team=steps)
    assert fitted.state.seconds == pytest.approx(30, abs=2)
    assert max(steps.rates) == pytest.approx(TINY.learning_rate, rel=0.1)
    assert steps.rates[-1] < 0.1 * TINY.learning_rate


@made_up
@pytest.mark.parametrize("batch_size", [16, 64, 256])
def test_the_learning_rate_shrinks_with_the_root_of_the_batch(tmp_path: Path, batch_size: int) -> None:
    steps = Steps()
    run(tmp_path, dataclasses.replace(TINY, batch_size=batch_size, epochs=5), team=steps)
    assert {shape[0] for shape in steps.shapes} == {16}  # of so few pictures
    assert max(steps.rates) == pytest.approx(TINY.learning_rate * (16 / batch_size) ** 0.5)  # at a fifth: step 6 of 30


@made_up
@pytest.mark.parametrize("whiten", [True, False])
def test_a_training_starts_from_whitening_filters_if_the_recipe_says_so(tmp_path: Path, whiten: bool) -> None:
    steps = raise_at(0, _KilledError)
    with pytest.raises(_KilledError):
        run(tmp_path, dataclasses.replace(TINY, whiten=whiten), team=steps)
    kernel = steps.models[0].layers[1].get_weights()[0]  # (3, 3, 3, 8)
    assert np.allclose(kernel[..., :4], -kernel[..., 4:]) is whiten


@made_up
@pytest.mark.parametrize("hand_on", [True, False])
def test_a_training_starts_by_handing_on_if_the_recipe_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hand_on: bool
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("thumbnet.training.loop.hand_on", seen.append)
    run(tmp_path, dataclasses.replace(TINY, hand_on=hand_on, epochs=1))
    assert len(seen) == hand_on


@made_up
def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    class Diverging(Steps):
        def step(self, model: keras.Model) -> Callable[..., tuple[float, float]]:  # noqa: ARG002
            return lambda *_: (float("nan"), 0.5)

    with pytest.raises(TrainingError, match=r"the loss is nan in epoch 1\. Try a lower learning rate"):
        run(tmp_path, team=Diverging())


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


@made_up
@pytest.mark.parametrize(("data", "asked"), [(True, True), (True, False), (False, True)])
def test_pictures_that_must_not_be_mirrored_are_not(
    tmp_path: Path, flips: list[tuple[Any, Any]], data: bool, asked: bool
) -> None:
    settings = Settings(mirror=asked, precision="float32")
    run(tmp_path, settings=settings, validation=None, train=dataclasses.replace(TRAIN, mirrored=data))
    assert any(chosen.any() for _, chosen in flips) is (data and asked)


@made_up
def test_every_picture_is_seen_from_both_sides_in_two_epochs(tmp_path: Path, flips: list[tuple[Any, Any]]) -> None:
    run(tmp_path, dataclasses.replace(TINY, epochs=2, shift=0), None)
    sides: dict[bytes, set[bool]] = {}
    for images, chosen in flips:
        for image, side in zip(images, chosen, strict=True):
            sides.setdefault(image.tobytes(), set()).add(bool(side))
    assert len(sides) == len(TRAIN)
    assert all(len(each) == 2 for each in sides.values())


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_not_every_library_takes_is_refused(seed: int) -> None:
    with pytest.raises(TrainingError, match=rf"^expected a seed from 0 to 4294967295, got {seed}$"):
        Settings(seed)


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
    recipe = dataclasses.replace(BEST, **{**SMALL, "epochs": 1})
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
