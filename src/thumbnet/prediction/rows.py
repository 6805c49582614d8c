"""A row for each picture, as text, JSON or CSV; and the rows that an interrupted run has already written."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, TypeAlias

from thumbnet.errors import FetchError, ThumbnetError
from thumbnet.sources.failure import Failure
from thumbnet.text import printable

if TYPE_CHECKING:
    from thumbnet.model.classifier import Prediction

Row: TypeAlias = "Prediction | Failure"
FORMATS = ("text", "json", "jsonl", "csv")
RESUMABLE = ("jsonl", "csv")  # formats in which rows are found again
CSV_COLUMNS = "source,label,confidence,known,sureness,network,error"
_OLD_COLUMNS = {  # as older versions wrote them, and what they lack
    "source,label,confidence,known,error": "the sureness",
    "source,label,confidence,known,sureness,error": "the network",
}
# A spreadsheet takes these for the beginning of a formula, including the full-width forms; "-" alone is none.
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = re.compile(r"(?!-\Z)['=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


class Maker(NamedTuple):
    """Everything that rows depend on, except their sources."""

    model: str  # as the user named it; another name for the same file is the same model
    sha256: str | None  # of the model file; None if it came through a pipe
    top_k: int
    views: bool = False  # missing in files of older versions
    threshold: float | None = None  # likewise; None for that of the model file

    def __str__(self) -> str:
        content = f"SHA-256 {self.sha256[:12]}…" if self.sha256 else "through a pipe, which cannot be compared"
        threshold = "" if self.threshold is None else f" --threshold {self.threshold}"
        return f"--model {printable(self.model)} ({content}) --top-k {self.top_k}{' --views' * self.views}{threshold}"

    def makes_the_same(self, other: "Maker") -> bool:
        """Tell whether one file may hold the rows of both."""
        return self.sha256 is not None and self[1:] == other[1:]


@dataclass
class Tally:
    """How many rows there are, and how many of them are failures."""

    rows: int = 0
    failures: int = 0

    def count(self, failed: bool) -> None:
        """Add a row."""
        self.rows += 1
        self.failures += failed


class Format(NamedTuple):  # a dataclass costs 0.3 ms more at every start
    """The layout of a file: `head`, the rows with `between` between them, `tail`."""

    row: Callable[[Row], str]
    head: str = ""
    between: str = ""
    tail: str = ""


def form(name: str, *, several: bool, ascii_only: bool = False) -> Format:
    """Return the layout of a format.

    Args:
        name: One of `FORMATS`.
        several: Whether there may be more than one row. If so, text names the source, and JSON is an array.
        ascii_only: Escape all other characters in JSON. JSON must be UTF-8, which not every terminal or pipe uses.
    """
    if name == "text":
        return Format(lambda row: _text(row, several))
    if name == "csv":
        return Format(_csv, head=f"{CSV_COLUMNS}\n")
    if name == "jsonl":
        return Format(lambda row: json.dumps(row.as_dict(), ensure_ascii=ascii_only) + "\n")
    if several:
        return Format(lambda row: json.dumps(row.as_dict(), ensure_ascii=ascii_only), "[\n", ",\n", "\n]\n")
    return Format(lambda row: json.dumps(row.as_dict(), ensure_ascii=ascii_only, indent=2) + "\n")


def complaint(failure: Failure) -> str:
    """Describe a failure in one line for people. The message of a FetchError names the URL itself."""
    named = isinstance(failure.error, FetchError)
    return failure.message if named else f"{printable(failure.source)}: {failure.message}"


def maker_path(part: Path) -> Path:
    """Return the path of the file that holds the `Maker` of the rows in `part`, which itself holds only rows."""
    return part.with_name(f"{part.name}.json")


def write_maker(part: Path, maker: Maker) -> None:
    """Record the `Maker` of the rows in `part`, before the first of them is written."""
    from thumbnet.files import write_atomically  # hashlib takes longer to import than a picture takes

    with write_atomically(maker_path(part)) as file:
        file.write(json.dumps(maker._asdict()).encode())


def read_maker(part: Path) -> Maker | None:
    """Read what `write_maker` wrote; None if it is missing or broken."""
    try:
        return Maker(**json.loads(maker_path(part).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def resume(part: Path, sources: Iterator[str], form_name: str, maker: Maker) -> Tally:
    """Cut an incomplete row off the end of `part`, and count the rows before it, which must be those of `sources`.

    Their `Maker` must be `maker`, or unknown, as older versions did not record it.

    Args:
        part: The file of rows that an interrupted run has left.
        sources: The names of the sources in rows. It takes exactly as many as there are rows in `part`.
        form_name: One of `RESUMABLE`.
        maker: The `Maker` of the next rows.

    Raises:
        ThumbnetError: The rows have other sources, another order or another format, or they come from an older
            version, from another model or from other options.
    """
    tally, kept = Tally(), 0
    with part.open("r+b") as file:
        rows = _csv_rows(file) if form_name == "csv" else _lines(file)
        if form_name == "csv" and (head := next(rows, b"")):
            if lacking := _OLD_COLUMNS.get(head.decode(errors="replace").removesuffix("\n")):
                raise _too_old(part, lacking)
            _check(part, "its first line", head == f"{CSV_COLUMNS}\n".encode())
            kept = len(head)
        for row in rows:
            source = next(sources, None)
            start = b"" if source is None else _start(source, form_name)
            _check(part, f"row {tally.rows + 1:,}", bool(start) and row.startswith(start))
            failed = not row.endswith(b",\n") if form_name == "csv" else row[len(start) :].startswith(b'"error": ')
            if form_name == "jsonl" and not failed and b'"sureness": ' not in row:
                raise _too_old(part, "the sureness")
            tally.count(failed)
            kept += len(row)
        before = read_maker(part)
        if tally.rows and before and not before.makes_the_same(maker):
            raise ThumbnetError(
                f"{part}: its rows were made with {before}; this command has {maker}. Repeat the command that began "
                "it, or leave out --resume to start again"
            )
        file.truncate(kept if tally.rows else 0)  # without rows, the head is written again
    return tally


def _check(part: Path, what: str, fits: bool) -> None:
    if not fits:
        raise ThumbnetError(
            f"{part}: {what} does not fit the sources and the format of this command. Repeat the command that began "
            "it, or leave out --resume to start again"
        )


def _too_old(part: Path, lacking: str) -> ThumbnetError:
    return ThumbnetError(
        f"{part}: its rows come from an older version of Thumbnet and lack {lacking}. Finish it with that version, "
        "or leave out --resume to start again"
    )


def _start(source: str, form_name: str) -> bytes:
    """Return the beginning of the row of a source, up to where an answer and a failure differ."""
    text = f"{_quoted(source)}," if form_name == "csv" else f'{{"source": {json.dumps(source, ensure_ascii=False)}, '
    return text.encode("utf-8", "backslashreplace")


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the complete lines, without what follows the last line's end."""
    return (line for line in file if line.endswith(b"\n"))


def _csv_rows(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the complete rows. Within a quoted name, which may hold line ends, the count of quotes so far is odd."""
    row, quotes = b"", 0
    for line in _lines(file):
        row += line
        quotes += line.count(b'"')
        if quotes % 2 == 0:
            yield row
            row, quotes = b"", 0


def _text(row: Row, several: bool) -> str:
    if isinstance(row, Failure):
        return ""  # `complaint` goes to standard error
    head = f"{printable(row.source)}: " * several + printable(row.label) + " (unsure)" * (not row.known)
    head += f" (a thumbnail, by {row.network})" if row.network else ""
    return "\n".join([head, *(f"  {guess.confidence:7.1%}  {printable(guess.label)}" for guess in row.top), ""])


def _csv(row: Row) -> str:
    if isinstance(row, Failure):
        fields = [row.source, "", "", "", "", "", row.message]
    else:
        said = row.as_dict()
        numbers = str(said["confidence"]), str(row.known).lower(), str(said["sureness"])
        fields = [row.source, row.label, *numbers, row.network, ""]
    return ",".join(map(_quoted, fields)) + "\n"


def _quoted(field: str) -> str:
    """Quote a field of CSV. Some versions of Python's own writer do not quote a lone carriage return.

    A spreadsheet runs a field that begins like a formula, and a stranger may have named the file. An apostrophe before
    it makes it text. A field that begins with an apostrophe gets one too, so that removing one restores the field.
    """
    text = f"'{field}" if _FORMULA.match(field) else field
    return '"' + text.replace('"', '""') + '"' if re.search('[",\r\n]', text) else text
