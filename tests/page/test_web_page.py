"""The exported page in a real browser: its answers against `Classifier`'s, and that nothing leaves it.

THUMBNET_SCREENSHOTS=docs/page pytest tests/page/test_web_page.py -k offline    (writes the documentation's picture)
"""

import base64
import functools
import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeAlias

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper
from support import transferred
from support.chromium import PROGRAM
from support.cifar10 import CACHE, PREPARE, ROOT
from support.models import NAMES, content, encode, graph, png, with_sureness
from support.pictures import CASES

from thumbnet import export
from thumbnet.export import web
from thumbnet.model.classifier import PRETRAINED, Classifier, Prediction
from thumbnet.pictures.decode import decode
from thumbnet.pictures.framing import FRAMINGS, region, resize
from thumbnet.prediction import explain

pytest.importorskip("playwright", reason="part of the test group: pip install --group test")
pytest.importorskip("axe_playwright_python", reason="part of the test group: pip install --group test")

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from support.pages import cards, choose, fill, violations

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no chromium, chromium-browser or google-chrome")

PHOTOGRAPHS = PREPARE.parent / "photos"
CAT = (ROOT / "examples" / "cat.png").read_bytes()
TOLERANCE = 2e-6  # of a confidence, of which six decimals are told
Open: TypeAlias = Callable[..., Page]
# By the module that the page uses, one picture after the other.
ASK = """async (pictures) => {
  const backend = await import(new URL('backend.js', location));
  const answers = [];
  for (const picture of pictures) {
    const blob = new Blob([Uint8Array.from(atob(picture), (byte) => byte.charCodeAt(0))]);
    try {
      const answer = await backend.classify(blob);
      const square = new Uint8Array(await (await backend.square(blob)).arrayBuffer());
      answers.push([answer, btoa(Array.from(square, (byte) => String.fromCharCode(byte)).join(''))]);
    } catch (error) {
      answers.push([{ error: error.message }, '']);
    }
  }
  return answers;
}"""
RESIZE = """async (cases) => {
  const { resize, seen } = await import(new URL('resize.js', location));
  return cases.map(([picture, whole, wide, size, framing]) => {
    const pixels = Uint8Array.from(atob(picture), (byte) => byte.charCodeAt(0));
    const [top, left, bottom, right] = seen(whole, wide, size, framing);
    const rows = (from, to) => {
      const taken = new Uint8Array(4 * (to - from) * (right - left));
      for (let y = from; y < to; y += 1) {
        const start = 4 * ((top + y) * wide + left);
        taken.set(pixels.subarray(start, start + 4 * (right - left)), 4 * (y - from) * (right - left));
      }
      return taken;
    };
    const square = resize(rows, bottom - top, right - left, size, framing);
    return [[top, left, bottom, right], btoa(Array.from(square, (byte) => String.fromCharCode(byte)).join(''))];
  });
}"""


EXPLAIN = """async (picture) => {
  const backend = await import(new URL('backend.js', location));
  const blob = new Blob([Uint8Array.from(atob(picture), (byte) => byte.charCodeAt(0))]);
  try {
    const drawn = new Uint8Array(await (await backend.explain(blob)).arrayBuffer());
    return ['', btoa(Array.from(drawn, (byte) => String.fromCharCode(byte)).join(''))];
  } catch (error) {
    return [error.message, ''];
  }
}"""


class Seen(NamedTuple):
    """What the browser answered of one picture."""

    answer: dict[str, Any]  # or {"error": "…"}
    square: NDArray[np.uint8]  # (S, S, 3), empty where it failed


EXACT = {  # models that give evidence of places
    "exact": transferred.content(framing="crop"),
    "large": transferred.content(transferred.graph(288), size=288, framing="soft-centre"),
}


def no_evidence() -> onnx.ModelProto:
    """A network whose evidence is no numbers: the square roots of what is below zero."""
    model = transferred.graph()
    model.graph.node[-1].output[0] = "raw"
    model.graph.node.append(helper.make_node("Abs", ["raw"], ["above"]))
    model.graph.node.append(helper.make_node("Neg", ["above"], ["below"]))
    model.graph.node.append(helper.make_node("Sqrt", ["below"], ["heat"]))
    return model


@pytest.fixture(scope="session")
def runtime() -> Path:
    """ONNX Runtime Web, got once by npm."""
    path = CACHE / web.ARCHIVE
    if not path.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip(f"no ONNX Runtime Web to test with: there is no npm, and no {path}")
        CACHE.mkdir(parents=True, exist_ok=True)
        pack = [npm, "pack", f"onnxruntime-web@{web.VERSION}", "--pack-destination", str(CACHE)]
        done = subprocess.run(pack, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no ONNX Runtime Web to test with, as npm pack failed: {done.stderr[-300:]}")
    return path


class Noting(http.server.SimpleHTTPRequestHandler):
    """What `python -m http.server` runs. It notes by which name it was asked, and prints nothing."""

    asked: ClassVar[list[str]] = []

    def log_message(self, *_args: Any) -> None:
        self.asked.append(self.headers["Host"])


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, runtime: Path) -> Iterator[str]:
    """A server of static files, with exports of two bundled models and of tiny ones, all in folders."""
    folder = tmp_path_factory.mktemp("host")
    double = helper.make_node("Add", ["raw", "raw"], ["probabilities"])
    count = helper.make_node("Shape", ["raw"], ["count"], start=0, end=1)
    beyond = helper.make_node("Gather", ["raw", "count"], ["beyond"], axis=0)  # row N of N
    add = helper.make_node("Add", ["raw", "beyond"], ["probabilities"])
    models = {
        "tiny": content(framing="crop", threshold=0.9),
        "sure": content(with_sureness("ReduceMin", keepdims=0), threshold=0.3),
        "too-sure": content(with_sureness("ReduceLogSumExp", keepdims=0)),
        "doubled": content(graph(extra=(double,))),
        "failing": content(graph(extra=(count, beyond, add))),
        **EXACT,
        "no-evidence": transferred.content(no_evidence()),
    }
    for name, model in models.items():
        (folder / f"{name}.onnx").write_bytes(model)
        export.export(str(folder / f"{name}.onnx"), "web", folder / name, runtime=runtime)
    for name in ("best", "photo"):
        export.export(f"cifar10-{name}", "web", folder / "deep" / name, runtime=runtime)
    handler = functools.partial(Noting, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, host: str) -> Iterator[Open]:
    """Opens the page. What the browser complains of, or asks of an outside host, fails the test."""
    complaints: list[str] = []
    contexts: list[BrowserContext] = []

    def opened(
        name: str = "tiny",
        script: str = "",
        told: str = "tells apart",
        missing: str = "",
        complains: bool = False,
        **options: Any,
    ) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.add_init_script(script)
        if missing:
            page.route(f"**/{missing}", lambda route: route.fulfill(status=404))
        if not missing and not complains:
            page.on("console", lambda message: complaints.extend([message.text] * (message.type == "error")))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.extend([request.url] * (not _own(request.url, host))))
        page.goto(f"{host}{name}/")
        expect(page.locator("#model")).to_contain_text(told, timeout=60_000)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def _own(url: str, host: str) -> bool:
    return url.startswith((host, "blob:"))


def ask(page: Page, pictures: list[bytes]) -> list[Seen]:
    answers = page.evaluate(ASK, [base64.b64encode(data).decode() for data in pictures])
    return [Seen(answer, _pixels(square)) for answer, square in answers]


def _pixels(text: str) -> NDArray[np.uint8]:
    if not text:
        return np.zeros((0, 0, 3), np.uint8)
    return np.asarray(cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)


def off(seen: Seen, square: NDArray[np.uint8]) -> int:
    """The largest difference of a level."""
    assert seen.square.shape == square.shape
    return int(np.abs(seen.square.astype(int) - square).max())


def same(answer: dict[str, Any], expected: Prediction) -> None:
    """The same classes in the same order, but for those that are as probable to the last digit."""
    told = expected.as_dict()
    assert (answer["label"], answer["known"]) == (told["label"], told["known"])
    assert answer["confidence"] == answer["top"][0]["confidence"]
    given, wanted = ([each["confidence"] for each in one["top"]] for one in (answer, told))
    assert np.abs(np.subtract(given, wanted)).max() <= TOLERANCE
    by_name = {each["label"]: each["confidence"] for each in told["top"]}
    assert max(abs(by_name.get(each["label"], 0) - each["confidence"]) for each in answer["top"]) <= TOLERANCE


def test_a_hundred_real_pictures_are_answered_as_by_the_server(open_page: Open, cifar10_forms: Path) -> None:
    if not PHOTOGRAPHS.is_dir():
        pytest.skip(f"no photographs to test with: {PHOTOGRAPHS} does not exist")
    thumbnails = sorted((cifar10_forms / "folders").rglob("*.jpg"))
    photographs = sorted(PHOTOGRAPHS.rglob("*.jpg"))
    paths = photographs[:: len(photographs) // 50][:50] + thumbnails[:: len(thumbnails) // 50][:50]
    assert len(paths) == 100
    classifier = Classifier(PRETRAINED / "cifar10-best.onnx")
    pictures = [path.read_bytes() for path in paths]
    for path, picture, seen in zip(paths, pictures, ask(open_page("deep/best"), pictures), strict=True):
        assert off(seen, classifier.square(picture)) == 0, path
        same(seen.answer, classifier.predict(picture, top_k=5))


def test_photographs_and_thumbnails_are_answered_by_the_files_own_network(open_page: Open, cifar10_forms: Path) -> None:
    paths = sorted((cifar10_forms / "folders").rglob("*.jpg"))
    pictures = [CAT, *(path.read_bytes() for path in paths[:: len(paths) // 6][:6])]
    classifier = Classifier(PRETRAINED / "cifar10-photo.onnx")
    for picture, seen in zip(pictures, ask(open_page("deep/photo"), pictures), strict=True):
        square = classifier.square(picture, thumbnails=False)
        assert off(seen, square) == 0
        same(seen.answer, classifier.answers([""], classifier.ask(square[None]), 5)[0])


# By how many levels a square may be off: Chromium's way with inks and with transparency, docs/pictures.md.
OFF = {
    "jpeg-cmyk": 2, "jpeg-ycck": 2, "webp-alpha": 1, "webp-lossless-alpha": 1, "webp-animated": 1, "avif-alpha": 20,
    "avif-12-alpha": 20, "avif-animated": 20, "avif-turned-alpha": 20,
}  # fmt: skip
NOT_TURNED = ("png-exif-behind", "webp-exif", "webp-exif-alpha")
NO_BROWSER_SHOWS = ("tiff", "jp2", "ppm", "pgm", "pbm")


def test_every_format_is_seen_as_by_the_server_or_refused(open_page: Open) -> None:
    classifier = Classifier(PRETRAINED / "cifar10-best.onnx")
    page = open_page("deep/best")
    for (name, case), seen in zip(CASES.items(), ask(page, [case.data for case in CASES.values()]), strict=True):
        if isinstance(case.expected, str) or name.startswith(NO_BROWSER_SHOWS):
            assert "no picture that this browser shows" in seen.answer["error"], name
        elif name in NOT_TURNED:
            assert off(seen, classifier.square(case.data)) > 20, name
        else:
            assert off(seen, classifier.square(case.data)) <= OFF.get(name, 0), name


def test_it_resizes_as_opencv_does_to_the_last_level(open_page: Open) -> None:
    random = np.random.default_rng(0)
    sides = [(1, 1), (2, 3), (31, 32), (32, 32), (33, 33), (64, 64), (96, 96), (128, 64), (64, 32), (16, 16), (4, 90),
             (500, 20), (37, 36), (1, 200), *random.integers(1, 150, (40, 2)).tolist()]  # fmt: skip
    cases = []
    for height, width in sides:
        image = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
        cases += [(image, size, framing) for size in (4, 32) for framing in FRAMINGS]
    for height, width in (
        (288, 288),
        (289, 300),
        (224, 700),
        (90, 288),
        (576, 576),
        (612, 900),
        (100, 333),
        (330, 331),
    ):
        image = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
        cases += [(image, size, framing) for size in (224, 288) for framing in FRAMINGS]
    sent = [
        [base64.b64encode(np.dstack([image, image[..., :1]]).tobytes()).decode(), *image.shape[:2], size, framing]
        for image, size, framing in cases
    ]
    for (image, size, framing), (box, answer) in zip(cases, open_page().evaluate(RESIZE, sent), strict=True):
        assert tuple(box) == region(image.shape[0], image.shape[1], size, framing)
        made = np.frombuffer(base64.b64decode(answer), np.uint8).reshape(size, size, 4)[..., :3]
        np.testing.assert_array_equal(made, resize(image, size, framing), f"{image.shape} {size} {framing}")


def test_a_large_jpeg_which_the_server_decodes_smaller_is_off_by_little(open_page: Open) -> None:
    picture = cv2.imdecode(np.frombuffer(CAT, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert picture is not None
    large = encode(cv2.resize(picture, (2048, 1536), interpolation=cv2.INTER_CUBIC), ".jpg")
    classifier = Classifier(PRETRAINED / "cifar10-best.onnx")
    assert decode(large, least=32).shape == (768, 1024, 3)
    assert off(ask(open_page("deep/best"), [large])[0], classifier.square(large)) <= 2


def test_answers_are_rounded_and_judged_by_the_threshold(open_page: Open) -> None:
    classifier = Classifier(content(framing="crop", threshold=0.9))
    for colour, seen in zip(("red", "grey"), ask(open_page(), [png("red"), png("grey")]), strict=True):
        same(seen.answer, classifier.predict(png(colour), top_k=5))
        assert [each["label"] for each in seen.answer["top"]] == list(NAMES)  # equal ones in the model's order
        assert all(each["confidence"] == round(each["confidence"], 6) for each in seen.answer["top"])
        assert seen.answer["known"] == (colour == "red")


def test_a_sureness_of_its_own_decides_what_is_known(open_page: Open) -> None:
    classifier = Classifier(content(with_sureness("ReduceMin", keepdims=0), threshold=0.3))
    for colour, seen in zip(("red", "grey"), ask(open_page("sure"), [png("red"), png("grey")]), strict=True):
        same(seen.answer, classifier.predict(png(colour), top_k=5))
        assert seen.answer["known"] == (colour == "grey")


def photograph(height: int, width: int) -> bytes:
    """A PNG with a red part on the left, a green one on the right and a blue one below, with grain."""
    image = np.random.default_rng(0).integers(0, 60, (height, width, 3), np.uint8)
    image[:, : width // 2, 0] += 190
    image[: height // 2, 3 * width // 4 :, 1] += 150
    image[3 * height // 4 :, :, 2] += 120
    return encode(image)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize(("height", "width"), [(400, 400), (320, 480), (640, 350), (100, 70), (1500, 1000)])
def test_large_squares_are_answered_as_by_the_server(open_page: Open, name: str, height: int, width: int) -> None:
    classifier = Classifier(EXACT[name])
    picture = photograph(height, width)
    [seen] = ask(open_page(name), [picture])
    assert off(seen, classifier.square(picture)) == 0
    same(seen.answer, classifier.predict(picture, top_k=5))


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize(("height", "width"), [(400, 400), (320, 480), (640, 350), (100, 70), (1500, 1000)])
def test_heat_maps_are_those_of_the_server(open_page: Open, name: str, height: int, width: int) -> None:
    classifier = Classifier(EXACT[name])
    picture = photograph(height, width)
    told, text = open_page(name).evaluate(EXPLAIN, base64.b64encode(picture).decode())
    assert told == ""
    expected = explain.drawn(classifier, decode(picture)).astype(int)
    found = _pixels(text)
    assert found.shape == expected.shape
    apart = np.abs(found - expected)
    assert apart.mean() < 3  # they shrink and enlarge the picture itself otherwise
    if max(height, width) in range(320, 641):
        assert np.quantile(apart, 0.99) <= 6  # the colours are at most 4 levels off
        assert apart.max() <= 32  # at the edge of what the network sees


def test_a_picture_of_one_colour_has_a_grey_map(open_page: Open) -> None:
    told, text = open_page("exact").evaluate(EXPLAIN, base64.b64encode(png("red", 48)).decode())
    assert told == ""
    assert not np.ptp(_pixels(text), axis=2).any()


def test_evidence_that_is_no_numbers_is_refused(open_page: Open) -> None:
    page = open_page("no-evidence")
    assert ask(page, [png("red")])[0].answer["label"] == "red"
    assert "evidence that is no numbers" in page.evaluate(EXPLAIN, base64.b64encode(png("red")).decode())[0]


def test_only_a_model_with_evidence_offers_a_heat_map(open_page: Open) -> None:
    for name, offered in (("tiny", False), ("exact", True)):
        page = open_page(name)
        choose(page, ("half.png", photograph(64, 64)))
        expect(cards(page).locator("ol")).to_be_visible()
        button = page.get_by_role("button", name="Show what decided")
        expect(button).to_be_visible() if offered else expect(button).to_be_hidden()
    plain = cards(page).locator(".picture").get_attribute("src")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    assert cards(page).locator(".picture").get_attribute("src") != plain


@pytest.mark.parametrize(("name", "rendering"), [("tiny", "pixelated"), ("large", "auto")])
def test_a_square_is_drawn_without_jags_where_it_shrinks(open_page: Open, name: str, rendering: str) -> None:
    page = open_page(name)
    choose(page, ("red.png", png("red")))
    small = page.get_by_alt_text("the picture as small as the network sees it")
    expect(small).to_be_visible()
    expect(small).to_have_css("image-rendering", rendering)


@pytest.mark.parametrize(
    ("name", "told"), [("doubled", "no probabilities"), ("too-sure", "no probabilities"), ("failing", "network fails")]
)
def test_a_strangers_network_is_not_believed(open_page: Open, name: str, told: str) -> None:
    assert told in ask(open_page(name, complains=True), [png("red")])[0].answer["error"]


def test_offline_a_photograph_is_answered_and_nothing_is_asked_for(open_page: Open, tmp_path: Path) -> None:
    page = open_page("deep/photo", viewport={"width": 900, "height": 600}, color_scheme="light")
    asked: list[str] = []
    page.on("request", lambda request: asked.extend([request.url] * (not request.url.startswith("blob:"))))
    page.context.set_offline(True)
    choose(page, ("cat.png", CAT))
    expect(cards(page).locator("h2")).to_have_text("cat")
    expect(page.get_by_role("status")).to_contain_text("cat.png: cat")
    expect(cards(page).locator("li")).to_have_count(5)
    small = page.get_by_alt_text("the picture as small as the network sees it")
    expect(small).to_be_visible()
    assert small.evaluate("image => image.decode().then(() => image.naturalWidth)") == 224
    folder = ROOT / os.environ.get("THUMBNET_SCREENSHOTS", tmp_path)
    page.screenshot(path=folder / "browser.png", full_page=True)
    assert asked == []


def test_the_page_says_that_it_loads_how_much_and_that_nothing_is_sent(open_page: Open) -> None:
    page = open_page("deep/best")
    size = len((PRETRAINED / "cifar10-best.onnx").read_bytes()) + sum(part.size for part in web.PARTS.values())
    page.route("**/model.onnx", lambda _: None)  # never answered
    page.reload()
    expect(page.locator("#model")).to_have_text(f"Loading {size / 1e6:.0f} MB, the model and what runs it …")
    choose(page, ("a.png", png("red")))
    expect(cards(page)).to_have_attribute("aria-busy", "true")  # it waits
    expect(page.locator("footer")).to_contain_text("sent nowhere")
    expect(page.get_by_label("URL")).to_be_hidden()


def test_several_pictures_at_once_and_a_bad_one_fails_alone(open_page: Open) -> None:
    page = open_page()
    choose(page, *[(f"{name}.png", png(name)) for name in ("red", "green", "blue") * 3], ("note.txt", b"hello"))
    expect(cards(page)).to_have_count(10)
    for name in ("red", "green", "blue"):
        for card in page.get_by_role("article", name=f"{name}.png").all():
            expect(card.locator("h2")).to_have_text(name)
    note = page.get_by_role("article", name="note.txt")
    expect(note.locator(".error")).to_contain_text("no picture that this browser shows")
    expect(note.locator("h2")).to_have_text("No answer")
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)
    expect(page.get_by_role("button", name="Show what decided")).to_have_count(0)


def test_a_picture_that_is_wider_than_a_canvas_is_refused_in_words(open_page: Open) -> None:
    wide = encode(np.zeros((1, 32_768, 3), np.uint8))
    assert "wider than 32767 pixels" in ask(open_page(), [wide])[0].answer["error"]


FAILURES = {
    "no WebAssembly": ("delete window.WebAssembly", "", "runs no WebAssembly"),
    "no model": ("", "model.onnx", "model.onnx could not be loaded (404)"),
    "no runtime": ("", "onnxruntime/ort.wasm", "onnxruntime/ort.wasm could not be loaded (404)"),
    "noise for pixels": (
        "CanvasRenderingContext2D.prototype.getImageData = (x, y, w, h) => new ImageData(w, h)",
        "",
        "hides a picture’s pixels",
    ),
}  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES)
def test_what_keeps_it_from_answering_is_told(open_page: Open, failure: str) -> None:
    script, missing, told = FAILURES[failure]
    page = open_page(script=script, missing=missing, told=told)
    choose(page, ("a.png", png("red")))
    expect(cards(page).locator(".error")).to_contain_text(told)


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_axe_finds_no_violation_and_nothing_is_cut_off(open_page: Open, width: int, scheme: Any) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800}, reduced_motion="reduce")
    violations(page)
    fill(page)
    violations(page)


def test_the_policy_lets_nothing_be_asked_of_an_outside_host(browser: Browser, host: str) -> None:
    page = browser.new_page()
    page.goto(f"{host}tiny/")
    outside = f"{host.replace('127.0.0.1', 'localhost')}tiny/"  # is there, but another origin
    for attempt in (f"fetch('{outside}model.json')", f"import('{outside}resize.js')"):
        assert page.evaluate(f"async () => {{ try {{ await {attempt}; }} catch {{ return 'refused'; }} }}") == "refused"
    image = f"const image = new Image(); image.onload = image.onerror = then; image.src = '{outside}icon.svg';"
    assert page.evaluate(f"() => new Promise((then) => {{ {image} }}).then(({{ type }}) => type)") == "error"
    page.close()
    assert not any(name.startswith("localhost") for name in Noting.asked)
