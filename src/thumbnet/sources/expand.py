"""What a user types → sources: folders, patterns and lists are replaced by what they contain."""

# A source stays the text that was typed, because its row repeats it; pathlib would normalise it.
# ruff: noqa: PTH110, PTH112, PTH113, PTH118, PTH123, PTH208

import codecs
import contextlib
import fnmatch
import glob
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence

from thumbnet.errors import SourceError
from thumbnet.pictures.kinds import NO_PICTURE, is_litter, meant_as_picture
from thumbnet.sources.failure import Failure
from thumbnet.sources.read import STANDARD_INPUT, standard_input
from thumbnet.sources.urls import is_url, without_password


def expand(arguments: Iterable[str]) -> Iterator[str | Failure]:
    """The sources that arguments stand for. Folders, patterns and lists are replaced by what they contain.

    A folder gives its pictures, known by their suffixes, at any depth and sorted by name. Hidden files are left out,
    and links to folders are not entered. A pattern such as `photos/**/*.jpg` gives the matching files, sorted. `@FILE`
    and `@-` give the lines of a list, each a file or a URL, in UTF-8 or, with a byte order mark, in UTF-16. An argument
    that gives nothing, such as a folder without pictures, gives a `Failure`.
    """
    for argument in arguments:
        if argument == STANDARD_INPUT:
            yield argument
        elif argument.startswith("@"):
            yield from _listed(argument)
        elif os.path.isdir(argument):
            yield from _pictures_in(argument)
        elif _is_pattern(argument):
            found = _matches(argument)
            yield from found
            if not found:
                yield Failure(argument, SourceError("no file matches this pattern"))
        else:
            yield argument


def several(arguments: Sequence[str]) -> bool:
    """Whether arguments may stand for more than one source, however many there are now."""
    return len(arguments) > 1 or any(
        each.startswith("@") or os.path.isdir(each) or _is_pattern(each) for each in arguments
    )


def count(arguments: Sequence[str]) -> int | None:
    """How many sources arguments stand for; None if counting would use up a list, such as one from a pipe."""
    lists = [argument[1:] for argument in arguments if argument.startswith("@")]
    if any(name == STANDARD_INPUT or (os.path.exists(name) and not os.path.isfile(name)) for name in lists):
        return None
    return sum(1 for _ in expand(arguments))


def named(source: str | Failure) -> str:
    """A source's name in its row."""
    return source.source if isinstance(source, Failure) else without_password(source)


def _is_pattern(argument: str) -> bool:
    return glob.has_magic(argument) and not is_url(argument) and not os.path.lexists(argument)


def _listed(argument: str) -> Iterator[str | Failure]:
    """The lines of the list `@FILE`, as they arrive."""
    name = argument[1:]
    try:
        with standard_input() if name == STANDARD_INPUT else open(name, "rb") as file, _text(file) as lines:
            for line in lines:
                source = line.removesuffix("\n").removesuffix("\r")
                if source.strip():
                    # A list cannot name standard input, so - is a file.
                    yield f"./{source}" if source == STANDARD_INPUT else source
    except (OSError, ValueError, SourceError) as error:  # ValueError: a zero byte in the name
        yield Failure(argument, SourceError(f"cannot read this list: {getattr(error, 'strerror', None) or error}"))


def _text(file: io.BufferedReader) -> io.TextIOWrapper:
    """A list's text: UTF-8, or UTF-16 if it begins with that byte order mark, as Windows PowerShell writes it."""
    if file.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return io.TextIOWrapper(file, "utf-16", "surrogatepass", newline="\n")
    return io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="\n")


def walk(root: str, linked: int = 0) -> Iterator[str | Failure]:
    """Everything in a folder, however deep, by name: files, and folders with a separator at their end.

    Litter, pipes and devices are left out. A folder comes before what is in it; one that cannot be read gives a
    `Failure`. Links to folders count as files and are not entered, since they could make loops.

    Args:
        root: The folder; what is found begins with it.
        linked: Down to this level, links to folders count as folders; 1 means those in `root` itself.
    """
    levels = [("", [os.path.join(root, "")])]  # a folder and what of it is still to come, the next at the end
    while levels:
        folder, names = levels[-1]
        if not names:
            levels.pop()
            continue
        path = os.path.join(folder, names.pop())
        if folder:
            yield path
        if path.endswith(os.sep):
            try:
                levels.append((path, sorted(_names(path, follow=len(levels) <= linked), reverse=True)))
            except OSError as error:
                yield Failure(path, SourceError(f"cannot read this folder: {error.strerror or error}"))


def _names(folder: str, *, follow: bool) -> Iterator[str]:
    """The files and the folders in a folder, these with a separator at their end."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_litter(entry.name):
                continue
            if entry.is_dir(follow_symlinks=follow):
                yield entry.name + os.sep
            elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                yield entry.name


def _pictures_in(root: str) -> Iterator[str | Failure]:
    """The pictures in a folder, however deep, by name."""
    empty = True
    for found in walk(root):
        if isinstance(found, Failure) or meant_as_picture(found):
            empty = False
            yield found
    if empty:
        yield Failure(root, SourceError(NO_PICTURE))


def _matches(pattern: str) -> list[str]:
    """The files that match, sorted. Unlike `glob.glob`, `**` follows no links, as these can make loops."""
    drive, rest = os.path.splitdrive(pattern)
    separators = re.escape(os.sep + (os.altsep or ""))
    parts = [part for part in re.split(f"[{separators}]", rest) if part]
    found = [drive + os.sep if re.match(f"[{separators}]", rest) else drive]
    for part in [*parts, "*"] if parts[-1] == "**" else parts:
        if part == "**":
            found = [below for folder in found for below in _folders(folder)]
        elif glob.has_magic(part):
            found = [os.path.join(folder, name) for folder in found for name in _visible(folder, part)]
        else:
            found = [path for folder in found if os.path.lexists(path := os.path.join(folder, part))]
    return sorted({path for path in found if os.path.isfile(path)})


def _visible(folder: str, part: str) -> list[str]:
    """The names in a folder that match a part of a pattern: no litter, and hidden ones only if it begins with a dot."""
    with contextlib.suppress(OSError):
        names = fnmatch.filter(os.listdir(folder or "."), part)
        return [name for name in names if part.startswith(".") or not is_litter(name)]
    return []


def _folders(root: str) -> list[str]:
    """A folder, and every folder below it."""
    folders = [root]
    for folder in folders:  # grows in the loop
        with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
            folders += [
                os.path.join(folder, entry.name)
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and not is_litter(entry.name)
            ]
    return folders
