"""A broken checkpoint is said to be one, and a failed write leaves the last good one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")

import keras

from thumbnet.errors import TrainingError
from thumbnet.training import checkpoint
from thumbnet.training.checkpoint import State
from thumbnet.training.distributed.team import Team


def model(units: int = 2) -> keras.Model:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])
    model.compile(optimizer=keras.optimizers.Adam(use_ema=True), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.mark.parametrize(("scores", "best"), [([], 0), ([0.5, 0.6, 0.6, 0.4], 3), ([None, None], 2)])
def test_the_best_epoch_is_the_last_one_of_those_with_the_best_score(scores: list[float | None], best: int) -> None:
    history = [{} if score is None else {"validation": score} for score in scores]
    assert State(history=history).best_epoch == best


def test_all_variables_and_the_state_come_back(tmp_path: Path) -> None:
    saved, loaded = model(), model()
    for _ in range(3):
        saved.train_on_batch(np.ones((4, 3)), np.ones((4, 2)))
    state = State(3, 12, 1.5, 2, saved.get_weights(), [{"epoch": 1, "loss": 0.5}])
    checkpoint.save(tmp_path / "checkpoint", {"seed": 1}, state, saved)
    again = checkpoint.load(tmp_path / "checkpoint", {"seed": 1}, loaded, Team())
    assert {key: value for key, value in vars(again).items() if key != "kept"} == {
        key: value for key, value in vars(state).items() if key != "kept"
    }
    for one, other in zip([*state.kept, *saved.variables, *saved.optimizer.variables],
                          [*again.kept, *loaded.variables, *loaded.optimizer.variables], strict=True):  # fmt: skip
        np.testing.assert_array_equal(one, other)


def test_an_older_versions_checkpoint_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "checkpoint").open("wb") as file:
        np.savez(file, json=np.array(json.dumps({"settings": {"seed": 1}, "state": {}})))
    with pytest.raises(TrainingError, match=r"is of another version of Thumbnet\. Resume with that one, or start"):
        checkpoint.load(tmp_path / "checkpoint", {"seed": 1}, model(), Team())


DECIDED = {"name": "seed", "epochs": 20, "seed": 1, "minutes": None, "patience": None, "train": "0123456789" * 5}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 3}, "seed was 1, is 3"),
        ({"name": "fast", "seed": 3}, "name was seed, is fast, seed was 1, is 3"),
        ({"epochs": 19}, "epochs was 20, is 19"),
        ({"minutes": 1.5}, "minutes was None, is 1.5"),
        ({"train": "a" * 50}, "train was 0123456789012345678…, is aaaaaaaaaaaaaaaaaaa…"),
    ],
)
def test_what_differs_is_named_with_both_values(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    checkpoint.save(tmp_path / "checkpoint", DECIDED, State(kept=model().get_weights()), model())
    with pytest.raises(TrainingError) as caught:
        checkpoint.load(tmp_path / "checkpoint", {**DECIDED, **change}, model(), Team())
    assert str(caught.value) == (
        f"{tmp_path / 'checkpoint'} is of a training with other settings: {named}. "
        "Resume with the same ones, or start without --resume"
    )


def test_what_was_trained_so_far_does_not_depend_on_may_change(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "checkpoint", DECIDED, State(7, kept=model().get_weights()), model())
    changed = {**DECIDED, "patience": 3, "refit": True}
    assert checkpoint.load(tmp_path / "checkpoint", changed, model(), Team()).epoch == 7


@pytest.mark.parametrize(("key", "before", "now"), [("epochs", 20, 40), ("minutes", 1.0, 2.5)])
def test_a_longer_training_is_a_fair_wish_that_changes_the_result(
    tmp_path: Path, key: str, before: float, now: float, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint.save(tmp_path / "checkpoint", {**DECIDED, key: before}, State(9, kept=model().get_weights()), model())
    assert checkpoint.load(tmp_path / "checkpoint", {**DECIDED, key: now}, model(), Team()).epoch == 9
    assert capsys.readouterr().err.startswith(f"The training now takes {now} {key} in place of {before}. Its learning")


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04 cut off"])
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint").write_bytes(content)
    with pytest.raises(TrainingError, match=r"no checkpoint of Thumbnet, or a broken one\. Start without --resume"):
        checkpoint.load(tmp_path / "checkpoint", {}, model(), Team())


def test_another_programs_npz_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "checkpoint").open("wb") as file:
        np.savez(file, x=np.zeros(3))
    with pytest.raises(TrainingError, match="no checkpoint of Thumbnet"):
        checkpoint.load(tmp_path / "checkpoint", {}, model(), Team())


@pytest.mark.parametrize("units", [1, 3])
def test_another_versions_network_is_refused(tmp_path: Path, units: int) -> None:
    checkpoint.save(tmp_path / "checkpoint", {"seed": 1}, State(kept=model().get_weights()), model())
    untouched = model(units)
    before = untouched.get_weights()
    with pytest.raises(TrainingError, match="is of another version of Thumbnet"):
        checkpoint.load(tmp_path / "checkpoint", {"seed": 1}, untouched, Team())
    for one, other in zip(before, untouched.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"nothing to resume: .*checkpoint does not exist"):
        checkpoint.load(tmp_path / "checkpoint", {}, model(), Team())
