"""HTML and SVG from nested calls. All text is escaped, so no class name can break out of a page."""

import base64
from html import escape
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

EMPTY = {"br", "img", "meta"}  # elements without content and end tag
STYLE = Path(__file__).with_name("html.css")  # of every page


class Html(str):
    """Text that is already HTML."""

    __slots__ = ()


def element(name: str, /, *content: str, **attributes: str | float) -> Html:
    """`element("td", "a < b", class_="name")` → `<td class="name">a &lt; b</td>`.

    Args:
        name: The element's name.
        content: Text, which is escaped, or `Html`, which is not.
        attributes: By their names, with `_` for `-`; a trailing `_` is dropped. Numbers get two decimals.
    """
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{_text(value)}"' for key, value in attributes.items())
    end = "" if name in EMPTY else f"{join(*content)}</{name}>"
    return Html(f"<{name}{given}>{end}")


def join(*content: str) -> Html:
    """Concatenate text, which is escaped, and `Html`, which is not."""
    return Html("".join(each if isinstance(each, Html) else escape(each) for each in content))


def document(title: str, *body: str, style: str = "") -> Html:
    """A whole page with the common style and `style`. Its content security policy allows it to load and run nothing."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("title", title),
        element("style", Html(STYLE.read_text(encoding="utf-8") + style)),
    )
    return join(Html("<!doctype html>\n"), element("html", head, element("body", *body), lang="en"), Html("\n"))


def picture(image: NDArray[np.uint8], alt: str, longest: int) -> Html:
    """A picture inside the page: a small one to the pixel, a larger one shrunk in proportion.

    Args:
        image: uint8 `(H, W, 3)`, RGB.
        alt: What the picture shows, for readers who cannot see it.
        longest: The most pixels of the longer side.
    """
    height, width, _ = image.shape
    factor, kind = longest / max(height, width), "png"
    if factor < 1:
        width, height, kind = max(1, round(width * factor)), max(1, round(height * factor)), "jpeg"
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    data = base64.b64encode(cv2.imencode(f".{kind}", image[..., ::-1])[1].tobytes()).decode()
    return element("img", src=f"data:image/{kind};base64,{data}", alt=alt, width=width, height=height)


def _text(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
