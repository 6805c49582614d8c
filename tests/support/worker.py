"""One of several processes that train together, for tests: `python worker.py FOLDER DEVICES`.

What came out is in FOLDER: a line of JSON for each training, and its weights.
"""

import dataclasses
import itertools
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.trainings import SMALL, TINY, TRAIN, VALIDATION, know_tiny
from thumbnet.errors import TrainingError
from thumbnet.training import loop
from thumbnet.training.distributed.join import join
from thumbnet.training.distributed.strategy import Strategy
from thumbnet.training.distributed.team import Team
from thumbnet.training.history import write_table
from thumbnet.training.loop import fit
from thumbnet.training.recipes import RECIPES, Recipe
from thumbnet.training.settings import Settings

# Batches of 16. Few steps, as they take differences apart.
TRAININGS = {
    "seed": dataclasses.replace(RECIPES["seed"], **SMALL),
    "best": dataclasses.replace(RECIPES["best"], **{**SMALL, "epochs": 1, "small": 0}),
    "uneven": dataclasses.replace(RECIPES["seed"], **{**SMALL, "epochs": 1, "batch_size": 15}),
    "tiny": TINY,
}
ENDLESS = dataclasses.replace(TINY, epochs=100_000)


class _BrokenOffError(Exception):
    pass


def train(
    folder: Path, name: str, recipe: Recipe, team: Team, *, resume: bool = False, minutes: float | None = None
) -> dict[str, Any]:
    """What a training gives, or the error that ends it; the weights go to a file."""
    try:
        fitted = fit(
            recipe, TRAIN, VALIDATION, Settings(minutes=minutes, precision="float32"),  # bfloat16 hides what differs
            checkpoint_path=folder / f"{name}.checkpoint", resume=resume,
            write=partial(write_table, folder / f"{name}.csv"), team=team,
        )  # fmt: skip
    except (TrainingError, _BrokenOffError) as error:
        return {"error": str(error)}
    np.savez(folder / f"{name}.npz", *fitted.network.get_weights())
    rows = [{key: row[key] for key in row if key != "seconds"} for row in fitted.state.history]
    return {"interrupted": fitted.interrupted, "epochs": fitted.state.epoch, "rows": rows}


def break_off_after_an_epoch(folder: Path, team: Team) -> dict[str, Any]:
    """End the training `broken` as it begins its second epoch."""
    epochs = itertools.count()
    original = loop._batches

    def batches(*arguments: Any) -> Any:
        if next(epochs):
            raise _BrokenOffError
        return original(*arguments)

    with mock.patch.object(loop, "_batches", batches):
        return train(folder, "broken", TINY, team)


def main() -> None:
    """All trainings, one after the other: to join others takes longer than they do."""
    folder, devices = Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir()
    know_tiny(pytest.MonkeyPatch())

    def tell(name: str, result: dict[str, Any]) -> None:
        with (folder / "results.jsonl").open("a") as file:
            file.write(json.dumps({name: result}) + "\n")

    if devices > 1:  # in one process, as several GPUs are
        processor = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * devices)
        team: Team = Strategy(tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(devices)]))
    else:
        team = join()
    for name, recipe in TRAININGS.items():
        tell(name, train(folder, name, recipe, team))
    if devices > 1:
        return
    tell("broken", break_off_after_an_epoch(folder, team))
    tell("resumed", train(folder, "broken", TINY, team, resume=True))
    tell("nothing to resume", train(folder, "nothing", TINY, team, resume=True))
    tell("timed", train(folder, "timed", ENDLESS, team, minutes=0.02))
    try:
        team.check({"seed": 0, "recipe": os.environ["TF_CONFIG"]})
    except TrainingError as error:
        tell("other settings", {"error": str(error)})
    tell("stopped", train(folder, "stopped", ENDLESS, team))
    tell("killed", train(folder, "killed", ENDLESS, team))


if __name__ == "__main__":
    main()
