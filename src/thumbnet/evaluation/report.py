"""Write what was measured of a model file as text and JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from thumbnet._version import __version__
from thumbnet.evaluation.corruptions import Robustness
from thumbnet.evaluation.judge import Judgement
from thumbnet.evaluation.scores import (
    CHANCE,
    ClassScores,
    Comparison,
    compare,
    confused,
    macro_f1,
    reliability,
)
from thumbnet.text import printable, shorten, width

PAIRS = 8  # of classes that are confused most: shown with pictures
COLUMNS = 40  # of a class's name in a terminal, at the most


def text(judged: Judgement) -> str:
    """All figures but the accuracy, and the classes as a table: for a terminal."""
    lines = _table(_figures(judged))
    lines += ["", *_table([("class", "pictures", "precision", "recall", "F1"), *map(_row, judged.classes)])]
    if any(None in (each.precision, each.recall) for each in judged.classes):
        lines.append("– means that there is no such picture, or no such answer")
    if pairs := confused(judged.confusion, PAIRS):
        names = [shorten(printable(name), COLUMNS) for name in judged.answers.names]
        rows = [(names[truth], "taken for", names[guess], times(judged, truth, guess)) for truth, guess in pairs]
        lines += ["", "most often confused", *_table(rows, right=3)]
    return "\n".join(lines)


def versus(first: Judgement, second: Judgement) -> str:
    """Two models side by side, and whether their difference could be chance: for a terminal."""
    one, other = ({"accuracy": f"{each.scores.accuracy:.2%}", **dict(_figures(each))} for each in (first, second))
    rows = [
        ("", printable(first.model), printable(second.model)),
        *((label, one.get(label, "–"), other.get(label, "–")) for label in {**one, **other}),
    ]
    compared = compare(first.answers, second.answers)
    return "\n".join([*_table(rows), "", *verdict(compared, printable(first.model), printable(second.model))])


def _figures(judged: Judgement) -> list[tuple[str, str]]:
    scores, speed, held_out = judged.scores, judged.speed, judged.held_out
    found = judged.foreign[1] if judged.foreign else None
    of_foreign = [
        ("foreign pictures", f"{found.images:,}"),
        ("unsure of these", f"{found.rejected:.1%}"),
        ("AUROC against these", f"{found.auroc:.3f}"),
    ] if found else []  # fmt: skip
    return [
        ("macro F1", f"{macro_f1(judged.classes):.3f}"),
        ("cross-entropy", f"{scores.cross_entropy:.3f}"),
        ("calibration error", f"{scores.calibration_error:.3f}"),
        ("before calibration", f"{judged.uncalibrated:.3f}"),
        ("known, not unsure", f"{scores.known:.1%}"),
        ("right of these", f"{scores.known_accuracy:.2%}"),
        *([("unsure of an unknown class", f"{judged.unknown_class:.1%}")] if judged.unknown_class is not None else []),
        *([("held out, probe", f"{held_out[0]:.1%}"), ("held out, tuned", f"{held_out[1]:.1%}")] if held_out else []),
        ("pictures a second", f"{speed.pictures_a_second:,.0f}"),
        ("ms for one alone", f"{speed.milliseconds:.2g}"),
        *of_foreign,
    ]


def verdict(compared: Comparison, first: str, second: str) -> list[str]:
    """Say in words whether one is better."""
    better, worse = (second, first) if compared.difference > 0 else (first, second)
    p = f"p = {compared.p:.3f}" if compared.p >= 0.0005 else "p < 0.001"
    interval = f"95 % interval {100 * compared.difference_low:+.2f} to {100 * compared.difference_high:+.2f}"
    gap = f"{second} less {first}: {100 * compared.difference:+.2f} points ({interval})"
    if compared.p < CHANCE:
        meaning = f"{better} is better than {worse}. That is more than chance ({p}, McNemar's test)."
    else:
        meaning = f"The difference could be chance ({p}, McNemar's test)."
    return [
        f"Right in both {compared.both:,}, only in {first} {compared.first:,}, only in {second} {compared.second:,}, "
        f"in neither {compared.neither:,}.",
        f"{gap}.",
        meaning,
    ]


def _row(each: ClassScores) -> tuple[str, ...]:
    return (
        shorten(printable(each.name), COLUMNS),
        f"{each.images:,}",
        percent(each.precision),
        percent(each.recall),
        three_decimals(each.f1),
    )


def percent(share: float | None) -> str:
    """A share from 0 to 1 as text; None becomes a dash."""
    return "–" if share is None else f"{share:.1%}"


def three_decimals(share: float | None) -> str:
    """A number as text; None becomes a dash."""
    return "–" if share is None else f"{share:.3f}"


def times(judged: Judgement, truth: int, guess: int) -> str:
    """How often a class was taken for another."""
    return f"{judged.confusion[truth, guess]:,} of {judged.confusion[truth].sum():,}"


def _table(rows: Sequence[Sequence[str]], right: int = 1) -> list[str]:
    """`rows` in columns, those from the number `right` on flush right."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]

    def padded(cell: str, column: int) -> str:
        blank = " " * (widths[column] - width(cell))
        return cell + blank if column < right else blank + cell

    return ["  ".join(padded(cell, column) for column, cell in enumerate(row)).rstrip() for row in rows]


def as_json(judged: Judgement, spoilt: Robustness | None, other: tuple[str, Comparison] | None) -> str:
    """All figures, for programs. `other` is another model file's name and the comparison with it."""
    pairs = confused(judged.confusion, PAIRS)
    names = judged.answers.names
    fields: dict[str, Any] = {
        "model": judged.model,
        "data": judged.data,
        "note": judged.note,
        "test": judged.dataset.fingerprint(),
        "version": __version__,
        "scores": judged.scores.as_dict(),
        "cross_validated": judged.cross_validated,
        "unknown_class": judged.unknown_class,
        "uncalibrated_error": judged.uncalibrated,
        "macro_f1": macro_f1(judged.classes),
        "speed": asdict(judged.speed),
        "classes": [asdict(each) for each in judged.classes],
        "confusion": judged.confusion.tolist(),
        "confused": [{"truth": names[truth], "answer": names[guess], "images": int(judged.confusion[truth, guess])}
                     for truth, guess in pairs],
        "reliability": [asdict(each) for each in reliability(judged.answers)],
        **({"robustness": asdict(spoilt)} if spoilt else {}),
    }  # fmt: skip
    if judged.foreign:
        folder, found = judged.foreign
        rest = {name: value for name, value in asdict(found).items() if name != "surest"}
        fields["foreign"] = {"folder": folder, **rest}
    if other:
        fields["comparison"] = {"second": other[0], **asdict(other[1])}
    return json.dumps(fields, ensure_ascii=False, indent=1)
