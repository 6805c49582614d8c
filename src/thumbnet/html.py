"""HTML and SVG from nested calls. Text is escaped wherever it comes from, so no class name can break out of a page."""

from html import escape

EMPTY = {"br", "img", "meta"}  # elements without content and end


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, /, *content: str, **attributes: str | float) -> Html:
    """`element("td", "a < b", class_="name")` → `<td class="name">a &lt; b</td>`.

    Args:
        name: Of the element.
        content: Text, which is escaped, and `Html`, which is not.
        attributes: Their names, `_` standing for `-`, and none at the end. Numbers get two digits behind the point.
    """
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{_text(value)}"' for key, value in attributes.items())
    end = "" if name in EMPTY else f"{join(*content)}</{name}>"
    return Html(f"<{name}{given}>{end}")


def join(*content: str) -> Html:
    """Text, which is escaped, and `Html`, which is not, one after the other."""
    return Html("".join(each if isinstance(each, Html) else escape(each) for each in content))


def document(title: str, style: str, *body: str) -> Html:
    """A whole page with its style inside. It loads nothing and runs nothing: its own policy forbids both."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("title", title),
        element("style", Html(style)),
    )
    return join(Html("<!doctype html>\n"), element("html", head, element("body", *body), lang="en"), Html("\n"))


def _text(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
