"""The findings in a data set as one HTML page, with the pictures side by side. It needs nothing around it."""

import base64
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from thumbnet import checks
from thumbnet._version import __version__
from thumbnet.checks import Findings, Pictures, Section
from thumbnet.files import write_atomically
from thumbnet.html import Html, element, join
from thumbnet.pictures.decode import decode

SHOWN = 100  # findings of a kind, the worst ones
SIDE = 96  # pixels a side of a picture on the page, at the most
STYLE = Path(__file__).with_name("report.css")  # of the page that evaluates a model, too
MORE_STYLE = """
.found { list-style: none; margin: .8rem 0 0; padding: 0; display: grid; gap: 1rem 1.4rem;
  grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr)); }
.found div { display: flex; gap: 3px; }
.found img { width: 6rem; max-width: 50%; }
.found p, .notes li { font-size: .875rem; }
.notes { margin: .8rem 0 0; padding-left: 1.2rem; }
"""


def save(found: Findings, path: Path) -> None:
    """Write the page to `path`, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    with write_atomically(path) as file:
        file.write(page(found).encode("utf-8", "backslashreplace"))


def page(found: Findings) -> Html:
    """The whole page. It loads nothing and runs nothing; its own policy forbids both."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("title", f"{found.pictures.source}: check"),
        element("style", Html(STYLE.read_text(encoding="utf-8") + MORE_STYLE)),
    )
    parts = [_section(found.pictures, section) for section in checks.sections(found)]
    top = element(
        "header",
        element("h1", "What is wrong with the data"),
        element("p", checks.summary(found)),
        element("p", checks.caution(found)),
    )
    body = element("body", element("main", top, *parts), element("footer", f"Thumbnet {__version__}"))
    return join(Html("<!doctype html>\n"), element("html", head, body, lang="en"), Html("\n"))


def _section(pictures: Pictures, section: Section) -> Html:
    lines, rows = section.lines[:SHOWN], section.rows[:SHOWN]
    if rows:
        items = [
            element("li", element("div", *(_picture(pictures, row) for row in shown)), element("p", line))
            for line, shown in zip(lines, rows, strict=True)
        ]
    else:
        items = [element("li", line) for line in lines]
    more = len(section.lines) - len(lines)
    return element(
        "section",
        element("h2", section.title),
        element("p", section.advice, class_="about"),
        element("ul", *items, class_="found" if rows else "notes"),
        *([element("p", f"… and {more:,} more", class_="about")] if more else []),
    )


def _picture(pictures: Pictures, row: int) -> Html:
    """Inside the page: small ones to the pixel, larger ones made smaller."""
    image = decode(pictures.files[row].read_bytes()) if pictures.files else pictures.images[row]
    kind = "png" if max(image.shape[:2]) <= SIDE else "jpeg"
    content = cv2.imencode(f".{kind}", _smaller(image)[..., ::-1])[1].tobytes()
    data = base64.b64encode(content).decode()
    return element("img", src=f"data:image/{kind};base64,{data}", alt=f"{pictures.name(row)}: {pictures.where(row)}")


def _smaller(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`(H, W, 3)` with no side longer than `SIDE`, its shape kept."""
    height, width, _ = image.shape
    factor = SIDE / max(height, width)
    if factor >= 1:
        return image
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
