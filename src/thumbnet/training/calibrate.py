"""Temperature and threshold: from a network that ranks classes to probabilities that mean something."""

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from thumbnet.data.dataset import Dataset
from thumbnet.evaluation.scores import Answers
from thumbnet.training import networks

POWER = 16  # of the familiarity in the sureness; docs/evaluation.md compares it with others
KEPT = 0.95  # the share of right answers that stay "known"
FLOOR = 1e-30  # below any probability that matters, above float32's smallest; keeps the logarithm finite


def log_probabilities(network: keras.Model, dataset: Dataset, *, mirror: bool) -> NDArray[np.float64]:
    """The network's answers before calibration, as logarithms: `(N, C)`, up to a constant a row.

    Args:
        network: Gives probabilities.
        dataset: Pictures that it was not trained on.
        mirror: Average with the answers for the mirrored pictures, as the model file will.
    """
    views = [dataset.images, dataset.images[:, :, ::-1]] if mirror else [dataset.images]
    at_once = networks.at_once(dataset.images.shape[1])
    answers = [network.predict(view, batch_size=at_once, verbose=0) for view in views]
    logs = np.log(np.maximum(np.asarray(answers, np.float64), FLOOR))  # (views, N, C)
    return np.asarray(logs.mean(axis=0))


def temperature(log_probs: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The divisor of the logits that makes the cross-entropy least (Guo et al. 2017): 0.05 to 20.

    If all N answers are right, it would be zero and every answer certain. So each label is doubted by 1 in N + 2, as in
    Platt (1999), "Probabilistic outputs for support vector machines"; here the doubt is spread over all classes.
    """
    doubt = 1 / (len(labels) + 2)

    def cross_entropy(log_temperature: float) -> float:
        calibrated = log_softmax(log_probs / np.exp(log_temperature), axis=1)  # (N, C)
        right = calibrated[np.arange(len(labels)), labels]  # (N,)
        return float(-((1 - doubt) * right.mean() + doubt * calibrated.mean()))

    bounds = (np.log(0.05), np.log(20))
    return float(np.exp(minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x))


def threshold(answers: Answers) -> float:
    """The sureness that `KEPT` of the right answers to held-out pictures reach, 0 to 1; 0 if no answer is right."""
    return float(np.quantile(answers.sureness[answers.right], 1 - KEPT)) if answers.right.any() else 0.0
