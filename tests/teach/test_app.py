"""The API of the page: what it answers, and to whom; no request leads out of the folder, or fills the memory."""

import asyncio
import base64
import errno
import io
import json
import os
import struct
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from support.models import png
from support.trees import tree
from support.web import Web, ok

pytest.importorskip("starlette", reason="serving is not installed: pip install -e '.[serve]'")

from support.teaching import KEY, PORT, Taught, fill, picture, taught

from thumbnet.cli import main
from thumbnet.data.collection import Collection
from thumbnet.export import web as web_export
from thumbnet.model.classifier import Classifier
from thumbnet.prediction import explain
from thumbnet.teach import app as module
from thumbnet.teach import work

# A PNG that claims 50,000 pixels a side.
BOMB = png("red")[:16] + struct.pack(">II", 50_000, 50_000) + png("red")[24:]


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK", "PAUSE"):
        monkeypatch.setattr(work, name, 0.05)


@pytest.fixture
def it(tmp_path: Path) -> Iterator[Taught]:
    (tmp_path / "taught").mkdir()
    with taught(tmp_path / "taught") as it:
        yield it


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Taught]:
    with taught(fill(tmp_path / "taught")) as it:
        it.trained()
        yield it


def classes(state: Any) -> dict[str, list[str]]:
    return {each["name"]: [picture["name"] for picture in each["pictures"]] for each in state["classes"]}


def decoded(content: bytes) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return np.asarray(image, np.uint8)


def test_from_an_empty_folder_to_a_model(it: Taught) -> None:
    state = it.state()
    assert (state["folder"], state["classes"], state["result"], state["undo"]) == ("taught", [], None, None)
    state = it.until(lambda state: state["training"]["status"] == "too few")
    assert state["training"]["message"] == "Add at least two classes, and show pictures of each."
    assert it.get("/api/model").status_code == 409
    assert it.post("/api/predict", content=picture("red", 0)).status_code == 409
    for start, colour in ((0, "red"), (10, "blue")):
        answer = it.post("/api/classes", json={"name": colour})
        assert (answer.status_code, answer.json()) == (201, {"name": colour})
        for number in range(start, start + 5):
            answer = it.add(colour, picture(colour, number))
            assert answer.status_code == 201
            assert answer.json().keys() == {"name", "key"}
    state = it.trained()
    assert classes(state) == {"blue": ["a 2.png", "a 3.png", "a 4.png", "a 5.png", "a.png"]} | {
        "red": ["a 2.png", "a 3.png", "a 4.png", "a 5.png", "a.png"]
    }
    result = state["result"]
    assert state["features"] == {"done": 10, "total": 10}
    assert result["accuracy"]["value"] == 1
    assert result["accuracy"]["low"] < result["accuracy"]["high"] == pytest.approx(1)
    assert (result["pictures"], result["suspects"], result["confusions"]) == (10, [], [])
    assert state["undo"] == {"label": "Add 5 pictures to blue"}
    answer = it.post("/api/predict", content=picture("red", 99))
    assert (answer.json()["label"], answer.json()["heat"]) == ("red", None)


def test_the_model_file_answers_as_predict_does(
    full: Taught, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = full.get("/api/model")
    assert 'filename="taught.onnx"' in sent.headers["content-disposition"]
    assert sent.content == (full.work.folder / ".thumbnet/model.onnx").read_bytes()
    (tmp_path / "mine.onnx").write_bytes(sent.content)
    (tmp_path / "new.png").write_bytes(picture("green", 99))
    arguments = ["--model", str(tmp_path / "mine.onnx"), "--format", "json", "--top-k", "10"]
    assert main(["predict", str(tmp_path / "new.png"), *arguments]) == 0
    told = json.loads(capsys.readouterr().out)
    here = full.post("/api/predict", content=picture("green", 99)).json()
    assert {**here, "source": told["source"]} == {**told, "heat": None}


def test_the_shell_learns_the_same_from_the_folder(full: Taught, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(full.work.folder / ".thumbnet/model.onnx")
    assert main(["evaluate", model, "--data", str(full.work.folder)]) == 0
    told = capsys.readouterr()
    assert "24 pictures right, cross-validated" in told.out
    assert "have changed" not in told.err


def test_a_heat_map_is_laid_over_the_square(full: Taught) -> None:
    content = picture("red", 99)
    answer = full.post("/api/predict", params={"heat": "1"}, content=content).json()
    drawn = decoded(base64.b64decode(answer["heat"].partition(",")[2]))
    classifier = Classifier(full.get("/api/model").content)
    expected = explain.layer(explain.heat(classifier, classifier.square(content)))
    np.testing.assert_array_equal(cv2.cvtColor(drawn, cv2.COLOR_BGRA2RGBA), expected)


def test_mistakes_and_suspects_are_shown(tmp_path: Path) -> None:
    folder = fill(tmp_path / "taught")
    (folder / "red/0.png").rename(folder / "green/wrong.png")
    (folder / "blue/copy.png").write_bytes((folder / "blue/1.png").read_bytes())
    with taught(folder) as it:
        state = it.trained()
    result = state["result"]
    keys = {(each["name"], shown["name"]): shown["key"] for each in state["classes"] for shown in each["pictures"]}
    wrong = {"class": "green", "name": "wrong.png", "key": keys["green", "wrong.png"]}
    [label] = [each for each in result["suspects"] if each["kind"] == "label"]
    assert (label["picture"], label["to"]) == (wrong, "red")
    assert label["confidence"] > 0.5
    copies = [(each["picture"]["name"], each["of"]["name"]) for each in result["suspects"] if each["kind"] == "copy"]
    assert copies == [("copy.png", "1.png")]
    assert result["confusions"] == [{"from": "green", "to": "red", "count": 1, "pictures": [wrong]}]


def test_a_move_makes_the_model_stale_until_it_is_trained_again(full: Taught) -> None:
    before = full.state()["result"]["pictures"]
    assert full.post("/api/move", json={"pictures": [{"class": "red", "name": "0.png"}], "to": None}).json() == {}
    assert full.get("/api/model").status_code == 409
    assert full.trained()["result"]["pictures"] == before - 1
    assert full.post("/api/undo").json() == {"label": "Remove 1 picture from red"}
    assert full.trained()["result"]["pictures"] == before
    assert full.post("/api/undo").status_code == 409


def test_classes_are_renamed_merged_and_removed(full: Taught) -> None:
    assert full.post("/api/classes/red/rename", json={"name": "rosé & co"}).json() == {"name": "rosé & co"}
    assert full.post("/api/classes/ros%C3%A9%20%26%20co/rename", json={"name": "BLUE"}).status_code == 409
    merged = full.post("/api/classes/ros%C3%A9%20%26%20co/rename", json={"name": "BLUE", "merge": True})
    assert merged.json() == {"name": "blue"}
    assert {name: len(found) for name, found in classes(full.state()).items()} == {"blue": 16, "green": 8}
    assert full.post("/api/classes/green/remove").json() == {}
    assert full.until(lambda state: state["training"]["status"] == "too few")["result"] is None
    for label in ("Remove the class green", "Merge rosé & co into blue", "Rename red to rosé & co"):
        assert full.post("/api/undo").json() == {"label": label}
    assert full.trained()["result"]["pictures"] == 24


def test_training_can_be_asked_for(full: Taught) -> None:
    before = full.work.model
    assert full.post("/api/train").status_code == 202
    full.until(lambda state: full.work.model is not before and state["training"]["status"] == "ready")


def test_news_are_waited_for(it: Taught, monkeypatch: pytest.MonkeyPatch) -> None:
    version = it.until(lambda state: state["training"]["status"] == "too few")["version"]
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(it.get, "/api/state", params={"after": version})
        time.sleep(0.3)
        assert not waiting.done()
        it.post("/api/classes", json={"name": "red"})
        assert "red" in classes(waiting.result(30).json())
    assert it.get("/api/state", params={"after": version}).json()["version"] != version
    monkeypatch.setattr(module, "NEWS_SECONDS", 0.1)
    state = it.until(lambda state: state["training"]["message"] == "Add a second class.")
    assert it.get("/api/state", params={"after": state["version"]}).json() == state
    for after in ("x", "-1", "1.5", "9" * 30):
        assert it.get("/api/state", params={"after": after}).status_code == 422


def test_thumbnails_are_small_and_known_by_their_content(full: Taught) -> None:
    large = np.random.default_rng(0).integers(0, 256, (1500, 3000, 3), np.uint8)
    name = full.add("red", cv2.imencode(".jpg", large)[1].tobytes(), "large.jpg").json()["name"]
    where = {"class": "red", "name": name}
    for path, size in (("/api/thumbnail", (80, 160)), ("/api/picture", (512, 1024))):
        sent = full.get(path, params=where)
        assert sent.headers["content-type"] == "image/jpeg"
        assert decoded(sent.content).shape[:2] == size
        again = full.get(path, params=where, headers={"If-None-Match": sent.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert full.get("/api/thumbnail", params={"class": "red", "name": "0.png"}).status_code == 200
    for path in ("/api/thumbnail", "/api/picture"):
        assert full.get(path, params={"class": "red", "name": "../blue/0.png"}).status_code == 404
        assert full.get(path, params={"class": "..", "name": "mine.onnx"}).status_code == 404
        assert full.get(path).status_code == 404


def test_the_report_and_the_folder_for_the_browser_are_packed(full: Taught, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(io.BytesIO(full.get("/api/report").content)) as report:
        assert report.namelist() == ["taught-report/index.html", "taught-report/scores.json"]
        scores = json.loads(report.read("taught-report/scores.json"))
    assert (scores["cross_validated"], scores["scores"]["images"]) == (True, 24)
    assert "robustness" not in scores  # which would take minutes
    assert scores["scores"]["accuracy"] == full.state()["result"]["accuracy"]["value"]
    monkeypatch.setattr(web_export, "_runtime", lambda _: {"ort.js": b"", "ort.wasm": b""})
    with zipfile.ZipFile(io.BytesIO(full.get("/api/web").content)) as packed:
        assert packed.read("taught-web/model.onnx") == full.get("/api/model").content
        assert json.loads(packed.read("taught-web/model.json"))["names"] == ["blue", "green", "red"]


def test_what_runs_in_the_browser_cannot_be_had(full: Taught, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_export, "URL", "http://127.0.0.1:9/nothing.tgz")
    sent = full.get("/api/web")
    assert sent.status_code == 502
    assert "ONNX Runtime Web was not downloaded" in sent.json()["error"]


# --- pictures that come in ---


def test_a_picture_that_is_there_is_not_added_twice(it: Taught) -> None:
    it.post("/api/classes", json={"name": "red"})
    it.post("/api/classes", json={"name": "blue"})
    first, second = it.add("red", png("red")), it.add("red", png("red"), "other.png")
    assert second.status_code == 200
    assert second.json() == {**first.json(), "known": True}
    assert it.add("blue", png("red")).status_code == 201
    assert classes(it.state()) == {"blue": ["a.png"], "red": ["a.png"]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "0 bytes"),
        (b"text", "this is text"),
        (b"<html>", "web page"),
        (png("red")[:60], "broken or cut off"),
        (BOMB, "larger than 64 megapixels: 50000 × 50000"),
    ],
    ids=["empty", "text", "html", "cut", "bomb"],
)
def test_what_is_no_picture_is_refused_and_not_written(it: Taught, content: bytes, says: str) -> None:
    it.post("/api/classes", json={"name": "red"})
    answer = it.add("red", content)
    assert answer.status_code == 422
    assert says in answer.json()["error"]
    assert list((it.work.folder / "red").iterdir()) == []
    assert it.state()["undo"] == {"label": "Add the class red"}


def test_a_bomb_that_another_program_put_there_is_named_and_not_decoded(full: Taught) -> None:
    (full.work.folder / "red/bomb.png").write_bytes(BOMB)
    (full.work.folder / "red/text.jpg").write_text("text")
    (full.work.folder / "red/link.png").symlink_to("0.png")

    def problems(state: Any) -> dict[str, str]:
        return {each["name"]: each["problem"] for each in state["classes"][2]["pictures"] if each["problem"]}

    state = full.until(lambda state: len(problems(state)) == 3 and state["training"]["status"] == "ready")
    assert "megapixels: 50000 × 50000" in problems(state)["bomb.png"]
    assert "this is text" in problems(state)["text.jpg"]
    assert "this is a link" in problems(state)["link.png"]
    assert state["result"]["fresh"]
    for name in ("bomb.png", "text.jpg", "link.png"):
        assert full.get("/api/thumbnail", params={"class": "red", "name": name}).status_code == 422
        assert full.post("/api/predict", content=BOMB).status_code == 422


def test_a_body_that_is_too_large_is_refused(it: Taught, monkeypatch: pytest.MonkeyPatch) -> None:
    it.post("/api/classes", json={"name": "red"})
    monkeypatch.setattr(module, "BODY", 2**20 + 1)

    def parts() -> Iterator[bytes]:
        yield from [bytes(2**19)] * 4

    for content in (bytes(2**20 + 2), parts()):
        assert it.add("red", content).status_code == 413  # type: ignore[arg-type]  # also what names no length
    assert it.post("/api/classes", content=bytes(2**20 + 1)).status_code == 413


def asked(it: Taught, seconds: float, *headers: tuple[bytes, bytes]) -> tuple[int, int]:
    """The status of a request whose body comes every so many seconds, and how often it was asked for."""
    sent: list[Any] = []
    reads = 0

    async def receive() -> Any:
        nonlocal reads
        reads += 1
        await asyncio.sleep(seconds)
        return {"type": "http.request", "body": b"", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    own = [(b"host", f"127.0.0.1:{PORT}".encode()), (b"authorization", f"Bearer {KEY}".encode())]
    scope = {
        "type": "http", "method": "POST", "path": "/api/classes/red/pictures", "query_string": b"",
        "headers": [*own, *headers], "http_version": "1.1", "scheme": "http",
    }  # fmt: skip
    asyncio.run(it.app(scope, receive, send))  # type: ignore[arg-type]  # ASGI's types are wider
    return int(sent[0]["status"]), reads


def test_a_body_that_is_too_slow_is_refused(it: Taught, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_SECONDS", 0.05)
    assert asked(it, 5)[0] == 408


def test_a_body_that_says_that_it_is_too_large_is_not_read(it: Taught) -> None:
    assert asked(it, 0, (b"content-length", b"999999999999")) == (413, 0)


def test_pictures_come_from_urls(tmp_path: Path, web: Web) -> None:
    (tmp_path / "taught").mkdir()
    web.pages |= {"/red?x=1": ok(png("red")), "/page": ok(b"<html>", "text/html")}
    with taught(tmp_path / "taught", private_urls=True) as it:
        it.post("/api/classes", json={"name": "red"})
        answer = it.post("/api/classes/red/urls", json={"url": web.url("/red?x=1")})
        assert (answer.status_code, answer.json()["name"]) == (201, "red.png")
        assert it.post("/api/classes/red/urls", json={"url": web.url("/page")}).status_code == 422
        assert it.post("/api/classes/red/urls", json={"url": web.url("/nothing")}).status_code == 422
        data = f"data:image/png;base64,{base64.b64encode(png('blue')).decode()}"
        assert it.post("/api/classes/red/urls", json={"url": data}).json()["name"] == "picture.png"
        assert it.post("/api/classes/blue/urls", json={"url": data}).status_code == 404


@pytest.mark.parametrize(
    "url", ["/etc/passwd", "file:///etc/passwd", "http://127.0.0.1/", "http://169.254.169.254/", "ftp://example.org/a"]
)
def test_a_url_leads_to_no_file_and_no_private_address(it: Taught, url: str) -> None:
    it.post("/api/classes", json={"name": "red"})
    answer = it.post("/api/classes/red/urls", json={"url": url})
    assert answer.status_code == 422
    assert list((it.work.folder / "red").iterdir()) == []


def test_a_server_on_this_machine_is_not_asked(it: Taught, web: Web) -> None:
    web.pages["/red"] = ok(png("red"))
    it.post("/api/classes", json={"name": "red"})
    assert it.post("/api/classes/red/urls", json={"url": web.url("/red")}).status_code == 422
    assert web.seen == []


def test_many_pictures_at_once_are_held_a_few_at_a_time(it: Taught, monkeypatch: pytest.MonkeyPatch) -> None:
    it.post("/api/classes", json={"name": "red"})
    held, most, lock = 0, 0, threading.Lock()
    add = module._Api._add

    async def counted(*arguments: Any) -> Any:
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        await asyncio.sleep(0.01)
        try:
            return await add(*arguments)
        finally:
            with lock:
                held -= 1

    monkeypatch.setattr(module._Api, "_add", counted)
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda number: it.add("red", picture("red", number)), range(60)))
    assert [answer.status_code for answer in answers] == [201] * 60
    assert 1 < most <= module.BODIES
    assert len(classes(it.state())["red"]) == len(list((it.work.folder / "red").iterdir())) == 60


def test_frames_that_come_too_fast_are_refused(full: Taught, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODIES", 100)
    monkeypatch.setattr(module, "FRAMES", 0)
    going, entered = threading.Event(), threading.Event()
    model = full.work.model
    assert model is not None
    ask = model.classifier.ask

    def slow(squares: Any) -> Any:
        entered.set()
        going.wait(30)
        return ask(squares)

    monkeypatch.setattr(model.classifier, "ask", slow)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(full.post, "/api/predict", content=picture("red", 1))
        assert entered.wait(30)
        busy = full.post("/api/predict", content=picture("red", 2))
        going.set()
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
        assert first.result(30).status_code == 200


# --- who may ask ---


def test_a_wrong_key_is_refused(it: Taught) -> None:
    it.post("/api/classes", json={"name": "red"})
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}):
        for method, path in (("GET", "/api/state"), ("POST", "/api/classes/red/remove"), ("GET", "/api/openapi.json")):
            answer = it.request(method, path, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"].startswith("expected the key")
    assert list(classes(it.state())) == ["red"]
    assert it.get("/", headers={"Authorization": ""}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", f"https://127.0.0.1:{PORT}", "null", "http://127.0.0.1:1"])
def test_another_sites_page_is_refused(it: Taught, origin: str) -> None:
    for path in ("/api/state", "/"):
        answer = it.get(path, headers={"Origin": origin})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
    assert it.get("/api/state", headers={"Origin": f"http://127.0.0.1:{PORT}"}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:1", "", "[::1]:8123"])
def test_another_host_is_refused(it: Taught, host: str) -> None:
    for path in ("/api/state", "/"):
        assert it.get(path, headers={"Host": host}).status_code == 421
    assert it.get("/api/state", headers={"Host": f"localhost:{PORT}"}).status_code == 200


def test_answers_may_hold_no_foreign_code(it: Taught) -> None:
    for path in ("/", "/api/state", "/nothing"):
        headers = it.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


# --- names, and what is not as it should be ---


@pytest.mark.parametrize("name", ["../x", "<img onerror=alert(1)>", ".git", "CON", "x" * 81, "", " ", "a\0b", "a\nb"])
def test_names_that_no_class_can_have(it: Taught, name: str) -> None:
    answer = it.post("/api/classes", json={"name": name})
    assert answer.status_code == 422
    assert "expected" in answer.json()["error"]
    it.post("/api/classes", json={"name": "red"})
    assert it.post("/api/classes/red/rename", json={"name": name}).status_code == 422
    assert {path.name for path in it.work.folder.iterdir()} == {".thumbnet", "red"}


@pytest.mark.parametrize(
    "name", ["../../x.png", "..%2Fx.png", "/etc/x.png", ".git", "<img onerror=x>.png", "CON.png", "x" * 500]
)
def test_names_of_pictures_are_made_safe(it: Taught, name: str) -> None:
    it.post("/api/classes", json={"name": "red"})
    stored = it.add("red", png("red"), name).json()["name"]
    assert [path.name for path in (it.work.folder / "red").iterdir()] == [stored]
    assert {path.name for path in it.work.folder.parent.iterdir()} <= {"taught", "thumbnet-home", "home"}


def test_a_class_by_its_path_is_none(full: Taught) -> None:
    for name in ("..%2Ftaught%2Fred", "%2E%2E", ".thumbnet", "%2Fetc"):
        assert full.add(name, png("red")).status_code == 404
        assert full.post(f"/api/classes/{name}/remove").status_code == 404
    assert len(classes(full.state())["red"]) == 8


def test_existing_folders_with_strange_names_are_shown_as_they_are(tmp_path: Path) -> None:
    folder = tree(tmp_path / "taught", {"<img onerror=x>": 2, "CON": 2, "a'b\"c": 2})
    with taught(folder) as it:
        assert list(classes(it.state())) == ["<img onerror=x>", "CON", "a'b\"c"]
        assert it.add("<img onerror=x>", png("red")).status_code == 201


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/classes", "x"), ("/api/classes", "[]"), ("/api/classes", "{}"), ("/api/classes", '{"name": 1}'),
        ("/api/classes", '{"name": "a", "more": 1}'), ("/api/classes", "[" * 100_000),
        ("/api/classes/red/rename", '{"name": "a", "merge": 1}'), ("/api/classes/red/urls", '{"url": null}'),
        ("/api/move", '{"pictures": 1, "to": null}'), ("/api/move", '{"pictures": [1], "to": null}'),
        ("/api/move", '{"pictures": [{"class": "red"}], "to": null}'), ("/api/move", '{"pictures": [], "to": 1}'),
        ("/api/move", '{"pictures": []}'),
    ],
)  # fmt: skip
def test_json_that_is_not_as_expected(full: Taught, path: str, body: str) -> None:
    answer = full.post(path, content=body)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("expected")


def test_what_is_not_there(full: Taught) -> None:
    assert full.post("/api/classes/mice/rename", json={"name": "a"}).status_code == 404
    assert full.post("/api/move", json={"pictures": [{"class": "red", "name": "0.png"}], "to": "a"}).status_code == 404
    assert full.post("/api/move", json={"pictures": [{"class": "red", "name": "9"}], "to": "blue"}).status_code == 404
    assert full.get("/api/nothing").status_code == 404
    assert full.get("/api/train").status_code == 405
    assert full.post("/api/move", json={"pictures": [], "to": None}).status_code == 200


@pytest.mark.parametrize(
    ("number", "status", "says"),
    [
        (errno.ENOSPC, 507, "the disk is full"),
        (errno.EROFS, 403, "may not be written to"),
        (errno.EACCES, 403, "may not be written to"),
        (errno.ENOENT, 404, "another program"),
        (errno.EIO, 500, "this failed"),
    ],
)
def test_a_disk_that_takes_nothing_is_told(
    full: Taught, monkeypatch: pytest.MonkeyPatch, number: int, status: int, says: str
) -> None:
    def failing(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    before = classes(full.state())
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", failing)
        patch.setattr(os, "fsync", failing)
        patch.setattr(Path, "mkdir", failing)
        moved = {"pictures": [{"class": "red", "name": "0.png"}], "to": "blue"}
        for answer in (
            full.add("red", picture("red", 99)),
            full.post("/api/move", json=moved),
            full.post("/api/classes", json={"name": "new"}),
            full.post("/api/classes/red/rename", json={"name": "new"}),
            full.post("/api/classes/red/remove"),
        ):
            assert answer.status_code == status
            assert says in answer.json()["error"]
    assert classes(full.state()) == before
    assert full.state()["undo"] is None
    assert full.add("red", picture("red", 99)).status_code == 201


def test_a_failure_that_nobody_foresaw_is_told(full: Taught, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> Any:
        raise RuntimeError("secret")

    monkeypatch.setattr(Collection, "remove_class", failing)
    monkeypatch.setattr(full._transport, "raise_server_exceptions", False)
    answer = full.post("/api/classes/red/remove")
    assert (answer.status_code, answer.json()) == (500, {"error": "this failed; the terminal says why"})


def test_a_report_of_pictures_that_have_gone_is_an_error(full: Taught, monkeypatch: pytest.MonkeyPatch) -> None:
    model = full.work.model
    assert model is not None
    (full.work.folder / "red/0.png").unlink()
    full.until(lambda state: state["result"]["pictures"] == 23)
    monkeypatch.setattr(full.work, "fresh", lambda: model)
    assert full.get("/api/report").status_code == 404
