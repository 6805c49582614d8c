"""Each way to change a picture does that, and no more than it is told to."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from thumbnet.training import augment
from thumbnet.training.recipes import BEST, SEED


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


def disc(count: int) -> NDArray[np.uint8]:
    """A bright disc of radius 8 in the middle of each picture: `(N, 32, 32, 3)`."""
    rows, columns = np.mgrid[:32, :32] - 15.5
    plane = np.where(rows**2 + columns**2 < 64, 200, 50).astype(np.uint8)  # (32, 32)
    return np.tile(plane[None, :, :, None], (count, 1, 1, 3))


def extents(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Height and width of the disc in each picture, in pixels, from its second moments: `(N, 2)`."""
    weights = (images[..., 0].astype(float) - 50).clip(0)  # (N, 32, 32)
    total = weights.sum(axis=(1, 2))
    found = []
    for profile in (weights.sum(axis=2), weights.sum(axis=1)):  # (N, 32)
        middle = (profile * np.arange(32)).sum(axis=1) / total
        spread = (profile * (np.arange(32) - middle[:, None]) ** 2).sum(axis=1) / total
        found.append(4 * np.sqrt(spread))  # a disc's diameter is four standard deviations
    return np.stack(found, axis=1)


def test_warp_by_nothing_changes_nothing() -> None:
    images = pictures(20, 32)
    np.testing.assert_array_equal(augment.warp(images, 0, 0, 0, np.random.default_rng(0)), images)


def test_warp_enlarges_and_shrinks_within_its_bounds() -> None:
    images = disc(300)
    factors = extents(augment.warp(images, 0, 0.25, 0, np.random.default_rng(0))) / extents(images)  # (N, 2)
    np.testing.assert_allclose(factors[:, 0], factors[:, 1], rtol=0.04)
    assert np.exp(-0.25) * 0.95 < factors.min() < np.exp(-0.2)
    assert np.exp(0.2) < factors.max() < np.exp(0.25) * 1.05


def test_warp_stretches_within_its_bounds_and_keeps_the_area() -> None:
    images = disc(300)
    factors = extents(augment.warp(images, 0, 0, 0.3, np.random.default_rng(0))) / extents(images)
    np.testing.assert_allclose(factors.prod(axis=1), 1, rtol=0.06)
    ratios = factors[:, 0] / factors[:, 1]
    assert np.exp(-0.3) * 0.95 < ratios.min() < np.exp(-0.2)
    assert np.exp(0.2) < ratios.max() < np.exp(0.3) * 1.05


def test_warp_moves_within_its_bounds() -> None:
    moved = augment.warp(disc(300), 3, 0, 0, np.random.default_rng(0))[..., 0].astype(float) - 50  # (N, 32, 32)
    for axis in (1, 2):
        centres = (moved.sum(axis=axis) * np.arange(32)).sum(axis=1) / moved.sum(axis=(1, 2)) - 15.5
        assert -3.1 < centres.min() < -2.5
        assert 2.5 < centres.max() < 3.1


def test_warp_makes_up_no_colour() -> None:
    images = np.full((50, 32, 32, 3), (10, 120, 230), np.uint8)
    np.testing.assert_array_equal(augment.warp(images, 3, 0.3, 0.3, np.random.default_rng(0)), images)


def test_focus_blurs_some_and_sharpens_as_many() -> None:
    images = disc(400)
    steps = np.abs(np.diff(augment.focus(images, 0.5, np.random.default_rng(0)).astype(int), axis=2)).max(
        axis=(1, 2, 3)
    )
    assert 0.4 < (steps == 150).mean() < 0.7  # untouched, or all but
    assert 0.15 < (steps < 150).mean() < 0.3
    assert 0.15 < (steps > 150).mean() < 0.3


def test_light_changes_contrast_around_the_mean_and_moves_colours_within_bounds() -> None:
    images = np.tile(np.array([100, 140], np.uint8)[:, None, None], (400, 16, 32, 3)).reshape(400, 32, 32, 3)
    lit = augment.light(images, 0.3, np.random.default_rng(0)).astype(float)
    contrasts = np.ptp(lit, axis=(1, 2)) / 40  # (N, 3)
    assert np.exp(-0.3) - 0.03 < contrasts.min() < 0.8
    assert 1.3 < contrasts.max() < np.exp(0.3) + 0.03
    casts = lit.mean(axis=(1, 2)) - 120  # (N, 3)
    assert -0.3 * 25.5 - 1 < casts.min() < -6
    assert 6 < casts.max() < 0.3 * 25.5 + 1


def test_light_stays_within_what_a_pixel_holds() -> None:
    images = np.zeros((100, 8, 8, 3), np.uint8)
    images[:, ::2] = 255
    lit = augment.light(images, 0.5, np.random.default_rng(0))
    assert np.median(lit[:, ::2]) > 200  # and nothing has gone round from 255 to 0
    assert np.median(lit[:, 1::2]) < 55


@pytest.mark.parametrize(
    ("change", "called"),
    [
        ({"shift": 0}, {"flip"}),
        ({}, {"flip", "shift"}),
        ({"zoom": 0.1}, {"flip", "warp"}),
        ({"stretch": 0.1, "shift": 0}, {"flip", "warp"}),
        ({"focus": 0.1}, {"flip", "shift", "focus"}),
        ({"light": 0.1}, {"flip", "shift", "light"}),
    ],
)
def test_a_picture_is_changed_as_the_recipe_says(
    change: dict[str, Any], called: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    for name in ("flip", "shift", "warp", "focus", "light"):

        def noting(images: Any, *_: Any, name: str = name) -> Any:
            seen.add(name)
            return images

        monkeypatch.setattr(augment, name, noting)
    recipe = dataclasses.replace(SEED, **change)
    augment.augment(recipe, pictures(4, 32), np.zeros(4, np.bool_), np.random.default_rng(0))
    assert seen == called


@pytest.mark.parametrize(("recipe", "name"), [(SEED, "shift"), (BEST, "warp")])
@pytest.mark.parametrize("size", [32, 64, 96])
def test_a_move_is_the_same_share_of_a_picture_of_any_size(
    size: int, recipe: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def noting(images: Any, most: int, *_: Any) -> Any:
        given.append(most)
        return images

    monkeypatch.setattr(augment, name, noting)
    augment.augment(recipe, pictures(2, size), np.zeros(2, np.bool_), np.random.default_rng(0))
    assert given == [recipe.shift * size // 32]


@pytest.mark.parametrize("recipe", [SEED, BEST])
def test_the_given_pictures_stay_as_they_are(recipe: Any) -> None:
    images = pictures(30, 32)
    before = images.copy()
    changed = augment.augment(recipe, images, np.ones(30, np.bool_), np.random.default_rng(0))
    np.testing.assert_array_equal(images, before)
    assert changed.shape == images.shape
    assert changed.dtype == np.uint8
    assert (changed != images).any()


def test_shrink_takes_the_averages_of_areas() -> None:
    images = pictures(3, 8)
    means = images.reshape(3, 4, 2, 4, 2, 3).mean(axis=(2, 4))  # (3, 4, 4, 3)
    np.testing.assert_allclose(augment.shrink(images, 4), means, atol=0.51)
