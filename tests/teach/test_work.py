"""The work in the background: it follows what other programs do, trains when it is quiet, and says why it cannot."""

import errno
import hashlib
import os
import shutil
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.models import png
from support.trees import plain, tree

pytest.importorskip("starlette", reason="serving is not installed: pip install -e '.[serve]'")

from support.backbones import backbone
from support.teaching import Taught, fill, picture, taught

from thumbnet.data.dataset import streamed_fingerprint
from thumbnet.errors import DataError, ExportError, ModelError, ThumbnetError
from thumbnet.files import write_atomically
from thumbnet.model.classifier import Classifier
from thumbnet.teach import work as module
from thumbnet.teach.work import Work
from thumbnet.transfer import features
from thumbnet.transfer import make as make_module
from thumbnet.transfer.backbone import Backbone, check_backbone


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK", "PAUSE"):
        monkeypatch.setattr(module, name, 0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path / "taught")


@pytest.fixture
def it(folder: Path) -> Iterator[Taught]:
    with taught(folder) as it:
        it.trained()
        yield it


def counts(state: Any) -> dict[str, int]:
    return {each["name"]: len(each["pictures"]) for each in state["classes"]}


def test_what_other_programs_do_is_seen(it: Taught, folder: Path) -> None:
    (folder / "red/new.png").write_bytes(picture("red", 77))
    (folder / "blue/0.png").unlink()
    state = it.until(lambda state: counts(state) == {"blue": 7, "green": 8, "red": 9})
    assert it.trained()["result"]["pictures"] == 24
    (folder / "red/new.png").write_bytes(picture("red", 78))  # other content under the same name
    it.until(lambda now: now["classes"][2]["pictures"] != state["classes"][2]["pictures"])
    assert it.trained()["features"] == {"done": 24, "total": 24}
    shutil.rmtree(folder / "green")
    state = it.until(lambda state: counts(state) == {"blue": 7, "red": 9})
    assert [each["name"] for each in it.trained()["result"]["classes"]] == ["blue", "red"]


def test_a_class_that_goes_meanwhile_takes_no_picture(
    it: Taught, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(it.work, "_look", 1000.0)
    time.sleep(0.2)
    shutil.rmtree(folder / "green")
    assert it.add("green", png("green")).status_code == 404
    moved = it.post("/api/move", json={"pictures": [{"class": "red", "name": "0.png"}], "to": "green"})
    assert moved.status_code == 404
    assert (folder / "red/0.png").exists()


def test_a_folder_that_goes_is_told_and_comes_back(it: Taught, folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    state = it.until(lambda state: state["training"]["status"] == "failed")
    assert state["training"]["message"].startswith("the folder cannot be read: No such file")
    folder.with_name("elsewhere").rename(folder)
    it.trained()


def test_features_are_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 4)
    monkeypatch.setattr(module, "COUNTED", 0.0)
    seen, going = Backbone.features, threading.Semaphore(0)

    def slow(self: Backbone, squares: Any) -> Any:
        assert going.acquire(timeout=30)
        return seen(self, squares)

    made = check_backbone(backbone(), "tiny")
    monkeypatch.setattr(Backbone, "features", slow)
    monkeypatch.setattr("support.teaching.check_backbone", lambda *_: made)
    with taught(folder) as it:
        it.until(lambda state: state["features"] == {"done": 4, "total": 24} and counts(state)["red"] == 8)
        assert it.state()["training"]["status"] == "waiting"
        going.release()
        it.until(lambda state: state["features"] == {"done": 8, "total": 24})
        going.release(100)
        assert it.trained()["features"] == {"done": 24, "total": 24}


def test_the_same_content_is_seen_once(folder: Path) -> None:
    for name in ("a.png", "b.png"):
        shutil.copy(folder / "red/0.png", folder / "red" / name)
    with taught(folder) as it:
        state = it.trained()
    assert state["features"] == {"done": 24, "total": 24}
    assert state["result"]["pictures"] == 26


def test_a_restart_continues_with_what_is_there(it: Taught, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = it.trained()["result"]
    it.work.end()
    it.work._thread.join()
    again = Work(folder, it.work.backbone)

    def never(*_: Any) -> Any:
        pytest.fail("the features are in the cache")

    monkeypatch.setattr(Backbone, "features", never)
    again._thread.start()
    client = Taught(again)
    after = client.trained()["result"]
    again.end()
    again._thread.join()
    assert {**after, "seconds": 0} == {**before, "seconds": 0}


@pytest.mark.usefixtures("it")
def test_two_do_not_work_on_one_folder(folder: Path) -> None:
    with pytest.raises(ThumbnetError, match="another `thumbnet teach` works on it"), taught(folder):
        pass


def test_the_model_knows_its_data(it: Taught, folder: Path) -> None:
    model = it.work.fresh()
    seen = [it.work._seen[each.key] for each in model.pictures]
    assert model.classifier.info.data == {
        "source": str(folder),
        "seed": None,
        "train": streamed_fingerprint(
            ("blue", "green", "red"), [each.square_key for each in seen], model.answers.labels
        ),
        "train_images": 24,
    }
    assert Classifier((folder / ".thumbnet/model.onnx").read_bytes()).info == model.classifier.info


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({}, "Add at least two classes, and show pictures of each."),
        ({"a": 9}, "Add a second class."),
        ({"a": 0, "b": 0}, "Show at least 2 pictures of each class."),
        ({"a": 9, "b": 1}, "Show at least 2 pictures of b."),
    ],
)
def test_too_few_pictures_say_what_is_missing(tmp_path: Path, classes: dict[str, int], message: str) -> None:
    (tmp_path / "taught").mkdir()
    with taught(tree(tmp_path / "taught", classes)) as it:
        state = it.until(lambda state: state["training"]["message"] == message)
    assert (state["training"]["status"], state["result"]) == ("too few", None)


def test_a_class_without_pictures_waits_for_some(it: Taught) -> None:
    assert it.post("/api/classes", json={"name": "new"}).status_code == 201
    assert [each["name"] for each in it.trained()["result"]["classes"]] == ["blue", "green", "red"]


def test_three_pictures_give_no_bare_number(tmp_path: Path) -> None:
    with taught(fill(tmp_path / "taught", 3)) as it:
        result = it.trained()["result"]
    assert result["accuracy"] is None
    assert result["unknown_class"] is None
    assert [each["accuracy"] for each in result["classes"]] == [None] * 3
    assert result["next"] == "Show more blue: 3 pictures. From 5 of each on, accuracy is told."


def test_equal_pictures_do_not_stop_it(tmp_path: Path) -> None:
    folder = tmp_path / "taught"
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        for number in range(6):
            (folder / label / f"{number}.png").write_bytes(plain(1, 1))
    with taught(folder) as it:
        state = it.until(lambda state: state["training"]["status"] in ("ready", "failed"))
    assert state["training"] == {"status": "ready", "message": ""}
    assert len([each for each in state["result"]["suspects"] if each["kind"] == "copy"]) == 11


def test_two_forms_of_one_name_say_what_is_wrong(tmp_path: Path) -> None:
    folder = fill(tmp_path / "taught", 2, ("red", "blue"))
    (folder / "red").rename(folder / "\u00e9")
    (folder / "blue").rename(folder / "e\u0301")
    if len(list(folder.iterdir())) < 2:
        pytest.skip("this file system takes the two forms for one")
    with taught(folder) as it:
        state = it.until(lambda state: state["training"]["status"] == "failed")
    assert "each named once" in state["training"]["message"]


def test_a_training_that_fails_says_why_and_goes_on_later(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def different(*_: Any) -> None:
        raise ExportError("the answers are apart")

    with monkeypatch.context() as patch:
        patch.setattr(make_module, "refuse_difference", different)
        with taught(folder) as it:
            state = it.until(lambda state: state["training"]["status"] == "failed")
            assert state["training"]["message"] == "the answers are apart"
            version = state["version"]
            time.sleep(0.3)
            assert it.state()["version"] == version  # it is not tried again and again
            patch.undo()
            assert it.post("/api/train").status_code == 202
            it.trained()


@pytest.mark.parametrize("place", ["thumbnet.teach.work.make", "thumbnet.teach.work.extract"])
def test_an_error_that_nobody_foresaw_is_told_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    calls = 0

    def broken(*_: Any, **__: Any) -> Any:
        nonlocal calls
        calls += 1
        raise KeyError("unforeseen")

    with monkeypatch.context() as patch:
        patch.setattr(place, broken)
        with taught(folder) as it:

            def tried(times: int) -> None:
                it.until(lambda state: calls == times and state["training"]["status"] == "failed")
                version = it.state()["version"]
                time.sleep(0.3)
                assert (calls, it.state()["version"]) == (times, version)
                assert len([record for record in caplog.records if record.exc_info]) == times

            tried(1)
            assert it.state()["training"]["message"] == "'unforeseen'"
            assert it.post("/api/train").status_code == 202
            tried(2)
            it.add("red", picture("red", 99))
            tried(3)
            patch.undo()
            it.post("/api/train")
            it.trained()


def test_a_full_disk_keeps_the_model_before(it: Taught, monkeypatch: pytest.MonkeyPatch) -> None:
    before = it.work.model

    def full(path: Path) -> Any:
        if path.name == "model.onnx":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write_atomically(path)

    monkeypatch.setattr(module, "write_atomically", full)
    it.add("red", picture("red", 99))
    state = it.until(lambda state: state["training"]["status"] == "failed")
    message = state["training"]["message"]
    assert message == f"the model cannot be written to {it.work.folder / '.thumbnet'}: No space left on device"
    assert not state["result"]["fresh"]
    assert it.work.model is before
    assert it.post("/api/predict", content=picture("red", 1)).json()["label"] == "red"


def test_a_backbone_that_fails_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = check_backbone(backbone(), "tiny")

    def failing(*_: Any) -> Any:
        raise ModelError("it fails")

    monkeypatch.setattr("support.teaching.check_backbone", lambda *_: made)
    monkeypatch.setattr(Backbone, "features", failing)
    with taught(folder) as it:
        state = it.until(lambda state: state["training"]["status"] == "failed")
    assert "it fails. Leave it out" in state["training"]["message"]


def test_a_cache_that_cannot_be_kept_stops_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("THUMBNET_HOME", str(tmp_path / "file"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with taught(folder) as it:
            it.trained()


def test_a_file_that_changes_while_it_is_read_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "red/0.png"
    stamp = path.stat()
    content, count = Work.content, 0

    def changing(self: Work, place: Any) -> bytes:
        nonlocal count
        if place == ("red", "0.png") and (count := count + 1) == 1:  # the same size, and the same time
            changed = picture("red", 0)[:-20] + bytes(20)
            path.write_bytes(path.read_bytes()[:-20] + changed[-20:])
            os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        return content(self, place)

    monkeypatch.setattr(Work, "content", changing)
    with taught(folder) as it:
        state = it.trained()
        assert it.state()["features"] == {"done": 24, "total": 24}
    shown = next(each for each in state["classes"][2]["pictures"] if each["name"] == "0.png")
    assert shown["key"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_could_not_be_read_is_read_once_it_can(it: Taught, folder: Path) -> None:
    def problems(state: Any) -> list[str]:
        return [each["problem"] for one in state["classes"] for each in one["pictures"] if each["problem"]]

    bad = folder / "red" / os.fsdecode(b"\xff.png")
    bad.write_bytes(picture("red", 99))
    state = it.until(problems)
    assert problems(state) == ["its name is no text. Rename the file"]
    time.sleep(0.2)
    assert it.state()["version"] == it.trained()["version"]
    bad.rename(folder / "red/8.png")  # which changes neither its content nor its time
    it.until(lambda state: state["features"] == {"done": 25, "total": 25} and not problems(state))
    assert it.trained()["result"]["pictures"] == 25


def test_thumbnails_that_cannot_be_kept_are_made_again(it: Taught, folder: Path) -> None:
    shutil.rmtree(folder / ".thumbnet/thumbnails")
    (folder / ".thumbnet/thumbnails").write_text("a file in their place")
    assert it.get("/api/thumbnail", params={"class": "red", "name": "0.png"}).content.startswith(b"\xff\xd8")
    assert it.add("red", picture("red", 55)).status_code == 201
    it.trained()


def test_a_damaged_thumbnail_is_made_again(it: Taught, folder: Path) -> None:
    it.work.end()
    it.work._thread.join()
    for path in (folder / ".thumbnet/thumbnails").iterdir():
        path.write_bytes(b"damaged")
    again = Work(folder, it.work.backbone)
    again._thread.start()
    Taught(again).trained()
    again.end()
    again._thread.join()
    assert {path.read_bytes()[:2] for path in (folder / ".thumbnet/thumbnails").iterdir()} == {b"\xff\xd8"}


@pytest.mark.parametrize("names", [("train", "test"), ("train", "val"), ("Training", "dev")])
def test_splits_are_no_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        (tmp_path / name / "cats").mkdir(parents=True)
    with pytest.raises(DataError, match="expected a subfolder for each class, got splits"):
        Work(tmp_path, check_backbone(backbone(), "tiny"))


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("file", "nothing"):
        with pytest.raises(DataError, match="expected a folder"):
            Work(tmp_path / name, check_backbone(backbone(), "tiny"))


def test_a_long_computation_ends_when_it_is_told_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 1000)
    made = check_backbone(backbone(), "tiny")
    seen, entered = Backbone.features, threading.Event()
    calls = 0

    def slow(self: Backbone, squares: Any) -> Any:
        nonlocal calls
        calls += 1
        entered.set()
        time.sleep(0.1)
        return seen(self, squares[:1]).repeat(len(squares), axis=0)

    monkeypatch.setattr(features, "batch_size", lambda _: 1)
    monkeypatch.setattr("support.teaching.check_backbone", lambda *_: made)
    monkeypatch.setattr(Backbone, "features", slow)
    with taught(folder):
        assert entered.wait(30)
    assert calls < 24
