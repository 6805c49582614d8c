"""Pictures → folds for cross-validation, such that bursts, film frames and re-encoded copies stay together.

If one of two pictures that are nearly the same is learnt and the other judged, the estimate flatters. Such pairs are
found by what is left of their features without the mean of all pictures; with it, all features are alike in sets of one
kind, such as surfaces under a fixed camera. The cosine of these rests is 0.4 to 0.8 for most pictures and their nearest
neighbours, and above `ALIKE[0]` for most copies that were brightened, mirrored or cropped by a tenth.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

FOLDS = 5
ALIKE = (0.85, 0.94, 0.976, 0.99, 0.996)  # cosines; the next is for groups that become too large by the one before
BLOCK = 2048  # pictures a side of a square block of products
SKETCH = 256  # random directions whose products tell which pairs are worth a closer look
SLACK = 0.1  # by which the sketch may underestimate a cosine; some six standard deviations
PAIRS = 8192  # that are looked at more closely at once


def assign(features: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """The fold of each picture, `(N,)`, from 0 on: `FOLDS` of them, or fewer for fewer pictures.

    Each class is spread as evenly as its groups of like pictures allow. One with fewer pictures than folds is missing
    in some.

    Args:
        features: float32 `(N, D)`.
        labels: int64 `(N,)`.
        seed: Decides which of the pictures that could change places come first.

    Raises:
        ValueError: The lengths differ, there is no picture, or a feature is not finite.
    """
    if features.ndim != 2 or features.shape[:1] != labels.shape or not len(labels):
        raise ValueError(f"expected features (N, D) and labels (N,), got {features.shape} and {labels.shape}")
    if not np.isfinite(features).all():
        raise ValueError("expected finite features, got NaN or infinity")
    groups = _groups(features, labels)  # (N,)
    order = np.random.default_rng(seed).permutation(len(groups))
    order = order[np.argsort(-np.bincount(groups)[groups[order]], kind="stable")]  # those of the largest groups first
    members: dict[int, list[int]] = {}
    for row in order.tolist():
        members.setdefault(int(groups[row]), []).append(row)
    folds = np.empty(len(labels), np.int64)
    sizes = np.zeros(FOLDS, np.int64)
    of_class = np.zeros((int(labels.max()) + 1, FOLDS), np.int64)
    for rows in members.values():
        crowd = of_class[labels[rows]].sum(axis=0)  # (folds,)
        fold = int(np.lexsort((sizes, crowd))[0])  # where its classes are rarest; of those, the smallest
        folds[rows] = fold
        sizes[fold] += len(rows)
        np.add.at(of_class[:, fold], labels[rows], 1)
    return folds


def _groups(features: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of each picture's group of like pictures, `(N,)`: those that a chain of like pairs connects.

    A chain may run through a whole class if its pictures are alike by nature. A class in one fold could not be judged,
    so a group with more than half of a class is formed again by a higher limit, and in the end taken apart.
    """
    rests = features - features.mean(axis=0)  # (N, D)
    rests /= np.maximum(np.linalg.norm(rests, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    half = np.maximum(np.bincount(labels) / 2, 1)  # (C,)
    groups = np.arange(len(labels))
    open_rows = groups
    for limit in ALIKE:
        found = _connected(rests, limit)  # (n,)
        pairs, counts = np.unique(np.stack([found, labels[open_rows]]), axis=1, return_counts=True)
        large = np.unique(pairs[0, counts > half[pairs[1]]])
        settled = ~np.isin(found, large)
        first = np.full(len(open_rows), len(labels))
        np.minimum.at(first, found, open_rows)  # a group is called by its first picture
        groups[open_rows[settled]] = first[found[settled]]
        open_rows, rests = open_rows[~settled], rests[~settled]  # (n,), (n, D)
    return groups


def _connected(rests: NDArray[np.float32], limit: float) -> NDArray[np.int64]:
    """The number of each one's component, `(n,)`, where those with a cosine above `limit` are connected."""
    sketch = rests
    if rests.shape[1] > SKETCH:
        directions = np.random.default_rng(0).standard_normal((rests.shape[1], SKETCH), dtype=np.float32)
        sketch = rests @ directions  # (n, SKETCH)
        sketch /= np.maximum(np.linalg.norm(sketch, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    component = np.arange(len(rests))
    for first, second in _candidates(sketch, limit - SLACK):
        # In a set of one kind nearly all pairs may be candidates, but few of them are still apart.
        while (apart := component[first] != component[second]).any():
            first, second = first[apart], second[apart]
            one, other = first[:PAIRS], second[:PAIRS]
            alike = np.einsum("nd,nd->n", rests[one], rests[other]) > limit
            ends = component[one[alike]], component[other[alike]]
            links = coo_array((np.ones(alike.sum(), bool), ends), (len(rests), len(rests)))
            component = connected_components(links, directed=False)[1][component]
            first, second = first[PAIRS:], second[PAIRS:]
    return component.astype(np.int64)


def _candidates(sketch: NDArray[np.float32], limit: float) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """The pairs above `limit`, each once, a block at a time."""
    for start in range(0, len(sketch), BLOCK):
        for other in range(start, len(sketch), BLOCK):
            products = sketch[start : start + BLOCK] @ sketch[other : other + BLOCK].T  # (BLOCK, BLOCK)
            first, second = np.nonzero(products > limit)
            later = second + other > first + start
            yield first[later] + start, second[later] + other
