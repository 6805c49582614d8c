"""A training's whole state between two epochs, in one file that a kill leaves old or new, never torn."""

import io
import itertools
import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from thumbnet.errors import TrainingError
from thumbnet.files import write_atomically
from thumbnet.text import first_few, shorten
from thumbnet.training.distributed.team import Team

FORMAT = 3
FREE = ("patience", "refit")  # may change when a training is resumed: what was trained so far does not depend on them
LENGTHS = ("epochs", "minutes")  # may grow
Weights = list[NDArray[Any]]


@dataclass
class State:
    """Where a training stands after `epoch` epochs."""

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0  # spent in training and validating, over all the runs that were needed
    kept_epoch: int = 0
    kept: Weights = field(default_factory=list)  # the averaged weights after that epoch, which ship if nothing follows
    history: list[dict[str, float]] = field(default_factory=list)  # a row an epoch

    @property
    def scores(self) -> list[float]:
        """Accuracy on the validation images after each epoch, 0 to 1; without such images 0."""
        return [row.get("validation", 0.0) for row in self.history]

    @property
    def best_epoch(self) -> int:
        """The epoch with the best score, the last one of several; before there is one, 0."""
        return max(zip(self.scores, itertools.count(1)), default=(0.0, 0))[1]


def save(path: Path, decided: dict[str, Any], state: State, model: keras.Model) -> None:
    """Write the state, the network's and the optimizer's variables, and what decides the training, by name."""
    numbers = {key: value for key, value in vars(state).items() if key != "kept"}
    arrays: dict[str, Any] = {
        "json": np.array(json.dumps({"format": FORMAT, "decided": decided, "state": numbers})),
        **_numbered("kept", state.kept),
        **_numbered("variable", map(keras.ops.convert_to_numpy, _variables(model))),
    }
    with write_atomically(path) as file:
        np.savez(file, **arrays)


def load(path: Path, decided: dict[str, Any], model: keras.Model, team: Team) -> State:
    """Put `model` and its optimizer back to where `save` found them, and return the state.

    Args:
        path: The checkpoint, on the chief's disk.
        decided: What decides the training now. It must be what `save` was given, except that the training may be longer
            and that `FREE` may differ.
        model: A compiled network of the same shape.
        team: Reads the file for all of its processes.

    Raises:
        TrainingError: No checkpoint there, a broken one, or one of another training or version.
    """
    try:
        with np.load(io.BytesIO(team.read(path)), allow_pickle=False) as arrays:
            content = json.loads(str(arrays["json"]))
            kept = _read_numbered(arrays, "kept")
            values = _read_numbered(arrays, "variable")
    except FileNotFoundError:
        raise absent(path) from None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{path} is no checkpoint of Thumbnet, or a broken one. Start without --resume") from error
    other_version = TrainingError(
        f"{path} is of another version of Thumbnet. Resume with that one, or start without --resume"
    )
    if content.get("format") != FORMAT:
        raise other_version
    before = content["decided"]
    differing = [
        f"{key} was {shorten(str(before.get(key)), 20)}, is {shorten(str(value), 20)}"
        for key, value in decided.items()
        if before.get(key) != value and key not in FREE and not (key in LENGTHS and _longer(before.get(key), value))
    ]
    if differing:
        raise TrainingError(
            f"{path} is of a training with other settings: {first_few(differing)}. "
            "Resume with the same ones, or start without --resume"
        )
    variables = _variables(model)
    if [value.shape for value in values] != [tuple(variable.shape) for variable in variables]:
        raise other_version  # which has another network under this name
    for key in LENGTHS:
        if before.get(key) != decided.get(key):
            team.say(
                f"The training now takes {decided[key]} {key} in place of {before[key]}. Its learning rate follows "
                "that from here on, so the model differs from one that was trained so from the start"
            )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return State(**content["state"], kept=kept)


def absent(path: Path) -> TrainingError:
    """The error for a checkpoint that is not there."""
    return TrainingError(
        f"nothing to resume: {path} does not exist. A training that ended well leaves none. Start without --resume"
    )


def _longer(before: float | None, now: float | None) -> bool:
    return before is not None and now is not None and now > before


def _variables(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables]


def _numbered(name: str, arrays: Iterable[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f"{name}_{index}": array for index, array in enumerate(arrays)}


def _read_numbered(arrays: Any, name: str) -> Weights:
    count = sum(key.startswith(f"{name}_") for key in arrays.files)
    return [arrays[f"{name}_{index}"] for index in range(count)]
