"""A model file whose thumbnails are answered by another network."""

import copy
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import models, two_networks
from support.models import png, square

from thumbnet.errors import ModelError
from thumbnet.model import classifier as classifier_module
from thumbnet.model.classifier import THUMBNAIL, Classifier, load
from thumbnet.pictures.decode import decode
from thumbnet.pictures.framing import resize

EXAMPLE = Path(__file__).parents[2] / "examples" / "cat.png"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model file."""
    return two_networks.write(tmp_path, monkeypatch)


@pytest.fixture
def both(path: Path) -> Classifier:
    """The classifier of both networks."""
    return load(path)


@pytest.fixture
def small(both: Classifier) -> Classifier:  # noqa: ARG001  # which makes the bundled file
    """The network for thumbnails as a classifier of its own."""
    return load("small")


@pytest.mark.parametrize(
    ("height", "width", "network"),
    [(63, 63, "small"), (64, 64, ""), (63, 500, "small"), (500, 63, "small"), (64, 65, "")],
)
def test_the_shorter_side_decides(both: Classifier, height: int, width: int, network: str) -> None:
    picture = np.full((height, width, 3), (255, 0, 0), np.uint8)
    size = two_networks.SMALL if network else two_networks.LARGE
    assert both.square(picture).shape == (size, size, 3)
    assert both.squares(picture).shape == (1, size, size, 3)
    answer = both.predict(picture)
    assert (answer.label, answer.network) == ("red", network)
    assert answer.confidence == pytest.approx(0.576 if network else 1, abs=0.01)


def test_a_picture_file_is_a_thumbnail_too(both: Classifier) -> None:
    assert both.predict(png("blue", 63)).network == "small"
    assert both.predict(png("blue", 64)).network == ""


def test_a_list_may_mix_both(both: Classifier, small: Classifier) -> None:
    pictures = [square("red", 32), square("green", 80), square("blue", 20), square("grey", 100), square("green", 63)]
    answers = both.predict(pictures)
    assert [answer.network for answer in answers] == ["small", "", "small", "", "small"]
    assert answers == [both.predict(picture) for picture in pictures]
    for picture, answer in zip(pictures, answers, strict=True):
        if answer.network:
            alone = small.predict(picture)
            assert alone.network == ""
            assert (answer.top, answer.known, answer.sureness) == (alone.top, alone.known, alone.sureness)


def test_the_answer_names_the_network_only_if_another_answered(both: Classifier) -> None:
    assert both.predict(square("red", 32)).as_dict()["network"] == "small"
    assert list(both.predict(square("red", 32)).as_dict()) == [
        "source", "label", "confidence", "known", "sureness", "network", "top",
    ]  # fmt: skip
    assert "network" not in both.predict(square("red", 64)).as_dict()


def test_squares_of_either_size_are_asked(both: Classifier, small: Classifier) -> None:
    tiny, large = (np.stack([square("red", size)] * 3) for size in (two_networks.SMALL, two_networks.LARGE))
    np.testing.assert_array_equal(both.ask(tiny).probabilities, small.ask(tiny).probabilities)
    np.testing.assert_array_equal(both.probabilities(tiny), small.probabilities(tiny))
    assert both.ask(large).probabilities[0, 0] > 0.99
    assert len(both.ask(tiny[:0]).probabilities) == len(both.ask(large[:0]).probabilities) == 0


def test_squares_of_no_network_are_refused(both: Classifier) -> None:
    with pytest.raises(ModelError, match="network fails"):
        both.ask(np.zeros((1, 7, 7, 3), np.uint8))


def test_its_own_network_can_see_a_thumbnail(path: Path, both: Classifier) -> None:
    assert both.square(square("red", 20), thumbnails=False).shape == (two_networks.LARGE, two_networks.LARGE, 3)
    views = load(path, views=True)
    assert views.squares(square("red", 20), thumbnails=False).shape == (1, two_networks.LARGE, two_networks.LARGE, 3)
    assert views.squares(square("red", 20)).shape == (2, two_networks.SMALL, two_networks.SMALL, 3)
    assert views.predict(square("red", 20)).network == "small"


def test_without_the_field_its_own_network_answers_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = Classifier(two_networks.content(tmp_path, monkeypatch, thumbnails=""))
    assert classifier.for_thumbnails is classifier
    answer = classifier.predict(square("red", 8))
    assert answer.network == ""
    assert answer.confidence > 0.99


def test_each_answer_is_known_by_the_threshold_of_its_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = two_networks.write(tmp_path, monkeypatch, threshold=1.0)

    def known(**options: Any) -> list[bool]:
        classifier = load(model, **options)
        return [classifier.predict(square("red", side)).known for side in (32, 80)]

    assert known() == [True, False]
    assert known(threshold=0.9) == [False, True]  # in place of both
    assert known(threshold=0.0) == [True, True]


def test_it_is_loaded_at_the_first_thumbnail_as_the_file_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, dict[str, Any]]] = []
    original = classifier_module.load

    def noting(model: Any = None, **options: Any) -> Classifier:
        calls.append((model, options))
        return original(model, **options)

    both = original(path, threads=1, views=True, threshold=0.25)
    monkeypatch.setattr(classifier_module, "load", noting)
    both.predict([square("red", 64), square("blue", 300)])
    both.ask(np.zeros((1, two_networks.LARGE, two_networks.LARGE, 3), np.uint8))
    assert not calls
    both.predict([square("red", 8), square("blue", 8)])
    both.predict(square("red", 8))
    assert calls == [("small", {"threads": 1, "views": True, "threshold": 0.25})]


def test_many_threads_load_it_once(both: Classifier) -> None:
    found: list[Classifier] = []
    start = threading.Barrier(8)

    def look() -> None:
        start.wait(20)
        found.append(both.for_thumbnails)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == 8
    assert len(set(map(id, found))) == 1


@pytest.mark.parametrize("asked_before", [False, True])
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_it_can_be_copied(both: Classifier, again: Any, asked_before: bool) -> None:
    pictures = [square("red", 32), square("grey", 32), square("green", 80)]
    before = both.predict(pictures) if asked_before else None
    copied = again(both)
    assert copied.predict(pictures) == (before or both.predict(pictures))
    assert copied.for_thumbnails.info.threshold == pytest.approx(two_networks.SMALL_THRESHOLD)
    assert copied.info.threshold == two_networks.THRESHOLD


@pytest.mark.parametrize(
    "name",
    ["small.onnx", "./small", "../bundled/small", "/etc/passwd", "cifar10-best", "https://example.org/a", " ", "\x1b"],
)
def test_only_a_bundled_models_name_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    models.write(tmp_path / "small.onnx")
    with pytest.raises(ModelError) as caught:
        Classifier(two_networks.content(tmp_path, monkeypatch, thumbnails=name))
    assert str(caught.value) == (
        f"expected a model for thumbnails among small, absent, got {name!r}. Make or fetch the file again, or upgrade "
        "Thumbnet"
    )


def test_a_path_of_a_file_that_exists_is_not_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = str(models.write(tmp_path / "own.onnx"))
    with pytest.raises(ModelError, match="expected a model for thumbnails among"):
        Classifier(two_networks.content(tmp_path, monkeypatch, thumbnails=own))


@pytest.mark.parametrize(
    "small",
    [
        {"names": ("blue", "green", "red")},
        {"names": ("red", "green", "yellow")},
        {"thumbnails": "small"},
    ],
)
def test_a_model_that_does_not_fit_answers_no_thumbnails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: dict[str, Any]
) -> None:
    both = Classifier(two_networks.content(tmp_path, monkeypatch, small=models.content(**small)))
    for _ in range(2):
        with pytest.raises(ModelError, match="same classes and a smaller input, got small"):
            both.predict([square("red", 80), square("red", 8)])
    assert both.predict(square("red", 80)).label == "red"  # a photograph is none of its business


@pytest.mark.parametrize("size", [two_networks.LARGE, 2 * two_networks.LARGE])
def test_a_model_with_as_large_squares_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    large = models.content(models.graph(size), size=size)
    with pytest.raises(ModelError, match="a smaller input"):
        Classifier(two_networks.content(tmp_path, monkeypatch, small=large)).predict(square("red", 8))


def test_a_missing_model_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = Classifier(two_networks.content(tmp_path, monkeypatch, thumbnails="absent"))
    assert both.predict(square("red", 80)).label == "red"
    with pytest.raises(ModelError, match="no model file at absent"):
        both.predict(square("red", 8))


def test_the_bundled_model_answers_thumbnails_by_the_other() -> None:
    photo, best = load(), load("cifar10-best")
    assert photo.info.thumbnails == "cifar10-best"
    assert photo.info.names == best.info.names
    assert photo.info.size > best.info.size
    picture = decode(EXAMPLE.read_bytes())
    thumbnail = resize(picture, 32, "stretch")
    whole, little = photo.predict([picture, thumbnail])
    alone = best.predict(thumbnail)
    assert (whole.label, whole.network, whole.known) == ("cat", "", True)
    assert (little.top, little.known, little.sureness) == (alone.top, alone.known, alone.sureness)
    assert little.network == "cifar10-best"
    assert THUMBNAIL == 64
