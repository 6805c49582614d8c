"""Features and probabilities → sureness: how far an answer can be relied on, 0 to 1.

sureness = confidence × familiarity × the probability that the picture is none of the `others`, if the user gave some

A picture is as familiar as its features are like those of the nearest of some training pictures, by their cosine (Sun
et al. 2022, "Out-of-distribution detection with deep nearest neighbors"). How alike pictures of one kind are depends on
the backbone and on the set, so cosines are measured by those between training pictures of different folds: from the
usual one on, a picture is entirely familiar, and below it the familiarity falls with a power. docs/experiments.md
compares it with other measures.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy.special import expit

from thumbnet.transfer import head
from thumbnet.transfer.head import Fitted

BANK = 2**20  # numbers, of which there may be more where each class needs a picture
USUAL = 0.25  # the quantile of the training pictures' cosines from which on a picture is entirely familiar
RARE = 0.05  # the quantile at which the familiarity is at most `RARELY`
RARELY = 0.8
POWERS = (4.0, 16.0)  # the least and the most of the cosine
LEAST = 0.3  # usual cosine; with a picture or two of each class, those between the classes would be taken for usual
FAINT = 1e-6  # the length below which features are not brought to length 1
KEPT = 0.95  # the share of right answers that stay "known"
ALONE = 20  # classes up to which each is left out alone; with more, `ROUNDS` groups of them are
ROUNDS = 10
BLOCK = 4096  # rows at once


@dataclass(frozen=True, eq=False)
class Familiarity:
    """The constants of the sureness."""

    bank: NDArray[np.float16]  # (B, D), features of training pictures, of length 1 each
    usual: float  # cosine, above 0
    power: float
    known: NDArray[np.float32] | None = None  # (D + 1,), weights and bias of the logit that it is none of the others

    def sureness(self, features: NDArray[np.float32], probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features `(N, D)` and probabilities `(N, C)` → `(N,)`, 0 to 1."""
        cosines = _nearest(features, self.bank.astype(np.float32), np.zeros(len(self.bank), np.int64), 1)[:, 0]  # (N,)
        found = probabilities.max(axis=1) * _familiar(cosines, self.usual, self.power)
        if self.known is not None:
            found *= expit(features @ self.known[:-1] + self.known[-1])
        return np.asarray(found, np.float32)

    def measured_by(self, features: NDArray[np.float32]) -> "Familiarity":
        """The same, with cosines measured by those of pictures `(N, D)` that nothing here was learnt from."""
        cosines = _nearest(features, self.bank.astype(np.float32), np.zeros(len(self.bank), np.int64), 1)[:, 0]  # (N,)
        usual, power = _scale(cosines)
        return replace(self, usual=usual, power=power)

    def add_to_graph(self, graph: Any, features: str, probabilities: str, sureness: str) -> None:
        """Append the same computation to a graph.

        Args:
            graph: An `onnx.GraphProto` of opset 18 or later.
            features: The name of a tensor, float `(N, D)`.
            probabilities: The name of a tensor, float `(N, C)`.
            sureness: The name of the tensor that is computed, float `(N,)`.
        """
        prefix = "thumbnet/sureness/"

        def constant(name: str, values: NDArray[Any] | np.float32) -> str:
            graph.initializer.append(numpy_helper.from_array(np.asarray(values), prefix + name))
            return prefix + name

        def node(kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
            graph.node.append(helper.make_node(kind, inputs, [prefix + name], prefix + name, **attributes))
            return prefix + name

        def product(name: str, *weights: str) -> str:
            # A 1×1 convolution is computed picture by picture, so that a row does not depend on the others.
            return node("Flatten", [node("Conv", [column, *weights], f"{name}_maps")], name)  # (N, M)

        axis = constant("axis", np.array([1], np.int64))
        column = node("Unsqueeze", [features, constant("places", np.array([2, 3], np.int64))], "column")  # (N, D, 1, 1)
        # ONNX Runtime makes float32 of it once, as it loads the file.
        bank = node("Cast", [constant("bank", self.bank[..., None, None])], "bank_32", to=TensorProto.FLOAT)
        nearest = node("ReduceMax", [product("products", bank), axis], "nearest", keepdims=0)  # (N,)
        length = node("ReduceL2", [features, axis], "length", keepdims=0)  # (N,)
        safe = node("Max", [length, constant("faint", np.float32(FAINT))], "safe_length")
        cosine = node("Div", [nearest, safe], "cosine")
        share = node("Div", [cosine, constant("usual", np.float32(self.usual))], "share")
        bounds = [constant("zero", np.float32(0)), constant("one", np.float32(1))]
        clipped = node("Clip", [share, *bounds], "clipped")
        familiar = node("Pow", [clipped, constant("power", np.float32(self.power))], "familiarity")
        confidence = node("ReduceMax", [probabilities, axis], "confidence", keepdims=0)  # (N,)
        if self.known is not None:
            weights = constant("known_weights", self.known[None, :-1, None, None])  # (1, D, 1, 1)
            logits = product("known_logits", weights, constant("known_bias", self.known[-1:]))  # (N, 1)
            known = node("Sigmoid", [node("Squeeze", [logits, axis], "known_logit")], "known")  # (N,)
            confidence = node("Mul", [confidence, known], "known_confidence")
        graph.node.append(helper.make_node("Mul", [confidence, familiar], [sureness], prefix + "sureness"))


def fit(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    folds: NDArray[np.int64],
    others: NDArray[np.float32] | None = None,
) -> Familiarity:
    """Learn from all pictures what is familiar.

    Args:
        features: float32 `(N, D)`.
        labels: int64 `(N,)`, 0 to C - 1.
        classes: C.
        folds: int64 `(N,)`, the fold of each picture, from 0 on.
        others: `(M, D)`, features of pictures that show none of the classes.

    Raises:
        ValueError: A feature is not finite, or there is no picture.
    """
    _check(features)
    rows, cosines = _between_folds(features, labels, classes, folds)
    known = None
    if others is not None and len(others):
        found = _known(features, folds, others).head
        known = np.append(found.weights[:, 0] - found.weights[:, 1], found.bias[0] - found.bias[1])
    return Familiarity(_unit(features[rows]).astype(np.float16), *_scale(cosines), known)


def out_of_fold(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    folds: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    others: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """The sureness of each training picture, `(N,)`, compared with pictures of the other folds alone.

    Only the two numbers by which cosines are measured have seen all folds.

    Args:
        features: As for `fit`, and so are the others.
        labels: int64 `(N,)`.
        classes: C.
        folds: int64 `(N,)`.
        probabilities: `(N, C)`, out of fold.
        others: `(M, D)`.

    Raises:
        ValueError: A feature is not finite, or there is no picture.
    """
    _check(features)
    _, cosines = _between_folds(features, labels, classes, folds)
    found = probabilities.max(axis=1) * _familiar(cosines, *_scale(cosines))
    if others is not None and len(others):
        found *= np.exp(_known(features, folds, others).out_of_fold[: len(features), 0])
    return np.asarray(found, np.float32)


def threshold(sureness: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """The sureness that `KEPT` of the right answers reach, 0 to 1; 1 if no answer is right. Both are `(N,)`."""
    return float(np.quantile(sureness[right], 1 - KEPT)) if right.any() else 1.0


def unknown_class(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    folds: NDArray[np.int64],
    probabilities: NDArray[np.float32],
) -> float | None:
    """The share of pictures of a class that was never learnt that is unsure, averaged over the classes.

    Each class is left out once: of the pictures that others are compared with, and of the answers, where the other
    classes share its probability. That is nearly what a head without this class would say, at no cost. It flatters by
    some hundredths, as the covariance and the strength are of a head that knew the class. The threshold is that of the
    pictures that are left. More than `ALONE` classes are left out in `ROUNDS` groups.

    Args:
        features: As for `fit`, and so are labels, classes and folds.
        labels: int64 `(N,)`.
        classes: C.
        folds: int64 `(N,)`.
        probabilities: `(N, C)`, out of fold.

    Returns:
        None if there are fewer than three classes, as one alone is nothing to choose from, or no right answers.
    """
    if classes < 3:
        return None
    rounds = classes if classes <= ALONE else ROUNDS
    group = np.arange(classes) % rounds  # (C,), when each class is left out
    bank = _bank(labels, classes, features.shape[1])  # (B,)
    keys = folds[bank] * rounds + group[labels[bank]]
    count = int(folds.max()) + 1
    cosines = _nearest(features, _unit(features[bank]), keys, count * rounds).reshape(-1, count, rounds)
    with_all = cosines.max(axis=1)  # (N, folds, rounds) → (N, rounds)
    cosines[np.arange(len(folds)), folds] = 0
    with_others = cosines.max(axis=1)  # (N, rounds)
    shares = np.full(classes, np.nan)
    for turn in range(rounds):
        strange = group[labels] == turn  # (N,)
        kept = probabilities * (group != turn)  # (N, C)
        confidence = kept.max(axis=1) / np.maximum(kept.sum(axis=1), np.finfo(np.float32).tiny)
        of_groups = np.where(strange[:, None], with_all, with_others)  # a strange picture is new to all folds
        nearest = np.delete(of_groups, turn, axis=1).max(axis=1)  # (N,)
        sureness = confidence * _familiar(nearest, *_scale(nearest[~strange]))
        right = ~strange & (kept.argmax(axis=1) == labels) & (confidence > 0)
        if right.any():
            unsure = sureness < threshold(sureness, right)
            pictures = np.bincount(labels[strange], minlength=classes)  # (C,)
            found = np.bincount(labels[strange], unsure[strange], minlength=classes)
            shares[pictures > 0] = found[pictures > 0] / pictures[pictures > 0]
    return None if np.isnan(shares).all() else float(np.nanmean(shares))


def _check(features: NDArray[np.float32]) -> None:
    if not len(features):
        raise ValueError("expected features of pictures, got none")
    if not np.isfinite(features).all():
        raise ValueError("expected finite features, got NaN or infinity")


def _bank(labels: NDArray[np.int64], classes: int, width: int) -> NDArray[np.int64]:
    """The rows of pictures to compare with, in order: random ones, as evenly from the classes as they allow."""
    most = max(BANK // width, classes)
    order = np.random.default_rng(0).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # by class, in random order within each
    starts = np.searchsorted(labels[order], labels[order])
    turn = np.arange(len(order)) - starts  # 0 for the first picture of each class, 1 for the second …
    return np.sort(order[np.argsort(turn, kind="stable")][:most])


def _between_folds(
    features: NDArray[np.float32], labels: NDArray[np.int64], classes: int, folds: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The bank's rows, `(B,)`, and the cosine between each picture and the most similar one of another fold, `(N,)`."""
    bank = _bank(labels, classes, features.shape[1])
    cosines = _nearest(features, _unit(features[bank]), folds[bank], int(folds.max()) + 1)  # (N, folds)
    cosines[np.arange(len(folds)), folds] = 0
    return bank, cosines.max(axis=1)


def _nearest(
    features: NDArray[np.float32], bank: NDArray[np.float32], keys: NDArray[np.int64], count: int
) -> NDArray[np.float32]:
    """The largest cosines between pictures and those in the bank with each key: `(N, count)`, 0 to 1.

    Args:
        features: `(N, D)`.
        bank: `(B, D)`, of length 1.
        keys: `(B,)`, 0 to `count` - 1.
        count: Of keys. One that no picture has gets 0.
    """
    order = np.argsort(keys, kind="stable")
    present, starts = np.unique(keys[order], return_index=True)
    columns = bank[order].T  # (D, B)
    found = np.zeros((len(features), count), np.float32)
    for start in range(0, len(features), BLOCK):
        block = features[start : start + BLOCK]
        cosines = np.maximum.reduceat(block @ columns, starts, axis=1) / _length(block)
        found[start : start + BLOCK, present] = np.clip(cosines, 0, 1)
    return found


def _length(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """`(N, D)` → `(N, 1)`, at least `FAINT`."""
    return np.asarray(np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.float32(FAINT)))


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features brought to length 1, `(N, D)`."""
    return np.asarray(features / _length(features))


def _scale(cosines: NDArray[np.float32]) -> tuple[float, float]:
    """The usual cosine, and the power: more than the least where the cosines differ little."""
    usual, rare = np.maximum(np.quantile(cosines, (USUAL, RARE)), LEAST)
    lost = np.log(usual / rare)  # of the share of the usual cosine
    power = np.log(1 / RARELY) / lost if lost > 0 else POWERS[1]
    return float(usual), float(np.clip(power, *POWERS))


def _familiar(cosines: NDArray[np.float32], usual: float, power: float) -> NDArray[np.float32]:
    """`(N,)` → `(N,)`, 0 to 1."""
    return np.asarray(np.clip(cosines / np.float32(usual), 0, 1) ** np.float32(power))


def _known(features: NDArray[np.float32], folds: NDArray[np.int64], others: NDArray[np.float32]) -> Fitted:
    """A head that tells pictures of the classes, 0, from others, 1. Neighbours among the others share a fold."""
    labels = np.repeat([0, 1], [len(features), len(others)])
    theirs = np.arange(len(others)) * (int(folds.max()) + 1) // len(others)  # (M,)
    return head.fit(np.concatenate([features, others]), labels, 2, np.concatenate([folds, theirs]))
