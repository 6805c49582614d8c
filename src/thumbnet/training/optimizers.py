"""The optimizers that recipes name, each made from a recipe."""

import math
from typing import Any

import keras
from keras import ops

from thumbnet.training.recipes import Recipe

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of Jordan et al. 2024, "Muon": singular values go near 1 in few steps
STEPS = 3  # as in airbench94_muon (Jordan 2024)
RMS = 0.2  # of an update's elements before the learning rate, so that Adam's rates fit (Liu et al. 2025)


def optimizer(recipe: Recipe, precision: str) -> keras.optimizers.Optimizer:
    """The recipe's optimizer. Its learning rate is set at each step.

    Args:
        recipe: Gives its name, momenta, weight decay and averaging.
        precision: The network's dtype policy.
    """
    options = {
        "beta_2": recipe.beta_2, "weight_decay": recipe.weight_decay,
        "use_ema": True, "ema_momentum": recipe.averaging,
    }  # fmt: skip
    if recipe.optimizer == "adam":
        return keras.optimizers.Adam(beta_1=recipe.momentum, **options)
    muon = Muon("bfloat16" if precision == "mixed_bfloat16" else "float32", recipe.momentum, **options)
    muon.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return muon


class Muon(keras.optimizers.Adam):  # type: ignore[misc]  # Keras has no types
    """Adam, but with steps for the convolutions' kernels that change every direction alike (Jordan et al. 2024).

    A few strong directions make up most of a gradient's matrix. If the step is orthogonal, it moves the weak ones as
    much, and the same accuracy takes fewer steps. Keras's own Muon leaves convolutions to Adam.
    """

    def __init__(self, dtype: str, momentum: float, **options: Any) -> None:
        """`dtype` is that of the matrix products; `momentum` is that of the kernels' gradients (0 to 1)."""
        super().__init__(**options)
        self._dtype = dtype
        self._momentum = momentum

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        """One step of one variable. Adam takes those that do not have a kernel's four dimensions."""
        if len(variable.shape) != 4:
            super().update_step(gradient, variable, learning_rate)
            return
        past = self._momentums[self._get_variable_index(variable)]
        self.assign(past, self._momentum * past + gradient)
        matrix = ops.reshape(gradient + self._momentum * past, (-1, variable.shape[-1]))  # (k·k·I, O), Nesterov's
        step = ops.cast(orthogonal(matrix, self._dtype), variable.dtype)
        scale = RMS * math.sqrt(max(matrix.shape))
        self.assign_sub(variable, learning_rate * scale * ops.reshape(step, variable.shape))


def orthogonal(matrix: Any, dtype: str) -> Any:
    """Roughly the nearest matrix whose singular values are all one: `(M, N)` → `(M, N)`.

    Each step multiplies the matrix from the left by a polynomial of its rows' products, a square matrix of the small
    side. So the polynomials are multiplied first, in float32, and the whole matrix only twice.

    Args:
        matrix: The matrix to make orthogonal.
        dtype: The type of the whole matrix's products and of the result.
    """
    a, b, c = NEWTON_SCHULZ
    wide = ops.cast(matrix if matrix.shape[0] <= matrix.shape[1] else ops.transpose(matrix), dtype)  # (m, n)
    gram = ops.cast(ops.matmul(wide, ops.transpose(wide)), "float32")  # (m, m)
    square = ops.trace(gram) + 1e-14  # of the matrix's norm
    gram, identity = gram / square, ops.eye(gram.shape[0])
    factor = identity / ops.sqrt(square)
    for _ in range(STEPS):  # nobody uses the last `gram`: a compiled step leaves it out
        polynomial = a * identity + b * gram + c * ops.matmul(gram, gram)
        factor = ops.matmul(polynomial, factor)
        gram = ops.matmul(polynomial, ops.matmul(gram, polynomial))
    x = ops.matmul(ops.cast(factor, dtype), wide)  # (m, n)
    return x if matrix.shape[0] <= matrix.shape[1] else ops.transpose(x)
