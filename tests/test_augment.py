"""Flip and shift move pixels, and make none up."""

import numpy as np
from numpy.typing import NDArray

from thumbnet.training import augment


def pictures(count: int, size: int = 8) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_flip_mirrors_the_chosen_left_to_right() -> None:
    images = pictures(3)
    flipped = augment.flip(images, np.array([True, False, True]))
    np.testing.assert_array_equal(flipped[0], images[0, :, ::-1])
    np.testing.assert_array_equal(flipped[1], images[1])
    np.testing.assert_array_equal(flipped[2], images[2, :, ::-1])


def test_shift_moves_each_picture_as_a_whole_and_mirrors_its_border() -> None:
    images = pictures(200)
    shifted = augment.shift(images, 2, np.random.default_rng(1))
    assert shifted.shape == images.shape
    assert shifted.dtype == np.uint8
    seen = set()
    for before, after in zip(images, shifted, strict=True):
        padded = np.pad(before, ((2, 2), (2, 2), (0, 0)), mode="reflect")
        places = [(y, x) for y in range(5) for x in range(5) if np.array_equal(padded[y : y + 8, x : x + 8], after)]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == 25  # all ways to move by up to two pixels


def test_shift_is_the_same_for_the_same_generator() -> None:
    images = pictures(50)
    first, second = (augment.shift(images, 2, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
