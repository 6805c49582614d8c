"""Labelled pictures → answers by heads that have not learnt from them, and pairs of the same scene."""

from functools import partial

import numpy as np

from thumbnet.data.check import Judge, Judged, Pictures
from thumbnet.errors import MissingExtraError
from thumbnet.transfer import folds, head, scenes
from thumbnet.transfer.backbone import BUILT_IN, DEFAULT, Backbone, open_backbone
from thumbnet.transfer.features import Picture, extract


def label_judge(seed: int) -> Judge:
    """What `data.check.check` takes to judge labels.

    Args:
        seed: Decides the folds.

    Raises:
        MissingExtraError: The backbone's package is not installed.
        ModelError: The backbone's weights are damaged.
    """
    try:
        backbone = open_backbone()
    except MissingExtraError as error:  # it names the extra for training
        package = BUILT_IN[DEFAULT].package.replace("_", "-")
        raise MissingExtraError("looking for wrong labels", package, "check") from error
    return partial(judge, backbone=backbone, seed=seed)


def judge(pictures: Pictures, backbone: Backbone, seed: int) -> Judged:
    """Judge the labels of pictures, and find those that show the same scene.

    A label can only be judged if its class has a picture in another fold, and if there are two classes or more.

    Raises:
        ModelError: The backbone fails on a picture.
    """
    count = len(pictures)
    readers = [_reader(pictures, row) for row in range(count)]
    found = extract(readers, backbone)
    probabilities = np.full((count, len(pictures.names)), 1 / len(pictures.names))  # (N, C)
    known = np.zeros(count, np.bool_)
    rows = np.flatnonzero(found.readable)  # (n,); a file may have changed since it was read first
    present, own = np.unique(pictures.labels[rows], return_inverse=True)  # (P,) classes, (n,) places in them
    if len(present) > 1:
        features = found.values[rows]  # (n, D)
        split = folds.assign(features, own, seed)  # (n,)
        fitted = head.fit(features, own, len(present), split, parts=backbone.parts)
        probabilities[rows] = 0
        probabilities[np.ix_(rows, present)] = np.exp(fitted.out_of_fold)
        of_fold = np.zeros((split.max() + 1, len(present)), np.int64)
        np.add.at(of_fold, (split, own), 1)
        known[rows] = (of_fold.sum(axis=0) > of_fold[split])[np.arange(len(rows)), own]
    if pictures.store is None:  # arrays are too small to have details
        return Judged(probabilities, known, [])
    first: dict[bytes, int] = {}  # equal pictures are known to be copies
    for row in rows.tolist():
        first.setdefault(pictures.keys[row], row)
    distinct = list(first.values())
    same = scenes.find(found.values[distinct], [readers[row] for row in distinct], mirrored=pictures.mirrored)
    return Judged(
        probabilities,
        known,
        [scene._replace(first=distinct[scene.first], second=distinct[scene.second]) for scene in same],
    )


def _reader(pictures: Pictures, row: int) -> Picture:
    store = pictures.store
    if store is None:
        return lambda: pictures.images[row]
    return lambda: store.read(pictures.files[row])
