"""A training's whole state between two epochs, in one file that a kill leaves old or new, never torn."""

import io
import itertools
import json
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from thumbnet.errors import TrainingError
from thumbnet.files import write_atomically

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


def save(path: Path, settings: dict[str, Any], state: State, model: keras.Model) -> None:
    """Write the state, the network's and the optimizer's variables, and the settings that they belong to."""
    numbers = {key: value for key, value in vars(state).items() if key != "kept"}
    arrays: dict[str, Any] = {
        "json": np.array(json.dumps({"settings": settings, "state": numbers})),
        **_numbered("kept", state.kept),
        **_numbered("variable", map(keras.ops.convert_to_numpy, _variables(model))),
    }
    with write_atomically(path) as file:
        np.savez(file, **arrays)


def load(
    path: Path, settings: dict[str, Any], model: keras.Model, read: Callable[[Path], bytes] = Path.read_bytes
) -> State:
    """Put `model` and its optimizer back to where `save` found them, and return the state.

    `read` gives the file's content, wherever it is, or raises FileNotFoundError.

    Raises:
        TrainingError: No checkpoint there, a broken one, or one of a training with other settings.
    """
    try:
        with np.load(io.BytesIO(read(path)), allow_pickle=False) as arrays:
            content = json.loads(str(arrays["json"]))
            kept = _read_numbered(arrays, "kept")
            values = _read_numbered(arrays, "variable")
    except FileNotFoundError:
        raise TrainingError(f"nothing to resume: {path} does not exist. Start without --resume") from None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{path} is no checkpoint of Thumbnet, or a broken one. Start without --resume") from error
    differing = sorted(key for key, value in settings.items() if content["settings"].get(key) != value)
    variables = _variables(model)
    if [value.shape for value in values] != [tuple(variable.shape) for variable in variables]:
        differing.append("network")  # of the same name, as another version of Thumbnet has it
    if not kept:  # as in those of versions that kept the best epoch
        differing.append("version of Thumbnet")
    if differing:
        raise TrainingError(
            f"{path} belongs to a training with other settings ({', '.join(differing)}). "
            "Resume with the same ones, or start without --resume"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return State(**content["state"], kept=kept)


def _variables(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables]


def _numbered(name: str, arrays: Iterable[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f"{name}_{index}": array for index, array in enumerate(arrays)}


def _read_numbered(arrays: Any, name: str) -> Weights:
    count = sum(key.startswith(f"{name}_") for key in arrays.files)
    return [arrays[f"{name}_{index}"] for index in range(count)]
