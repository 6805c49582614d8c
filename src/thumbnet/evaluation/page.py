"""Write what was measured of a model file as one self-contained HTML page."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from thumbnet._version import __version__
from thumbnet.errors import ThumbnetError
from thumbnet.evaluation import plots
from thumbnet.evaluation.corruptions import STRENGTHS, WAYS, Robustness, benchmark, corrupt, robustness
from thumbnet.evaluation.judge import Judgement
from thumbnet.evaluation.report import PAIRS, as_json, percent, three_decimals, times, verdict
from thumbnet.evaluation.scores import (
    Comparison,
    Scores,
    compare,
    confused,
    coverage,
    macro_f1,
    reliability,
)
from thumbnet.files import check_output, write_atomically
from thumbnet.html import Html, document, element, join, picture
from thumbnet.prediction import explain
from thumbnet.progress import progress

PAIR_PICTURES = 6  # of each
MISTAKES = 24  # wrong answers on the page, the most confident ones
THUMBNAIL = 96  # pixels a side at the most, of a picture on the page
PAGE, SCORES = "index.html", "scores.json"
EPOCHS, LOSS = 1e6, 1e6  # the most of each that is drawn


def write(folder: Path, judged: Judgement, against: Judgement | None = None, *, spoil: bool = True) -> Path:
    """Write `index.html` and `scores.json` into `folder`, and return the page's path. A slow network takes minutes.

    Args:
        folder: Made if it is not there.
        judged: The model file to report on.
        against: Another model file, asked about the same pictures.
        spoil: Whether to ask about spoilt pictures, too, which takes the longest.

    Raises:
        DataError: `against` was asked about other pictures.
        ModelError: The network of a file from elsewhere fails.
        ThumbnetError: The folder cannot be made.
    """
    prepare(folder)
    compared = compare(judged.answers, against.answers) if against else None
    spoilt = robustness(judged.classifier, judged.dataset) if spoil else None
    other = (against.model, compared) if against and compared else None
    content = {PAGE: page(judged, spoilt, other), SCORES: as_json(judged, spoilt, other)}
    for name, written in content.items():
        with write_atomically(folder / name) as file:
            # A file's name may be no Unicode. In JSON, this gives an escape that means the same.
            file.write(written.encode("utf-8", "backslashreplace"))
    return folder / PAGE


def prepare(folder: Path) -> None:
    """Make the report's folder, and make sure that it can be written to: before the long work.

    Raises:
        ThumbnetError: It cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ThumbnetError(f"{folder}: expected a folder to write to: {error.strerror or error}") from error
    for name in (PAGE, SCORES):
        check_output(folder / name)


def page(judged: Judgement, spoilt: Robustness | None, other: tuple[str, Comparison] | None) -> Html:
    """The whole page. It loads nothing and runs nothing; its own policy forbids both."""
    sections = [
        ("classes", "Classes", _classes(judged)),
        ("confusion", "What is taken for what", _confusion(judged)),
        ("confidence", "Can its confidence be trusted?", _confidence(judged)),
        ("mistakes", "Its surest mistakes", _mistakes(judged)),
        ("robustness", "Worse pictures", _robustness(judged, spoilt) if spoilt else Html("")),
        ("foreign", "Pictures of other things", _foreign(judged)),
        ("comparison", "Against another model", _comparison(judged.model, other)),
        ("training", "Training", _training(judged.classifier.info.history)),
    ]
    there = [each for each in sections if each[2]]
    links = [element("a", key.capitalize(), href=f"#{key}") for key, _, _ in there]
    body = [element("section", element("h2", title), content, id=key) for key, title, content in there]
    main = element("main", _top(judged), element("nav", *links, aria_label="Sections"), *body)
    foot = element("footer", f"Thumbnet {__version__}. Test data ", element("code", judged.dataset.fingerprint()[:16]))
    return document(f"{judged.model}: evaluation", main, foot)


def _top(judged: Judgement) -> Html:
    scores, names = judged.scores, judged.answers.names
    interval = f"95 % interval {scores.accuracy_low:.2%} to {scores.accuracy_high:.2%}"
    recipe = judged.classifier.info.recipe.get("name")
    kind = "pictures" if judged.cross_validated else "test pictures"
    about = [f"{scores.images:,} {kind} of {judged.data}", f"{len(names)} classes"]
    about += [f"recipe {recipe}"] if isinstance(recipe, str) else []
    tiles = [
        (f"{macro_f1(judged.classes):.3f}", "macro F1", "the mean over the classes"),
        (
            f"{scores.calibration_error:.3f}",
            "calibration error",
            f"0 is best; {judged.uncalibrated:.3f} before calibration",
        ),
        (f"{scores.cross_entropy:.3f}", "cross-entropy", "nats a picture"),
        (f"{scores.known:.1%}", "known", f"not unsure; {scores.known_accuracy:.2%} of these are right"),
        (f"{judged.speed.pictures_a_second:,.0f}", "pictures a second", f"{judged.speed.milliseconds:.2g} ms for one"),
    ]
    if judged.unknown_class is not None:
        meaning = "of pictures of a class it never learnt; each class was left out once"
        tiles.append((f"{judged.unknown_class:.0%}", "unsure of the unknown", meaning))
    if judged.held_out is not None:
        probe, tuned = judged.held_out
        kept = judged.classifier.info.recipe.get("kept")
        meaning = f"of the pictures held out to choose by; the probe {probe:.1%}. Shipped: {kept}"
        tiles.append((f"{tuned:.1%}", "tuned", meaning))
    return element(
        "header",
        element("p", "Thumbnet evaluation", class_="over"),
        element("h1", judged.model),
        element("p", " · ".join(about), class_="about"),
        *([element("p", judged.note, class_="about")] if judged.note else []),
        element(
            "div",
            element("p", element("b", f"{scores.accuracy:.2%}"), " right", class_="accuracy"),
            _interval(scores),
            element("p", interval, class_="about"),
            class_="hero",
        ),
        element("dl", *(_tile(*tile) for tile in tiles), class_="tiles"),
    )


def _tile(value: str, name: str, meaning: str) -> Html:
    return element("div", element("dt", name), element("dd", element("b", value), element("span", meaning)))


def _interval(scores: Scores) -> Html:
    """The accuracy as a bar, with its interval at the end."""
    low, high = 100 * scores.accuracy_low, 100 * scores.accuracy_high
    style = f"--v:{100 * scores.accuracy:.2f}%;--low:{low:.2f}%;--span:{high - low:.2f}%"
    return element("div", element("i"), class_="interval", style=style, aria_hidden="true")


def _classes(judged: Judgement) -> Html:
    worst_first = sorted(judged.classes, key=lambda each: 2.0 if each.f1 is None else each.f1)
    rows = [
        element(
            "tr", element("th", element("bdi", each.name), scope="row"), element("td", f"{each.images:,}"),
            _bar(each.precision), _bar(each.recall), _bar(each.f1, decimal=True),
        )
        for each in worst_first
    ]  # fmt: skip
    heads = [element("th", name, scope="col") for name in ("class", "pictures", "precision", "recall", "F1")]
    absent = [element("p", "– means that there is no such picture, or no such answer.", class_="about")]
    return join(
        element("p", "The hardest class comes first. Precision is the share of the pictures taken for a class that "
                "show it. Recall is the share of the pictures of a class that were found. F1 is their harmonic mean."),
        _scrolled("Classes", element("table", element("thead", element("tr", *heads)), element("tbody", *rows),
                                     class_="classes")),
        *(absent if any(None in (each.precision, each.recall) for each in judged.classes) else []),
    )  # fmt: skip


def _bar(share: float | None, *, decimal: bool = False) -> Html:
    if share is None:
        return element("td", "–")
    return element("td", three_decimals(share) if decimal else percent(share), class_="bar", style=f"--v:{share:.1%}")


def _confusion(judged: Judgement) -> Html:
    pairs = [_pair(judged, truth, guess) for truth, guess in confused(judged.confusion, PAIRS)]
    shown = plots.confusion(judged.confusion, judged.answers.names)
    return join(
        element("p", "Each row is a true class, each column an answer. A stronger colour means a larger share."),
        _scrolled("Confusion matrix", shown),
        element("h3", "Most often confused") if pairs else "",
        element("ul", *pairs, class_="pairs") if pairs else "",
    )  # fmt: skip


def _pair(judged: Judgement, truth: int, guess: int) -> Html:
    answers = judged.answers
    rows = np.flatnonzero((answers.labels == truth) & (answers.guesses == guess))
    rows = rows[np.argsort(-answers.confidence[rows], kind="stable")][:PAIR_PICTURES]
    label = f"{answers.names[truth]}, taken for {answers.names[guess]}"
    return element(
        "li",
        element("p", element("b", element("bdi", answers.names[truth])), " taken for ",
                element("b", element("bdi", answers.names[guess])),
                element("span", f" {times(judged, truth, guess)}", class_="about")),
        element("div", *(_thumbnail(judged.dataset.images[row], label) for row in rows), class_="strip"),
    )  # fmt: skip


def _confidence(judged: Judgement) -> Html:
    scores, threshold = judged.scores, judged.answers.info.threshold
    shares, accuracies = coverage(judged.answers)
    trusted = (
        "Answers with 70 % confidence should be right in 70 % of cases, so the bars should end on the line; the gap is "
        "red. The bars on top show how many answers there are. The mean gap, the calibration error, is "
        f"{scores.calibration_error:.3f}."
    )
    answered = (
        "The model is right more often if it answers only what it is surest of. Below a sureness of "
        f"{threshold:.2f} its answer is “unsure”: {scores.known:.1%} of the answers are above, and "
        f"{scores.known_accuracy:.2%} of these are right."
    )
    return element(
        "div",
        element("figure", plots.reliability(reliability(judged.answers)), element("figcaption", trusted)),
        element("figure", plots.coverage(shares, accuracies, scores.known, scores.known_accuracy),
                element("figcaption", answered)),
        class_="two",
    )  # fmt: skip


def _mistakes(judged: Judgement) -> Html:
    answers = judged.answers
    wrong = np.flatnonzero(~answers.right)
    rows = wrong[np.argsort(-answers.confidence[wrong], kind="stable")][:MISTAKES].tolist()
    if not rows:
        return element("p", "There are none.")
    cards: list[Html] = []
    with progress("heat maps", len(rows), " pictures") as show:
        for row in rows:
            cards.append(_mistake(judged, row))
            show(len(cards))
    about = (
        f"These are the {len(rows)} most confident of {len(wrong):,} wrong answers. Some labels may be wrong instead. "
        "The coloured parts spoke for the answer."
    )
    return join(element("p", about), element("div", *cards, class_="gallery views"))


def _mistake(judged: Judgement, row: int) -> Html:
    square, names = judged.dataset.images[row], judged.answers.names
    answered = int(judged.answers.guesses[row])
    guess, truth = names[answered], names[judged.answers.labels[row]]
    # A file that has learnt this picture may answer otherwise.
    found = explain.heat(judged.classifier, square, answered if judged.cross_validated else None)
    heat = explain.overlay(square, found, "stretch")
    shown = _thumbnail(square, f"{truth}, taken for {guess}"), _thumbnail(heat, f"what spoke for {guess}")
    answer = _answer(guess, float(judged.answers.confidence[row]))
    truly = element("br"), "truth: ", element("bdi", truth)
    return element("figure", element("div", *shown), element("figcaption", answer, *truly))


def _answer(guess: str, confidence: float) -> Html:
    return join(element("b", element("bdi", guess)), element("span", f" {confidence:.1%}", class_="about"))


def _robustness(judged: Judgement, spoilt: Robustness) -> Html:
    sample = judged.dataset.images[int(np.argmax(np.where(judged.answers.right, judged.answers.confidence, 0)))]
    heads = [element("th", name, scope="col") for name in ("", *map(str, range(1, STRENGTHS + 1)))]
    rows = [element("tr", element("th", way, scope="row"), *_spoilt_cells(sample, way, spoilt)) for way in WAYS]
    about = (
        f"The accuracy on {spoilt.images:,} pictures is {spoilt.unspoilt:.1%}. With the pictures spoilt in "
        f"these {len(WAYS)} ways, each at {STRENGTHS} strengths, it is {spoilt.mean:.1%} on average. "
        f"{benchmark(len(sample))} defines the ways and strengths (Hendrycks and Dietterich 2019)."
    )
    if judged.cross_validated:
        about = f"The model has learnt from these pictures, so only the differences count. {about}"
    table = element("table", element("thead", element("tr", *heads)), element("tbody", *rows), class_="spoilt")
    return join(element("p", about), _scrolled("Accuracy on spoilt pictures", table))


def _spoilt_cells(sample: NDArray[np.uint8], way: str, spoilt: Robustness) -> Iterable[Html]:
    rng = np.random.default_rng(0)
    for strength, accuracy in enumerate(spoilt.accuracy[way], 1):
        shown = _thumbnail(corrupt(sample, way, strength, rng), f"{way}, strength {strength}")
        lost = min(1.0, max(0.0, (spoilt.unspoilt - accuracy) / max(spoilt.unspoilt, 1e-9)))
        yield element("td", shown, element("span", f"{accuracy:.0%}"), style=f"--lost:{60 * lost:.0f}%")


def _foreign(judged: Judgement) -> Html:
    if not judged.foreign:
        return Html("")
    folder, found = judged.foreign
    cards = [
        element("figure", _thumbnail(judged.classifier.square(each.source), f"taken for {each.label}"),
                element("figcaption", _answer(each.label, each.confidence)))
        for each in found.surest
    ]  # fmt: skip
    about = (
        f"{found.rejected:.1%} of {found.images:,} pictures in {folder} are rejected as unsure. A test picture gets "
        f"more sureness than one of these in {found.auroc:.1%} of all pairs (the AUROC; 50 % would be chance)."
    )
    return join(
        element("p", about), element("h3", "The surest answers to them"), element("div", *cards, class_="gallery")
    )


def _comparison(model: str, other: tuple[str, Comparison] | None) -> Html:
    return join(*(element("p", line) for line in verdict(other[1], model, other[0]))) if other else Html("")


def _training(history: Sequence[Mapping[str, Any]]) -> Html:
    """Draw a training's curves from its rows of `epoch`, `loss`, `training` and perhaps `validation`."""

    def line(column: str, most: float) -> list[tuple[float, float]]:
        # The file may come from elsewhere: what is no number, or makes no sense, is left out.
        pairs = [(row.get("epoch"), row.get(column)) for row in history]
        return [(x, y) for x, y in pairs if _is_number(x, EPOCHS) and _is_number(y, most)]

    accuracies = {"training": line("training", 1), "held out": line("validation", 1)}
    drawn = [
        plots.curves({name: points for name, points in lines.items() if points}, label, shares=shares)
        for lines, label, shares in ((accuracies, "accuracy", True), ({"training": line("loss", LOSS)}, "loss", False))
        if any(lines.values())
    ]
    return element("div", *(element("figure", each) for each in drawn), class_="two") if drawn else Html("")


def _is_number(value: object, most: float) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


def _scrolled(label: str, content: Html) -> Html:
    """Put what may be wider than the screen into a place that scrolls, by the keyboard too."""
    return element("div", content, class_="scroll", tabindex="0", role="region", aria_label=label)


def _thumbnail(square: NDArray[np.uint8], label: str) -> Html:
    """A picture, uint8 `(S, S, 3)`, inside the page."""
    return picture(square, label, THUMBNAIL)
