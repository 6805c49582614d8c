"""Features of labelled pictures → a head: one matrix product that gives the probability of each class.

Each class is a normal distribution around the mean of its pictures, and all classes share one covariance, which is
drawn towards a ball by the shrinkage (regularised linear discriminant analysis, Friedman 1989). This has a closed form,
so cross-validation is cheap. Features may come in parts, such as the averages of several layers: each part gets an
analysis of its own, and the logits are added up, each part's with a strength.

The strengths also do the work of a temperature. They are found on out-of-fold answers, together with how much it counts
that a class has more pictures than another. A few pictures tell little of this, so all are drawn towards defaults that
suit many sets of pictures.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import log_softmax
from threadpoolctl import threadpool_limits

SHRINKAGES = (0.97, 0.9, 0.75, 0.5, 0.25, 0.1, 0.03)  # 0 to 1; tried from the left until the next is no better
STRENGTH = 3.0  # the parts' strengths together by default, for out-of-fold logits whose mean square is 1
FIRST = 8.0  # times as strong is the first part by default as all others together
STUBBORN = 0.3  # nats that a strength costs which is e times its default, or an e-th
SURER = 1.15  # times as strong is a head that learnt from all folds: logits of one that lacked a fold hold more noise
UNJUDGED = 1.5  # times less strong is a head of which nothing is known out of fold, as with one picture a class
BLOCK = 4096  # pictures at once
MOST = 10_000_000  # out-of-fold logits a part, at most, from which shrinkages and strengths are chosen
FLAT = 1e-9  # the share of the features' variance below which the variance within the classes is rounding


@dataclass(frozen=True, eq=False)
class Head:
    """Logits = features @ weights + bias."""

    weights: NDArray[np.float32]  # (D, C)
    bias: NDArray[np.float32]  # (C,)

    def log_probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """`(N, D)` → the logarithms of the probabilities, `(N, C)`."""
        logits = features @ self.weights + self.bias  # (N, C)
        return np.asarray(log_softmax(logits.astype(np.float64), axis=1))


@dataclass(frozen=True, eq=False)
class Fitted:
    """A head that was learnt from all pictures, and what was found on the way."""

    head: Head
    out_of_fold: NDArray[np.float64]  # (N, C), log-probabilities by heads that have not learnt from the picture's fold
    temperature: float  # the divisor of the parts' logits, averaged by `mixing`; the head's weights contain it
    chosen: dict[str, Any]  # how the head was made, for the model file


class _Linear(NamedTuple):
    """Logits = rows @ weights + bias."""

    weights: NDArray[np.float64]  # (d, C)
    bias: NDArray[np.float64]  # (C,)


class _Part(NamedTuple):
    """The best analysis of one part, its logits scaled so that the mean square of the out-of-fold ones is 1."""

    linear: _Linear  # learnt from all pictures
    out_of_fold: NDArray[np.float64]  # logits, (N, C)
    shrinkage: float


class _Mixture(NamedTuple):
    """What the parts' logits are multiplied by, and the logarithms of the classes' shares."""

    strengths: NDArray[np.float64]  # (P,)
    balance: float  # 0: all classes are taken to be equally frequent; 1: as frequent as among the pictures
    loss: float  # the out-of-fold cross-entropy in nats, with what the distance from the defaults costs


def fit(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    folds: NDArray[np.int64],
    *,
    parts: Sequence[int] = (),
) -> Fitted:
    """Learn a head.

    The out-of-fold answers to a picture come from the other folds' class means, covariance and class shares. Only the
    choice of the shrinkages and of the mixture's few numbers has seen all folds. A class whose pictures are all in one
    fold is unknown to the head that judges them, so they take no part in this choice.

    Args:
        features: float32 `(N, D)`.
        labels: int64 `(N,)`, 0 to C - 1; each class has a picture.
        classes: C, from 2 on.
        folds: int64 `(N,)`, the fold of each picture, from 0 on.
        parts: How many of the D columns belong to each part, from the left; without, all are one part.

    Raises:
        ValueError: The arguments do not fit together, or a feature is not finite.
    """
    widths = tuple(parts) or features.shape[1:]
    _check(features, labels, classes, folds, widths)
    counts = np.zeros((folds.max() + 1, classes), np.int64)
    np.add.at(counts, (folds, labels), 1)
    elsewhere = counts.sum(axis=0) - counts  # (folds, C), pictures in the other folds
    shares = _log_shares(elsewhere)[folds]  # (N, C)
    judged = np.flatnonzero(elsewhere[folds, labels])  # pictures with another of their class in another fold
    judged = judged[:: math.ceil(max(judged.size * classes, 1) / MOST)]
    default = np.array([FIRST] + [1 / (len(widths) - 1)] * (len(widths) - 1)) if len(widths) > 1 else np.ones(1)
    default *= STRENGTH / default.sum()
    # One thread: the same sums on any machine, and OpenBLAS's threads wait long for each other on a busy one.
    with threadpool_limits(1, user_api="blas"):
        columns = np.split(features, np.cumsum(widths)[:-1], axis=1)
        found = [_part(one, labels, classes, folds, judged) for one in columns]
        logits = np.stack([part.out_of_fold for part in found])  # (P, N, C)
        mixture = _mix(logits[:, judged], shares[judged], labels[judged], default)
    strengths = mixture.strengths * SURER  # (P,)
    weights = np.concatenate([strength * part.linear.weights for strength, part in zip(strengths, found, strict=True)])
    bias = strengths @ np.stack([part.linear.bias for part in found])  # (C,)
    bias += mixture.balance * _log_shares(counts.sum(axis=0))
    combined = np.tensordot(mixture.strengths, logits, 1) + mixture.balance * shares  # (N, C)
    temperature = 1 / float(strengths.sum())
    return Fitted(
        Head(weights.astype(np.float32), bias.astype(np.float32)),
        np.asarray(log_softmax(combined, axis=1)),
        temperature,
        {
            "head": "discriminant analysis",
            "parts": list(widths),
            "shrinkage": [part.shrinkage for part in found],
            "mixing": [round(share, 4) for share in (strengths * temperature).tolist()],
            "temperature": round(temperature, 4),
            "balance": round(mixture.balance, 4),
        },
    )


def _check(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    folds: NDArray[np.int64],
    widths: tuple[int, ...],
) -> None:
    """Raise ValueError where `fit` would give nonsense."""
    if features.ndim != 2 or features.shape[:1] != labels.shape or labels.shape != folds.shape:
        shapes = f"{features.shape}, {labels.shape} and {folds.shape}"
        raise ValueError(f"expected features (N, D), labels (N,) and folds (N,), got {shapes}")
    if not np.isfinite(features).all():
        raise ValueError("expected finite features, got NaN or infinity")
    if classes < 2 or not np.array_equal(np.unique(labels), np.arange(classes)):
        raise ValueError(f"expected {max(classes, 2)} classes with pictures, 0 to C - 1, got {np.unique(labels)}")
    if folds.min() < 0:
        raise ValueError(f"expected folds from 0 on, got {folds.min()}")
    if sum(widths) != features.shape[1] or min(widths) < 1:
        raise ValueError(f"expected parts with {features.shape[1]} columns in all, got {widths}")


def _log_shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The classes' shares of `(…, C)` pictures, as logarithms. A class without pictures has half a one."""
    some = np.maximum(counts, 0.5)
    return np.asarray(np.log(some / some.sum(axis=-1, keepdims=True)))


def _part(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    folds: NDArray[np.int64],
    judged: NDArray[np.intp],
) -> _Part:
    """The analysis of `(N, d)` features whose out-of-fold answers are best. `judged` are the rows that choose it."""
    analysis = _Analysis(features, labels, classes, folds)
    equal = np.zeros((len(judged), classes))  # shares: they are weighed when the parts are mixed
    default = np.array([STRENGTH])
    least, best, unit, chosen = math.inf, np.empty(0), 1.0, SHRINKAGES[0]
    for shrinkage in SHRINKAGES:
        logits = analysis.out_of_fold(shrinkage)  # (N, C)
        scale = _root_mean_square(logits[judged])
        logits /= scale
        loss = _mix(logits[None, judged], equal, labels[judged], default).loss
        if loss >= least:
            break
        least, best, unit, chosen = loss, logits, scale, shrinkage
    linear = analysis.learn(chosen)
    if not judged.size:
        unit = UNJUDGED * _root_mean_square(analysis.logits(linear, slice(None)))  # of the pictures that were learnt
    weights, bias = analysis.original(linear)
    return _Part(_Linear(weights / unit, bias / unit), best, chosen)


def _root_mean_square(logits: NDArray[np.float64]) -> float:
    """1 where there is nothing, or nothing but zeros."""
    return (float(np.sqrt(np.square(logits).mean())) if logits.size else 0.0) or 1.0


def _mix(
    logits: NDArray[np.float64], shares: NDArray[np.float64], labels: NDArray[np.int64], default: NDArray[np.float64]
) -> _Mixture:
    """The mixture with the least loss.

    If all n answers are right, the best strengths would be infinite and every answer certain. So each label is doubted
    by 1 in n + 2, as in Platt (1999), "Probabilistic outputs for support vector machines".

    Args:
        logits: Out of fold, `(P, n, C)`.
        shares: Logarithms of the classes' shares, `(n, C)`.
        labels: `(n,)`.
        default: The strengths without any picture, `(P,)`.
    """
    doubt = 1 / (len(labels) + 2)
    truth = np.full(logits.shape[1:], doubt / logits.shape[2])  # (n, C)
    truth[np.arange(len(labels)), labels] += 1 - doubt

    def loss(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        strengths, balance = default * np.exp(point[:-1]), point[-1]
        logs = log_softmax(np.tensordot(strengths, logits, 1) + balance * shares, axis=1)  # (n, C)
        gap = np.exp(logs) - truth  # (n, C)
        slope = np.append(np.tensordot(logits, gap, 2) * strengths, np.vdot(shares, gap))
        return float(STUBBORN * (point @ point) - np.vdot(truth, logs)), slope + 2 * STUBBORN * point

    bounds = [(-5.0, 5.0)] * len(default) + [(0.0, 1.0)]
    found = minimize(loss, np.zeros(len(default) + 1), jac=True, method="L-BFGS-B", bounds=bounds)
    return _Mixture(default * np.exp(found.x[:-1]), float(found.x[-1]), float(found.fun))


class _Statistics(NamedTuple):
    """What discriminant analysis knows of some pictures."""

    within: NDArray[np.float64]  # (d, d), the sum of the squared distances from the class means; trace 1, or all 0
    means: NDArray[np.float64]  # (C, d)


class _Analysis:
    """Discriminant analysis of `(N, D)` features, for one shrinkage after the other."""

    def __init__(
        self, features: NDArray[np.float32], labels: NDArray[np.int64], classes: int, folds: NDArray[np.int64]
    ) -> None:
        self._width = features.shape[1]
        self._centre = features.mean(axis=0, dtype=np.float64)  # (D,); spares digits, and changes no probability
        self._basis: NDArray[np.float64] | None = None
        self._rows: NDArray[np.floating[Any]] = features
        if len(features) < self._width:
            # N pictures span N dimensions at the most, and the answer lies in them: their coordinates there do.
            self._basis, upper = np.linalg.qr((features - self._centre).T)  # (D, N), (N, N)
            self._rows = upper.T  # (N, N)
        self._folds = [np.flatnonzero(folds == fold) for fold in range(folds.max() + 1)]
        width = self._rows.shape[1]
        moments = np.zeros((len(self._folds), width, width))
        sums = np.zeros((len(self._folds), classes, width))
        counts = np.zeros((len(self._folds), classes, 1))
        for fold, chosen in enumerate(self._folds):
            for block in _blocks(chosen):
                rows = self._centred(block)  # (n, d)
                one_hot = csr_array(
                    (np.ones(len(block)), (labels[block], np.arange(len(block)))), (classes, len(block))
                )
                moments[fold] += rows.T @ rows
                sums[fold] += one_hot @ rows
            counts[fold, :, 0] = np.bincount(labels[chosen], minlength=classes)
        every = moments.sum(axis=0), sums.sum(axis=0), counts.sum(axis=0)
        self._all = _statistics(*every)
        self._others = [
            _statistics(*(whole - own for whole, own in zip(every, of_fold, strict=True)))
            for of_fold in zip(moments, sums, counts, strict=True)
        ]

    def learn(self, shrinkage: float) -> _Linear:
        """From all pictures. For the analysis's own rows, which `logits` takes."""
        return self._solve(self._all, shrinkage)

    def original(self, linear: _Linear) -> _Linear:
        """The same for features."""
        weights = linear.weights if self._basis is None else self._basis @ linear.weights  # (D, C)
        return _Linear(weights, linear.bias - self._centre @ weights)

    def out_of_fold(self, shrinkage: float) -> NDArray[np.float64]:
        """The logits of each picture by what is known of the other folds, `(N, C)`."""
        logits = np.empty((len(self._rows), len(self._all.means)))
        for chosen, others in zip(self._folds, self._others, strict=True):
            linear = self._solve(others, shrinkage)
            for block in _blocks(chosen):
                logits[block] = self.logits(linear, block)
        return logits

    def logits(self, linear: _Linear, chosen: NDArray[np.intp] | slice) -> NDArray[np.float64]:
        """Those of some pictures, `(n, C)`."""
        return np.asarray(self._centred(chosen) @ linear.weights + linear.bias)

    def _centred(self, chosen: NDArray[np.intp] | slice) -> NDArray[np.float64]:
        rows = self._rows[chosen]  # (n, d)
        return np.asarray(rows if self._basis is not None else rows - self._centre, np.float64)

    def _solve(self, known: _Statistics, shrinkage: float) -> _Linear:
        """The logarithms of the normal densities, less their mean over the classes."""
        covariance = known.within * (1 - shrinkage)  # (d, d), of the trace 1, as the scale is the strength's to decide
        covariance[np.diag_indices_from(covariance)] += (shrinkage if known.within.any() else 1) / self._width
        factor = cho_factor(covariance, lower=True, overwrite_a=True, check_finite=False)
        weights = cho_solve(factor, known.means.T, check_finite=False)  # (d, C)
        bias = -0.5 * np.einsum("cd,dc->c", known.means, weights)  # (C,)
        return _Linear(weights - weights.mean(axis=1, keepdims=True), bias - bias.mean())


def _statistics(moment: NDArray[np.float64], sums: NDArray[np.float64], counts: NDArray[np.float64]) -> _Statistics:
    """From the sums of products `(d, d)`, of rows `(C, d)` and of ones `(C, 1)`.

    A class without pictures has the mean of the others' means, so nothing speaks for it or against it.
    """
    known = counts[:, 0] > 0
    means = sums / np.maximum(counts, 1)  # (C, d)
    within = moment - means.T @ sums
    if known.any():
        means[~known] = means[known].mean(axis=0)
    trace = np.trace(within)
    flat = trace <= FLAT * np.trace(moment)  # each class has one picture, or copies of one
    return _Statistics(np.zeros_like(within) if flat else within / trace, means)


def _blocks(chosen: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """So many at once that memory stays bounded."""
    return (chosen[start : start + BLOCK] for start in range(0, len(chosen), BLOCK))
