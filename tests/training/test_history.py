"""The curves of a training, as TensorBoard itself reads them back."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")

import keras
from support.tensorboard import Curves, logged

from thumbnet.errors import MissingExtraError, TrainingError
from thumbnet.training.history import History, Logs

HISTORY = [
    {
        "epoch": epoch, "loss": 2 / epoch, "training": 0.1 * epoch, "learning_rate": 0.01 / epoch,
        "validation_loss": 3 / epoch, "validation": 0.2 * epoch, "seconds": 5.0 * epoch,
    }
    for epoch in range(1, 5)
]  # fmt: skip
KEYS = {
    ("train", "epoch_loss"): "loss",
    ("train", "epoch_accuracy"): "training",
    ("train", "epoch_learning_rate"): "learning_rate",
    ("validation", "epoch_loss"): "validation_loss",
    ("validation", "epoch_accuracy"): "validation",
}


@pytest.fixture(autouse=True)
def _tensorboard() -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed: pip install -e '.[logs]'")


def curves(history: History) -> Curves:
    return {at: [(row["epoch"] - 1, pytest.approx(row[key])) for row in history] for at, key in KEYS.items()}


def test_an_epoch_is_there_as_soon_as_it_is_written(tmp_path: Path) -> None:
    logs = Logs(tmp_path, resume=False)
    for count in range(1, 5):
        logs.write(HISTORY[:count])
        assert logged(tmp_path) == curves(HISTORY[:count])


def test_names_and_steps_are_those_of_keras(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, activation="softmax")])
    model.compile(loss="categorical_crossentropy", metrics=["accuracy"])
    x, y = np.zeros((4, 2), np.float32), np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    callback = keras.callbacks.TensorBoard(tmp_path / "keras", write_graph=False)
    model.fit(x, y, epochs=2, validation_data=(x, y), verbose=0, callbacks=[callback])
    Logs(tmp_path / "ours", resume=False).write(HISTORY[:2])
    theirs = {at: curve for at, curve in logged(tmp_path / "keras").items() if at[1].startswith("epoch_")}
    ours = logged(tmp_path / "ours")
    assert {at: [step for step, _ in curve] for at, curve in ours.items()} == {
        at: [step for step, _ in curve] for at, curve in theirs.items()
    }


@pytest.mark.parametrize("known", [2, 3, 4])
def test_a_resumed_training_adds_what_is_not_there(tmp_path: Path, known: int) -> None:
    Logs(tmp_path, resume=False).write(HISTORY[:2])
    resumed = Logs(tmp_path, resume=True)
    resumed.write(HISTORY[:known])  # what the checkpoint knows, which is at least as much
    resumed.write(HISTORY)
    assert logged(tmp_path) == curves(HISTORY)


@pytest.mark.parametrize("lost", [1, 20, 200])
def test_a_torn_end_costs_no_more_than_its_epoch(tmp_path: Path, lost: int) -> None:
    Logs(tmp_path, resume=False).write(HISTORY[:2])
    for path in tmp_path.glob("*/*"):
        path.write_bytes(path.read_bytes()[:-lost])
    Logs(tmp_path, resume=True).write(HISTORY)
    assert logged(tmp_path) == curves(HISTORY)


def test_a_new_training_begins_again_once_it_has_an_epoch(tmp_path: Path) -> None:
    Logs(tmp_path, resume=False).write(HISTORY)
    again = Logs(tmp_path, resume=False)
    assert logged(tmp_path) == curves(HISTORY)
    again.write(HISTORY[:1])
    assert logged(tmp_path) == curves(HISTORY[:1])


def test_without_held_out_pictures_there_is_no_such_run(tmp_path: Path) -> None:
    rows = [{key: value for key, value in row.items() if not key.startswith("validation")} for row in HISTORY]
    Logs(tmp_path, resume=False).write(rows)
    assert {run for run, _ in logged(tmp_path)} == {"train"}


@pytest.mark.parametrize("run", ["train", "validation"])
def test_another_programs_logs_are_not_mixed_with_ours(tmp_path: Path, run: str) -> None:
    theirs = tmp_path / run / "events.out.tfevents.1700000000.host.1.0.v2"
    theirs.parent.mkdir()
    theirs.write_bytes(b"")
    with pytest.raises(
        TrainingError, match=r"0\.v2 is not of a training of Thumbnet\. Move it, or give --logs another"
    ):
        Logs(tmp_path, resume=False)


def test_without_tensorboard_the_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    with pytest.raises(MissingExtraError, match=r"--logs needs tensorboard, .* pip install 'thumbnet\[logs\]'"):
        Logs(tmp_path, resume=False)
