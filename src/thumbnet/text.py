"""Text for people: escaped for a terminal, cut to a width, sorted as people sort."""

import re
import unicodedata
from collections.abc import Iterable

# What a name may not hold: printed, it could steer a terminal or break an output's lines.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
LISTED = 10  # things that a message lists at most


def one_line(text: str) -> str:
    """A text of unknown origin for a message: printable, and 200 characters at most."""
    line = "".join(character if character.isprintable() else " " for character in text.strip())
    return line if len(line) <= 200 else line[:199] + "…"


def printable(source: str) -> str:
    """Escaped where a stranger's file name would steer the terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in source)


def shorten(text: str, columns: int) -> str:
    """`text` in so many columns of a terminal at most, cut off with an ellipsis where it is wider."""
    if width(text) <= columns:
        return text
    kept = text
    while kept and width(kept) > columns - 1:
        kept = kept[:-1]
    return f"{kept}…"


def width(text: str) -> int:
    """Columns of a terminal: two for a wide character, as Chinese ones, none for a combining mark."""
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )


def first_few(things: Iterable[str]) -> str:
    """The first few, for a message."""
    listed = list(things)
    more = f" and {len(listed) - LISTED} more" if len(listed) > LISTED else ""
    return ", ".join(listed[:LISTED]) + more or "nothing"


def natural_key(text: str) -> tuple[list[str | tuple[int, str]], str]:
    """Sorts `img2` before `img10`. The text itself parts `01` and `1`."""
    # split puts the numbers at the odd places, so that numbers are never compared with text. They stay text, as Python
    # makes no integer of more than 4,300 digits: without its zeros, the longer number is the larger one.
    parts = [part.lstrip("0") if place % 2 else part for place, part in enumerate(re.split("([0-9]+)", text))]
    return [(len(part), part) if place % 2 else part for place, part in enumerate(parts)], text
