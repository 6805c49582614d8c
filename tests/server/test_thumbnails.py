"""The server with a network for thumbnails apart: its own API answers by both, the foreign protocols by one."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support import models, two_networks
from support.models import png, square

pytest.importorskip("starlette", reason="serving is not installed: pip install -e '.[serve]'")

from starlette.testclient import TestClient

from thumbnet.model.classifier import Classifier
from thumbnet.pictures.decode import decode
from thumbnet.prediction import explain
from thumbnet.server import create_app
from thumbnet.server.batching import Batcher

SIDES = (8, 80, 63, 64, 300, 20)


@pytest.fixture
def classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Classifier:
    """The classifier of both networks."""
    return Classifier(two_networks.content(tmp_path, monkeypatch))


@pytest.fixture
def client(classifier: Classifier) -> Iterator[TestClient]:
    """A server with both."""
    with TestClient(create_app(classifier, name="two")) as client:
        yield client


def form(contents: list[bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    """The pictures as the files of a form."""
    return [("file", (str(place), content)) for place, content in enumerate(contents)]


@pytest.mark.parametrize("views", [False, True])
def test_a_request_may_mix_both(client: TestClient, classifier: Classifier, views: bool) -> None:
    classifier.views = views
    contents = [png(models.NAMES[place % 3], side) for place, side in enumerate(SIDES)]
    contents.insert(2, b"<html>")
    rows = client.post("/classify", files=form(contents)).json()
    assert "error" in rows.pop(2)
    del contents[2]
    assert [{**row, "source": ""} for row in rows] == [
        {**classifier.predict(content).as_dict(), "source": ""} for content in contents
    ]
    assert [row.get("network") for row in rows] == ["small" if side < 64 else None for side in SIDES]


def test_the_description_has_all_that_an_answer_has(client: TestClient) -> None:
    found = client.post("/classify", content=png("red", 8)).json()
    described = client.get("/openapi.json").json()["components"]["schemas"]["Prediction"]
    assert set(described["properties"]) == set(found)
    assert set(described["required"]) == set(found) - {"network"}
    assert client.get("/model").json()["thumbnails"] == "small"


def test_each_network_has_its_batches_once_it_is_needed(
    client: TestClient, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Classifier] = []
    original = Batcher.__init__

    def noting(self: Batcher, network: Classifier, *arguments: Any) -> None:
        made.append(network)
        original(self, network, *arguments)

    monkeypatch.setattr(Batcher, "__init__", noting)
    for side in (80, 100):
        client.post("/classify", content=png("red", side))
    assert made == [classifier]
    for side in (8, 20, 80):
        client.post("/classify", content=png("red", side))
    assert made == [classifier, classifier.for_thumbnails]


@pytest.mark.parametrize("side", [60, 80])
def test_the_map_and_the_square_are_of_the_network_that_answers(
    client: TestClient, classifier: Classifier, side: int
) -> None:
    picture = np.zeros((side, side, 3), np.uint8)
    picture[:20, :20] = models.RGB["red"]
    content = models.encode(picture)
    seen = client.post("/square", content=content).content
    np.testing.assert_array_equal(decode(seen), classifier.square(content))
    assert len(decode(seen)) == (two_networks.SMALL if side < 64 else two_networks.LARGE)
    drawn = client.post("/explain", content=content).content
    np.testing.assert_array_equal(decode(drawn), explain.drawn(classifier, picture))


def test_the_foreign_protocols_answer_by_the_files_own_network(client: TestClient, classifier: Classifier) -> None:
    contents = [png("red", 8), png("green", 80)]
    texts = [base64.b64encode(content).decode() for content in contents]
    size = two_networks.LARGE
    squares = np.stack([classifier.square(content, thumbnails=False) for content in contents])
    expected = classifier.probabilities(squares)
    assert expected[0, 0] > 0.99  # the other network gives 58 %
    served = client.post("/v1/models/two:predict", json={"instances": [{"b64": text} for text in texts]}).json()
    np.testing.assert_allclose(served["predictions"], expected, atol=1e-6)
    given = {"name": "images", "datatype": "BYTES", "shape": [2], "data": texts,
             "parameters": {"content_type": "base64"}}  # fmt: skip
    [probabilities, _] = client.post("/v2/models/two/infer", json={"inputs": [given]}).json()["outputs"]
    np.testing.assert_allclose(probabilities["data"], expected.ravel(), atol=1e-6)
    assert client.get("/v2/models/two").json()["inputs"][0]["shape"] == [-1, size, size, 3]
    small = cv2.resize(square("red"), (two_networks.SMALL, two_networks.SMALL))
    refused = client.post("/v1/models/two:predict", json={"instances": [small.tolist()]})
    assert (refused.status_code, f"(n, {size}, {size}, 3)" in refused.json()["error"]) == (400, True)


def test_a_model_for_thumbnails_that_does_not_fit_is_the_servers_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = models.content(names=("blue", "green", "red"))
    wrong = Classifier(two_networks.content(tmp_path, monkeypatch, small=other))
    with TestClient(create_app(wrong)) as client:
        assert client.post("/classify", content=png("red", 80)).status_code == 200
        for contents in ([png("red", 8)], [png("red", 80), png("red", 8)]):
            refused = client.post("/classify", files=form(contents))
            assert refused.status_code == 500
            assert "same classes and a smaller input" in refused.json()["error"]
        assert client.post("/classify", content=png("red", 80)).status_code == 200
