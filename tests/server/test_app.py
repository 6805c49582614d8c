"""The server's own API: right answers, and for every wrong request a clear one, whatever it holds."""

import asyncio
import base64
import gzip
import json
import logging
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from support import transferred
from support.models import NAMES, encode, info, lost, png, square, write
from support.web import Web, bomb, ok

pytest.importorskip("starlette", reason="serving is not installed: pip install -e '.[serve]'")

from starlette.testclient import TestClient

import thumbnet
from thumbnet.model.classifier import Asked, Classifier
from thumbnet.pictures.decode import decode
from thumbnet.prediction import explain
from thumbnet.server import Limits, create_app, service
from thumbnet.server.batching import LARGEST, Batcher
from thumbnet.server.budget import Budget
from thumbnet.server.metrics import Metrics
from thumbnet.sources import fetch

# A PNG that claims 50,000 pixels a side.
BOMB = png("red")[:16] + struct.pack(">II", 50_000, 50_000) + png("red")[24:]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return thumbnet.load(write(tmp_path_factory.mktemp("model") / "model.onnx"))


@pytest.fixture
def client(classifier: Classifier) -> Iterator[TestClient]:
    with TestClient(create_app(classifier, private_urls=True)) as client:
        yield client


def serving(classifier: Classifier, **options: Any) -> TestClient:
    return TestClient(create_app(classifier, **options))


def test_a_body_is_answered_as_predict_answers_it(client: TestClient, classifier: Classifier) -> None:
    answer = client.post("/classify", content=png("red"))
    assert answer.status_code == 200
    assert answer.json() == {**classifier.predict(png("red")).as_dict(), "source": "picture"}


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "application/x-www-form-urlencoded"])
def test_what_a_body_is_called_does_not_count(client: TestClient, kind: str) -> None:
    answer = client.post("/classify", content=png("blue"), headers={"Content-Type": kind})
    assert answer.json()["label"] == "blue"


def test_a_form_with_one_file_is_one_answer_and_with_several_a_list(client: TestClient) -> None:
    one = client.post("/classify", files={"file": ("a.png", png("green"))}).json()
    assert (one["source"], one["label"]) == ("a.png", "green")
    colours = ["red", "blue", "green"]
    many = client.post("/classify", files=[("file", (f"{name}.png", png(name))) for name in colours]).json()
    assert [(row["source"], row["label"]) for row in many] == [(f"{name}.png", name) for name in colours]


def test_one_bad_picture_among_several_fails_alone(client: TestClient) -> None:
    files = [("file", ("a", png("red"))), ("file", ("b", b"<html>")), ("file", ("c", png("blue")))]
    answer = client.post("/classify", files=files)
    assert answer.status_code == 200
    first, bad, last = answer.json()
    assert (first["label"], last["label"]) == ("red", "blue")
    assert bad["source"] == "b"
    assert bad["error"]["type"] == "ImageError"


def test_top_k_names_so_many(client: TestClient) -> None:
    assert len(client.post("/classify?top_k=2", content=png("red")).json()["top"]) == 2


@pytest.mark.parametrize("text", ["0", "-1", "two", "", "1e3", "٣", "9" * 5000])
def test_a_wrong_top_k_is_refused(client: TestClient, text: str) -> None:
    answer = client.post("/classify", params={"top_k": text}, content=png("red"))
    assert answer.status_code == 400
    assert "top_k" in answer.json()["error"]


def test_urls_are_read(client: TestClient, web: Web) -> None:
    web.pages["/a.png"] = ok(png("red"), "image/png")
    url = web.url("/a.png")
    one = client.post("/classify", json={"url": url}).json()
    assert (one["source"], one["label"]) == (url, "red")
    rows = client.post("/classify", json={"urls": [url, web.url("/none.png"), url]}).json()
    assert [row.get("label") for row in rows] == ["red", None, "red"]
    assert rows[1]["error"]["type"] == "FetchError"


@pytest.mark.parametrize(
    "url",
    ["/etc/passwd", "file:///etc/passwd", "ftp://localhost/a", "etc/passwd", "~/.netrc", "", "-", "@list", "C:\\a"],
)
def test_no_request_reads_a_local_file(client: TestClient, url: str) -> None:
    answer = client.post("/classify", json={"url": url})
    assert answer.status_code == 422
    assert answer.json()["error"]["type"] == "FetchError"


def test_private_addresses_are_refused_unless_allowed(classifier: Classifier, web: Web) -> None:
    web.pages["/a.png"] = ok(png("red"), "image/png")
    answer = serving(classifier).post("/classify", json={"url": web.url("/a.png")})
    assert answer.status_code == 422
    assert web.seen == []


def test_no_urls_turns_them_off(classifier: Classifier) -> None:
    client = serving(classifier, urls=False)
    answer = client.post("/classify", json={"url": "https://example.org/a.png"})
    assert answer.status_code == 403
    assert client.get("/model").json()["urls"] is False


def test_what_a_request_fetches_has_a_limit(classifier: Classifier, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thumbnet.server.service.FETCHES", 1)  # side by side, it depends on their pace how many fail
    web.pages["/a"] = bomb(400_000)  # packed, 400 bytes or so
    web.pages["/b.png"] = ok(png("red"))
    client = serving(classifier, private_urls=True, limits=Limits(body=1_000_000))
    urls = [*[web.url("/a")] * 4, web.url("/b.png")]
    rows = client.post("/classify", json={"urls": urls}).json()
    assert sum("of one request are larger than 1,000,000 bytes together" in str(row) for row in rows) == 2
    assert rows[-1]["label"] == "red"
    assert client.post("/classify", json={"url": web.url("/b.png")}).json()["label"] == "red"


def test_what_all_requests_fetch_has_a_limit(classifier: Classifier, web: Web) -> None:
    web.pages["/a"] = bomb(400_000)
    client = serving(classifier, private_urls=True, limits=Limits(bodies=500_000))  # of which a client has 375,000
    for _ in range(2):
        assert client.post("/classify", json={"url": web.url("/a")}).status_code == 503
    assert 'refusals_total{reason="bodies"} 2.0' in client.get("/metrics").text
    assert client.post("/classify", content=bytes(370_000)).status_code == 422  # those before hold nothing any more


def test_more_urls_than_are_read_at_once_are_read_in_their_order(classifier: Classifier, web: Web) -> None:
    colours = ["red", "green", "blue"] * 10
    for place, colour in enumerate(colours):
        web.pages[f"/{place}"] = ok(png(colour))
    client = serving(classifier, private_urls=True)
    rows = client.post("/classify", json={"urls": [web.url(f"/{place}") for place in range(30)]}).json()
    assert [row["label"] for row in rows] == colours


def test_a_picture_has_a_limit_on_pixels(classifier: Classifier) -> None:
    client = serving(classifier, limits=Limits(pixels=64))
    assert client.post("/classify", content=png("red", 8)).status_code == 200
    for path in ("/classify", "/explain", "/square"):
        answer = client.post(path, content=png("red", 9))
        assert answer.status_code == 422
        assert "larger than 6.4e-05 megapixels: 9 × 9" in answer.text


def deep(side: int) -> bytes:
    """A PNG of 16 bits with transparency, which takes most memory a pixel."""
    return encode(np.full((side, side, 4), 30_000, np.uint16))


def test_a_picture_has_a_limit_on_the_memory_that_decoding_takes(classifier: Classifier) -> None:
    client = serving(classifier, limits=Limits(decoding=20 * 10_000))
    assert client.post("/classify", content=deep(100)).status_code == 200
    assert client.post("/classify", content=png("red", 120)).status_code == 200
    assert client.post("/classify", content=deep(101)).status_code == 422


@pytest.mark.parametrize(("decoding", "at_once"), [(20 * 10_000, 1), (2 * 20 * 10_000, 2)])
def test_pictures_are_decoded_together_as_long_as_they_fit(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch, decoding: int, at_once: int
) -> None:
    lock, now, most = threading.Lock(), 0, 0
    original = Classifier.squares

    def counted(self: Classifier, *arguments: Any, **options: Any) -> NDArray[np.uint8]:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        found = original(self, *arguments, **options)
        with lock:
            now -= 1
        return found

    monkeypatch.setattr(Classifier, "squares", counted)
    client = serving(classifier, decoders=4, limits=Limits(decoding=decoding))
    answer = client.post("/classify", files=[("file", ("a.png", deep(100)))] * 8)
    assert len(answer.json()) == 8
    assert most == at_once


def test_pictures_that_take_too_long_together_are_refused(classifier: Classifier) -> None:
    client = serving(classifier, limits=Limits(queued=4 * 20 * 10_000))  # a client has room for three
    assert client.post("/classify", files=[("file", ("a", deep(100)))] * 3).status_code == 200
    answer = client.post("/classify", files=[("file", ("a", deep(100)))] * 4)
    assert answer.status_code == 413
    assert "fewer or smaller pictures" in answer.json()["error"]


def test_large_packed_bodies_are_unpacked_beside_the_loop(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, threads, sizes = fetch.unpack, set(), []

    def noting(*arguments: Any) -> Iterator[bytes]:
        for block in original(*arguments):
            threads.add(threading.current_thread().name.partition("_")[0])
            sizes.append(len(block))
            yield block

    monkeypatch.setattr(service, "unpack", noting)
    content = png("red") + bytes(3_000_000)
    answer = serving(classifier).post("/classify", content=gzip.compress(content), headers={"Content-Encoding": "gzip"})
    assert answer.json()["label"] == "red"
    assert threads == {"asyncio"}
    assert max(sizes) <= 2**18


def test_a_forms_parts_may_be_of_any_kind(client: TestClient) -> None:
    content = png("blue") + b"\r\n--x\r\n--\r\n"
    part = (
        b'\r\nContent-Disposition: form-data; name="a"; filename="C:/\xc3\xa9 \\"1\\".png"\r\nContent-Type: a/b\r\n\r\n'
    )
    field = b"\r\ncontent-disposition:form-data; name=b\r\n\r\n\r\n"
    line = b"\r\n--boundary of it"
    body = b"a preamble" + line + b" \t" + part + content + line + field + line + b"--\r\nan epilogue"
    kind = {"Content-Type": 'multipart/form-data; boundary="boundary of it"'}
    for given in (body, body[len(b"a preamble\r\n") :]):
        answer = client.post("/classify", content=given, headers=kind).json()
        assert (answer["source"], answer["label"]) == ('C:/é "1".png', "blue")


def test_a_form_of_too_many_parts_is_refused(client: TestClient) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = client.post("/classify", content=part * 1000 + b"--x--", headers=kind)
    assert answer.status_code == 413
    assert answer.json()["error"] == "expected at most 272 parts in the form, got more"


def test_the_api_tells_the_sureness_and_describes_it(client: TestClient, classifier: Classifier) -> None:
    found = client.post("/classify", content=png("grey")).json()
    assert found["sureness"] == round(classifier.predict(png("grey")).sureness, 6)
    described = client.get("/openapi.json").json()["components"]["schemas"]["Prediction"]
    assert set(described["required"]) == set(described["properties"]) - {"network"} == set(found)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b'"a"', b"3", b"{}", b'{"url": 3}', b'{"url": null}', b'{"urls": "a"}', b'{"urls": []}',
        b'{"urls": [3]}', b'{"url": "http://a", "urls": []}', b'{"path": "/etc/passwd"}', b"[" * 100_000, b"\xff\xfe{",
        b'{"url": "\\ud800"}',
    ],
)  # fmt: skip
def test_json_that_says_nothing_sensible_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post("/classify", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"not a form"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n'),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\ntext\r\n--x--\r\n"),
        ("multipart/form-data; boundary=\xe4", b"--\xe4\r\n"),
        ("multipart/form-data; boundary=x; charset=none", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n'),
    ],
)
def test_a_form_that_is_none_is_refused(client: TestClient, kind: str, body: bytes) -> None:
    answer = client.post("/classify", content=body, headers=[(b"Content-Type", kind.encode("latin-1"))])
    assert answer.status_code == 400
    assert answer.json()["error"]


@pytest.mark.parametrize("path", ["/classify", "/explain", "/square"])
def test_what_is_no_picture_is_told_so(client: TestClient, path: str) -> None:
    for content in (b"", b"<html>", png("red")[:40], BOMB):
        answer = client.post(path, content=content)
        assert answer.status_code == 422
        assert answer.json()["error"]


def picture(content: bytes) -> NDArray[np.uint8]:
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert decoded is not None
    return decoded.astype(np.uint8)


def test_square_is_what_the_network_sees(client: TestClient, classifier: Classifier) -> None:
    content = encode(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
    answer = client.post("/square", content=content)
    assert answer.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(picture(answer.content), classifier.square(content))


def test_views_find_what_is_lost_in_the_whole(classifier: Classifier, tmp_path: Path) -> None:
    small, large = encode(lost()[:12]), encode(lost())
    closely = thumbnet.load(write(tmp_path / "model.onnx"), views=True)
    with TestClient(create_app(closely, limits=Limits(pictures=3))) as client:  # of which any may have two views
        assert client.post("/classify", content=large).json()["label"] == "green"
        files = [("file", ("a.png", each)) for each in (large, small, b"<html>", large)]
        rows = client.post("/classify", files=files[:3]).json()
        assert [row.get("label") for row in rows] == ["green", "red", None]
        rows = client.post("/classify", files=[files[0], files[1], files[3]]).json()
        assert [row["label"] for row in rows] == ["green", "red", "green"]
        assert client.post("/classify", files=files).status_code == 413
        tensors = {"instances": [{"b64": base64.b64encode(large).decode()}]}
        (row,) = client.post("/v1/models/thumbnet:predict", json=tensors).json()["predictions"]
        assert np.argmax(row) == NAMES.index("red")  # as a tensor has one square
        alone = picture(client.post("/square", content=large).content)
        np.testing.assert_array_equal(alone, classifier.square(large))


def test_explain_gives_a_heat_map(client: TestClient) -> None:
    content = encode(np.hstack([square("red", 200), square("grey", 200)]))
    answer = client.post("/explain", files={"file": ("a.png", content)})
    assert answer.headers["content-type"] == "image/png"
    assert picture(answer.content).shape == (200, 400, 3)


def test_a_model_that_was_trained_by_a_backbone_is_served() -> None:
    exact = Classifier(transferred.content())
    content = encode(np.hstack([square("red", 240), square("blue", 240)[:, :120]]))
    with serving(exact) as client:
        assert client.post("/classify", content=content).json()["label"] == "red"
        assert client.get("/model").json()["backbone"] == exact.info.backbone
        outputs = client.get("/v2/models/thumbnet").json()["outputs"]
        assert [output["name"] for output in outputs] == ["probabilities", "sureness"]
        tensors = {"instances": [{"b64": base64.b64encode(content).decode()}]}
        (row,) = client.post("/v1/models/thumbnet:predict", json=tensors).json()["predictions"]
        assert np.argmax(row) == NAMES.index("red")
        drawn = picture(client.post("/explain", content=content).content)
    np.testing.assert_array_equal(drawn, explain.drawn(exact, decode(content)))
    coloured = np.ptp(drawn.astype(int), axis=2) > 20
    assert coloured[:, :180].mean() > 0.9
    assert coloured[:, 300:].mean() < 0.1


def test_explain_takes_one_picture(client: TestClient) -> None:
    answer = client.post("/explain", files=[("file", ("a", png("red"))), ("file", ("b", png("red")))])
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)]
)
def test_packed_bodies_are_unpacked(client: TestClient, encoding: str, pack: Any) -> None:
    answer = client.post("/classify", content=pack(png("red")), headers={"Content-Encoding": encoding})
    assert answer.json()["label"] == "red"


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("br", b"x", 415),
        ("gzip", b"not gzip", 400),
        pytest.param("gzip", gzip.compress(b"a picture")[:-5], 400, id="cut off"),
        pytest.param("gzip", gzip.compress(b"a") + b"more", 400, id="more behind"),
        ("gzip", gzip.compress(bytes(10_000_000)), 413),
    ],
)
def test_badly_packed_bodies_are_refused(classifier: Classifier, encoding: str, body: bytes, status: int) -> None:
    client = serving(classifier, limits=Limits(body=100_000))
    answer = client.post("/classify", content=body, headers={"Content-Encoding": encoding})
    assert answer.status_code == status
    assert answer.json()["error"]


def test_a_large_body_is_refused_by_its_header_and_by_its_bytes(classifier: Classifier) -> None:
    client = serving(classifier, limits=Limits(body=1000))

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(100)

    for content in (bytes(1001), endless()):
        answer = client.post("/classify", content=content)
        assert answer.status_code == 413
        assert "1,000" in answer.json()["error"]


def test_all_bodies_together_have_a_limit(classifier: Classifier) -> None:
    client = serving(classifier, limits=Limits(bodies=50))
    assert client.post("/classify", content=png("red")).status_code == 503
    assert client.post("/classify", content=b"short").status_code == 422  # those before hold nothing any more


def test_too_many_pictures_are_refused(classifier: Classifier) -> None:
    client = serving(classifier, limits=Limits(pictures=2))
    files = [("file", ("a", png("red")))] * 3
    assert client.post("/classify", files=files).status_code == 413
    assert client.post("/classify", files=[*files, *files]).status_code in (400, 413)
    assert client.post("/classify", json={"urls": ["https://example.org/"] * 3}).status_code == 413


def test_large_squares_have_a_limit_of_memory(classifier: Classifier, tmp_path: Path) -> None:
    client = serving(classifier, limits=Limits(squares=4 * 4 * 4 * 3))  # of which a client has three quarters
    files = [("file", ("a", png("red")))] * 3
    assert [row["label"] for row in client.post("/classify", files=files).json()] == ["red"] * 3
    answer = client.post("/classify", files=[*files, files[0]])
    assert (answer.status_code, answer.json()) == (413, {"error": "expected at most 3 pictures a request, got 4"})
    assert client.post("/classify", json={"urls": ["https://example.org/"] * 4}).status_code == 413
    closely = thumbnet.load(write(tmp_path / "model.onnx"), views=True)  # two squares a picture
    client = serving(closely, limits=Limits(squares=4 * 4 * 4 * 3))
    assert client.post("/classify", content=png("red")).status_code == 200
    assert client.post("/classify", files=files[:2]).status_code == 413


def test_a_full_memory_of_squares_is_told_at_once(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serving(classifier, limits=Limits(squares=4 * 4 * 4 * 3))
    monkeypatch.setattr(Budget, "take", lambda budget, _, count: budget.most != 4 * 4 * 4 * 3 or count < 48)
    answer = client.post("/classify", content=png("red"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_a_full_queue_is_told_at_once(classifier: Classifier) -> None:
    client = serving(classifier, limits=Limits(queue=1))
    answer = client.post("/classify", files=[("file", ("a", png("red")))] * 2)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert client.post("/classify", content=png("red")).status_code == 200


def test_an_answer_that_takes_too_long_is_given_up(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = threading.Event()
    monkeypatch.setattr(Classifier, "square", lambda *_, **__: stuck.wait(10) and square("red", 4))
    with serving(classifier, limits=Limits(seconds=0.2)) as client:
        answer = client.post("/classify", content=png("red"))
        stuck.set()
        assert answer.status_code == 503
        numbers = client.get("/metrics").text
    assert 'thumbnet_refusals_total{reason="deadline"} 1.0' in numbers
    assert "thumbnet_queue_pictures 0.0" in numbers


def test_a_key_is_asked_for_by_all_but_the_page(classifier: Classifier) -> None:
    client = serving(classifier, api_key="secret")
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret"}, {"X-API-Key": "secre"}):
        answer = client.post("/classify", content=png("red"), headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    for path in ("/metrics", "/model"):
        assert client.get(path).status_code == 401
    assert client.get("/health/live").status_code == 200
    for headers in ({"Authorization": "Bearer secret"}, {"X-API-Key": "secret"}):
        assert client.post("/classify", content=png("red"), headers=headers).status_code == 200


def test_cors_is_off_unless_named(classifier: Classifier) -> None:
    asked = {"Origin": "https://example.org"}
    assert "access-control-allow-origin" not in serving(classifier).get("/model", headers=asked).headers
    client = serving(classifier, cors=["https://example.org"], api_key="secret")
    preflight = {**asked, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    assert client.options("/classify", headers=preflight).status_code == 200
    answer = client.get("/health/live", headers=asked)
    assert answer.headers["access-control-allow-origin"] == "https://example.org"
    other = client.get("/health/live", headers={"Origin": "https://example.com"})
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("key", ["", " ", "\n", "café", "a\0b"])
def test_a_key_that_nobody_could_send_is_refused(classifier: Classifier, key: str) -> None:
    with pytest.raises(thumbnet.ThumbnetError, match="expected an API key"):
        create_app(classifier, api_key=key)


def test_white_space_around_a_key_does_not_count(classifier: Classifier) -> None:
    client = serving(classifier, api_key="secret\n")
    assert client.get("/model", headers={"X-API-Key": "secret"}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["https://example.org/", "HTTPS://EXAMPLE.org", " https://example.org", "https://example.org:443", "*"],
)
def test_an_origin_is_taken_as_a_browser_writes_it(classifier: Classifier, origin: str) -> None:
    answer = serving(classifier, cors=[origin]).get("/health/live", headers={"Origin": "https://example.org"})
    assert answer.headers["access-control-allow-origin"] in ("https://example.org", "*")


def test_an_origin_may_have_a_port_and_a_foreign_host(classifier: Classifier) -> None:
    client = serving(classifier, cors=["http://localhost:3000/", "https://bücher.example"])
    for origin in ("http://localhost:3000", "https://xn--bcher-kva.example"):
        assert client.get("/health/live", headers={"Origin": origin}).headers["access-control-allow-origin"] == origin


@pytest.mark.parametrize(
    "origin",
    ["", "/", "example.org", "//example.org", "https://", "https://example.org/app", "https://example.org?a",
     "https://me@example.org", "ftp://example.org", "https://example.org:port", "https://*.example.org"],
)  # fmt: skip
def test_what_is_no_origin_is_refused(classifier: Classifier, origin: str) -> None:
    with pytest.raises(thumbnet.ThumbnetError, match=r"expected an origin such as https://example\.org"):
        create_app(classifier, cors=[origin])


def test_what_is_not_there_is_told_in_json(client: TestClient) -> None:
    for method, path, status in (("GET", "/none", 404), ("GET", "/classify", 405), ("GET", "/../errors.py", 404)):
        answer = client.request(method, path)
        assert answer.status_code == status
        assert answer.json()["error"]


def test_every_answer_has_the_security_headers(client: TestClient) -> None:
    for answer in (client.get("/docs"), client.get("/none"), client.post("/classify", content=b"x")):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_nobody_foresaw_is_logged_and_told_without_a_traceback(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("by design")

    monkeypatch.setattr(Classifier, "answers", broken)
    client = TestClient(create_app(classifier), raise_server_exceptions=False)
    answer = client.post("/classify", content=png("red"))
    assert answer.status_code == 500
    assert answer.json() == {"error": "the server failed; its log says why"}
    assert "by design" in caplog.text


def test_numbers_are_counted(client: TestClient) -> None:
    client.post("/classify", content=png("red"))
    client.post("/classify", content=b"x")
    client.get("/a-strangers-path")
    numbers = client.get("/metrics").text
    assert 'thumbnet_requests_total{path="/classify",status="200"} 1.0' in numbers
    assert 'thumbnet_requests_total{path="/classify",status="422"} 1.0' in numbers
    assert 'thumbnet_requests_total{path="other",status="404"} 1.0' in numbers
    assert "strangers" not in numbers
    for stage in ("body", "decode", "wait", "network"):
        assert f'thumbnet_stage_seconds_count{{stage="{stage}"}}' in numbers


@pytest.mark.parametrize("form", ["text", "json"])
def test_requests_are_logged(classifier: Classifier, form: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "thumbnet.server")
    serving(classifier, log_format=form).post("/a%1b[31m?secret=1", content=png("red"))
    (line,) = caplog.messages
    assert "secret" not in line
    assert "\x1b" not in line
    if form == "json":
        fields = json.loads(line)
        assert (fields["method"], fields["status"]) == ("POST", 404)
        assert fields["ms"] > 0


def test_openapi_and_its_page_are_there(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    page = client.get("/docs").text
    for path in document["paths"]:
        assert path in page
    assert "<script" not in page


class Slow:
    """A network that waits, and says of each picture its first pixel."""

    def __init__(self, size: int = 2) -> None:
        self.info = info(size=size)
        self.batches: list[int] = []
        self.go_on = threading.Event()

    def ask(self, squares: NDArray[np.uint8]) -> Asked:
        self.batches.append(len(squares))
        if 255 in squares:
            raise RuntimeError
        self.go_on.wait(10)
        first = squares[:, 0, 0, :1].astype(np.float32)
        return Asked(first, -first[:, 0])


def numbered(number: int, count: int = 1) -> NDArray[np.uint8]:
    return np.full((count, 2, 2, 3), number, np.uint8)


def test_requests_gather_into_batches_and_each_has_its_own_rows() -> None:
    network = Slow()

    async def run() -> list[Asked]:
        batcher = Batcher(network, Metrics())  # type: ignore[arg-type]
        tasks = [asyncio.create_task(batcher.ask(numbered(0)))]
        await asyncio.sleep(0.05)
        tasks += [asyncio.create_task(batcher.ask(numbered(n, n))) for n in range(1, 15)]
        await asyncio.sleep(0.05)
        network.go_on.set()
        answers = list(await asyncio.gather(*tasks))
        batcher.close()
        return answers

    answers = asyncio.run(run())
    for number, (rows, sureness) in enumerate(answers):
        assert rows.tolist() == [[number]] * max(number, 1)
        assert sureness.tolist() == [-number] * max(number, 1)
    assert network.batches[0] == 1
    assert sum(network.batches) == 1 + sum(range(1, 15))
    assert max(network.batches) <= LARGEST
    assert len(network.batches) <= 4


@pytest.mark.parametrize(("size", "most"), [(2, LARGEST), (288, 2)])
def test_a_large_request_takes_turns_with_the_others(size: int, most: int) -> None:
    network = Slow(size)
    ended: list[int] = []

    async def run() -> list[Asked]:
        batcher = Batcher(network, Metrics())  # type: ignore[arg-type]

        async def ask(number: int, count: int) -> Asked:
            answer = await batcher.ask(numbered(number, count))
            ended.append(number)
            return answer

        network.go_on.set()
        tasks = [asyncio.create_task(ask(*each)) for each in ((1, 3 * most + 1), (2, 2 * most), (3, most), (4, 1))]
        answers = list(await asyncio.gather(*tasks))
        batcher.close()
        return answers

    answers = asyncio.run(run())
    for number, (answer, count) in enumerate(zip(answers, (3 * most + 1, 2 * most, most, 1), strict=True), 1):
        assert answer.probabilities.tolist() == [[number]] * count
        assert answer.sureness.tolist() == [-number] * count
    assert ended == [3, 4, 2, 1]
    assert network.batches == [most, most, most, 1, most, most, most, 1]


def test_who_leaves_in_the_middle_of_a_large_request_ends_it() -> None:
    network = Slow(288)

    async def run() -> None:
        batcher = Batcher(network, Metrics())  # type: ignore[arg-type]
        large = asyncio.create_task(batcher.ask(numbered(1, 100)))
        await asyncio.sleep(0.05)
        large.cancel()
        network.go_on.set()
        assert (await batcher.ask(numbered(2))).probabilities.tolist() == [[2]]
        batcher.close()

    asyncio.run(run())
    assert network.batches == [2, 1]


def test_a_large_request_fails_as_a_whole() -> None:
    network = Slow(288)
    network.go_on.set()

    async def run() -> None:
        batcher = Batcher(network, Metrics())  # type: ignore[arg-type]
        with pytest.raises(RuntimeError):
            await batcher.ask(np.concatenate([numbered(1, 2), numbered(255, 2), numbered(1, 2)]))
        assert (await batcher.ask(numbered(2))).probabilities.tolist() == [[2]]
        batcher.close()

    asyncio.run(run())
    assert network.batches == [2, 2, 1]


def test_who_leaves_takes_no_place_in_a_batch_and_a_failing_batch_is_its_own() -> None:
    network = Slow()

    async def run() -> None:
        batcher = Batcher(network, Metrics())  # type: ignore[arg-type]
        first = asyncio.create_task(batcher.ask(numbered(1)))
        await asyncio.sleep(0.05)
        left = asyncio.create_task(batcher.ask(numbered(2, 5)))
        stays = asyncio.create_task(batcher.ask(numbered(3)))
        await asyncio.sleep(0.05)
        left.cancel()
        await asyncio.sleep(0)
        network.go_on.set()
        assert (await first).probabilities.tolist() == [[1]]
        assert (await stays).probabilities.tolist() == [[3]]
        with pytest.raises(RuntimeError):
            await batcher.ask(numbered(255))
        assert (await batcher.ask(numbered(4))).probabilities.tolist() == [[4]]
        batcher.close()

    asyncio.run(run())
    assert network.batches == [1, 1, 1, 1]


def test_a_model_that_fails_is_the_servers_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise thumbnet.ModelError("the model file's network fails")

    classifier = thumbnet.load(write(tmp_path / "model.onnx"))
    monkeypatch.setattr(Classifier, "ask", fails)
    answer = serving(classifier).post("/classify", content=png("red"))
    assert answer.status_code == 500
    assert "network fails" in answer.json()["error"]


@pytest.mark.parametrize(
    ("decoders", "kind", "side", "quality", "progressive", "threads"),
    [
        (1, ".jpg", 500, 75, False, 0),
        (1, ".jpg", 500, 75, True, 1),
        (1, ".jpg", 520, 5, False, 1),
        (1, ".jpg", 512, 100, False, 1),
        (1, ".png", 100, 0, False, 1),
        (2, ".jpg", 128, 75, False, 0),
        (2, ".jpg", 128, 75, True, 1),
        (2, ".jpg", 136, 75, False, 1),
    ],
)
def test_only_a_small_jpeg_is_decoded_without_a_decoder(
    classifier: Classifier,
    monkeypatch: pytest.MonkeyPatch,
    decoders: int,
    kind: str,
    side: int,
    quality: int,
    progressive: bool,
    threads: int,
) -> None:
    image = np.random.default_rng(0).normal(128, 60 if quality == 100 else 5, (side, side, 3)).clip(0, 255)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    content = cv2.imencode(kind, image.astype(np.uint8), options)[1].tobytes()
    seen = set()
    original = Classifier.square

    def noting(*arguments: Any, **options: Any) -> NDArray[np.uint8]:
        seen.add(threading.current_thread().name)
        return original(*arguments, **options)

    monkeypatch.setattr(Classifier, "square", noting)
    with serving(classifier, decoders=decoders) as client:
        answer = client.post("/classify", content=content).json()
    assert answer["label"] == classifier.predict(content).label
    assert len([name for name in seen if name.startswith("decode")]) == threads


def test_a_broken_jpeg_is_refused_where_it_is_decoded(classifier: Classifier) -> None:
    with serving(classifier, decoders=1) as client:
        for content in (b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\x00\x10JFIF"):
            assert client.post("/classify", content=content).status_code == 422


def test_the_loop_is_free_while_pictures_are_decoded(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    decoding = threading.Event()

    def slow(*_: Any, **__: Any) -> NDArray[np.uint8]:
        decoding.set()
        time.sleep(0.5)
        return square("red", 4)

    monkeypatch.setattr(Classifier, "square", slow)
    with serving(classifier) as client:
        answers: list[int] = []
        thread = threading.Thread(target=lambda: answers.append(client.post("/classify", content=b"x").status_code))
        thread.start()
        assert decoding.wait(5)
        assert client.get("/health/live").status_code == 200
        assert answers == []
        thread.join()
    assert answers == [200]
