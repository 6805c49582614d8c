"""bulk and rows: what arguments stand for, rows in order, and a run that a kill does not harm."""

import base64
import csv
import io
import itertools
import json
import os
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper
from support import pictures, transferred
from support import web as pages
from support.models import content, graph, png, write
from support.web import Web

import thumbnet
from thumbnet import cli
from thumbnet.cli import predict
from thumbnet.errors import ImageError, ModelError, SourceError
from thumbnet.model.classifier import BATCH, Classifier, Guess, Prediction
from thumbnet.pictures.kinds import PICTURE_SUFFIXES
from thumbnet.prediction import bulk, rows
from thumbnet.sources.expand import count, expand, named, several
from thumbnet.sources.failure import Failure
from thumbnet.sources.read import read_argument

ROOT = Path(__file__).parents[2]
COLOURS = ("red", "green", "blue")
ODD_NAMES = ['a "b", c.png', "line\nend.png", 'quote"\n",\n.png', "return\r.png", "é 猫 😀.png", "back\\slash.png"]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="names, signals and pipes of POSIX")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="names that are no UTF-8, and memory as Linux tells it")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with pictures and a model."""
    folder = tmp_path / "work"
    folder.mkdir()
    for colour in COLOURS:
        (folder / f"{colour}.png").write_bytes(png(colour))
    (folder / "broken.png").write_bytes(b"<html>")
    write(folder / "model.onnx")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


@pytest.fixture
def model() -> Classifier:
    return thumbnet.load("model.onnx")


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def sources(*arguments: str) -> list[str]:
    """What arguments stand for; what fails by its name and a colon."""
    return [each if isinstance(each, str) else f"{each.source}: {each.error}" for each in expand(arguments)]


def labels(answers: Iterator[rows.Row]) -> list[str]:
    return [type(row.error).__name__ if isinstance(row, Failure) else row.label for row in answers]


# What arguments stand for


def test_anything_else_is_taken_as_it_is() -> None:
    Path("-").mkdir()
    typed = ["red.png", "missing.png", "-", "./red.png", "https://host/a?b=[1]*", "data:image/png;base64,ab*", "a\0b"]
    assert sources(*typed) == typed


def test_folder_gives_its_pictures_sorted() -> None:
    touch(
        "f/b.JPG",
        "f/a/z.png",
        "f/c.txt",
        "f/.hidden.png",
        "f/.git/d.png",
        "f/a/b/y.webp",
        "f/__MACOSX/a.png",
        "f/10.gif",
    )
    assert sources("f") == ["f/10.gif", "f/a/b/y.webp", "f/a/z.png", "f/b.JPG"]
    assert sources("f/") == sources("f")
    assert sources("./f/a") == ["./f/a/b/y.webp", "./f/a/z.png"]


@pytest.mark.parametrize("suffix", ["jfif", "apng", "AVIF", "dib", "tif", "jp2", "j2k", "ppm", "pgm", "pbm"])
def test_folder_gives_pictures_of_every_kind_that_is_read(suffix: str) -> None:
    touch(f"f/a.{suffix}")
    assert sources("f") == [f"f/a.{suffix}"]


@POSIX
def test_links_in_a_folder_make_no_loop() -> None:
    touch("f/a.png", "g/b.png")
    Path("f/loop").symlink_to(".")
    Path("f/self.png").symlink_to("self.png")
    Path("f/other").symlink_to("../g")
    Path("f/lost.png").symlink_to("nowhere")
    Path("f/to.png").symlink_to("../red.png")
    Path("link").symlink_to("f")
    os.mkfifo("f/pipe.png")  # nobody writes to it, so it would be waited for
    assert sources("f") == ["f/a.png", "f/lost.png", "f/self.png", "f/to.png"]
    assert sources("link") == ["link/a.png", "link/lost.png", "link/self.png", "link/to.png"]


@pytest.mark.parametrize("files", [(), ("f/notes.txt", "f/.a.png", "f/sub/b.txt")])
def test_folder_without_a_picture_is_a_failure(files: tuple[str, ...]) -> None:
    Path("f").mkdir()
    touch(*files)
    suffixes = ", ".join(sorted(PICTURE_SUFFIXES))
    told = f"f: no picture in this folder. Expected files whose names end in {suffixes}"
    assert sources("red.png", "f", "blue.png") == ["red.png", told, "blue.png"]


def test_folder_that_cannot_be_read_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("f/a.png", "f/b/c.png", "f/d.png")
    scan = os.scandir

    def refuse(path: str) -> Any:
        if path.rstrip("/").endswith("b"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert sources("f") == ["f/a.png", "f/b/: cannot read this folder: Permission denied", "f/d.png"]
    assert sources("f/b") == ["f/b/: cannot read this folder: Permission denied"]


@POSIX
def test_deep_folder(tmp_path: Path) -> None:
    depth = sys.getrecursionlimit() + 200
    os.chdir(tmp_path)
    for _ in range(depth):
        Path("d").mkdir()
        os.chdir("d")
    Path("a.png").write_bytes(b"")
    os.chdir(tmp_path / "work")
    try:
        assert sources("../d") == ["../" + "d/" * depth + "a.png"]
        assert sources("../**/a.png") == sources("../d")
    finally:  # pytest's own way of tidying up is recursive
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("f/*.png", ["f/a.png", "f/b.png"]),
        ("./f/?.png", ["./f/a.png", "./f/b.png"]),
        ("f/**/*.png", ["f/a.png", "f/b.png", "f/s/a.png", "f/s/t/c.png"]),
        ("**/a.png", ["f/a.png", "f/s/a.png"]),
        ("f/**", ["f/a.png", "f/b.png", "f/n.txt", "f/s/a.png", "f/s/t/c.png"]),
        ("**/s/**/*.png", ["f/s/a.png", "f/s/t/c.png"]),
        ("f//[ab].*", ["f/a.png", "f/b.png"]),
        ("f/.*", ["f/.hidden.png"]),
        ("*/s", ["*/s: no file matches this pattern"]),
        ("none*", ["none*: no file matches this pattern"]),
        ("none/*", ["none/*: no file matches this pattern"]),
    ],
)
def test_pattern(pattern: str, expected: list[str]) -> None:
    touch("f/b.png", "f/a.png", "f/s/a.png", "f/s/t/c.png", "f/n.txt", "f/.hidden.png", "f/.git/a.png")
    assert sources(pattern) == expected


def test_pattern_from_the_root() -> None:
    here = str(Path.cwd())
    assert sources(f"{here}/r*.png") == [f"{here}/red.png"]


@POSIX
def test_links_make_no_loop_in_a_pattern() -> None:
    touch("f/a.png")
    for name in ("one", "two"):  # two would be 2**40 ways round
        Path("f", name).symlink_to(".")
    assert sources("f/**/*.png") == ["f/a.png"]


@POSIX
def test_name_that_looks_like_a_pattern_is_that_file() -> None:
    touch("[a]*.png", "a1.png")
    assert sources("[a]*.png") == ["[a]*.png"]
    Path("[a]*.png").unlink()
    assert sources("[a]*.png") == ["a1.png"]


def test_list() -> None:
    lines = [
        b"\xef\xbb\xbfred.png",
        b"",
        b"  ",
        b" b.png ",
        b"https://host/a.png\r",
        b"f",
        b"*.png",
        b"-",
        b"#1.png",
        b"@a",
    ]
    Path("list").write_bytes(b"\n".join(lines))
    expected = ["red.png", " b.png ", "https://host/a.png", "f", "*.png", "./-", "#1.png", "@a"]
    touch("f/a.png")
    assert sources("@list", "blue.png") == [*expected, "blue.png"]


@LINUX
def test_list_of_names_that_are_no_utf8() -> None:
    name = os.fsdecode(b"\xff.png")
    Path(name).write_bytes(png("red"))
    Path("list").write_bytes(b"\xff.png\n")
    assert sources("@list") == [name]
    assert Path(sources("@list")[0]).exists()


@pytest.mark.parametrize(
    ("name", "told"), [("missing", "No such file or directory"), (".", "directory"), ("\0", "null")]
)
def test_list_that_cannot_be_read_is_a_failure(name: str, told: str) -> None:
    first, failed, last = sources("red.png", f"@{name}", "blue.png")
    assert (first, last) == ("red.png", "blue.png")
    assert failed.startswith(f"@{name}: cannot read this list: ")
    assert told in failed


def test_empty_list_is_nothing() -> None:
    touch("list")
    assert sources("@list") == []


def test_whether_there_may_be_several() -> None:
    touch("list", "f/a.png", "[x].png")
    assert [several([each]) for each in ("red.png", "-", "https://a/*", "[x].png")] == [False] * 4
    assert [several([each]) for each in ("f", "@list", "@-", "*.png")] == [True] * 4
    assert several(["red.png", "red.png"])


def test_count() -> None:
    touch("f/a.png", "f/b.png")
    Path("list").write_text("a\nb\nc\n")
    assert count(["f", "@list", "red.png", "none*", "@missing"]) == 8
    assert count(["red.png", "@-"]) is None


@POSIX
def test_list_in_a_pipe_is_not_counted() -> None:
    os.mkfifo("pipe")
    assert count(["@pipe"]) is None


# Rows


def test_rows_are_as_from_the_classifier(model: Classifier) -> None:
    names = [f"{colour}.png" for colour in COLOURS] * 300
    assert list(bulk.predict(model, names, top_k=2)) == model.predict(names, top_k=2)


@pytest.mark.parametrize("workers", [None, 1, 7])
def test_order_is_kept_whatever_takes_how_long(
    model: Classifier, monkeypatch: pytest.MonkeyPatch, workers: int | None
) -> None:
    chance = random.Random(1)
    colours = [chance.choice(COLOURS) for _ in range(700)]
    delays = {f"{place}/{colour}": chance.choice([0, 0, 0, 0.001, 0.02]) for place, colour in enumerate(colours)}

    def read(source: str) -> bytes:
        time.sleep(delays[source.removeprefix("https://")])
        return png(source.rpartition("/")[2])

    monkeypatch.setattr(bulk, "read_argument", read)
    given = [f"https://{name}" if chance.random() < 0.3 else name for name in delays]
    answers = list(bulk.predict(model, given, workers=workers))
    assert [row.source for row in answers] == given
    assert labels(iter(answers)) == colours


def test_failed_source_has_a_row_of_its_own(model: Classifier, web: Web) -> None:
    given: list[str | Failure] = [
        "red.png",
        "broken.png",
        web.url("/none"),
        "missing.png",
        ".",
        "a\0b",
        Failure("f", SourceError("no")),
        "blue.png",
    ]
    answers = list(bulk.predict(model, given))
    assert labels(iter(answers)) == ["red", "ImageError", "FetchError", *["SourceError"] * 4, "blue"]
    assert [row.source for row in answers] == [named(each) for each in given]


def test_failure_in_json() -> None:
    expected = {"source": "a", "error": {"type": "ImageError", "message": "no picture"}}
    assert Failure("a", ImageError("no picture")).as_dict() == expected


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "MemoryError"),
        (ZeroDivisionError("oh"), "ZeroDivisionError: oh"),
        (RecursionError(), "RecursionError"),
    ],
)
def test_what_nobody_foresaw_is_a_row_too(
    model: Classifier, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    squares = model.squares

    def fail_once(source: bytes) -> NDArray[np.uint8]:
        if source == png("green"):
            raise error
        return squares(source)

    monkeypatch.setattr(model, "squares", fail_once)
    answers = list(bulk.predict(model, ["red.png", "green.png", "blue.png"]))
    assert labels(iter(answers)) == ["red", type(error).__name__, "blue"]
    assert answers[1].as_dict()["error"] == {"type": type(error).__name__, "message": message}


def test_failure_does_not_hold_on_to_the_picture(model: Classifier) -> None:
    failed = next(bulk.predict(model, ["broken.png"]))
    assert isinstance(failed, Failure)
    assert (failed.error.__traceback__, failed.error.__cause__, failed.error.__context__) == (None, None, None)


def test_fault_of_the_model_is_raised() -> None:
    nan = helper.make_node("Log", ["raw"], ["lower"]), helper.make_node("Sqrt", ["lower"], ["probabilities"])
    model = Classifier(content(graph(extra=nan)))
    with pytest.raises(ModelError, match="no probabilities"):
        list(bulk.predict(model, ["red.png"] * 10))
    wait_for_the_threads()


@pytest.mark.parametrize("fault", [LookupError, KeyboardInterrupt])
def test_fault_of_the_sources_is_raised_after_the_rows_before_it(model: Classifier, fault: type[BaseException]) -> None:
    def given() -> Iterator[str]:
        yield from ["red.png", "missing.png"]
        raise fault("no more")

    answers = bulk.predict(model, given())
    assert labels(itertools.islice(answers, 2)) == ["red", "SourceError"]
    with pytest.raises(fault, match="no more"):
        next(answers)


@pytest.mark.parametrize("number", [0, -1])
def test_number_of_workers_that_makes_no_sense(model: Classifier, number: int) -> None:
    with pytest.raises(ValueError, match=f"workers must be 1 or more, got {number}"):
        next(bulk.predict(model, ["red.png"], workers=number))


def test_nothing_gives_nothing(model: Classifier) -> None:
    assert list(bulk.predict(model, [])) == []


def test_password_is_in_no_row(model: Classifier, web: Web) -> None:
    web.pages["/a.png"] = pages.ok(png("red"))
    given = [web.url(path).replace("://", "://ann:secret@") for path in ("/a.png", "/none")]
    answers = list(bulk.predict(model, given))
    assert [row.source for row in answers] == [web.url("/a.png"), web.url("/none")]
    assert "secret" not in str(answers)


def test_source_may_bring_its_content(model: Classifier) -> None:
    given: list[bulk.Source] = [
        bulk.Held("red.png", png("blue")),
        "red.png",
        bulk.Held("red.png", b"<html>"),
        bulk.Held("\0001", png("green")),
        bulk.Held("-", png("red")),
        bulk.Held("https://ann:secret@host/a.png", png("green")),
    ]
    answers = list(bulk.predict(model, given))
    assert labels(iter(answers)) == ["blue", "red", "ImageError", "green", "red", "green"]
    assert [row.source for row in answers] == ["red.png"] * 3 + ["\0001", "-", "https://host/a.png"]


def test_data_url(model: Classifier) -> None:
    url = "data:image/png;base64," + base64.b64encode(png("green")).decode()
    (row,) = bulk.predict(model, [url])
    assert isinstance(row, Prediction)
    assert (row.label, row.source) == ("green", named(url))


# How far it is ahead, and how soon


def test_row_is_there_before_the_next_source_is(model: Classifier) -> None:
    typed: queue.Queue[str] = queue.Queue()
    answers = bulk.predict(model, iter(typed.get, "end"))
    for name in ("red", "blue", "green"):
        typed.put(f"{name}.png")
        assert labels(itertools.islice(answers, 1)) == [name]
    typed.put("end")
    assert list(answers) == []


def test_sources_are_taken_only_a_window_ahead(model: Classifier) -> None:
    taken: list[int] = []
    answers = bulk.predict(model, ("red.png" for _ in iter(lambda: taken.append(1), "never")), workers=2)
    for _ in range(10):
        next(answers)
    before = -1
    while len(taken) > before:
        before = len(taken)
        assert before <= bulk.window_size(BATCH) + BATCH + 2
        time.sleep(0.3)
    answers.close()


def test_batches_are_filled_when_pictures_are_faster(model: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, describe = [], model.describe

    def slowly(names: list[str], squares: list[NDArray[np.uint8]], top_k: int) -> list[Prediction]:
        sizes.append(len(squares))
        time.sleep(0.3)
        return describe(names, squares, top_k)

    monkeypatch.setattr(model, "describe", slowly)
    assert len(list(bulk.predict(model, ["red.png"] * 1000))) == 1000
    assert max(sizes) == BATCH


@pytest.mark.usefixtures("model")  # its folder
def test_large_squares_are_read_far_ahead_but_answered_by_twos(monkeypatch: pytest.MonkeyPatch) -> None:
    large, sizes, taken = Classifier(transferred.content(transferred.graph(288), size=288)), [], []
    describe = large.describe

    def noted(*arguments: Any) -> list[Prediction]:
        sizes.append(len(arguments[0]))
        return describe(*arguments)

    monkeypatch.setattr(large, "describe", noted)
    sources = itertools.islice(("red.png" for _ in iter(lambda: taken.append(1), "never")), 200)
    rows = bulk.predict(large, sources, workers=2)
    assert next(rows) == next(bulk.predict(large, ["red.png"]))
    before = -1
    while len(taken) > before:
        before = len(taken)
        assert before <= 2 * bulk.FULL + 4
        time.sleep(0.3)
    assert before >= 2 * bulk.FULL  # so that the threads always have something to read
    assert [row.source for row in rows] == ["red.png"] * 199
    assert set(sizes) <= {1, 2}


def test_network_is_not_asked_for_each_picture_alone(model: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    describe, sizes = model.describe, []

    def noted(*arguments: Any) -> list[Prediction]:
        sizes.append(len(arguments[0]))
        return describe(*arguments)

    def read(source: str) -> bytes:
        time.sleep(0.001)
        return png(source)

    monkeypatch.setattr(model, "describe", noted)
    monkeypatch.setattr(bulk, "read_argument", read)
    monkeypatch.setattr(bulk, "PATIENCE", 60)
    assert labels(bulk.predict(model, ["red"] * (10 * bulk.FULL), workers=2)) == ["red"] * (10 * bulk.FULL)
    assert len(sizes) < 40  # ten, and one more whenever both threads were between two pictures


def test_row_waits_for_no_picture_that_nobody_named_yet(model: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "PATIENCE", 60)
    named: queue.Queue[str] = queue.Queue()
    answers = bulk.predict(model, iter(named.get, ""))
    start = time.monotonic()
    for colour in COLOURS:
        named.put(f"{colour}.png")
        assert next(answers).source == f"{colour}.png"
    named.put("")
    assert not list(answers)
    assert time.monotonic() - start < 30


def test_row_waits_little_for_a_slow_picture_after_it(model: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    at_work, release = threading.Event(), threading.Event()

    def read(source: str) -> bytes:
        if source == "red":
            assert at_work.wait(30)
        else:
            at_work.set()
            assert release.wait(30)
        return png(source)

    monkeypatch.setattr(bulk, "read_argument", read)
    answers = bulk.predict(model, ["red", "green"], workers=2)
    assert labels(itertools.islice(answers, 1)) == ["red"]
    release.set()
    assert labels(answers) == ["green"]


def test_row_that_is_done_waits_a_twentieth_of_a_second_for_others(
    model: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, waited = threading.Event(), []
    wait_for = threading.Condition.wait_for

    def in_no_time(condition: threading.Condition, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        if timeout is None:
            return wait_for(condition, predicate)
        waited.append(timeout)
        return predicate()

    def read(source: str) -> bytes:
        assert source == "red" or release.wait(30)
        return png(source)

    monkeypatch.setattr(bulk, "read_argument", read)
    monkeypatch.setattr(threading.Condition, "wait_for", in_no_time)
    answers = bulk.predict(model, ["red", "green"], workers=2)
    assert labels(itertools.islice(answers, 1)) == ["red"]
    assert waited == [0.05]
    release.set()
    answers.close()


def test_slow_servers_do_not_hold_up_files(model: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    release, seen = threading.Event(), queue.Queue[str]()

    def read(source: str) -> bytes:
        if "://" in source:
            assert release.wait(30)
        seen.put(source)
        return png("red")

    monkeypatch.setattr(bulk, "read_argument", read)
    urls = [f"https://host/{place}" for place in range(2 * bulk.FETCHERS)]
    answers = bulk.predict(model, [*urls, "a.png", "b.png"], workers=1)

    def release_after_two() -> None:
        seen.get(timeout=30)
        seen.get(timeout=30)
        release.set()

    threading.Thread(target=release_after_two).start()
    assert labels(answers) == ["red"] * (2 * bulk.FETCHERS + 2)


def test_only_so_many_urls_at_once_and_pictures_decoded(model: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, now, most = threading.Lock(), {"read": 0, "squares": 0}, {"read": 0, "squares": 0}

    def watched(what: str, result: Any) -> Any:
        with lock:
            now[what] += 1
            most[what] = max(most[what], now[what])
        time.sleep(0.05 if what == "read" else 0.005)
        with lock:
            now[what] -= 1
        return result

    monkeypatch.setattr(bulk, "read_argument", lambda _: watched("read", b""))
    monkeypatch.setattr(model, "squares", lambda _: watched("squares", np.zeros((1, 4, 4, 3), np.uint8)))
    assert len(list(bulk.predict(model, [f"https://host/{place}" for place in range(80)], workers=3))) == 80
    assert most == {"read": bulk.FETCHERS, "squares": 3}


def wait_for_the_threads(patience: float = 20) -> None:
    end = time.monotonic() + patience
    while any("_Window" in repr(getattr(thread, "_target", None)) for thread in threading.enumerate()):
        assert time.monotonic() < end, "threads go on"
        time.sleep(0.01)


def test_early_end_stops_the_threads_and_waits_for_no_server(model: Classifier, web: Web) -> None:
    web.pages["/"] = pages.silent
    answers = bulk.predict(model, itertools.chain(["red.png", web.url("/")], itertools.repeat("blue.png")))
    assert next(answers).source == "red.png"
    start = time.monotonic()
    answers.close()
    assert time.monotonic() - start < 2
    web.stopped.set()
    wait_for_the_threads()


def test_end_waits_for_pictures_that_are_being_decoded(model: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    decoding, done, squares = threading.Event(), threading.Event(), model.squares

    def slowly(source: bytes) -> NDArray[np.uint8]:
        if source == png("blue"):
            decoding.set()
            time.sleep(0.3)
            done.set()
        return squares(source)

    monkeypatch.setattr(model, "squares", slowly)
    answers = bulk.predict(model, ["red.png", "blue.png"])
    next(answers)
    assert decoding.wait(10)
    answers.close()
    assert done.is_set()


def test_threads_end_with_the_rows(model: Classifier, web: Web) -> None:
    web.pages["/a"] = pages.ok(png("red"))
    assert labels(bulk.predict(model, ["red.png", web.url("/a")] * 20)) == ["red"] * 40
    wait_for_the_threads()


@pytest.mark.parametrize("fetchers", [0, 1])
def test_without_more_threads_it_is_only_slower(
    model: Classifier, monkeypatch: pytest.MonkeyPatch, fetchers: int
) -> None:
    start, allowed = threading.Thread.start, iter(range(2 + 1 + fetchers))  # two for files, one that takes the sources

    def refuse(thread: threading.Thread) -> None:
        if next(allowed, None) is None:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    url = "data:image/png;base64," + base64.b64encode(png("green")).decode()
    assert labels(bulk.predict(model, [url, "red.png"] * 20, workers=2)) == ["green", "red"] * 20


# The command


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = cli.main(["predict", "--model", "model.onnx", *arguments])
    except SystemExit as end:
        code = int(end.code or 0)
    output, errors = capsys.readouterr()
    return code, output, errors


# A shell that starts the tests in the background has SIGINT ignored, and children would inherit that.
START = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from thumbnet.cli import main
sys.exit(main())
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", START, "predict", "--model", "model.onnx", *arguments]


def start(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(command(*arguments), **pipes)


def read_back(text: str, form: str) -> list[dict[str, Any]]:
    if form == "csv":
        return list(csv.DictReader(io.StringIO(text, newline="")))
    return [json.loads(line) for line in text.splitlines()] if form == "jsonl" else json.loads(text)


def odd_pictures() -> list[str]:
    """Pictures with names that are hard to write down, one of them broken."""
    names = [*ODD_NAMES, *([os.fsdecode(b"\xff.png")] if sys.platform == "linux" else [])]
    for name, colour in zip(names, itertools.cycle(COLOURS)):
        Path(name).write_bytes(png(colour))
    Path(names[1]).write_bytes(b"broken")
    return names


@POSIX
@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
def test_odd_names_come_back(capsys: pytest.CaptureFixture[str], form: str) -> None:
    names = odd_pictures()
    code, output, errors = run(capsys, "--format", form, *names)
    assert (code, errors) == (3, "")
    shown = [name.encode("utf-8", "backslashreplace").decode() if form == "csv" else name for name in names]
    assert [row["source"] for row in read_back(output, form)] == shown


@POSIX
@pytest.mark.parametrize("form", ["text", "json", "jsonl", "csv"])
@pytest.mark.parametrize("where", ["out", None])
def test_odd_names_of_a_process(form: str, where: str | None) -> None:
    names = odd_pictures()
    to_file = ["-o", where] if where else []
    with start("--format", form, *to_file, *names) as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 3
    assert b"Traceback" not in errors
    text = (Path(where).read_bytes() if where else output).decode()
    if form != "text":
        assert len(read_back(text, form)) == len(names)


@POSIX
def test_text_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Path("\x1b[31m\n.png").write_bytes(png("red"))
    code, output, errors = run(capsys, "\x1b[31m\n.png", "\x9b.png")
    assert code == 3
    assert output.splitlines()[0] == r"\x1b[31m\n.png: red"
    assert errors.startswith(r"error: \x9b.png: no such file")


def test_class_name_steers_no_terminal() -> None:
    guesses = Guess("a\N{RIGHT-TO-LEFT OVERRIDE}b", 0.75), Guess("\x9b31m", 0.25)
    row = Prediction("a.png", guesses, known=True, sureness=1.0)
    assert rows.form("text", several=False).row(row) == "a\\u202eb\n    75.0%  a\\u202eb\n    25.0%  \\x9b31m\n"


def test_json_is_valid_however_many_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    touch("empty", "f/a.png")
    Path("one").write_text("red.png\n")
    assert isinstance(json.loads(run(capsys, "--format", "json", "red.png")[1]), dict)
    assert json.loads(run(capsys, "--format", "json", "@empty")[1]) == []
    assert [row["source"] for row in json.loads(run(capsys, "--format", "json", "@one")[1])] == ["red.png"]
    assert len(json.loads(run(capsys, "--format", "json", "f")[1])) == 1
    assert run(capsys, "--format", "json", "f", "-o", "out")[0] == 1
    assert len(json.loads(Path("out").read_text())) == 1
    output = run(capsys, "--format", "json", "red.png", "missing.png", "blue.png")[1]
    assert len(json.loads(output)) == 3
    assert [json.loads(line.removesuffix(","))["source"] for line in output.splitlines()[1:-1]] == [
        "red.png",
        "missing.png",
        "blue.png",
    ]


def test_empty_list_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    touch("list")
    assert run(capsys, "--format", "csv", "@list") == (0, rows.CSV_COLUMNS + "\n", "")


def test_text_of_a_folder_names_the_picture(capsys: pytest.CaptureFixture[str]) -> None:
    Path("f").mkdir()
    shutil.copy("red.png", "f")
    assert run(capsys, "f")[1].startswith("f/red.png: red\n")


@POSIX
def test_picture_on_standard_input() -> None:
    with start("-", "--top-k", "1", stdin=subprocess.PIPE) as process:
        output, errors = process.communicate(png("blue"), timeout=60)
    assert (process.returncode, output, errors) == (0, b"blue\n   100.0%  blue\n", b"")


def test_standard_input_that_is_closed_is_an_error_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    for source in ("-", "@-"):
        code, output, errors = run(capsys, source)
        assert (code, output) == (1, "")
        assert errors.startswith(f"error: {source}: ")
        assert "standard input is closed" in errors


@POSIX
@pytest.mark.parametrize("form", ["text", "json", "jsonl", "csv"])
def test_row_is_printed_before_the_next_line_of_the_list_comes(form: str) -> None:
    with start("@-", "--format", form, "--top-k", "1", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for colour in (*COLOURS, *COLOURS):
            process.stdin.write(f"{colour}.png\n".encode())
            process.stdin.flush()
            seen = b""
            while not re.search(rb"0\.9999|100\.0%", seen):  # the end of the row, or near it
                seen += os.read(process.stdout.fileno(), 1000)
            assert seen.count(b".png") == 1
            assert f"{colour}.png".encode() in seen
        process.communicate(timeout=60)
    assert process.returncode == 0


@POSIX
def test_head_ends_an_endless_run() -> None:
    parts = " ".join(f"'{part}'" for part in (sys.executable, "-m", "thumbnet"))
    line = f"yes red.png | {parts} predict --model model.onnx --format jsonl @- | head -n 1"
    done = subprocess.run(["sh", "-c", line], capture_output=True, timeout=60, check=True)
    assert json.loads(done.stdout)["label"] == "red"
    assert done.stderr == b""


def test_threads_end_when_a_row_cannot_be_written(model: Classifier) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    answers = bulk.predict(model, itertools.repeat("red.png"))
    with pytest.raises(OSError, match="No space") as failure:
        predict._write(answers, Full(), rows.form("csv", several=True), rows.Tally(), lambda _: None)
    wait_for_the_threads()
    assert failure.traceback  # which holds on to the rows


@POSIX
@pytest.mark.parametrize("waits_for", ["server", "list", "picture", "pipe"])
def test_ctrl_c_ends_what_waits(web: Web, waits_for: str) -> None:
    web.pages["/"] = pages.silent
    os.mkfifo("pipe.png")  # nobody writes to it
    waiting = {"server": web.url("/"), "list": "@-", "picture": "-", "pipe": "pipe.png"}[waits_for]
    with start("--format", "jsonl", "red.png", waiting, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"red" in process.stdout.readline()
        time.sleep(0.2)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        assert time.monotonic() - begun < 5
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (130, b"Stopped.\n")


@LINUX
def test_memory_does_not_grow_with_the_number() -> None:
    def peak(number: int) -> float:
        """MB of a run over so many lines."""
        Path("list").write_text("red.png\nmissing.png\n" * (number // 2))
        with start("--format", "csv", "@list", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            _, _, usage = os.wait4(process.pid, 0)
            process.returncode = 3
        return usage.ru_maxrss / 1024

    assert peak(30_000) - peak(4000) < 2


@pytest.mark.parametrize(
    "arguments",
    [
        "--resume --format csv red.png",
        "--resume -o a.json --format json red.png",
        "--resume -o a.txt red.png",
        "- -",
        "- @-",
        "@- @-",
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: str) -> None:
    code, output, errors = run(capsys, *arguments.split())
    assert (code, output) == (2, "")
    assert errors.startswith("usage: thumbnet predict")


# Into a file, and on after a break


@pytest.mark.parametrize("form", ["text", "json", "jsonl", "csv"])
def test_file_holds_what_standard_output_would(capsys: pytest.CaptureFixture[str], form: str) -> None:
    given = ["--format", form, "red.png", "missing.png", "blue.png"]
    printed = run(capsys, *given)[1]
    code, output, errors = run(capsys, *given, "--output", "new/out")
    assert (code, output) == (3, "")
    assert errors.endswith("new/out: 3 rows, 1 of them errors\n")
    assert Path("new/out").read_bytes() == printed.encode()
    assert list(Path("new").iterdir()) == [Path("new/out")]


def test_old_file_stays_until_the_new_one_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").write_text("old")
    nan = helper.make_node("Log", ["raw"], ["lower"]), helper.make_node("Sqrt", ["lower"], ["probabilities"])
    Path("bad.onnx").write_bytes(content(graph(extra=nan)))
    assert run(capsys, "--model", "bad.onnx", "red.png", "-o", "out")[0] == 1
    assert Path("out").read_text() == "old"
    assert run(capsys, "red.png", "-o", "out")[0] == 0
    assert Path("out").read_text().startswith("red\n")


@POSIX
@pytest.mark.parametrize(("path", "got"), [("f", "a folder"), (".", "a folder"), ("pipe", "a device or a pipe")])
def test_folder_or_device_is_no_file_to_write(capsys: pytest.CaptureFixture[str], path: str, got: str) -> None:
    Path("f").mkdir()
    os.mkfifo("pipe")  # stands for /dev/null, which a fault here would replace
    code, output, errors = run(capsys, "red.png", "-o", path)
    assert (code, output) == (1, "")
    assert errors.startswith(f"error: {path}: expected a file to write to, got {got}. ")
    assert not Path(f"{path}.part").exists()


def many(number: int) -> bytes:
    """A list of pictures, some of them missing or broken, in `list`."""
    chance = random.Random(2)
    names = ["red.png", "green.png", "blue.png", 'a "b", c.png', "é.png", "broken.png", "missing.png"]
    for name in names[3:5]:
        Path(name).write_bytes(png("blue"))
    text = "".join(chance.choice(names) + "\n" for _ in range(number))
    Path("list").write_text(text, encoding="utf-8")
    return text.encode()


@POSIX
@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_killed_again_and_again_it_gives_the_same_file(form: str) -> None:
    many(10_000)
    with start("@list", "--format", form, stderr=subprocess.DEVNULL) as process:
        expected, _ = process.communicate(timeout=120)
    assert len(read_back(expected.decode(), form)) == 10_000
    chance, part, kills = random.Random(), Path("out.part"), 0
    for _ in range(4):
        goal = (part.stat().st_size if part.exists() else 0) + chance.randrange(1, len(expected) // 5)
        with start("@list", "--format", form, "-o", "out", "--resume") as process:
            while process.poll() is None and not (part.exists() and part.stat().st_size >= goal):
                time.sleep(0.0005)
            kills += process.poll() is None
            process.kill()
        assert not Path("out").exists()
    assert kills == 4
    with start("@list", "--format", form, "-o", "out", "--resume") as process:
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 3
    assert re.match(rb"note: out\.part has [\d,]+ rows; continuing after them\n", errors)
    assert Path("out").read_bytes() == expected
    assert not part.exists()


@POSIX
@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_part_that_is_cut_anywhere_goes_on(capsys: pytest.CaptureFixture[str], form: str) -> None:
    names = [*odd_pictures()[1:4], odd_pictures()[-1]]
    given = ["--format", form, "--top-k", "1", "-o", "out", *names]
    assert run(capsys, *given)[0] == 3
    whole, part = Path("out").read_bytes(), Path("out.part")
    # Before each row, and at the end; what is in quotes in CSV may end lines.
    starts = [whole.index(rows._start(name, form)) for name in names] + [len(whole)]
    for length in range(len(whole) + 1):
        part.write_bytes(whole[:length])
        tally = rows.resume(part, iter(names), form, rows.Maker("model.onnx", None, 1))
        assert tally.rows == max(place for place, start in enumerate(starts) if place == 0 or start <= length)
        assert tally.failures == (tally.rows > 0)  # the first picture is broken
        assert part.read_bytes() == whole[: starts[tally.rows] if tally.rows else 0]
    for length in (0, 1, starts[0], starts[0] + 5, starts[1] - 1, starts[2] + 10, len(whole) - 1, len(whole)):
        part.write_bytes(whole[:length])
        assert run(capsys, *given, "--resume")[0] == 3
        assert Path("out").read_bytes() == whole


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_rows_that_are_there_are_not_done_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    given = ["--format", form, "-o", "out", "missing.png", "red.png", "blue.png"]
    run(capsys, *given)
    lines = Path("out").read_bytes().splitlines(keepends=True)
    Path("out").rename("out.part")
    Path("out.part").write_bytes(b"".join(lines[:-1]))
    Path("missing.png").write_bytes(png("red"))  # too late
    seen: list[str] = []
    read = read_argument
    monkeypatch.setattr(bulk, "read_argument", lambda source: seen.append(source) or read(source))  # type: ignore[func-returns-value]
    code, _, errors = run(capsys, *given, "--resume")
    assert (code, seen) == (3, ["blue.png"])  # 3, as the row that failed counts
    assert errors == (
        "note: out.part has 2 rows; continuing after them\n"
        "note: the model that made them is unknown, as out.part.json is missing or broken\n"
        "out: 3 rows, 1 of them errors\n"
    )
    assert Path("out").read_bytes() == b"".join(lines)


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_all_rows_failed_before_and_after_the_break(capsys: pytest.CaptureFixture[str], form: str) -> None:
    given = ["--format", form, "-o", "out", "missing.png"]
    assert run(capsys, *given)[0] == 1
    Path("out").rename("out.part")
    assert run(capsys, *given, "missing.png", "--resume")[0] == 1
    Path("out").rename("out.part")
    assert run(capsys, *given, "missing.png", "red.png", "--resume")[0] == 3


@pytest.mark.parametrize("form", ["jsonl", "csv"])
@pytest.mark.parametrize("now", [["blue.png", "red.png"], ["red.png"], ["red.png", "blue.png.jpg", "a"]])
def test_other_sources_are_refused(capsys: pytest.CaptureFixture[str], form: str, now: list[str]) -> None:
    run(capsys, "--format", form, "-o", "out", "red.png", "blue.png")
    whole = Path("out").read_bytes()
    Path("out").rename("out.part")
    code, output, errors = run(capsys, "--format", form, "-o", "out", "--resume", *now)
    assert (code, output) == (1, "")
    row = 1 if now[0] == "blue.png" else 2
    assert errors.startswith(f"error: out.part: row {row} does not fit the sources and the format of this command. ")
    assert "leave out --resume" in errors
    assert Path("out.part").read_bytes() == whole


def test_other_format_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for form, other, told in (("jsonl", "csv", "its first line"), ("csv", "jsonl", "row 1")):
        run(capsys, "--format", form, "-o", "out", "red.png", "blue.png")
        Path("out").rename("out.part")
        code, _, errors = run(capsys, "--format", other, "-o", "out", "--resume", "red.png", "blue.png")
        assert code == 1
        assert errors.startswith(f"error: out.part: {told} does not fit")


@pytest.mark.parametrize(
    ("form", "old", "lacking"),
    [
        (
            "jsonl",
            '{"source": "red.png", "label": "red", "confidence": 0.999, "known": true, "top": []}\n',
            "the sureness",
        ),
        ("csv", "source,label,confidence,known,error\nred.png,red,0.999,true,\n", "the sureness"),
        ("csv", "source,label,confidence,known,sureness,error\nred.png,red,0.999,true,0.999,\n", "the network"),
    ],
)
def test_rows_of_an_older_version_that_lack_something_are_refused(
    capsys: pytest.CaptureFixture[str], form: str, old: str, lacking: str
) -> None:
    Path("out.part").write_text(old)
    code, output, errors = run(capsys, "--format", form, "-o", "out", "--resume", "red.png", "blue.png")
    assert (code, output) == (1, "")
    assert errors == (
        f"error: out.part: its rows come from an older version of Thumbnet and lack {lacking}. Finish it with "
        "that version, or leave out --resume to start again\n"
    )
    assert Path("out.part").read_text() == old
    assert run(capsys, "--format", form, "-o", "out", "red.png", "blue.png")[0] == 0


def test_failures_of_an_older_version_are_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--format", "jsonl", "-o", "out", "missing.png")[0] == 1
    Path("out").rename("out.part")
    assert run(capsys, "--format", "jsonl", "-o", "out", "--resume", "missing.png", "red.png")[0] == 3


# One writer


@POSIX
@pytest.mark.parametrize("form", ["text", "json", "jsonl", "csv"])
def test_second_run_into_a_file_is_refused(capsys: pytest.CaptureFixture[str], form: str) -> None:
    part = Path("out.part")
    with start("@-", "--format", form, "-o", "out", stdin=subprocess.PIPE) as first:
        assert first.stdin is not None
        first.stdin.write(b"red.png\n")
        first.stdin.flush()
        while not (part.exists() and b"red" in part.read_bytes()):
            assert first.poll() is None
            time.sleep(0.01)
        for options in [[], ["--resume"]] if form in rows.RESUMABLE else [[]]:
            before = part.read_bytes()
            code, output, errors = run(capsys, "blue.png", "green.png", "--format", form, "-o", "out", *options)
            assert (code, output) == (1, "")
            assert errors.startswith("error: out.part: another process writes to it. ")
            assert part.read_bytes() == before
            assert not Path("out").exists()
        _, told = first.communicate(b"blue.png\n", timeout=60)
    assert (first.returncode, told) == (0, b"out: 2 rows, 0 of them errors\n")
    expected = run(capsys, "--format", form, "red.png", "blue.png")[1]
    assert Path("out").read_text() == expected
    assert list(Path().glob("out*")) == [Path("out")]


@POSIX
def test_file_that_is_replaced_passes_on_its_mode_and_its_link(capsys: pytest.CaptureFixture[str]) -> None:
    Path("there").mkdir()
    Path("there/real").write_text("old")
    Path("there/real").chmod(0o640)
    Path("out").symlink_to("there/real")
    assert run(capsys, "red.png", "-o", "out")[0] == 0
    assert Path("out").is_symlink()
    assert Path("there/real").read_text().startswith("red\n")
    assert Path("there/real").stat().st_mode & 0o777 == 0o640
    assert list(Path("there").iterdir()) == [Path("there/real")]


def test_output_is_checked_before_the_model_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    Path("f").mkdir()
    errors = run(capsys, "red.png", "-o", "f", "--model", "missing.onnx")[2]
    assert errors.startswith("error: f: expected a file to write to, got a folder")


# Formulas

FORMULAS = [
    *("=HYPERLINK(0).png", "+1.png", "-1.png", "@a.png", "\t=1.png", "\r=1.png", "\n=1.png", "'=1.png", "''.png"),
    *(f"{sign}1.png" for sign in "＝＋－＠"),
]


@POSIX
def test_name_is_no_formula_in_a_spreadsheet(capsys: pytest.CaptureFixture[str]) -> None:
    for name in FORMULAS[1:]:
        Path(name).write_bytes(png("red"))
    Path("list").write_text("\n".join(name for name in FORMULAS if name.strip() == name), encoding="utf-8")
    given = ["--format", "csv", "--model", "odd.onnx", "@list"]
    write(Path("odd.onnx"), names=("=cmd|' /C calc'!A0", "-green", "blue"))
    code, output, errors = run(capsys, *given)
    assert (code, errors) == (3, "")
    cells = read_back(output, "csv")
    assert [row["source"] for row in cells] == [f"'{name}" for name in FORMULAS if name.strip() == name]
    assert {row["label"] for row in cells[1:]} == {"'=cmd|' /C calc'!A0"}
    others = read_back(run(capsys, "--format", "csv", *FORMULAS[4:7])[1], "csv")
    assert [row["source"] for row in others] == [f"'{name}" for name in FORMULAS[4:7]]


@POSIX
def test_names_like_formulas_go_on_after_a_break(capsys: pytest.CaptureFixture[str]) -> None:
    Path("list").write_text("\n".join(FORMULAS[:4]) + "\nred.png\n")
    given = ["--format", "csv", "-o", "out", "@list"]
    run(capsys, *given)
    whole = Path("out").read_bytes()
    Path("out").rename("out.part")
    Path("out.part").write_bytes(b"".join(whole.splitlines(keepends=True)[:4]))
    code, _, errors = run(capsys, *given, "--resume")
    assert (code, Path("out").read_bytes()) == (3, whole)
    assert errors.startswith("note: out.part has 3 rows; continuing after them\n")


def test_standard_input_alone_is_no_formula() -> None:
    assert rows.form("csv", several=False).row(Failure("-", SourceError("no"))) == "-,,,,,,no\n"
    assert rows.form("csv", several=False).row(Failure("a", SourceError("=1"))) == "a,,,,,,'=1\n"


# Unsure


@pytest.mark.parametrize(("threshold", "known"), [("0", ["true", "true"]), ("1", ["false", "false"])])
def test_threshold_takes_the_place_of_the_files(
    capsys: pytest.CaptureFixture[str], threshold: str, known: list[str]
) -> None:
    Path("grey.png").write_bytes(png("grey"))
    given = ["--format", "csv", "red.png", "grey.png"]
    before = read_back(run(capsys, *given)[1], "csv")
    assert [row["known"] for row in before] == ["true", "false"]
    after = read_back(run(capsys, *given, "--threshold", threshold)[1], "csv")
    assert [row["known"] for row in after] == known
    assert [row["sureness"] for row in after] == [row["sureness"] for row in before]
    assert 0 < float(before[1]["sureness"]) < float(before[0]["sureness"]) <= 1


def test_numbers_of_csv_are_those_of_json() -> None:
    answer = Prediction("a.png", (Guess("red", 0.12345678),), known=True, sureness=0.87654321)
    assert rows.form("csv", several=True).row(answer) == "a.png,red,0.123457,true,0.876543,,\n"


def killed(goal: int, *arguments: str) -> None:
    """A run into `out` that is killed when its `out.part` has that many lines, and it waits for one more source."""
    part = Path("out.part")
    before = part.stat().st_mtime_ns if part.exists() else 0
    with start("@-", "-o", "out", *arguments, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"red.png\nblue.png\n")
        process.stdin.flush()
        while not (part.exists() and part.stat().st_mtime_ns > before and part.read_bytes().count(b"\n") == goal):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()


LINES = {"jsonl": 2, "csv": 3}  # of two rows
MAKER = r"--model {} \(SHA-256 [0-9a-f]{{12}}…\) --top-k {}"


@POSIX
@pytest.mark.parametrize("form", LINES)
@pytest.mark.parametrize(
    ("now", "told"),
    [
        (["--model", "other.onnx"], MAKER.format(r"other\.onnx", 3)),
        (["--top-k", "2"], MAKER.format(r"model\.onnx", 2)),
        (["--views"], MAKER.format(r"model\.onnx", 3) + " --views"),
        (["--threshold", "0.25"], MAKER.format(r"model\.onnx", 3) + r" --threshold 0\.25"),
    ],
)
def test_resume_with_another_model_or_option_is_refused(
    capsys: pytest.CaptureFixture[str], form: str, now: list[str], told: str
) -> None:
    write(Path("other.onnx"), threshold=0.6)
    killed(LINES[form], "--format", form)
    given = ["--format", form, "-o", "out", "--resume", "red.png", "blue.png", "green.png"]
    before = {path: path.read_bytes() for path in Path().glob("out*")}
    assert set(before) == {Path("out.part"), Path("out.part.json")}
    code, output, errors = run(capsys, *given, *now)
    assert (code, output) == (1, "")
    assert re.fullmatch(
        rf"error: out\.part: its rows were made with {MAKER.format(r'model.onnx', 3)}; this command has {told}\. "
        r"Repeat the command that began it, or leave out --resume to start again\n",
        errors,
    )
    assert {path: path.read_bytes() for path in Path().glob("out*")} == before
    assert run(capsys, *given)[0] == 0
    assert list(Path().glob("out*")) == [Path("out")]


@POSIX
def test_model_is_told_by_its_content(capsys: pytest.CaptureFixture[str]) -> None:
    killed(2, "--format", "jsonl")
    given = ["--format", "jsonl", "-o", "out", "--resume", "red.png", "blue.png", "green.png"]
    Path("model.onnx").rename("old.onnx")
    write(Path("model.onnx"), threshold=0.6)
    assert "its rows were made with --model model.onnx" in run(capsys, *given)[2]
    assert run(capsys, *given, "--model", "old.onnx")[0] == 0


@POSIX
def test_model_from_a_pipe_is_not_taken_for_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("pipe.onnx")

    def pipe() -> None:
        Path("pipe.onnx").write_bytes(Path("model.onnx").read_bytes())

    given = ["--format", "jsonl", "--model", "pipe.onnx"]
    threading.Thread(target=pipe).start()
    killed(2, *given)
    threading.Thread(target=pipe).start()
    code, _, errors = run(capsys, *given, "-o", "out", "--resume", "red.png", "blue.png")
    assert code == 1
    assert "this command has --model pipe.onnx (through a pipe, which cannot be compared) --top-k 3. " in errors


@POSIX
@pytest.mark.parametrize("known", [None, b"", b"[]", b'{"model": "a"}'])
def test_part_of_an_older_version_goes_on_and_is_told(capsys: pytest.CaptureFixture[str], known: bytes | None) -> None:
    killed(2, "--format", "jsonl")
    Path("out.part.json").unlink()
    if known is not None:
        Path("out.part.json").write_bytes(known)
    given = ["--format", "jsonl", "-o", "out", "--resume", "red.png", "blue.png", "green.png"]
    code, _, errors = run(capsys, *given)
    assert code == 0
    assert "note: the model that made them is unknown, as out.part.json is missing or broken\n" in errors
    assert list(Path().glob("out*")) == [Path("out")]


@POSIX
def test_part_of_another_model_can_be_begun_again(capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("other.onnx"), threshold=0.6)
    given = ["--format", "jsonl", "-o", "out", "red.png", "blue.png", "green.png", "--model", "other.onnx"]
    killed(2, "--format", "jsonl")
    killed(2, "--format", "jsonl", "--model", "other.onnx")
    code, _, errors = run(capsys, *given, "--resume")
    assert (code, errors) == (0, "note: out.part has 2 rows; continuing after them\nout: 3 rows, 0 of them errors\n")
    killed(2, "--format", "jsonl")
    assert run(capsys, *given)[0] == 0
    assert list(Path().glob("out*")) == [Path("out")]


@POSIX
@pytest.mark.parametrize("moment", ["before", "after"])
def test_kill_while_the_maker_is_written_mixes_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    write(Path("other.onnx"), threshold=0.6)
    killed(2, "--format", "jsonl")
    write_maker = rows.write_maker

    def break_off(part: Path, maker: rows.Maker) -> None:
        if moment == "after":
            write_maker(part, maker)
        raise KeyboardInterrupt

    given = ["--format", "jsonl", "-o", "out", "red.png", "blue.png", "--model", "other.onnx"]
    with monkeypatch.context() as patch:
        patch.setattr(rows, "write_maker", break_off)
        assert run(capsys, *given)[0] == 130
    assert Path("out.part").read_bytes() == b""  # so it does not count what out.part.json says
    code, _, errors = run(capsys, *given, "--model", "model.onnx", "--resume")
    assert (code, errors) == (0, "note: out.part has 0 rows; continuing after them\nout: 2 rows, 0 of them errors\n")


def test_kill_at_the_very_end_leaves_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").write_text("done")
    Path("out.part.json").write_text("{}")
    assert run(capsys, "--format", "csv", "-o", "out", "--resume", "red.png")[0] == 0
    assert list(Path().glob("out*")) == [Path("out")]


def test_resume_of_what_is_complete_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").write_text("old")
    code, _, errors = run(capsys, "--format", "csv", "-o", "out", "--resume", "red.png")
    assert (code, Path("out").read_text()) == (0, "old")
    assert errors == "note: out is complete, as there is no out.part. Leave out --resume to start again\n"


def test_resume_of_nothing_begins(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--format", "csv", "-o", "out", "--resume", "red.png")[0] == 0
    assert len(Path("out").read_text().splitlines()) == 2


def test_without_resume_a_part_is_begun_again(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out.part").write_text("x" * 10_000)
    code, _, errors = run(capsys, "--format", "csv", "-o", "out", "red.png")
    assert code == 0
    assert errors.startswith("note: out.part, left by an interrupted run, is overwritten; --resume ")
    assert len(Path("out").read_text().splitlines()) == 2


@POSIX
def test_ctrl_c_keeps_what_is_done() -> None:
    lines = many(2000).splitlines(keepends=True)
    arguments = ["@-", "--format", "csv", "-o", "out"]
    with start(*arguments, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"".join(lines[:1500]))
        process.stdin.flush()
        while not (Path("out.part").exists() and Path("out.part").read_bytes().count(b"\n") == 1501):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        assert process.stderr is not None
        assert process.stderr.read() == b"note: out.part keeps 1,500 rows; --resume continues after them\nStopped.\n"
    assert process.returncode == 130
    with start(*arguments, "--resume", stdin=subprocess.PIPE) as process:
        process.communicate(b"".join(lines), timeout=60)
    with start("@list", "--format", "csv") as process:
        assert process.communicate(timeout=60)[0] == Path("out").read_bytes()


@POSIX
def test_full_disk_keeps_what_is_done() -> None:
    import resource

    many(2000)
    arguments = ["@list", "--format", "csv", "-o", "out"]
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))}
    with start(*arguments, **limit) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.fullmatch(
        rb"note: out\.part keeps [\d,]+ rows; --resume continues after them\nerror: \[Errno 27\] File too large\n",
        errors,
    )
    assert not Path("out").exists()
    with start(*arguments, "--resume") as process:
        process.communicate(timeout=60)
    with start("@list", "--format", "csv") as process:
        assert process.communicate(timeout=60)[0] == Path("out").read_bytes()


# The bar


def seen_on_a_terminal(*arguments: str, rows_too: bool = False) -> str:
    """What a command shows on a terminal as its standard error."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    output = theirs if rows_too else subprocess.DEVNULL
    with start(*arguments, stdout=output, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                block = os.read(ours, 10_000)
            except OSError:  # Linux's way to say that nobody is left at the other end
                break
            if not block:
                break
            shown += block
        process.wait(timeout=60)
    os.close(ours)
    return shown.decode()


@POSIX
def test_bar_counts_what_there_is() -> None:
    pytest.importorskip("tqdm", reason="bars are tqdm's")
    many(300)
    shown = seen_on_a_terminal("@list", "red.png", "--format", "csv", "-o", "out")
    assert re.search(r"predict: 100%\|.*\| 301/301 \[.*<.*\]", shown)
    Path("out").rename("out.part")
    shown = seen_on_a_terminal("@list", "red.png", "blue.png", "--format", "csv", "-o", "out", "--resume")
    assert re.search(r"predict: 100%\|.*\| 302/302 \[", shown)
    assert re.search(r"\| 301/302 \[", shown)
    assert not re.search(r" 0(\.00)?/302", shown)  # or the time left would be wrong


@POSIX
def test_bar_is_not_broken_by_what_native_code_writes() -> None:
    pytest.importorskip("tqdm", reason="bars are tqdm's")
    for name, data in pictures.noisy().items():
        Path(name).write_bytes(data)
    Path("list").write_text("pixels.png\nheader.png\nshort.jpg\n" * 20)
    shown = seen_on_a_terminal("@list", "--format", "csv", "-o", "out")
    assert re.search(r"predict: 100%\|.*\| 60\.0/60\.0 \[", shown)
    lines = re.split(r"[\r\n]+", shown.strip())
    assert [line for line in lines if not line.startswith("predict: ")] == ["out: 60 rows, 40 of them errors"]


@POSIX
def test_no_bar_where_rows_are_or_for_one_picture_or_without_a_number() -> None:
    many(30)
    assert "predict:" not in seen_on_a_terminal("@list", "--format", "csv", rows_too=True)
    assert "predict:" not in seen_on_a_terminal("red.png")
    assert "predict:" not in seen_on_a_terminal("@-")
