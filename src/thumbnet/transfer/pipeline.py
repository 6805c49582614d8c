"""A data source → features → model file: `train`, without Keras and TensorFlow."""

import sys
from pathlib import Path

from thumbnet.errors import TrainingError
from thumbnet.evaluation.judge import list_foreign
from thumbnet.evaluation.trained import Trained, check_model, locked
from thumbnet.files import write_atomically
from thumbnet.model.classifier import Classifier
from thumbnet.transfer.backbone import DEFAULT, open_backbone
from thumbnet.transfer.data import list_pictures, pictures_in, samples, see
from thumbnet.transfer.make import make, with_foreign

MOST_SEED = 2**32 - 1  # as of trainings from scratch
FEW = 20  # pictures a class, below which the recipe `tune` gains little
HARD = 0.9  # accuracy below which it is recommended


def train(
    data: str,
    *,
    output: str | Path = "model.onnx",
    backbone: str | Path = DEFAULT,
    seed: int = 0,
    foreign: str | Path | None = None,
    other: str | Path | None = None,
) -> Trained:
    """Learn a classifier from pictures by a pretrained backbone, and write its model file.

    Without a test split, the file is learnt from all pictures, and its scores are cross-validated.

    Args:
        data: A folder or a ZIP file of pictures, a table of labels, or what else `load_data` takes.
        output: The model file, which ends in `.onnx`.
        backbone: The name of a built-in one, or an ONNX file that meets the contract of docs/transfer.md.
        seed: Decides the folds of the cross-validation: 0 to 2³² - 1.
        foreign: A folder of pictures that show none of the classes. They decide nothing; the share of them that the
            model file rejects as unsure goes into its scores.
        other: A folder of pictures that show none of the classes, from which it learns what to be unsure of.

    Raises:
        DataError: The data cannot be found, read or used.
        TrainingError: The seed is out of its range, or the output's name does not end in `.onnx`.
        MissingExtraError: The backbone's package is not installed.
        ModelError: There is no such backbone, or it does not do what it declares.
        ThumbnetError: The output cannot be written, or another training writes to it.
        ExportError: The model file does not answer as what it was made of; nothing was written.
        KeyboardInterrupt: Ctrl-C. The features that were computed are kept for the next time.
    """
    if not 0 <= seed <= MOST_SEED:
        raise TrainingError(f"expected a seed from 0 to {MOST_SEED}, got {seed}")
    path = Path(output)
    check_model(path)
    if foreign is not None:
        list_foreign(foreign)
    others = [] if other is None else pictures_in(other)
    network = open_backbone(backbone)
    given = list_pictures(data, network)
    with locked(path):
        seen = see(given, others, network)
        made = make(
            network, given.names, seen.train, seen.test, samples(given, seen, network),
            seed=seed, others=seen.others, data={"source": data, "seed": None, **seen.described},
        )  # fmt: skip
        if foreign is not None:
            made = with_foreign(made, foreign)
        with write_atomically(path) as file:
            file.write(made.content)
    if made.scores and made.scores.accuracy < HARD and len(seen.train.labels) >= FEW * len(given.names):
        print("note: --recipe tune takes minutes, and may answer more of such pictures rightly", file=sys.stderr)
    return Trained(path, Classifier(made.content), made.scores, interrupted=False, written=True)
