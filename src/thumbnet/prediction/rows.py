"""A row for each picture: as text, JSON or CSV, and found again in a file whose writing was broken off."""

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
RESUMABLE = ("jsonl", "csv")  # a row in a file of these is found again
CSV_COLUMNS = "source,label,confidence,known,sureness,error"
_OLD_COLUMNS = "source,label,confidence,known,error"  # of older versions
# What a spreadsheet takes for the beginning of a formula, also as East Asian keyboards type it, and not "-" alone:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = re.compile(r"(?!-\Z)['=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


class Maker(NamedTuple):
    """What rows depend on besides their sources."""

    model: str  # as it was typed; another name of the same file is the same model
    sha256: str | None  # of the model file; None where it came through a pipe
    top_k: int
    views: bool = False  # files of an older version do not say it
    threshold: float | None = None  # likewise; None for the model file's

    def __str__(self) -> str:
        content = f"SHA-256 {self.sha256[:12]}…" if self.sha256 else "through a pipe, which cannot be compared"
        threshold = "" if self.threshold is None else f" --threshold {self.threshold}"
        return f"--model {printable(self.model)} ({content}) --top-k {self.top_k}{' --views' * self.views}{threshold}"

    def makes_the_same(self, other: "Maker") -> bool:
        """Whether rows of both may be in one file."""
        return self.sha256 is not None and self[1:] == other[1:]


@dataclass
class Tally:
    """How many rows there are, and how many of them are failures."""

    rows: int = 0
    failures: int = 0

    def count(self, failed: bool) -> None:
        """One row more."""
        self.rows += 1
        self.failures += failed


class Format(NamedTuple):  # a dataclass takes 0.3 ms more at every start
    """How rows make a file: `head`, the rows with `between` between them, `tail`."""

    row: Callable[[Row], str]
    head: str = ""
    between: str = ""
    tail: str = ""


def form(name: str, *, several: bool, ascii_only: bool = False) -> Format:
    """One of `FORMATS`.

    Args:
        name: Which.
        several: Whether there may be more rows than one: then text names the source, and JSON is an array.
        ascii_only: Escape in JSON what is not ASCII: JSON has to be UTF-8, which not every terminal or pipe is.
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
    """A failure as a person reads it, in one line. A FetchError names its URL itself."""
    named = isinstance(failure.error, FetchError)
    return failure.message if named else f"{printable(failure.source)}: {failure.message}"


def maker_path(part: Path) -> Path:
    """Where it stands by what the rows in `part` are made; in `part` itself it would be no row."""
    return part.with_name(f"{part.name}.json")


def write_maker(part: Path, maker: Maker) -> None:
    """Say of `part` by what its rows are made, before the first one is in it."""
    from thumbnet.files import write_atomically  # tempfile takes longer to import than a picture takes

    with write_atomically(maker_path(part)) as file:
        file.write(json.dumps(maker._asdict()).encode())


def read_maker(part: Path) -> Maker | None:
    """What `write_maker` wrote; None where it is missing or no such thing."""
    try:
        return Maker(**json.loads(maker_path(part).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def resume(part: Path, sources: Iterator[str], form_name: str, maker: Maker) -> Tally:
    """Cut a torn row off the end of `part`, and count the rows before it, which have to be those of `sources`.

    By what they were made has to be known and the same, or not to be known, as with a `part` of an older version.

    Args:
        part: A file of rows whose writing was broken off.
        sources: As rows name them. One is taken for each row in `part`, and not one more.
        form_name: One of `RESUMABLE`.
        maker: What the next rows are to be made by.

    Raises:
        ThumbnetError: The rows are of other sources, in another order or format, of an older version, or of another
            model or other options.
    """
    tally, kept = Tally(), 0
    with part.open("r+b") as file:
        rows = _csv_rows(file) if form_name == "csv" else _lines(file)
        if form_name == "csv" and (head := next(rows, b"")):
            if head == f"{_OLD_COLUMNS}\n".encode():
                raise _too_old(part)
            _check(part, "its first line", head == f"{CSV_COLUMNS}\n".encode())
            kept = len(head)
        for row in rows:
            source = next(sources, None)
            start = b"" if source is None else _start(source, form_name)
            _check(part, f"row {tally.rows + 1:,}", bool(start) and row.startswith(start))
            failed = not row.endswith(b",\n") if form_name == "csv" else row[len(start) :].startswith(b'"error": ')
            if form_name == "jsonl" and not failed and b'"sureness": ' not in row:
                raise _too_old(part)
            tally.count(failed)
            kept += len(row)
        before = read_maker(part)
        if tally.rows and before and not before.makes_the_same(maker):
            raise ThumbnetError(
                f"{part}: its rows were made with {before}; now it is {maker}. Give what it was begun with, or leave "
                "out --resume to begin again"
            )
        file.truncate(kept if tally.rows else 0)  # a head alone is written again
    return tally


def _check(part: Path, what: str, fits: bool) -> None:
    if not fits:
        raise ThumbnetError(
            f"{part}: {what} does not fit the sources and the format of this command. Give those that it was begun "
            "with, or leave out --resume to begin again"
        )


def _too_old(part: Path) -> ThumbnetError:
    return ThumbnetError(
        f"{part}: its rows are of an older version of Thumbnet, without the sureness. Finish it with that version, or "
        "leave out --resume to begin again"
    )


def _start(source: str, form_name: str) -> bytes:
    """The beginning of a source's row, up to where an answer differs from a failure."""
    text = f"{_quoted(source)}," if form_name == "csv" else f'{{"source": {json.dumps(source, ensure_ascii=False)}, '
    return text.encode("utf-8", "backslashreplace")


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Whole lines; what follows the last line's end is torn."""
    return (line for line in file if line.endswith(b"\n"))


def _csv_rows(file: IO[bytes]) -> Iterator[bytes]:
    """Whole rows. A line's end inside of quotes is a part of a name: there, the number of quotes so far is odd."""
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
    head = f"{printable(row.source)}: " * several + row.label + " (unsure)" * (not row.known)
    return "\n".join([head, *(f"  {guess.confidence:7.1%}  {guess.label}" for guess in row.top), ""])


def _csv(row: Row) -> str:
    if isinstance(row, Failure):
        fields = [row.source, "", "", "", "", row.message]
    else:
        said = row.as_dict()
        fields = [row.source, row.label, str(said["confidence"]), str(row.known).lower(), str(said["sureness"]), ""]
    return ",".join(map(_quoted, fields)) + "\n"


def _quoted(field: str) -> str:
    """A field of CSV. Python's own writer leaves a lone carriage return bare, depending on its version.

    Spreadsheets run what begins like a formula, and a stranger may have named the file. An apostrophe before it makes
    it text; what begins with an apostrophe gets one too, so that taking one away gives the field back.
    """
    text = f"'{field}" if _FORMULA.match(field) else field
    return '"' + text.replace('"', '""') + '"' if re.search('[",\r\n]', text) else text
