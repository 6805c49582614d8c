"""Draw numbers as SVG. The page's style sets the colours, by the CSS classes given here."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thumbnet.evaluation.scores import Bin
from thumbnet.html import Html, element, join
from thumbnet.text import shorten

NUMBERED = 12  # classes at most for which the confusion matrix shows its numbers
SHADES = 10  # of a cell
POINTS = 300  # of a line, at the most
Points = Sequence[tuple[float, float]]


def confusion(matrix: NDArray[np.int64], names: Sequence[str]) -> Html:
    """Draw the matrix `(C, C)`, with a row for each true class. The root of its share of the row shades a cell."""
    classes = len(names)
    cell = max(8.0, min(29.0, 290 / classes))
    margin, side = 84.0, cell * classes
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)  # (C, C)
    shades = np.ceil(np.sqrt(shares) * SHADES).astype(int)  # (C, C), 0 to SHADES
    parts = [_cells(shades, shade, margin, cell) for shade in range(1, SHADES + 1)]
    font = min(11.0, cell * 0.9)
    for place, name in enumerate(names):
        middle = margin + (place + 0.5) * cell
        label = join(shorten(name, 12 if font > 8 else 16), element("title", name))
        parts.append(element("text", label, x=margin - 5, y=middle + font / 3, text_anchor="end", font_size=font))
        turned = f"translate({middle + font / 3:.2f} {margin - 5:.2f}) rotate(-90)"
        parts.append(element("text", label, transform=turned, font_size=font))
    for row, column in np.argwhere(matrix) if classes <= NUMBERED else ():
        x, y = margin + (column + 0.5) * cell, margin + (row + 0.5) * cell
        on = "on" if shades[row, column] > SHADES * 0.6 else "off"
        count = int(matrix[row, column])
        size = 10.0 if count < 10_000 else 7.5
        parts.append(element("text", f"{count}", x=x, y=y + 3.5, text_anchor="middle", font_size=size, class_=on))
    about = (
        f"Confusion matrix of {classes} classes: true ones in rows, answers in columns. The tables have its figures."
    )
    return _svg(margin + side, margin + side, about, parts, fixed=classes > NUMBERED)


def reliability(bins: Sequence[Bin]) -> Html:
    """Draw accuracy against confidence, and how many answers each bin has."""
    plot = Plot((0, 1), (0, 1))
    most = max(each.images for each in bins)
    parts = [plot.frame("confidence", "accuracy")]
    for each in bins:
        parts.append(plot.bar(each.low, each.high, 0, each.accuracy, "bar"))
        low, high = sorted((each.accuracy, each.confidence))
        parts.append(plot.bar(each.low, each.high, low, high, "gap"))
        parts.append(plot.bar(each.low, each.high, 1.03, 1.03 + 0.14 * each.images / most, "count"))
    parts.append(plot.line([(0, 0), (1, 1)], "ideal"))
    worst = max(bins, key=lambda each: abs(each.accuracy - each.confidence) * each.images)
    label = (
        f"Reliability diagram. The bin that adds most to the error: {worst.images:,} answers with "
        f"{worst.confidence:.0%} confidence, {worst.accuracy:.0%} of them right."
    )
    return plot.svg(label, parts)


def coverage(shares: NDArray[np.float64], accuracies: NDArray[np.float64], known: float, known_accuracy: float) -> Html:
    """Draw accuracy against the share answered, `(K,)` each, with a dot at the threshold."""
    some = np.array(_some(len(shares)))
    some = some[
        (shares[some] >= 0.02) | (some == len(shares) - 1)
    ]  # the accuracy of a handful of answers only flickers
    lowest = math.floor(min(accuracies[some].min(), known_accuracy if known else 1) * 10) / 10
    plot = Plot((0, 1), (min(lowest, 0.9), 1))
    parts = [
        plot.frame("share of the pictures that is answered", "accuracy of these answers"),
        plot.line(list(zip(shares[some].tolist(), accuracies[some].tolist(), strict=True)), "main"),
        plot.dot(known, known_accuracy, "at the threshold") if known else "",
    ]
    label = f"Accuracy rises from {accuracies[-1]:.1%} with all pictures answered as the least sure are left out."
    return plot.svg(label, parts)


def curves(lines: Mapping[str, Points], y_label: str, *, shares: bool) -> Html:
    """Draw lines over the epochs; `shares` are numbers from 0 to 1."""
    lines = {name: [line[place] for place in _some(len(line))] for name, line in lines.items()}
    every = [point for line in lines.values() for point in line]
    most = max(y for _, y in every) or 1  # axes have a length, also where all is 0 or, of shares, 1
    low = min(math.floor(min(y for _, y in every) * 10) / 10, 0.9) if shares else 0.0
    plot = Plot((min(x for x, _ in every) - 1, max(x for x, _ in every)), (low, 1 if shares else most * 1.05), shares)
    parts = [plot.frame("epoch", y_label)]
    for place, (name, line) in enumerate(lines.items()):
        parts.append(plot.line(line, ("main", "second")[place]))
        parts.append(plot.key(place, name, ("main", "second")[place]))
    last = ", ".join(f"{name} {line[-1][1]:.3g}" for name, line in lines.items())
    return plot.svg(f"{y_label} over the epochs; at the end: {last}.", parts)


@dataclass(frozen=True)
class Plot:
    """Axes, 390 units wide like a phone's screen. What is drawn between them is in the data's own numbers."""

    x: tuple[float, float]  # least and greatest
    y: tuple[float, float]
    percent: bool = True  # whether y is written so; x is then too, if it ends at 1

    left, right, top, bottom = 52.0, 371.0, 40.0, 256.0

    def frame(self, x_label: str, y_label: str) -> Html:
        """Lines, their numbers, and what they mean."""
        parts: list[str] = []
        for value in _ticks(*self.y):
            y = self._y(value)
            parts.append(element("path", d=f"M{self.left:g} {y:.1f}H{self.right:g}", class_="grid"))
            text = f"{value:.0%}" if self.percent else f"{value:g}"
            parts.append(element("text", text, x=self.left - 6, y=y + 4, text_anchor="end"))
        for value, text in self._x_numbers():
            parts.append(element("text", text, x=self._x(value), y=self.bottom + 16, text_anchor="middle"))
        middle = (self.left + self.right) / 2, (self.top + self.bottom) / 2
        parts.append(element("text", x_label, x=middle[0], y=self.bottom + 36, text_anchor="middle", class_="axis"))
        turned = f"translate(11 {middle[1]:g}) rotate(-90)"
        parts.append(element("text", y_label, transform=turned, text_anchor="middle", class_="axis"))
        return join(*parts)

    def _x_numbers(self) -> list[tuple[float, str]]:
        """The values that are written below the axis, with their texts."""
        share = self.x[1] == 1 and self.percent
        return [(value, f"{value:.0%}" if share else f"{value:g}") for value in _ticks(*self.x)]

    def bar(self, low: float, high: float, foot: float, head: float, kind: str) -> Html:
        """A bar from `low` to `high` in x, with a gap beside it, and from `foot` to `head` in y."""
        x, y = self._x(low) + 1, self._y(head)
        return element("rect", x=x, y=y, width=self._x(high) - 1 - x, height=self._y(foot) - y, class_=kind)

    def line(self, points: Points, kind: str) -> Html:
        """A line through `points`."""
        path = "L".join(f"{self._x(x):.1f} {self._y(y):.1f}" for x, y in points)
        return element("path", d=f"M{path}", class_=f"line {kind}")

    def dot(self, x: float, y: float, label: str) -> Html:
        """A dot with its meaning to the left, or to the right where there is no room."""
        at, leftwards = self._x(x), x > 0.5
        text = element(
            "text", label, x=at - 9 if leftwards else at + 9, y=self._y(y) + 18,
            text_anchor="end" if leftwards else "start", class_="axis",
        )  # fmt: skip
        return join(element("circle", cx=at, cy=self._y(y), r=5, class_="dot"), text)

    def key(self, place: int, name: str, kind: str) -> Html:
        """What the line number `place` is, above the plot: three in a row, and a second row above the first."""
        x, y = self.left + 110 * (place % 3), 20 - 14 * (place // 3)
        line = element("path", d=f"M{x:g} {y}h20", class_=f"line {kind}")
        return join(line, element("text", name, x=x + 26, y=y + 4))

    def svg(self, label: str, parts: Iterable[str]) -> Html:
        """The whole picture; screen readers read the `label`."""
        return _svg(390, 300, label, parts)

    def _x(self, value: float) -> float:
        return self.left + (value - self.x[0]) / (self.x[1] - self.x[0]) * (self.right - self.left)

    def _y(self, value: float) -> float:
        return self.bottom - (value - self.y[0]) / (self.y[1] - self.y[0]) * (self.bottom - self.top)


def _svg(width: float, height: float, label: str, parts: Iterable[str], *, fixed: bool = False) -> Html:
    """A picture as wide as its place. A `fixed` one never shrinks; its place scrolls instead."""
    style = f"min-width:{width:.0f}px" if fixed else f"max-width:{width * 1.55:.0f}px"
    box = f"0 0 {width:.2f} {height:.2f}"
    return element("svg", *parts, viewBox=box, role="img", aria_label=label, style=style)


def _cells(shades: NDArray[np.int64], shade: int, margin: float, cell: float) -> Html:
    """All cells of one shade, as a path for those on the diagonal and one for the others."""
    parts: list[str] = []
    for kind, hit in (("hit", True), ("miss", False)):
        size = f"{cell - 1:.2f}"
        corners = [
            f"M{margin + column * cell:.2f} {margin + row * cell:.2f}h{size}v{size}h-{size}z"
            for row, column in np.argwhere(shades == shade)
            if (row == column) == hit
        ]
        parts.append(element("path", d="".join(corners), class_=kind, opacity=shade / SHADES) if corners else "")
    return join(*parts)


def _some(count: int) -> list[int]:
    """Places of at most `POINTS` of `count` points, evenly spaced, the first and the last included."""
    return np.unique(np.linspace(0, count - 1, min(count, POINTS)).astype(int)).tolist()  # type: ignore[no-any-return]


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers from `low` to `high`."""
    rough = (high - low) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-6)
    return [round(place * step, 10) for place in range(first, math.floor(high / step + 1e-6) + 1)]
