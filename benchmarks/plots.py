"""Lines and dots → an SVG file that stands by itself, light and dark. What the benchmarks draw with."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from thumbnet.evaluation.plots import Plot, Points
from thumbnet.html import Html, element, join

COLOURS = ("#3f74dc", "#cf453a", "#1f9257", "#b06a0a", "#9a55bf", "#727a89")  # on white and on black alike
STYLE = """
text { font: 11px system-ui, sans-serif; fill: #1a1d24; } .axis { fill: #5b6270; }
.grid { stroke: #e1e4ea; stroke-width: 1; } .line { fill: none; stroke-width: 2; }
.dots { stroke-width: 8; stroke-linecap: round; }
@media (prefers-color-scheme: dark) { text { fill: #e8eaf0; } .axis { fill: #a2a9b8; } .grid { stroke: #313643; } }
"""


def draw(
    path: Path,
    told: str,
    labels: tuple[str, str],
    lines: Mapping[str, Points],
    dots: Mapping[str, Sequence[tuple[float, float]]],
    y: tuple[float, float],
    *,
    percent: bool = False,
    logarithmic: bool = False,
) -> None:
    """Write a plot of `lines`, and in the same colours of `dots`, from zero in x unless that is logarithmic.

    Args:
        path: The SVG file.
        told: What it shows, for readers who cannot see it.
        labels: Of x and y.
        lines: Points by name, six names at the most.
        dots: Likewise; the names are those of lines, or others.
        y: The least and the greatest y that there is room for.
        percent: Whether y are shares.
        logarithmic: Whether x is; all x are above zero then.
    """
    names = list(dict.fromkeys([*lines, *dots]))
    every = [x for points in [*lines.values(), *dots.values()] for x, _ in points]
    least, most = min(every), max(every)
    plot = Logarithmic((least / 1.3, most * 1.3), y, percent) if logarithmic else Plot((0, most * 1.03), y, percent)
    kinds = {name: f"c{place}" for place, name in enumerate(names)}
    parts = [plot.frame(*labels)]
    parts += [plot.line(points, kinds[name]) for name, points in lines.items() if len(points) > 1]
    parts += [_dots(plot, points, kinds[name]) for name, points in dots.items()]
    parts += [plot.key(place, name, kinds[name]) for place, name in enumerate(names)]
    colours = "".join(f".{kinds[name]} {{ stroke: {COLOURS[place]}; }}\n" for place, name in enumerate(names))
    style = element("style", Html(STYLE + colours))
    svg = element(
        "svg", style, *parts, xmlns="http://www.w3.org/2000/svg", viewBox="0 0 390 300", role="img", aria_label=told
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{svg}\n")


class Logarithmic(Plot):
    """A plot whose x is logarithmic, with numbers at 1, 2, 5, 10 and so on."""

    def _x_numbers(self) -> list[tuple[float, str]]:
        powers = range(math.floor(math.log10(self.x[0])), math.ceil(math.log10(self.x[1])))
        values = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        return [(value, f"{value:g}") for value in values if self.x[0] <= value <= self.x[1]]

    def _x(self, value: float) -> float:
        least, most, at = (math.log(number) for number in (*self.x, value))
        return self.left + (at - least) / (most - least) * (self.right - self.left)


def _dots(plot: Plot, points: Points, kind: str) -> Html:
    """Short, thick, round strokes: a dot takes its colour as a line does."""
    return join(*(plot.line([point, point], f"{kind} dots") for point in points))
