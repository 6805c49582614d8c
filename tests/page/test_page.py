"""The web page in a real browser: every way to give it a picture, what it says, its keyboard, and its accessibility.

THUMBNET_SCREENSHOTS=docs/page pytest tests/page/test_page.py -k screenshots    (writes the documentation's pictures)
"""

import base64
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from support import two_networks
from support.chromium import PROGRAM
from support.models import encode, png, square, write
from support.web import Web, ok

pytest.importorskip("starlette", reason="serving is not installed: pip install -e '.[serve]'")
pytest.importorskip("playwright", reason="part of the test group: pip install --group test")
pytest.importorskip("axe_playwright_python", reason="part of the test group: pip install --group test")

from playwright.sync_api import Browser, FilePayload, Page, expect, sync_playwright
from support.live import listening
from support.pages import cards, choose, fill, violations

import thumbnet
from thumbnet.server import create_app

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no chromium, chromium-browser or google-chrome")
expect.set_options(timeout=30_000)  # ms: a busy machine is slow, and no failure

ROOT = Path(__file__).parents[2]
CAT = (ROOT / "examples" / "cat.png").read_bytes()
BOMB = png("red")[:16] + struct.pack(">II", 50_000, 50_000) + png("red")[24:]
Open: TypeAlias = Callable[..., Page]
GIVE = """([picture, name, kind]) => {
  const bytes = Uint8Array.from(atob(picture), (byte) => byte.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type: 'image/png' }));
  const options = { bubbles: true, cancelable: true };
  document.body.dispatchEvent(kind === 'paste'
    ? new ClipboardEvent('paste', { ...options, clipboardData: data })
    : new DragEvent(kind, { ...options, dataTransfer: data }));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # The camera is Chromium's own test picture.
    camera = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox", *camera])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens the page of a new server. What the browser complains of, or asks of an outside host, fails the test."""
    context: Any = None
    complaints: list[str] = []
    servers = []

    def opened(model: Path | str | None = None, settings: dict[str, Any] | None = None, **options: Any) -> Page:
        nonlocal context
        app = create_app(thumbnet.load(model or write(tmp_path / "tiny.onnx")), **(settings or {}))
        serving = listening(app)
        _, port = serving.__enter__()
        servers.append(serving)
        home = f"http://127.0.0.1:{port}/"
        context = browser.new_context(**options)
        page: Page = context.new_page()
        page.on("console", lambda message: complaints.extend([message.text] * ("Content Security" in message.text)))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.extend([request.url] * (not _own(request.url, home))))
        page.goto(home)
        expect(page.locator("#model")).to_contain_text("tells apart")
        return page

    yield opened
    if context:
        context.close()
    for serving in servers:
        serving.__exit__(None, None, None)
    assert complaints == []


def _own(url: str, home: str) -> bool:
    return url.startswith((home, "blob:", "data:"))


def answered(page: Page, label: str) -> None:
    expect(cards(page).locator("h2")).to_have_text(label)
    expect(page.get_by_role("status")).to_contain_text(label)


def test_a_chosen_picture_is_answered_with_runners_up_and_its_square(open_page: Open) -> None:
    page = open_page()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose pictures").click()
    chooser.value.set_files([FilePayload(name="a.png", mimeType="image/png", buffer=png("red"))])
    answered(page, "red")
    expect(cards(page).locator("li")).to_have_count(3)
    expect(cards(page).locator("li").first).to_contain_text("100.0 %")
    widths = [bar.bounding_box() for bar in cards(page).locator(".bar > span").all()]
    assert widths[0] is not None
    assert widths[1] is not None
    assert widths[0]["width"] > 50 > widths[1]["width"]
    expect(cards(page).locator(".unsure")).to_be_hidden()
    small = page.get_by_alt_text("the picture as small as the network sees it")
    expect(small).to_be_visible()
    assert small.evaluate("image => image.decode().then(() => image.naturalWidth)") == 4


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_dropped_or_pasted_picture_is_answered(open_page: Open, kind: str) -> None:
    page = open_page()
    page.evaluate(GIVE, [base64.b64encode(png("green")).decode(), "a.png", kind])
    answered(page, "green")


def test_the_camera_gives_a_picture(open_page: Open) -> None:
    page = open_page()
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_role("button", name="Take the picture").click()  # which can be pressed once there is something to see
    expect(page.get_by_role("dialog")).to_be_hidden()
    answered(page, "green")  # what Chromium's camera shows is mostly green
    assert page.evaluate("document.querySelector('#video').srcObject") is None


def test_a_url_is_answered(open_page: Open, web: Web) -> None:
    web.pages["/blue"] = ok(png("blue"), "image/png")
    page = open_page(settings={"private_urls": True})
    page.get_by_label("URL").fill(web.url("/blue"))
    page.keyboard.press("Enter")
    answered(page, "blue")
    expect(cards(page).locator(".picture")).to_be_hidden()  # the page asks no outside host


def test_where_urls_are_not_read_none_is_asked_for(open_page: Open) -> None:
    page = open_page(settings={"urls": False})
    expect(page.get_by_label("URL")).to_be_hidden()


def test_a_private_url_is_refused_in_words(open_page: Open) -> None:
    page = open_page()
    page.get_by_label("URL").fill("http://169.254.169.254/latest/meta-data")
    page.get_by_role("button", name="Classify").click()
    expect(cards(page).locator(".error")).to_contain_text("public")


def test_several_pictures_have_a_card_each_and_a_bad_one_fails_alone(open_page: Open) -> None:
    page = open_page()
    colours = ("red", "green", "blue") * 3
    choose(page, *[(f"{name}.png", png(name)) for name in colours], ("bomb.png", BOMB), ("note.txt", b"hello"))
    expect(cards(page)).to_have_count(11)
    for name in ("red", "green", "blue"):
        for card in page.get_by_role("article", name=f"{name}.png").all():
            expect(card.locator("h2")).to_have_text(name)
    expect(page.get_by_role("article", name="bomb.png").locator(".error")).to_contain_text("megapixels")
    note = page.get_by_role("article", name="note.txt")
    expect(note.locator("h2")).to_have_text("No answer")
    expect(note.get_by_role("button", name="Try again")).to_be_hidden()


def test_unsure_is_shown_as_such(open_page: Open) -> None:
    page = open_page()
    choose(page, ("grey.png", png("grey")))
    expect(cards(page).locator(".unsure")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("unsure")


def test_the_heat_map_comes_and_goes(open_page: Open) -> None:
    page = open_page()
    half = square("red", 64)
    half[:, 24:] = (0, 0, 255)
    choose(page, ("half.png", encode(half)))
    image = cards(page).locator(".picture")
    button = page.get_by_role("button", name="Show what decided")
    plain = image.get_attribute("src")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(image).not_to_have_attribute("src", str(plain))
    expect(image).to_have_attribute("alt", "half.png; the parts that speak for blue are in colour")
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 64
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    expect(image).to_have_attribute("src", str(plain))


def test_a_key_is_asked_for_and_kept_until_the_tab_closes(browser: Browser, tmp_path: Path) -> None:
    app = create_app(thumbnet.load(write(tmp_path / "keyed.onnx")), api_key="secret")
    with listening(app) as (_, port):
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        for key in ("wrong", "secret"):
            page.get_by_label("This server requires a key").fill(key)
            page.keyboard.press("Enter")
        expect(page.locator("#model")).to_contain_text("tells apart")
        choose(page, ("a.png", png("red")))
        answered(page, "red")
        page.reload()
        expect(page.locator("#model")).to_contain_text("tells apart")
        page.close()


def test_a_server_that_is_gone_is_told_and_asked_again(open_page: Open) -> None:
    page = open_page()
    page.route("**/classify*", lambda route: route.abort())
    choose(page, ("a.png", png("red")))
    expect(cards(page).locator(".error")).to_contain_text("cannot be reached")
    page.unroute("**/classify*")
    page.get_by_role("button", name="Try again").click()
    answered(page, "red")
    expect(cards(page).locator(".error")).to_be_hidden()


def test_a_busy_server_is_asked_again(open_page: Open) -> None:
    page = open_page()
    busy = {"status": 503, "headers": {"Retry-After": "1"}, "body": '{"error": "busy"}'}
    page.route("**/classify*", lambda route: route.fulfill(**busy), times=1)
    choose(page, ("a.png", png("red")))
    answered(page, "red")


def test_it_works_by_keyboard(open_page: Open) -> None:
    page = open_page()
    with page.expect_file_chooser() as chooser:  # before the first key, as Chromium may be slow to catch its dialog
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="Choose pictures")).to_be_focused()
        page.keyboard.press("Enter")
    chooser.value.set_files(
        [FilePayload(name=f"{name}.png", mimeType="", buffer=png(name)) for name in ("red", "blue")]
    )
    expect(cards(page).locator("ol:visible")).to_have_count(2)
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "why":
            break
    page.keyboard.press("Space")
    why = page.get_by_role("button", name="Show what decided").first
    expect(why).to_have_attribute("aria-pressed", "true")
    expect(why).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # removes the first card
    expect(cards(page)).to_have_count(1)
    expect(page.get_by_role("button", name="Remove")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Choose pictures")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_no_violation_and_nothing_is_cut_off(open_page: Open, scheme: Any, width: int) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800}, reduced_motion="reduce")
    violations(page)
    fill(page)
    page.get_by_role("button", name="Show what decided").first.click()
    expect(page.get_by_role("button", name="Show what decided").first).to_have_attribute("aria-pressed", "true")
    violations(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    violations(page)
    page.goto(f"{page.url}docs")
    violations(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_thumbnail_is_marked_with_the_network_that_answered(
    open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page(two_networks.write(tmp_path, monkeypatch))
    choose(page, ("large.png", png("red", 80)))
    choose(page, ("small.png", png("green", 32)))
    small, large = cards(page).nth(0), cards(page).nth(1)
    expect(small.locator(".network")).to_have_text("A thumbnail, answered by small.")
    expect(small.locator("h2")).to_have_text("green")
    expect(large.locator("h2")).to_have_text("red")
    expect(large.locator(".network")).to_be_hidden()
    small.get_by_role("button", name="Show what decided").click()
    expect(small.get_by_role("button", name="Show what decided")).to_have_attribute("aria-pressed", "true")
    violations(page)


def test_screenshots(open_page: Open, tmp_path: Path) -> None:
    folder = ROOT / os.environ.get("THUMBNET_SCREENSHOTS", tmp_path)
    folder.mkdir(exist_ok=True)
    page = open_page("cifar10-photo", color_scheme="light", viewport={"width": 900, "height": 600})
    page.screenshot(path=folder / "start.png")
    choose(page, ("grey.png", png("grey", 64)), ("note.txt", b"hello"))
    expect(cards(page).locator(".error:visible")).to_have_count(1)
    choose(page, ("cat.png", CAT))
    expect(cards(page).locator("figure:visible")).to_have_count(2)
    page.screenshot(path=folder / "answers.png", full_page=True)
    page.get_by_role("button", name="Show what decided").first.click()
    expect(page.get_by_role("button", name="Show what decided").first).to_have_attribute("aria-pressed", "true")
    for state, width in (("heat-map", 900), ("phone-dark", 360)):
        page.emulate_media(color_scheme="dark" if state == "phone-dark" else "light")
        page.set_viewport_size({"width": width, "height": 640})
        page.screenshot(path=folder / f"{state}.png")
