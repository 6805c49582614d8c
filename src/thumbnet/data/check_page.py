"""The findings in a data set as one self-contained HTML page, with the pictures side by side."""

from pathlib import Path

from thumbnet._version import __version__
from thumbnet.data import check
from thumbnet.data.check import Findings, Pictures, Section
from thumbnet.files import write_atomically
from thumbnet.html import Html, document, element, picture
from thumbnet.pictures.decode import decode

SHOWN = 100  # findings of a kind, the worst ones
SIDE = 96  # pixels a side of a picture on the page, at the most
STYLE = """
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
    parts = [_section(found.pictures, section) for section in check.sections(found)]
    top = element(
        "header",
        element("h1", "Check of the data"),
        element("p", check.summary(found)),
        element("p", check.caution(found)),
    )
    footer = element("footer", f"Thumbnet {__version__}")
    return document(f"{found.pictures.source}: check", element("main", top, *parts), footer, style=STYLE)


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
    store = pictures.store
    image = decode(store.read(pictures.files[row])) if store else pictures.images[row]
    return picture(image, f"{pictures.name(row)}: {pictures.where(row)}", SIDE)
