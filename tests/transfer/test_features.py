"""Pictures → features: one at a time, in order, kept, with bounded memory."""

import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.backbones import SIZE, WIDTH, backbone
from support.trees import encoded

from thumbnet.data.dataset import square_key
from thumbnet.errors import DataWarning, ModelError, SourceError
from thumbnet.pictures.framing import square
from thumbnet.transfer import features as module
from thumbnet.transfer.backbone import Backbone, open_backbone
from thumbnet.transfer.cache import Cache
from thumbnet.transfer.features import Picture, extract


@pytest.fixture
def tiny(tmp_path: Path) -> Backbone:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(backbone())
    return open_backbone(path)


def image(number: int, side: int = 20) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, (side, side + 3, 3), np.uint8)


def given(content: Any) -> Picture:
    def read() -> Any:
        if isinstance(content, BaseException):
            raise content
        return content

    return read


def counted(monkeypatch: pytest.MonkeyPatch, framed: list[bytes]) -> None:
    """Collect the files that are decoded."""

    def frame(content: bytes, _: Backbone) -> NDArray[np.uint8]:
        framed.append(content)
        return square(content, SIZE, "stretch")

    monkeypatch.setattr(module, "frame", frame)


FILES = [encoded(image(number)) for number in range(40)]


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_they_are_those_of_the_framed_squares_in_order(
    batch: int, tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "batch_size", lambda _: batch)
    squares = [square(content, SIZE, "stretch") for content in FILES]
    found = extract([given(content) for content in FILES], tiny)
    np.testing.assert_array_equal(found.values, tiny.features(np.stack(squares)))
    assert found.keys == list(map(square_key, squares))
    assert found.problems == [""] * 40
    assert found.readable.all()


def test_pixels_are_pictures_too(tiny: Backbone) -> None:
    as_files, as_pixels = (extract([given(each)], tiny) for each in (FILES[3], image(3)))
    np.testing.assert_array_equal(as_files.values, as_pixels.values)
    assert as_files.keys == as_pixels.keys


def test_no_picture_is_no_feature(tiny: Backbone) -> None:
    found = extract([], tiny)
    assert found.values.shape == (0, WIDTH)
    assert (found.keys, found.problems) == ([], [])


@pytest.mark.parametrize("bad", [b"", b"no picture", FILES[0][:-20], SourceError("cannot read it: gone")])
def test_what_cannot_be_read_is_named_and_the_rest_goes_on(bad: Any, tiny: Backbone) -> None:
    found = extract([given(FILES[0]), given(bad), given(FILES[1])], tiny)
    assert found.problems[1]
    assert found.readable.tolist() == [True, False, True]
    assert (found.keys[1], found.values[1].any()) == (b"", False)
    np.testing.assert_array_equal(found.values[2], extract([given(FILES[1])], tiny).values[0])


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1)])
def test_odd_shapes(shape: tuple[int, int], tiny: Backbone) -> None:
    found = extract([given(encoded(np.full((*shape, 3), 200, np.uint8)))], tiny)
    assert found.problems == [""]
    assert np.isfinite(found.values).all()


def test_what_is_known_is_neither_decoded_nor_run(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [given(content) for content in FILES]
    first = extract(pictures[:30], tiny)
    framed: list[bytes] = []
    counted(monkeypatch, framed)
    second = extract(pictures[::-1], tiny)
    assert sorted(framed) == sorted(FILES[30:])
    np.testing.assert_array_equal(second.values[10:], first.values[::-1])
    assert second.keys[10:] == first.keys[::-1]


def test_another_backbone_or_framing_has_its_own(tiny: Backbone, tmp_path: Path) -> None:
    extract([given(FILES[0])], tiny)
    about = {"name": "tiny", "licence": "MIT", "origin": "these tests", "framing": "crop"}
    (tmp_path / "other.onnx").write_bytes(backbone(about=about, width=5))
    other = open_backbone(tmp_path / "other.onnx")
    squares = square(FILES[0], SIZE, "crop")[None]
    np.testing.assert_array_equal(extract([given(FILES[0])], other).values, other.features(squares))


def test_a_run_that_is_stopped_keeps_what_it_has(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "batch_size", lambda _: 4)
    stopping = [*map(given, FILES[:20]), given(KeyboardInterrupt()), *map(given, FILES[20:])]
    with pytest.raises(KeyboardInterrupt):
        extract(stopping, tiny)
    framed: list[bytes] = []
    counted(monkeypatch, framed)
    extract([given(content) for content in FILES], tiny)
    assert len(framed) <= 20
    assert not set(framed) & set(FILES[:20])


def test_a_backbone_that_fails_on_a_picture_is_named(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_self: Backbone, _squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise ModelError("the backbone tiny gives features that are not finite numbers")

    monkeypatch.setattr(Backbone, "features", fails)
    with pytest.raises(ModelError, match=r"^red/a\.png: .* tiny gives features that are not finite numbers\. Leave it"):
        extract([given(FILES[0])], tiny, names=["red/a.png"])
    with pytest.raises(ModelError, match=r"^picture 0: "):
        extract([given(FILES[0])], tiny)


def test_few_pictures_are_in_memory_at_once(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "batch_size", lambda _: 4)
    lock, alive, most = threading.Lock(), 0, 0
    whole = Backbone.features

    def read(number: int) -> bytes:
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)
        return FILES[number % 40]

    def run(self: Backbone, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        nonlocal alive
        with lock:
            alive -= len(squares)
        return whole(self, squares)

    monkeypatch.setattr(Backbone, "features", run)
    monkeypatch.setattr(Cache, "get", lambda *_: None)
    extract([partial(read, number) for number in range(300)], tiny)
    assert most <= 4 * (module.AHEAD + 2)


def test_without_a_place_for_the_cache_it_works(
    tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("THUMBNET_HOME", str(tmp_path / "taken"))
    with pytest.warns(DataWarning, match="features cannot be kept here"):
        found = extract([given(content) for content in FILES], tiny)
    assert found.readable.all()


def test_who_shows_the_progress_may_end_the_work(tiny: Backbone) -> None:
    done: list[int] = []
    extract([given(image(number)) for number in range(5)], tiny, show=done.append)
    assert done == [1, 2, 3, 4, 5]

    def end(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract([given(image(number)) for number in range(5)], tiny, show=end)
