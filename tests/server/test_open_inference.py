"""The Open Inference Protocol: Triton's own client works unchanged, and no malformed request gets past."""

import base64
import gzip
import json
import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import SIZE, graph, png, square, write

pytest.importorskip("starlette", reason="serving is not installed: pip install -e '.[serve]'")
pytest.importorskip("tritonclient", reason="part of the test group: pip install --group test")

import tritonclient.http as triton
import uvicorn
from starlette.testclient import TestClient
from tritonclient.utils import InferenceServerException

import thumbnet
from thumbnet.model.classifier import Classifier
from thumbnet.server import Limits, create_app
from thumbnet.server.open_inference import HEADER_LENGTH
from thumbnet.server.protocol import Protocol

INFER = "/v2/models/tiny/infer"
SQUARES = np.stack([square(colour, SIZE) for colour in ("red", "blue", "grey")])  # (3, S, S, 3)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return thumbnet.load(write(tmp_path_factory.mktemp("model") / "tiny.onnx"))


@pytest.fixture(scope="module")
def client(classifier: Classifier) -> Iterator[TestClient]:
    with TestClient(create_app(classifier, name="tiny", limits=Limits(pictures=8))) as client:
        yield client


@pytest.fixture(scope="module")
def port(classifier: Classifier) -> Iterator[int]:
    config = uvicorn.Config(create_app(classifier, name="tiny"), http=Protocol, log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield bound.getsockname()[1]
        server.should_exit = True
        thread.join(20)


def tensor(binary: bool = True) -> Any:
    given = triton.InferInput("images", list(SQUARES.shape), "UINT8")
    given.set_data_from_numpy(SQUARES, binary_data=binary)
    return given


def test_tritons_client_finds_the_model(port: int) -> None:
    client = triton.InferenceServerClient(f"127.0.0.1:{port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert client.get_server_metadata()["name"] == "thumbnet"
    for version in ("", "1"):
        metadata = client.get_model_metadata("tiny", version)
        assert metadata["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, SIZE, SIZE, 3]}]
        assert metadata["outputs"] == [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
            {"name": "sureness", "datatype": "FP32", "shape": [-1, 1]},
        ]
    with pytest.raises(InferenceServerException, match="expected model tiny"):
        client.get_model_metadata("other")
    assert not client.is_model_ready("tiny", "2")
    client.close()


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
def test_tritons_client_gets_the_probabilities_of_tensors(
    port: int, classifier: Classifier, binary: bool, packed: str | None
) -> None:
    client = triton.InferenceServerClient(f"127.0.0.1:{port}")
    output = triton.InferRequestedOutput("probabilities", binary_data=binary)
    for outputs in (None, [output]):
        answer = client.infer(
            "tiny", [tensor(binary)], outputs=outputs, request_id="7", request_compression_algorithm=packed
        )
        np.testing.assert_array_equal(answer.as_numpy("probabilities"), classifier.probabilities(SQUARES))
        assert answer.get_response()["id"] == "7"
    client.close()


@pytest.mark.parametrize("binary", [(True, True), (False, False), (True, False), (False, True)])
def test_tritons_client_gets_the_sureness(port: int, classifier: Classifier, binary: tuple[bool, bool]) -> None:
    client = triton.InferenceServerClient(f"127.0.0.1:{port}")
    asked = classifier.ask(SQUARES)
    outputs = [
        triton.InferRequestedOutput(name, binary_data=way)
        for name, way in zip(("sureness", "probabilities"), binary, strict=True)
    ]
    for some in (None, outputs, outputs[:1]):
        answer = client.infer("tiny", [tensor()], outputs=some)
        np.testing.assert_array_equal(answer.as_numpy("sureness"), asked.sureness[:, np.newaxis])
        assert answer.get_response()["parameters"] == {"threshold": classifier.info.threshold}
        if some == outputs[:1]:
            assert answer.as_numpy("probabilities") is None
        else:
            np.testing.assert_array_equal(answer.as_numpy("probabilities"), asked.probabilities)
    client.close()


def test_tritons_client_gets_the_probabilities_of_pictures(port: int, classifier: Classifier) -> None:
    client = triton.InferenceServerClient(f"127.0.0.1:{port}")
    contents = [png("red"), png("blue")]
    given = triton.InferInput("images", [2], "BYTES")
    given.set_data_from_numpy(np.array(contents, np.object_))
    answer = client.infer("tiny", [given])
    expected = classifier.probabilities(np.stack([classifier.square(content) for content in contents]))
    np.testing.assert_array_equal(answer.as_numpy("probabilities"), expected)
    client.close()


@pytest.mark.parametrize("binary", [True, False])
def test_tritons_client_gets_classes(port: int, binary: bool) -> None:
    client = triton.InferenceServerClient(f"127.0.0.1:{port}")
    output = triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=2)
    found = client.infer("tiny", [tensor()], outputs=[output]).as_numpy("probabilities")
    assert found.shape == (3, 2)
    texts = [text.decode() if isinstance(text, bytes) else text for text in found[:, 0]]
    assert [text.split(":")[1:] for text in texts[:2]] == [["0", "red"], ["2", "blue"]]
    assert float(texts[0].split(":")[0]) > 0.99
    client.close()


def test_tritons_client_is_told_what_is_wrong(port: int) -> None:
    client = triton.InferenceServerClient(f"127.0.0.1:{port}")
    wrong = triton.InferInput("images", [1, 3], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 3), np.float32))
    with pytest.raises(InferenceServerException, match="expected UINT8"):
        client.infer("tiny", [wrong])
    client.close()


def asking(**changes: Any) -> dict[str, Any]:
    numbers = SQUARES.ravel().tolist()
    return {
        "inputs": [{"name": "images", "datatype": "UINT8", "shape": [3, SIZE, SIZE, 3], "data": numbers, **changes}]
    }


def test_numbers_may_be_nested_and_pictures_base64(client: TestClient, classifier: Classifier) -> None:
    nested = client.post(INFER, json=asking(data=SQUARES.tolist())).json()["outputs"][0]
    flat = client.post(INFER, json=asking()).json()["outputs"][0]
    assert nested == flat
    assert flat["shape"] == [3, 3]
    np.testing.assert_allclose(np.reshape(flat["data"], (3, 3)), classifier.probabilities(SQUARES), rtol=1e-6)
    text = base64.b64encode(png("green")).decode()
    pictures = asking(datatype="BYTES", shape=[1], data=[text], parameters={"content_type": "base64"})
    assert np.argmax(client.post(INFER, json=pictures).json()["outputs"][0]["data"]) == 1


NUMBERS = 3 * SIZE * SIZE * 3
ONE, SHAPE = "expected one input, images", "expected shape to be a list of lengths, got "
WHOLE = "expected whole numbers (n, 4, 4, 3), got "
FORMS = "expected UINT8 (n, S, S, 3) or BYTES (n) or (n, 1), got "
SIZES = "expected binary_data_size to be the 0 bytes after the JSON, got "
OUTPUTS = "expected the outputs probabilities, sureness or both, got "
CLASSES = "expected classification to be a number of classes of probabilities, got "


def in_base64(shape: list[int], *data: Any) -> dict[str, Any]:
    return asking(datatype="BYTES", shape=shape, data=data, parameters={"content_type": "base64"})


def wanting(*outputs: Any) -> dict[str, Any]:
    return {**asking(), "outputs": outputs}


def classes(name: str, count: Any) -> dict[str, Any]:
    return wanting({"name": name, "parameters": {"classification": count}})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, ONE), ([], "expected a JSON object"), ("a", "expected a JSON object"), ({"inputs": []}, ONE),
        ({"inputs": {}}, ONE), ({"inputs": [3]}, ONE), ({"inputs": [{}]}, "expected the input images, got None"),
        ({"inputs": asking()["inputs"] * 2}, ONE), (asking(name="other"), "expected the input images, got 'other'"),
        (asking(shape=[3]), f"{WHOLE}int (144,)"), (asking(shape=[]), f"{SHAPE}[]"), (asking(shape="3"), f"{SHAPE}'3'"),
        (asking(shape=[3, -1, SIZE, 3]), f"{SHAPE}[3, -1, 4, 3]"),
        (asking(shape=[3, SIZE, SIZE, True]), f"{SHAPE}[3, 4, 4, True]"),
        (asking(shape=[3, SIZE, SIZE, 3.0]), f"{SHAPE}[3, 4, 4, 3.0]"),
        (asking(shape=[3, SIZE, SIZE, 4]), f"{WHOLE}int (144,)"),
        (asking(shape=[1, 2**62, 2**62, 2**62]), f"{WHOLE}int (144,)"),
        (asking(shape=[10**9, SIZE, SIZE, 3]), "expected at most 8 pictures a request, got 1,000,000,000"),
        (asking(shape=[10**30, SIZE, SIZE, 3]), f"expected at most 8 pictures a request, got {10**30:,}"),
        (asking(shape=[9, SIZE, SIZE, 3]), "expected at most 8 pictures a request, got 9"),
        (asking(datatype="FP32"), f"{FORMS}'FP32' [3, 4, 4, 3]"), (asking(datatype=None), f"{FORMS}None [3, 4, 4, 3]"),
        (asking(datatype=["UINT8"]), f"{FORMS}['UINT8'] [3, 4, 4, 3]"),
        (asking(datatype="BYTES", shape=[1, 2]), f"{FORMS}'BYTES' [1, 2]"),
        (asking(data=None), f"{WHOLE}NoneType ()"), (asking(data=[]), f"{WHOLE}none (0,)"),
        (asking(data=[1, 2]), f"{WHOLE}int (2,)"),
        (asking(data=[256] * NUMBERS), "expected numbers from 0 to 255, got 256 to 256"),
        (asking(data=[-1] * NUMBERS), "expected numbers from 0 to 255, got -1 to -1"),
        (
            asking(data=[0] + [10**400] * (NUMBERS - 1)),
            "expected numbers from 0 to 255, got 0 to a number of more than nine digits",
        ),
        (asking(data=[0.5] * NUMBERS), f"{WHOLE}float (3, 4, 4, 3)"),
        (asking(data=["1"] * NUMBERS), f"{WHOLE}str (3, 4, 4, 3)"), (asking(data=[10**400]), f"{WHOLE}int (1,)"),
        (asking(data=[True] * NUMBERS), f"{WHOLE}bool (3, 4, 4, 3)"),
        (asking(data=[1, 0.5] * (NUMBERS // 2)), f"{WHOLE}float and int (3, 4, 4, 3)"),
        (asking(data=[[1], [1, 2]]), f"{WHOLE}list (2,)"), (asking(data={"a": 1}), f"{WHOLE}dict ()"),
        (asking(data=[None] * NUMBERS), f"{WHOLE}NoneType (3, 4, 4, 3)"),
        (asking(parameters=3), "expected parameters to be an object"),
        (asking(parameters={"binary_data_size": 10}), f"{SIZES}10"),
        (asking(parameters={"binary_data_size": -1}), f"{SIZES}-1"),
        (asking(parameters={"binary_data_size": "10"}), f"{SIZES}'10'"),
        (asking(parameters={"binary_data_size": 10**30}), f"{SIZES}{10**30}"),
        (
            asking(datatype="BYTES", shape=[1], data=["AAAA"]),
            'expected pictures in base64: "data": […], "parameters": {"content_type": "base64"}',
        ),
        (in_base64([1], "not base64!"), "expected a picture in base64"),
        (in_base64([1], "é"), "expected a picture in base64"), (in_base64([1], 3), "expected a picture in base64"),
        (in_base64([1], ["AAAA"]), "expected a picture in base64"),
        (in_base64([2], "AAAA"), "expected 2 pictures, as shape says, got 1"),
        ({**asking(), "outputs": "all"}, "expected outputs to be a list of objects"),
        (wanting(1), "expected outputs to be a list of objects"),
        (wanting({"name": "other"}), f"{OUTPUTS}['other']"),
        (wanting(*[{"name": "probabilities"}] * 2), f"{OUTPUTS}['probabilities', 'probabilities']"),
        (wanting({"name": "sureness"}, {"name": ["probabilities"]}), f"{OUTPUTS}['sureness', ['probabilities']]"),
        ({**asking(), "parameters": [1]}, "expected parameters to be an object"),
        (classes("sureness", 1), f"{CLASSES}1 of sureness"),
        (classes("probabilities", -1), f"{CLASSES}-1 of probabilities"),
        (classes("probabilities", True), f"{CLASSES}True of probabilities"),
    ],
    ids=lambda each: None if isinstance(each, str) else json.dumps(each)[:60],
)  # fmt: skip
def test_a_malformed_request_is_refused(client: TestClient, asked: Any, message: str) -> None:
    answer = client.post(INFER, json=asked)
    assert answer.status_code == (413 if "at most 8 pictures" in message else 400)
    assert answer.json() == {"error": message}


def test_what_is_no_picture_is_its_senders_fault(client: TestClient) -> None:
    answer = client.post(INFER, json=in_base64([2], base64.b64encode(png("red")).decode(), "AAAA"))
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("picture 1 of 2: ")


def binary(head: Any, tail: bytes, length: str | None = None) -> tuple[bytes, dict[str, str]]:
    text = json.dumps(head).encode()
    return text + tail, {HEADER_LENGTH: length or str(len(text))}


@pytest.mark.parametrize("length", ["-1", "1e3", "99999999", "9" * 400, "x", "٣"])
def test_a_wrong_header_length_is_refused(client: TestClient, length: str) -> None:
    body, headers = binary(asking(), b"", length)
    answer = client.post(INFER, content=body, headers=[(HEADER_LENGTH.encode(), headers[HEADER_LENGTH].encode())])
    assert answer.status_code == 400


@settings(max_examples=60, deadline=None)
@given(
    tail=st.binary(max_size=40),
    kind=st.sampled_from(["BYTES", "UINT8"]),
    shape=st.lists(st.integers(-1, 2**40), max_size=4),
    size=st.one_of(st.integers(-(2**40), 2**70), st.none(), st.just("exact")),
    cut=st.integers(0, 30),
)
def test_no_binary_body_breaks_the_parser(
    client: TestClient, tail: bytes, kind: str, shape: list[int], size: Any, cut: int
) -> None:
    parameters = {"binary_data_size": len(tail) if size == "exact" else size}
    head = {"inputs": [{"name": "images", "datatype": kind, "shape": shape, "parameters": parameters}]}
    body, headers = binary(head, tail)
    for content in (body, body[: len(body) - cut]):
        answer = client.post(INFER, content=content, headers=headers)
        assert 400 <= answer.status_code < 500
        assert isinstance(answer.json()["error"], str)


def strings(*contents: bytes) -> bytes:
    return b"".join(len(content).to_bytes(4, "little") + content for content in contents)


@settings(max_examples=60, deadline=None)
@given(contents=st.lists(st.binary(max_size=50), max_size=5))
def test_binary_strings_come_back_as_they_were(contents: list[bytes]) -> None:
    from thumbnet.server.open_inference import _strings

    assert _strings(memoryview(strings(*contents)), len(contents)) == contents


@pytest.mark.parametrize(
    ("tail", "got"), [(bytes(4_000_000), "more"), (strings(b"a"), "1"), (strings(b"a", b"b", b"c"), "more"), (b"", "0")]
)
def test_no_more_binary_strings_are_read_than_the_shape_says(client: TestClient, tail: bytes, got: str) -> None:
    parameters = {"binary_data_size": len(tail)}
    head = {"inputs": [{"name": "images", "datatype": "BYTES", "shape": [2], "parameters": parameters}]}
    body, headers = binary(head, tail)
    answer = client.post(INFER, content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"] == f"expected 2 pictures, as shape says, got {got}"


def test_mlservers_client_may_send_a_column_of_pictures(client: TestClient, classifier: Classifier) -> None:
    contents = [png("red"), png("blue")]
    expected = classifier.probabilities(np.stack([classifier.square(content) for content in contents]))
    texts = [base64.b64encode(content).decode() for content in contents]
    as_json = asking(datatype="BYTES", shape=[2, 1], data=texts, parameters={"content_type": "base64"})
    tail = strings(*contents)
    as_binary, headers = binary(
        {"inputs": [{"name": "images", "datatype": "BYTES", "shape": [2, 1],
                     "parameters": {"binary_data_size": len(tail)}}]}, tail,
    )  # fmt: skip
    for answer in (client.post(INFER, json=as_json), client.post(INFER, content=as_binary, headers=headers)):
        found = np.reshape(answer.json()["outputs"][0]["data"], (2, 3))
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_classes_are_named_as_triton_names_them(client: TestClient, classifier: Classifier) -> None:
    wanted = [{"name": "probabilities", "parameters": {"classification": 3}}]
    found = client.post(INFER, json={**asking(), "outputs": wanted}).json()["outputs"][0]["data"]
    rows = classifier.probabilities(SQUARES)
    assert found[0] == f"{rows[0, 0]:.6f}:0:red"
    assert all(re.fullmatch(r"[01]\.\d{6}:[012]:(red|green|blue)", text) for text in found)


def test_a_header_may_be_the_whole_body(client: TestClient) -> None:
    body, headers = binary(asking(), b"")
    assert headers[HEADER_LENGTH] == str(len(body))
    assert client.post(INFER, content=body, headers=headers).status_code == 200
    headers[HEADER_LENGTH] = str(len(body) + 1)
    assert client.post(INFER, content=body, headers=headers).status_code == 400


def test_texts_in_place_of_numbers_take_no_memory(client: TestClient) -> None:
    texts = ["x" * 100_000, *[""] * (3 * SIZE * SIZE * 3 - 1)]  # as an array of texts, 57 MB
    tracemalloc.start()
    answer = client.post(INFER, json=asking(data=texts))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == 400
    assert peak < 5_000_000


@pytest.mark.parametrize("values", [b"1,", b'"",', b'"ab",', b"[],", b"{},", b'{"a":1},', b'"%41",'])
def test_json_of_too_many_values_is_counted_and_not_read(classifier: Classifier, values: bytes) -> None:
    body = b'{"inputs": [' + values * (1_000_000 // len(values)) + b"1]}"
    whole = TestClient(create_app(classifier, name="tiny", limits=Limits(values=6_000_000)))
    for path, kind in ((INFER, ""), ("/v1/models/tiny:predict", ""), ("/classify", "application/json")):
        answer = whole.post(path, content=body, headers={"Content-Type": kind})
        assert answer.status_code == 413
        assert answer.json()["error"] == "expected JSON with fewer values: these would take too much memory"


@pytest.mark.parametrize("wide", ["é", "\U0001f600", "\\u1234"])
def test_long_json_of_wide_characters_is_refused(client: TestClient, wide: str) -> None:
    body = b'{"id": "' + wide.encode() + b"x" * 2_000_000 + b'"}'
    answer = client.post(INFER, content=body)
    assert answer.status_code == 413
    assert "ASCII" in answer.json()["error"]
    fine = client.post(INFER, content=b'{"id": "\\u003d\\/' + b"x" * 2_000_000 + b'"}')
    assert fine.json()["error"] == "expected one input, images"


def test_json_has_a_limit_of_its_own(classifier: Classifier) -> None:
    client = TestClient(create_app(classifier, name="tiny", limits=Limits(json=1000)))
    for path, kind in ((INFER, ""), ("/v1/models/tiny:predict", ""), ("/classify", "application/json")):
        answer = client.post(path, content=b'"' + b" " * 1000, headers={"Content-Type": kind})
        assert answer.status_code == 413
        assert answer.json()["error"] == "expected JSON of at most 1,000 bytes, got 1,001"


def test_as_many_pictures_as_are_taken_fit_as_numbers(tmp_path: Path) -> None:
    large = thumbnet.load(write(tmp_path / "large.onnx", model=graph(32), size=32))
    client = TestClient(create_app(large, name="tiny"))
    numbers = np.full((256, 32, 32, 3), 255, np.uint8).tolist()
    assert client.post("/v1/models/tiny:predict", json={"instances": numbers}).status_code == 200


def test_unknown_models_and_versions_are_not_found(client: TestClient) -> None:
    for path in ("/v2/models/other/infer", "/v2/models/tiny/versions/2/infer"):
        answer = client.post(path, json=asking())
        assert answer.status_code == 404
        assert "tiny" in answer.json()["error"]
    assert client.post("/v2/models/tiny/versions/1/infer", json=asking()).status_code == 200


def test_a_packed_bomb_takes_no_memory(classifier: Classifier) -> None:
    client = TestClient(create_app(classifier, name="tiny", limits=Limits(body=10_000)))
    answer = client.post(INFER, content=gzip.compress(bytes(5_000_000)), headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 413


def test_large_json_is_read_too(client: TestClient) -> None:
    spaced = json.dumps(asking()).encode() + b" " * 200_000
    assert client.post(INFER, content=spaced).status_code == 200


def test_deep_json_is_refused(client: TestClient) -> None:
    for depth in (60, 100_000):
        body = b'{"inputs": ' + b"[" * depth + b"]" * depth + b"}"
        assert client.post(INFER, content=body).status_code == 400
