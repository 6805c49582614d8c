"""Text for people: escaped for a terminal, cut to a width, sorted as people sort."""

import re
import unicodedata
from collections.abc import Iterable

# Names must not hold these, because they steer a terminal or break a line when printed: control characters, halves of
# surrogate pairs, line separators, and Unicode's Bidi_Control, which changes the order in which text is shown.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
JOINERS = "\u200c\u200d"  # invisible, but needed between Persian letters and inside emoji
LISTED = 10  # the most things that a message lists


def printable(text: str) -> str:
    """A name for a terminal: characters that would steer it, or that cannot be seen, are escaped."""
    return "".join(each if _is_seen(each) else each.encode("unicode_escape").decode() for each in text)


def one_line(text: str) -> str:
    """A text of unknown origin for a message: printable, with 200 characters at most."""
    line = "".join(each if each.isprintable() else " " for each in text.strip())
    return line if len(line) <= 200 else line[:199] + "…"


def shorten(text: str, columns: int) -> str:
    """`text` in at most `columns` columns of a terminal; longer text ends in an ellipsis."""
    if width(text) <= columns:
        return text
    kept = text
    while kept and width(kept) > columns - 1:
        kept = kept[:-1]
    return f"{kept}…"


def width(text: str) -> int:
    """How many columns of a terminal a text takes: two for a wide (Chinese) character, none for a combining mark."""
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )


def first_few(things: Iterable[str]) -> str:
    """The first few things, and how many more there are, for a message."""
    listed = list(things)
    more = f" and {len(listed) - LISTED} more" if len(listed) > LISTED else ""
    return ", ".join(listed[:LISTED]) + more or "nothing"


def natural_key(text: str) -> tuple[list[str | tuple[int, str]], str]:
    """A key that sorts `img2` before `img10`. The text itself separates `01` from `1`."""
    # split puts the numbers at the odd places, so that numbers are never compared with text. They stay text, as Python
    # makes no integer of more than 4,300 digits: without its zeros, the longer number is the larger one.
    parts = [part.lstrip("0") if place % 2 else part for place, part in enumerate(re.split("([0-9]+)", text))]
    return [(len(part), part) if place % 2 else part for place, part in enumerate(parts)], text


def _is_seen(character: str) -> bool:
    return character.isprintable() or character in JOINERS or unicodedata.category(character) == "Zs"
