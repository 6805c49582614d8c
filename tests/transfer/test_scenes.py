"""Pictures of the same scene are found, and pictures that are merely alike are not."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from support.trees import encoded

from thumbnet.errors import SourceError
from thumbnet.pictures.decode import RGB
from thumbnet.transfer import scenes

COUNT = 12  # pictures of other scenes


def scene(seed: int, side: int = 300) -> RGB:
    """Shapes at random places on clouds: `(side, side, 3)`."""
    rng = np.random.default_rng(seed)
    clouds = cv2.resize(rng.integers(0, 256, (6, 6, 3)).astype(np.float32), (side, side))
    image = np.clip(clouds, 0, 255).astype(np.uint8)
    for _ in range(60):
        centre, colour = rng.integers(0, side, 2).tolist(), rng.integers(0, 256, 3).tolist()
        size, angle = rng.integers(side // 30, side // 12, 2).tolist(), int(rng.integers(0, 180))
        cv2.ellipse(image, centre, size, angle, 0, 360, colour, -1)
    return image


def turned(image: RGB, angle: float) -> RGB:
    side = len(image)
    movement = cv2.getRotationMatrix2D((side / 2, side / 2), angle, 1)
    return np.asarray(cv2.warpAffine(image, movement, (side, side), borderMode=cv2.BORDER_REFLECT), np.uint8)


# What makes another picture of the same scene: each by its name.
ALTERED: dict[str, Callable[[RGB], RGB]] = {
    "middle": lambda image: image[45:-45, 45:-45],
    "corner": lambda image: image[:200, :200],
    "turned": lambda image: turned(image, 20),
    "turned a quarter": lambda image: np.rot90(image),
    "stepped aside": lambda image: np.concatenate([image[:, 90:], scene(99)[:, :90]], axis=1),
    "darker": lambda image: (image * 0.5).astype(np.uint8),
    "smaller": lambda image: np.asarray(cv2.resize(image, (150, 150), interpolation=cv2.INTER_AREA), np.uint8),
}


def features(*alike: tuple[int, int], count: int = COUNT + 1) -> NDArray[np.float32]:
    """Of `count` pictures, far from each other but for the pairs `alike`: `(count, 64)`."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(count, 64))
    for first, second in alike:
        rows[second] = rows[first] + 0.4 * rng.normal(size=64)
    return rows.astype(np.float32)


def pictures(*more: RGB) -> list[Callable[[], bytes | RGB]]:
    every = [*(scene(seed) for seed in range(COUNT)), *more]
    return [lambda image=image: encoded(image) for image in every]  # type: ignore[misc]


@pytest.mark.parametrize("way", ALTERED)
def test_another_picture_of_a_scene_is_found(way: str) -> None:
    [found] = scenes.find(features((3, COUNT)), pictures(ALTERED[way](scene(3))), mirrored=True)
    assert found[:2] == (3, COUNT)
    assert found.details >= scenes.ENOUGH
    assert not found.mirrored


def test_a_mirror_image_is_found_where_it_shows_the_same() -> None:
    both = features((3, COUNT)), pictures(ALTERED["middle"](scene(3))[:, ::-1])
    [found] = scenes.find(*both, mirrored=True)
    assert (found.first, found.second, found.mirrored) == (3, COUNT, True)
    assert scenes.find(*both, mirrored=False) == []


def test_another_scene_is_none_however_close_its_features_are() -> None:
    assert scenes.find(features((3, 4), (5, 6)), pictures(scene(77)), mirrored=True) == []


def test_the_same_scene_is_not_looked_for_where_features_are_far() -> None:
    assert scenes.find(features(), pictures(scene(3)), mirrored=True) == []


def test_a_pair_has_to_stand_out_among_pictures_that_are_all_close() -> None:
    """As in a set of one kind, where candidates would be nearly all pairs."""
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(2, 64)).repeat(20, axis=0)
    rows = (kinds + 0.3 * rng.normal(size=(40, 64))).astype(np.float32)
    assert scenes._candidates(rows) == []
    rows[31] = rows[25] + 0.05 * rng.normal(size=64)
    assert scenes._candidates(rows) == [(25, 31)]


@pytest.mark.parametrize("products", [1, 40, 2**25])
def test_candidates_are_the_same_in_blocks_of_any_size(products: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "PRODUCTS", products)
    assert scenes._candidates(features((3, 7), (1, 12), (2, 8))) == [(1, 12), (2, 8), (3, 7)]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_small_sets_have_fewer_neighbours(count: int) -> None:
    found = scenes.find(features(count=count), pictures()[:count], mirrored=True)
    assert found == []
    assert scenes._candidates(np.ones((count, 8), np.float32)) == []


def test_four_pictures_are_enough_to_find_a_pair() -> None:
    every = [*pictures()[:3], *pictures(ALTERED["middle"](scene(1)))[-1:]]
    [found] = scenes.find(features((1, 3), count=4), every, mirrored=True)
    assert found[:2] == (1, 3)


def test_pixels_are_taken_as_they_are() -> None:
    every: list[Callable[[], bytes | RGB]] = [*pictures(), lambda: scene(3)]
    [found] = scenes.find(features((3, COUNT)), every, mirrored=True)
    assert found[:2] == (3, COUNT)


def test_a_picture_that_cannot_be_read_is_in_no_pair() -> None:
    def gone() -> bytes:
        raise SourceError("it is gone")

    every = pictures(scene(3), scene(5))
    every[3] = gone
    every[6] = lambda: b"no picture"
    found = scenes.find(
        features((3, COUNT), (5, COUNT + 1), (6, 7), count=COUNT + 2), every, mirrored=True
    )  # fmt: skip
    assert [pair[:2] for pair in found] == [(5, COUNT + 1)]


@pytest.mark.parametrize("image", [scene(3)[:63], np.full((300, 300, 3), 90, np.uint8)], ids=["small", "plain"])
def test_small_and_plain_pictures_have_too_few_details(image: RGB) -> None:
    every = pictures(image)
    every[3] = every[COUNT]
    assert scenes.find(features((3, COUNT)), every, mirrored=True) == []


def test_few_details_in_common_are_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    both = features((3, COUNT)), pictures(scene(3))
    most = scenes.find(*both, mirrored=True)[0].details
    monkeypatch.setattr(scenes, "ENOUGH", most + 1)
    assert scenes.find(*both, mirrored=True) == []
