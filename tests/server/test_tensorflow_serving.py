"""TensorFlow Serving's REST API, as its clients speak it."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.models import SIZE, png, square, write

pytest.importorskip("starlette", reason="serving is not installed: pip install -e '.[serve]'")

from starlette.testclient import TestClient

import thumbnet
from thumbnet.model.classifier import Classifier
from thumbnet.server import Limits, create_app

SQUARES = np.stack([square(colour, SIZE) for colour in ("red", "blue", "grey")])  # (3, S, S, 3)
PREDICT = "/v1/models/tiny:predict"


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return thumbnet.load(write(tmp_path_factory.mktemp("model") / "tiny.onnx"))


@pytest.fixture(scope="module")
def client(classifier: Classifier) -> Iterator[TestClient]:
    with TestClient(create_app(classifier, name="tiny", limits=Limits(pictures=8))) as client:
        yield client


def same(rows: Any, expected: NDArray[np.float32]) -> bool:
    return np.allclose(rows, expected, rtol=1e-6)


def test_tensorflow_servings_status_and_metadata(client: TestClient) -> None:
    assert client.get("/v1/models/tiny").json()["model_version_status"][0]["state"] == "AVAILABLE"
    metadata = client.get("/v1/models/tiny/versions/1/metadata").json()
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["images"]["dtype"] == "DT_UINT8"
    assert [length["size"] for length in signature["outputs"]["probabilities"]["tensor_shape"]["dim"]] == ["-1", "3"]
    assert client.get("/v1/models/other").status_code == 404


@pytest.mark.parametrize("path", [PREDICT, "/v1/models/tiny/versions/1:predict"])
def test_tensorflow_serving_predicts_tensors_and_pictures(
    client: TestClient, classifier: Classifier, path: str
) -> None:
    expected, numbers = classifier.probabilities(SQUARES), SQUARES.tolist()
    for asked in ({"instances": numbers}, {"instances": [{"images": each} for each in numbers]}):
        assert same(client.post(path, json=asked).json()["predictions"], expected)
    for given_ in (numbers, {"images": numbers}):
        asked = {"inputs": given_, "signature_name": "serving_default"}
        assert same(client.post(path, json=asked).json()["outputs"], expected)
    encoded = [{"b64": base64.b64encode(png(colour)).decode()} for colour in ("red", "blue")]
    for asked in ({"instances": encoded}, {"instances": [{"images": each} for each in encoded]}):
        assert np.argmax(client.post(path, json=asked).json()["predictions"], axis=1).tolist() == [0, 2]
    assert np.argmax(client.post(path, json={"inputs": encoded}).json()["outputs"], axis=1).tolist() == [0, 2]


@pytest.mark.parametrize(
    "asked",
    [
        {}, [], {"instances": []}, {"instances": {}}, {"instances": 3}, {"instances": [3]}, {"instances": ["a"]},
        {"instances": [[1]]}, {"instances": [[[[1]]]]}, {"instances": [{"b64": 3}]}, {"instances": [{"b64": "é"}]},
        {"instances": [{"b64": "AAAA"}]}, {"instances": [{"b64": ""}]}, {"instances": [{"url": "http://a"}]},
        {"instances": [{"b64": "AAAA"}, [[1]]]}, {"instances": [1], "inputs": [1]}, {"inputs": {"other": [1]}},
        {"instances": SQUARES.tolist(), "signature_name": "other"}, {"instances": [[]] * 9},
        {"instances": (SQUARES.astype(int) + 1).tolist()}, {"instances": [None]},
    ],
    ids=lambda asked: json.dumps(asked)[:60],
)  # fmt: skip
def test_tensorflow_serving_refuses_what_is_malformed(client: TestClient, asked: Any) -> None:
    answer = client.post(PREDICT, json=asked)
    assert 400 <= answer.status_code < 500
    assert isinstance(answer.json()["error"], str)


def test_deep_json_is_refused(client: TestClient) -> None:
    for depth in (60, 100_000):
        body = b'{"instances": ' + b"[" * depth + b"]" * depth + b"}"
        assert client.post(PREDICT, content=body).status_code == 400


def test_base64_may_have_line_breaks_and_no_padding(client: TestClient) -> None:
    text = base64.b64encode(png("blue") + b"\0" * (-(len(png("blue")) + 1) % 3)).decode()  # with padding at its end
    assert text.endswith("=")
    wrapped = "\r\n".join(text[start : start + 76] for start in range(0, len(text), 76)) + "\n"
    for given_ in (text, wrapped, text.rstrip("="), wrapped.rstrip("=\r\n")):
        answer = client.post(PREDICT, json={"instances": [{"b64": given_}]})
        assert answer.status_code == 200, answer.text
        assert np.argmax(answer.json()["predictions"][0]) == 2


@pytest.mark.parametrize("text", ["A", "AAAAA", "AA=A", "A===", "AA*A", "AAAA====", ""])
def test_what_is_no_base64_is_refused(client: TestClient, text: str) -> None:
    answer = client.post(PREDICT, json={"instances": [{"b64": text}]})
    assert answer.status_code in (400, 422)
    assert ("base64" in answer.json()["error"]) == (text != "")


def test_an_empty_signature_is_the_usual_one(client: TestClient) -> None:
    asked = {"instances": SQUARES.tolist(), "signature_name": ""}
    assert client.post(PREDICT, json=asked).status_code == 200


def test_another_inputs_name_is_refused_with_ours(client: TestClient) -> None:
    picture = {"b64": base64.b64encode(png("red")).decode()}
    for asked in (
        {"instances": [{"image_bytes": picture}]},
        {"inputs": {"image_bytes": [picture]}},
        {"instances": [{"images": picture, "key": 1}]},
    ):
        answer = client.post(PREDICT, json=asked)
        assert answer.status_code == 400
        assert "expected the input images" in answer.json()["error"]
