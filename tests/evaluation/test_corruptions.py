"""corruptions: what each way does to a picture, and how the accuracy is taken."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from support.models import NAMES, SIZE, content, graph, square

from thumbnet.data.dataset import Dataset
from thumbnet.evaluation.corruptions import LARGE, STRENGTHS, WAYS, benchmark, corrupt, robustness
from thumbnet.model.classifier import Classifier


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(params=[32, LARGE - 1, LARGE, 288])
def picture(rng: np.random.Generator, request: pytest.FixtureRequest) -> NDArray[np.uint8]:
    coarse = rng.integers(0, 256, (9, 9, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (request.param, request.param), interpolation=cv2.INTER_CUBIC), np.uint8)


def distance(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("way", WAYS)
def test_stronger_is_worse(way: str, picture: NDArray[np.uint8], rng: np.random.Generator) -> None:
    before = picture.copy()
    spoilt = [corrupt(picture, way, strength, rng) for strength in range(1, STRENGTHS + 1)]
    assert {(each.shape, each.dtype) for each in spoilt} == {(picture.shape, picture.dtype)}
    far = [distance(each, picture) for each in spoilt]
    assert far == sorted(far)
    assert far[0] > 0
    assert (picture == before).all()


def test_noise_has_its_deviation(rng: np.random.Generator) -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    spoilt = corrupt(grey, "Gaussian noise", 5, rng)
    assert spoilt.std() == pytest.approx(25.5, rel=0.03)
    assert spoilt.mean() == pytest.approx(127.5, abs=0.7)  # rounded down


def test_blurs_spread_a_point_by_their_kernel(rng: np.random.Generator) -> None:
    point = np.zeros((9, 9, 3), np.uint8)
    point[4, 4] = 250
    assert corrupt(point, "Gaussian blur", 5, rng)[4, 4, 0] == int(250 * 0.15924)  # a Gaussian of sigma 1, by hand
    disk = corrupt(point, "defocus blur", 5, rng)[..., 0]
    assert (disk[3:6, 3:6] == 27).all()  # 250 / 9
    assert disk.sum() == 9 * 27


def test_blurs_of_a_large_picture_spread_a_point_further(rng: np.random.Generator) -> None:
    point = np.zeros((LARGE, LARGE, 3), np.float64)
    point[64, 64] = 25_000
    blur, settings = WAYS["Gaussian blur"].spoil, WAYS["Gaussian blur"].large
    spread = blur(point, settings[-1], rng)[..., 0]
    assert spread[64, 64] == pytest.approx(25_000 / (2 * np.pi * 6**2), rel=1e-3)  # a Gaussian of sigma 6
    assert spread.sum() == pytest.approx(25_000)
    defocus, settings = WAYS["defocus blur"].spoil, WAYS["defocus blur"].large
    for radius, softness in settings:
        disk = defocus(point, (radius, softness), rng)[..., 0]
        assert disk.sum() == pytest.approx(25_000, rel=0.02)  # as there, what is blurred off the edge is mirrored
        y, x = np.mgrid[-64:64, -64:64]
        far = np.hypot(y, x)
        inside = disk[far <= radius - 2]
        assert inside == pytest.approx(inside.mean(), rel=1e-3)  # level within
        assert np.abs(disk[far > radius + 3]).max() < 1e-3 * inside.mean()


def test_strengths_are_named_by_their_benchmark() -> None:
    assert [benchmark(size) for size in (32, LARGE - 1, LARGE, 288)] == ["CIFAR-10-C"] * 2 + ["ImageNet-C"] * 2


def test_large_pictures_get_the_settings_of_large_ones(rng: np.random.Generator) -> None:
    for size, deviation in ((LARGE - 1, 0.04), (LARGE, 0.08)):
        spoilt = corrupt(np.full((size, size, 3), 128, np.uint8), "Gaussian noise", 1, rng)
        assert spoilt.std() == pytest.approx(255 * deviation, rel=0.03)


def test_brightness_is_added_to_the_value_and_keeps_the_hue(rng: np.random.Generator) -> None:
    colours = np.array([[[200, 100, 0], [0, 0, 0], [10, 250, 250]]] * 3, np.uint8)
    brighter = corrupt(colours, "brightness", 2, rng)[0]  # 25.5 more
    assert brighter.tolist() == [[225, 112, 0], [25, 25, 25], [10, 255, 255]]


def test_contrast_keeps_the_mean_of_each_channel(rng: np.random.Generator) -> None:
    colours = np.zeros((2, 2, 3), np.uint8)
    colours[0] = 200, 100, 40
    assert corrupt(colours, "contrast", 2, rng)[:, 0].tolist() == [[150, 75, 30], [50, 25, 10]]


def test_jpeg_keeps_the_order_of_the_colours(rng: np.random.Generator) -> None:
    red = square("red", 32)
    spoilt = corrupt(red, "JPEG", 5, rng)
    data = cv2.imencode(".jpg", red[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 40])[1]
    assert (spoilt == cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)).all()
    assert distance(spoilt, red) < 3


@pytest.mark.parametrize(("size", "images"), [(4, 12), (32, 12), (33, 11), (96, 4)])
def test_of_larger_pictures_fewer_are_spoilt(monkeypatch: pytest.MonkeyPatch, size: int, images: int) -> None:
    monkeypatch.setattr("thumbnet.evaluation.corruptions.PICTURES", 12)
    dataset = Dataset(np.zeros((20, size, size, 3), np.uint8), np.zeros(20, np.int64), NAMES)
    assert robustness(Classifier(content(graph(size), size=size)), dataset).images == images


def test_robustness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thumbnet.evaluation.corruptions.PICTURES", 4)
    colours = [NAMES[place % 3] for place in range(6)]
    images = np.stack([square(colour, SIZE) // 64 for colour in colours])  # so dark that noise drowns it
    dataset = Dataset(images, np.arange(6) % 3, NAMES)
    found = robustness(Classifier(content()), dataset)
    assert (found.images, found.unspoilt) == (4, 1)
    assert list(found.accuracy) == list(WAYS)
    assert found.accuracy["brightness"] == (1, 1, 1, 1, 1)
    assert min(found.accuracy["Gaussian noise"]) < 1
    assert found.mean == pytest.approx(np.mean([list(each) for each in found.accuracy.values()]))
    assert found == robustness(Classifier(content()), dataset)
