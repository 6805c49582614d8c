"""Muon moves every direction of a kernel alike, and leaves the rest to Adam."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")

import keras
from keras import ops

from thumbnet.training.optimizers import NEWTON_SCHULZ, STEPS, Muon, optimizer, orthogonal
from thumbnet.training.recipes import BEST, SEED


@pytest.mark.parametrize("shape", [(64, 16), (16, 64), (32, 32)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_orthogonal_brings_singular_values_together(shape: tuple[int, int], dtype: str) -> None:
    rng = np.random.default_rng(0)
    left, _, right = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    values = np.geomspace(1, 0.05, min(shape))
    matrix = ops.cast((left * values) @ right, "float32")
    found = np.asarray(ops.cast(orthogonal(matrix, dtype), "float32"))
    kept = np.diag(left.T @ found @ right.T)  # along the directions of the matrix itself
    assert kept.min() > 0.15  # twenty times weaker, but moved by a fifth at least
    assert np.sort(kept)[2:].min() > 0.3
    assert kept.max() < 1.3
    assert np.abs(left.T @ found @ right.T - np.diag(kept)).max() < 0.06  # and they are not turned


@pytest.mark.parametrize("shape", [(64, 16), (16, 64)])
def test_orthogonal_is_the_polynomials_applied_one_by_one(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).normal(size=shape)
    values = np.linalg.svd(matrix / np.linalg.norm(matrix), compute_uv=False)
    a, b, c = NEWTON_SCHULZ
    for _ in range(STEPS):
        values = a * values + b * values**3 + c * values**5
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    found = np.asarray(orthogonal(ops.cast(matrix, "float32"), "float32"))
    np.testing.assert_allclose(found, (left * values) @ right, atol=1e-4)


def test_orthogonal_of_nothing_is_nothing() -> None:
    assert not np.asarray(orthogonal(ops.zeros((8, 4)), "float32")).any()


def step(chosen: keras.optimizers.Optimizer, shape: tuple[int, ...], steps: int = 1) -> np.ndarray:
    """What `steps` equal gradients at a rate of 0.1 do to a variable of ones."""
    variable = keras.Variable(np.ones(shape, np.float32), name="kernel")
    gradient = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    chosen.build([variable])
    chosen.learning_rate = 0.1
    for _ in range(steps):
        chosen.apply([ops.convert_to_tensor(gradient)], [variable])
    return np.asarray(variable)


def test_what_is_no_kernel_is_adams() -> None:
    np.testing.assert_array_equal(
        step(Muon("float32", 0.95), (20, 8), steps=3), step(keras.optimizers.Adam(), (20, 8), steps=3)
    )


def test_a_kernels_step_has_the_size_that_adams_rates_fit() -> None:
    moved = step(Muon("float32", 0.95), (3, 3, 64, 32)) - 1
    assert np.sqrt((moved**2).mean()) == pytest.approx(0.1 * 0.2, rel=0.2)


def test_a_kernel_moves_against_its_gradient() -> None:
    gradient = np.random.default_rng(0).normal(size=(3, 3, 8, 8))
    assert ((1 - step(Muon("float32", 0.95), (3, 3, 8, 8))) * gradient).sum() > 0


@pytest.mark.parametrize("momentum", [0, 0.9])
def test_momentum_goes_on_after_the_gradient_has_gone(momentum: float) -> None:
    muon = Muon("float32", momentum)
    variable = keras.Variable(np.zeros((3, 3, 8, 8), np.float32), name="kernel")
    muon.build([variable])
    muon.apply([ops.ones((3, 3, 8, 8))], [variable])
    first = np.asarray(variable).copy()
    muon.apply([ops.zeros((3, 3, 8, 8))], [variable])
    assert (np.asarray(variable) < first).all() == (momentum > 0)


def test_recipes_get_what_they_name() -> None:
    assert type(optimizer(SEED, "float32")) is keras.optimizers.Adam
    assert type(optimizer(BEST, "float32")) is Muon
    assert optimizer(dataclasses.replace(SEED, momentum=0.7), "float32").beta_1 == 0.7
    made = optimizer(dataclasses.replace(BEST, weight_decay=0.5, averaging=0.7, beta_2=0.6), "mixed_bfloat16")
    assert (made.weight_decay, made.ema_momentum, made.beta_2, made.use_ema) == (0.5, 0.7, 0.6, True)


def test_muon_lets_the_scale_of_a_norm_be() -> None:
    chosen = optimizer(BEST, "float32")
    scale = keras.Variable(np.ones(4, np.float32), name="gamma")
    kernel = keras.Variable(np.ones((3, 3, 4, 4), np.float32), name="kernel")
    chosen.build([scale, kernel])
    chosen.apply([ops.zeros(4), ops.zeros((3, 3, 4, 4))], [scale, kernel])
    assert (np.asarray(scale) == 1).all()
    assert (np.asarray(kernel) < 1).all()
