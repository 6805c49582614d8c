"""report: what `thumbnet evaluate` prints and writes. The page is read as a browser's parser reads it."""

import dataclasses
import json
import os
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from support import models
from support.chromium import PROGRAM
from support.imports import TRAINING_ONLY, imported
from support.models import NAMES, SIZE, content, png, square, write

from thumbnet import cli
from thumbnet import text as texts
from thumbnet.data.dataset import Dataset
from thumbnet.evaluation import judge, plots, report
from thumbnet.evaluation import page as page_module
from thumbnet.evaluation.corruptions import STRENGTHS, WAYS, Robustness
from thumbnet.evaluation.judge import Judgement, Speed, answer
from thumbnet.evaluation.page import MISTAKES, PAIR_PICTURES, _classes, _mistakes, _thumbnail, _training
from thumbnet.evaluation.report import PAIRS, verdict
from thumbnet.evaluation.scores import Answers, Bin, Comparison, compare, confused
from thumbnet.html import STYLE, Html, element, join
from thumbnet.model.classifier import Classifier
from thumbnet.text import shorten

SPOILT = Robustness(10, 0.8, dict.fromkeys(WAYS, (0.7, 0.6, 0.5, 0.4, 0.3)))
EVIL = '<script>alert("x")</script>&'


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "SECONDS", 0.0)


class Page(HTMLParser):
    """The elements of a page, and whether each is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []
        self.count = Counter(name for name, _ in self.elements)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if self.open[-1:] != ["style"] else ""

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.elements if attribute in attributes]


def judgement(names: tuple[str, ...], count: int, seed: int = 0, model: str = "m.onnx") -> Judgement:
    """Random answers; the last class has no picture where there are more than three."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(names) - (len(names) > 3), count)
    probabilities = rng.dirichlet(np.full(len(names), 0.2), count).astype(np.float32)
    images = rng.integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8)
    answers = Answers(models.info(names=names, threshold=0.4), labels, probabilities, probabilities.max(axis=1))
    return Judgement(model, "data", Classifier(content()), Dataset(images, labels, names), answers, Speed(1234.5, 0.5))


def folder_of(root: Path, test: dict[str, list[str]]) -> str:
    """A folder of pictures: for each class, the colours in it."""
    for split in ("train", "test"):
        for name, colours in test.items():
            for place, colour in enumerate(colours):
                (root / split / name).mkdir(parents=True, exist_ok=True)
                (root / split / name / f"{place}.png").write_bytes(png(colour))
    return str(root)


@pytest.fixture
def data(tmp_path: Path) -> str:
    return folder_of(tmp_path / "data", {"1": ["red", "red", "green"], "2": ["green", "grey"], "3": ["blue", "blue"]})


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(write(tmp_path / "m.onnx", names=("1", "2", "3"), temperature=0.2))


# In a terminal


def test_evaluate_prints_all_figures(model: str, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", model, "--data", data]) == 0
    first, rest = capsys.readouterr().out.split("\n", 1)
    assert first == "71.43% of 7 test images right (95 % interval 35.89% to 91.78%)"
    rest, count = re.subn(r"(pictures a second|ms for one alone) +[\d,.e-]+\n", "", rest)
    assert count == 2
    assert re.sub("  +", "  ", rest) == (  # a column is as wide as the speed makes it
        "macro F1  0.722\n"
        "cross-entropy  1.586\n"
        "calibration error  0.190\n"
        "before calibration  0.087\n"
        "known, not unsure  85.7%\n"
        "right of these  83.33%\n"
        "\n"
        "class  pictures  precision  recall  F1\n"
        "1  3  66.7%  66.7%  0.667\n"
        "2  2  50.0%  50.0%  0.500\n"
        "3  2  100.0%  100.0%  1.000\n"
        "\n"
        "most often confused\n"
        "1  taken for  2  1 of 3\n"
        "2  taken for  1  1 of 2\n"
    )


def test_model_is_named_either_way(model: str, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    heads = []
    for arguments in ([model], ["--model", model]):
        assert cli.main(["evaluate", *arguments, "--data", data]) == 0
        heads.append(capsys.readouterr().out.splitlines()[0])
    assert heads[0] == heads[1]


def test_two_models_are_compared_in_words(
    model: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = str(write(tmp_path / "other.onnx", names=("1", "2", "3"), threshold=0.99))
    for arguments in ([model, other], ["--model", model, other]):
        assert cli.main(["evaluate", *arguments, "--data", data]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == [model, other]
        assert lines[1].split() == ["accuracy", "71.43%", "71.43%"]
        assert lines[-3] == f"Right in both 5, only in {model} 0, only in {other} 0, in neither 2."
        assert lines[-2].startswith(f"{other} less {model}: +0.00 points (95 % interval -21.78 to +21.78)")
        assert lines[-1] == "The difference could be chance (p = 1.000, McNemar's test)."


def test_a_better_model_is_named() -> None:
    better = Comparison(50, 0, 30, 20, p=1e-9, difference=0.3, difference_low=0.2, difference_high=0.4)
    assert verdict(better, "a", "b")[1:] == [
        "b less a: +30.00 points (95 % interval +20.00 to +40.00).",
        "b is better than a. That is more than chance (p < 0.001, McNemar's test).",
    ]
    worse = Comparison(50, 12, 2, 20, p=0.0129, difference=-0.1, difference_low=-0.2, difference_high=0.0)
    assert verdict(worse, "a", "b")[2].startswith("a is better than b. That is more than chance (p = 0.013,")
    close = Comparison(50, 9, 2, 20, p=0.051, difference=-0.1, difference_low=-0.2, difference_high=0.0)
    assert verdict(close, "a", "b")[2] == "The difference could be chance (p = 0.051, McNemar's test)."


def test_three_models_are_wrong_usage(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["evaluate", "--model", model, model, model])
    assert ended.value.code == 2
    assert "expected one model, or two to compare" in capsys.readouterr().err


def test_foreign_pictures_are_told(model: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "a.png").write_bytes(png("grey"))
    assert cli.main(["evaluate", model, "--data", data, "--foreign", str(tmp_path / "foreign")]) == 0
    printed = capsys.readouterr().out
    for label, value in (("foreign pictures", "1"), ("unsure of these", "100.0%"), ("AUROC against these", "0.929")):
        assert re.search(f"^{label} +{value}$", printed, re.MULTILINE)
    assert cli.main(["evaluate", model, "--data", data, "--foreign", str(tmp_path / "none")]) == 1
    assert "expected a folder of pictures, got none" in capsys.readouterr().err


def test_classes_without_a_picture_are_told() -> None:
    printed = report.text(judgement(("a", "b", "c", "none"), 40))
    assert re.search(r"^none +0 +0.0% +– +0.000$", printed, re.MULTILINE)
    assert "– means that there is no such picture, or no such answer\n" in printed
    assert "–" not in report.text(judgement(("a", "b"), 40))


def test_columns_stand_below_each_other_whatever_the_names() -> None:
    printed = report.text(judgement(("猫咪", "n" * 60, "é" * 3, "cafe\u0301", "x"), 200))
    table = printed.split("\n\n")[1].splitlines()[:6]
    assert len({texts.width(line) for line in table}) == 1
    assert "n" * 39 + "…" in printed
    assert "n" * 40 not in printed


def test_a_name_cannot_steer_the_terminal(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (str(write(tmp_path / name, names=("1", "2", "3"))) for name in ("\x1b[31m.onnx", "\u202e.onnx"))
    assert cli.main(["evaluate", one, other, "--data", data]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert r"\x1b[31m.onnx" in out
    assert "b\\u200b" in report.text(judgement(("a", "b\u200b"), 40))  # what cannot be seen is shown


# On paper


def test_report_is_written(model: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "a.png").write_bytes(png("red"))
    other = str(write(tmp_path / "other.onnx", names=("1", "2", "3")))
    options = ["--data", data, "--report", str(tmp_path / "new" / "report"), "--foreign", str(tmp_path / "foreign")]
    assert cli.main(["evaluate", model, other, *options]) == 0
    page = tmp_path / "new" / "report" / "index.html"
    assert capsys.readouterr().err.splitlines()[-1] == f"The report: {page}"
    assert sorted(file.name for file in page.parent.iterdir()) == ["index.html", "scores.json"]
    ids = Page(page.read_text(encoding="utf-8")).values("id")
    assert ids == ["classes", "confusion", "confidence", "mistakes", "robustness", "foreign", "comparison"]

    scores = json.loads((page.parent / "scores.json").read_text(encoding="utf-8"))
    assert scores["scores"]["accuracy"] == pytest.approx(5 / 7)
    assert scores["confusion"] == [[2, 1, 0], [1, 1, 0], [0, 0, 2]]
    assert scores["classes"][1] == {"name": "2", "images": 2, "answers": 2, "precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert scores["confused"][0] == {"truth": "1", "answer": "2", "images": 1}
    assert list(scores["robustness"]["accuracy"]) == list(WAYS)
    assert scores["foreign"]["rejected"] == 0
    assert scores["comparison"]["neither"] == 2


def test_report_of_a_file_whose_name_is_no_unicode(data: str, tmp_path: Path) -> None:
    model = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.onnx")
    write(Path(model), names=("1", "2", "3"))
    assert cli.main(["evaluate", model, "--data", data, "--report", str(tmp_path / "report")]) == 0
    assert json.loads((tmp_path / "report/scores.json").read_bytes())["model"] == model
    assert r"\udcff.onnx" in (tmp_path / "report/index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [["evaluate", "m.onnx"], ["check-data"]])
def test_a_report_that_cannot_be_written_is_told_before_the_work(
    command: list[str], data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "m.onnx", names=("1", "2", "3"))
    monkeypatch.setattr("thumbnet.data.check.read", None)
    monkeypatch.setattr("thumbnet.evaluation.judge.answer", None)
    (tmp_path / "report/index.html").mkdir(parents=True)
    place = "report" if command[0] == "evaluate" else "report/index.html"
    assert cli.main([*command, "--data", data, "--report", place]) == 1
    assert "report/index.html: expected a file to write to, got a folder" in capsys.readouterr().err


def test_a_file_in_the_reports_place_is_told(model: str, data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", model, "--data", data, "--report", model]) == 1
    assert capsys.readouterr().err == f"error: {model}: expected a folder to write to: File exists\n"


@pytest.mark.parametrize("classes", [2, 10, 12, 13, 100])
def test_page_is_sound_for_any_number_of_classes(classes: int) -> None:
    judged = judgement(tuple(f"class {place}" for place in range(classes)), 3000)
    text = page_module.page(judged, SPOILT, None)
    page = Page(text)
    assert len(text) < 1_000_000
    assert page.count["tr"] == 1 + classes + 1 + len(WAYS)
    assert f"{judged.scores.accuracy:.2%} right" in page.text
    matrix = text[text.index('aria-label="Confusion matrix of') : text.index("</svg>")]
    numbers = [int(number) for number in re.findall(r'class="o(?:n|ff)">(\d+)<', matrix)]
    assert sum(numbers) == (3000 if classes <= plots.NUMBERED else 0)
    for kind, cells in (("hit", np.eye(classes)), ("miss", 1 - np.eye(classes))):
        paths = re.findall(rf' d="([^"]*)" class="{kind}"', matrix)
        assert sum(path.count("M") for path in paths) == np.count_nonzero(judged.confusion * cells)
    assert page.count["img"] == len(WAYS) * STRENGTHS + 2 * MISTAKES + sum(
        min(PAIR_PICTURES, judged.confusion[pair]) for pair in confused(judged.confusion, PAIRS)
    )


def test_names_cannot_break_out_of_the_page() -> None:
    names = (EVIL, '" onload="alert(1)', "'><svg>", "d")
    judged = judgement(names, 200, model=EVIL)
    other = (EVIL, compare(judged.answers, judged.answers))
    text = page_module.page(judged, SPOILT, other)
    page = Page(text)
    assert page.count["script"] == 0
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert EVIL in page.text
    assert any(EVIL in alt for alt in page.values("alt"))


def test_page_loads_nothing_and_tells_its_pictures() -> None:
    page = Page(page_module.page(judgement(("a", "b", "c"), 100), SPOILT, None))
    assert all(
        source.startswith(("data:image/png;base64,", "data:image/jpeg;base64,")) for source in page.values("src")
    )
    assert all(link.startswith("#") for link in page.values("href"))
    assert "http" not in STYLE.read_text(encoding="utf-8")
    assert any("default-src 'none'" in policy for policy in page.values("content"))
    for name, attributes in page.elements:
        assert name != "img" or attributes["alt"]
        assert name != "svg" or attributes["aria-label"]
    scrolled = [attributes for _, attributes in page.elements if attributes.get("class") == "scroll"]
    assert all(each["tabindex"] == "0" and each["aria-label"] for each in scrolled)


def test_surest_mistakes_come_first() -> None:
    probabilities = np.array([[0.4, 0.6], [0.9, 0.1], [0.1, 0.9]], np.float32)
    answers = Answers(models.info(names=("a", "b")), np.array([0, 0, 0]), probabilities, probabilities.max(axis=1))
    images = np.zeros((3, SIZE, SIZE, 3), np.uint8)
    judged = Judgement(
        "m", "d", Classifier(content()), Dataset(images, answers.labels, ("a", "b")), answers, Speed(1, 1)
    )
    captions = re.findall("<figcaption>(.*?)</figcaption>", _mistakes(judged))
    assert [re.search(r"[\d.]+%", caption)[0] for caption in captions] == ["90.0%", "60.0%"]  # type: ignore[index]
    assert all("truth: <bdi>a</bdi>" in caption for caption in captions)


def test_hardest_classes_come_first() -> None:
    judged = judgement(("a", "b", "c", "d", "e"), 300)
    shown = re.findall('<th scope="row"><bdi>(.)</bdi>', _classes(judged))
    assert shown == [each.name for each in sorted(judged.classes, key=lambda each: each.f1 or 0)]
    assert shown != sorted(shown)


def test_no_mistakes_is_told() -> None:
    classifier = Classifier(content())
    dataset = Dataset(np.stack([square(name, SIZE) for name in NAMES]), np.arange(3), NAMES)
    judged = Judgement("m", "d", classifier, dataset, answer(classifier, dataset), Speed(1, 1))
    page = Page(page_module.page(judged, SPOILT, None))
    assert "There are none." in page.text
    assert "Most often confused" not in page.text


def test_large_pictures_become_small_jpegs() -> None:
    picture = _thumbnail(np.zeros((300, 300, 3), np.uint8), "black")
    assert picture.startswith('<img src="data:image/jpeg;base64,')
    assert picture.endswith(' alt="black" width="96" height="96">')


ROWS = [
    {"epoch": 1, "loss": 2.0, "training": 0.3, "validation": 0.35, "seconds": 1.0},
    {"epoch": 2, "loss": 1.5, "training": 0.5, "validation": 0.55, "seconds": 2.0},
]


def test_training_is_drawn_from_the_model_file(tmp_path: Path) -> None:
    """And from nothing beside it, which may be another training's."""
    (tmp_path / "results.csv").write_text("epoch,loss,training,validation,seconds\n1,2.0,0.9,0.9,1\n")
    judged = judgement(("a", "b"), 50, model=str(tmp_path / "m.onnx"))
    assert "training" not in Page(page_module.page(judged, SPOILT, None)).values("id")
    page = Page(page_module.page(replace(judged, classifier=Classifier(content(history=ROWS))), SPOILT, None))
    assert "training" in page.values("id")
    assert "accuracy over the epochs; at the end: training 0.5, held out 0.55." in page.values("aria-label")
    assert "loss over the epochs; at the end: training 1.5." in page.values("aria-label")
    assert "at the end: training 0.3." in _training([{"epoch": 1, "loss": 2.0, "training": 0.3}])


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("value", [NAN, INF, -INF, -1, 0, 0.0, 1, 93.5, 1e300, 10**400, True, None, "0.5", [], {}])
@pytest.mark.parametrize("column", ["epoch", "loss", "training", "validation"])
@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_no_history_breaks_the_page(value: object, column: str, rows: int) -> None:
    for row in ({**ROWS[0], column: value}, {key: kept for key, kept in ROWS[0].items() if key != column}):
        drawn = Page(_training([row] * rows) or "<p></p>")
        assert not {"nan", "inf"} & set(re.findall("[a-z]+", " ".join(drawn.values("d"))))
        assert all(len(path) < 10_000 for path in drawn.values("d"))


@pytest.mark.parametrize("rows", [[], [{}], [{"epoch": 1}], [{"epoch": 1, "loss": NAN, "training": 93.0}]])
def test_a_history_of_something_else_is_no_training(rows: list[dict[str, object]]) -> None:
    assert _training(rows) == ""


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium")
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_page_is_never_wider_than_the_screen(tmp_path: Path, width: int, scheme: str) -> None:
    api = pytest.importorskip("playwright.sync_api")
    names = ("n" * 200, EVIL, *(f"class number {place}" for place in range(98)))
    (tmp_path / "page.html").write_text(
        page_module.page(judgement(names, 2000, model="m" * 100), SPOILT, None), "utf-8"
    )
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        told: list[str] = []
        page.on("console", lambda message: told.append(message.text))
        page.goto((tmp_path / "page.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert told == []  # its policy refused nothing
        colours = page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        )
        browser.close()
    assert (max(map(int, re.findall(r"\d+", colours[0]))) > 128) == (scheme == "dark")


# Its parts


def test_text_is_escaped_and_html_is_not() -> None:
    inner = element("b", "1 < 2")
    assert inner == "<b>1 &lt; 2</b>"
    assert element("p", inner, " & ", class_="a", aria_label='"') == (
        '<p class="a" aria-label="&quot;"><b>1 &lt; 2</b> &amp; </p>'
    )
    assert element("img", alt="", width=1.50, height=2.0) == '<img alt="" width="1.5" height="2">'
    assert type(join("a", inner)) is Html


@pytest.mark.parametrize(
    ("text", "columns", "short"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("猫咪狗", 6, "猫咪狗"),
        ("猫咪狗", 5, "猫咪…"),
        ("猫咪狗", 4, "猫…"),
        ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
    ],
)
def test_names_are_cut_by_their_width(text: str, columns: int, short: str) -> None:
    assert shorten(text, columns) == short


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.9, 1, [0.9, 0.92, 0.94, 0.96, 0.98, 1]),
        (0, 40, [0, 10, 20, 30, 40]),
        (0, 1e-3, [0, 2e-4, 4e-4, 6e-4, 8e-4, 1e-3]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert plots._ticks(low, high) == pytest.approx(ticks)


def test_numbers_on_full_cells_have_their_own_colour() -> None:
    shown = plots.confusion(np.array([[9, 1], [5, 5]]), ("a", "b"))
    found = re.findall(r'class="(on|off)">(\d+)<', shown)
    assert found == [("on", "9"), ("off", "1"), ("on", "5"), ("on", "5")]


def test_reliability_tells_the_worst_bin() -> None:
    bins = [Bin(0.4, 0.6, 10, 0.5, 0.1), Bin(0.8, 1, 1000, 0.95, 0.85)]
    assert "1,000 answers with 95% confidence, 85% of them right" in plots.reliability(bins)


def test_evaluate_needs_the_base_install_only(model: str, data: str, tmp_path: Path) -> None:
    loaded = imported("-m", "thumbnet", "evaluate", model, "--data", data, "--report", str(tmp_path / "report"))
    assert not loaded & (TRAINING_ONLY - {"tqdm"})  # the bar, where it is installed


def test_page_shows_the_error_before_calibration(data: str, tmp_path: Path) -> None:
    """The file's temperature is not 1, so the two errors differ."""
    model = str(write(tmp_path / "m.onnx", names=("1", "2", "3"), temperature=0.2))
    judged = judge.judge(model, data)
    page = Page(page_module.page(judged, SPOILT, None))
    assert "0.190" in page.text
    assert "0 is best; 0.087 before calibration" in page.text
    assert json.loads(report.as_json(judged, SPOILT, None))["uncalibrated_error"] == pytest.approx(0.0874, abs=1e-3)


def test_each_count_of_a_comparison_is_told_of_its_own_model() -> None:
    compared = Comparison(50, 12, 3, 20, p=0.04, difference=-0.1, difference_low=-0.2, difference_high=0.0)
    assert verdict(compared, "a", "b")[0] == "Right in both 50, only in a 12, only in b 3, in neither 20."


def test_speeds_are_printed_in_their_units() -> None:
    lines = report.text(judgement(NAMES, 30)).splitlines()
    assert [line.split()[-1] for line in lines if re.match("pictures a second|ms for one alone", line)] == [
        "1,234",
        "0.5",
    ]


def test_speeds_are_measured_in_their_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "_median_seconds", lambda _, squares: 0.002 * len(squares))
    speed = judge.measure_speed(Classifier(content()), np.stack([square("red", SIZE)]))
    assert speed.pictures_a_second == pytest.approx(500)
    assert speed.milliseconds == pytest.approx(2)


def test_json_has_the_error_before_calibration() -> None:
    judged = judgement(NAMES, 60)
    answers = dataclasses.replace(judged.answers, info=models.info(threshold=0.4, temperature=3.0))
    judged = dataclasses.replace(judged, answers=answers, classifier=Classifier(content(temperature=3.0)))
    fields = json.loads(report.as_json(judged, SPOILT, None))
    assert fields["uncalibrated_error"] == pytest.approx(judged.uncalibrated)
    assert fields["uncalibrated_error"] != pytest.approx(fields["scores"]["calibration_error"], abs=0.01)
