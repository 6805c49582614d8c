"""`thumbnet predict`: rows to standard output, into a file that can be resumed, or into a cluster's shards."""

import argparse
import contextlib
import gc
import os
import stat
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from thumbnet.cli.arguments import CLUSTER_FORMATS, FORMATS
from thumbnet.cli.terminal import DONE, FAILED, SOME_FAILED, say
from thumbnet.errors import SourceError

if TYPE_CHECKING:
    from thumbnet.model.classifier import Classifier
    from thumbnet.prediction import rows
    from thumbnet.sources.failure import Failure


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from thumbnet.prediction import rows

    if arguments.engine == "ray":
        return _predict_on_cluster(arguments)
    if arguments.format not in FORMATS:
        arguments.wrong(f"--format {arguments.format} needs --engine ray")
    if arguments.resume and (arguments.output is None or arguments.format not in rows.RESUMABLE):
        arguments.wrong("--resume needs --output FILE and --format jsonl or csv")
    if sum(source in ("-", "@-") for source in arguments.sources) > 1:
        arguments.wrong("standard input can be read only once: give one of - and @-")
    if arguments.explain is not None and (within := _within(arguments.explain, arguments.sources)):
        arguments.wrong(f"--explain FOLDER is in {within}, so its maps would be taken for pictures. Name one outside")
    if arguments.explain is not None and arguments.views:
        arguments.wrong("--explain draws why a picture as a whole is answered so. Leave it out, or --views")
    path = None if arguments.output is None else _regular(Path(arguments.output))
    from thumbnet import process

    process.mute()
    gc.disable()  # imports and a model make many objects and no garbage; looking for some takes a tenth of the start
    try:
        from thumbnet.model.classifier import load
        from thumbnet.prediction import bulk  # noqa: F401  # with all that it brings
        from thumbnet.sources.expand import expand, several

        classifier = load(arguments.model, views=arguments.views, threshold=arguments.threshold)
    finally:
        gc.enable()
    sources = arguments.sources or [_ask_for_url()]
    if path is not None:
        return _predict_into(path, classifier, sources, arguments)
    # JSON has to be UTF-8, which standard output is not in a pipe on Windows: then all else is escaped.
    ascii_only = (sys.stdout.encoding or "").lower() != "utf-8"
    form = rows.form(arguments.format, several=several(sources), ascii_only=ascii_only)
    tally = rows.Tally()
    with _bar(sources, tally, sys.stdout.isatty()) as show:
        _write(_answers(classifier, expand(sources), arguments, tally), sys.stdout, form, tally, show)
    return _code(tally)


def _regular(path: Path) -> Path:
    """The file to write to, which can be written; where the path is a link, what it leads to."""
    from thumbnet import files

    files.check_output(path)
    return path.resolve() if path.is_symlink() else path


def _predict_into(path: Path, classifier: "Classifier", named: list[str], arguments: argparse.Namespace) -> int:
    """The rows go to FILE.part, which becomes FILE when all are there. FILE.part.json says by what they are made."""
    from thumbnet.files import exclusive
    from thumbnet.prediction import rows

    part = path.with_name(f"{path.name}.part")
    begun = part.exists()
    if arguments.resume and path.exists() and not begun:
        rows.maker_path(part).unlink(missing_ok=True)  # of a run that was killed at its very end
        say(f"note: {path} is complete, as there is no {part}. Leave out --resume to do it again")
        return DONE
    with exclusive(part):
        tally = _fill(part, begun, classifier, named, arguments)
        if path.exists():
            part.chmod(stat.S_IMODE(path.stat().st_mode))
        if sys.platform != "win32":
            part.replace(path)  # while it is locked, so that no other run can begin to write to it
    if sys.platform == "win32":  # which renames no open file
        part.replace(path)
    rows.maker_path(part).unlink(missing_ok=True)
    say(f"{path}: {tally.rows:,} rows, {tally.failures:,} of them errors")
    return _code(tally)


def _fill(
    part: Path, begun: bool, classifier: "Classifier", named: list[str], arguments: argparse.Namespace
) -> "rows.Tally":
    """Write the rows that are not yet in `part`, which an earlier run may have `begun`."""
    from thumbnet.model.classifier import BUNDLED, fingerprint
    from thumbnet.prediction import rows
    from thumbnet.sources.expand import expand, several
    from thumbnet.sources.expand import named as name_of

    sources, tally = expand(named), rows.Tally()
    resumable = arguments.format in rows.RESUMABLE
    sha256 = fingerprint(arguments.model) if resumable else None
    model = arguments.model or BUNDLED[0]
    maker = rows.Maker(model, sha256, arguments.top_k, arguments.views, arguments.threshold)
    if arguments.resume and begun:
        tally = rows.resume(part, map(name_of, sources), arguments.format, maker)
        say(f"note: {part} has {tally.rows:,} rows; going on from there")
        if tally.rows and rows.read_maker(part) is None:
            say(f"note: by which model they were made is not known, as {rows.maker_path(part)} does not say it")
    elif begun:
        say(f"note: {part}, of a run that was broken off, is begun again; --resume would go on from there")
    form = rows.form(arguments.format, several=several(named))
    mode = "a" if tally.rows else "w"
    try:
        with (
            part.open(mode, encoding="utf-8", errors="backslashreplace", newline="\n") as file,
            _bar(named, tally, False) as show,
        ):
            if resumable:  # by now, `part` is empty or its rows are of this maker: a kill here mixes nothing
                rows.write_maker(part, maker)
            _write(_answers(classifier, sources, arguments, tally), file, form, tally, show)
            os.fsync(file.fileno())
    except BaseException:  # Ctrl-C, a full disk
        if tally.rows:
            goes_on = "; --resume goes on from there" * resumable
            say(f"note: {part} keeps {tally.rows:,} rows{goes_on}")
        raise
    return tally


def _predict_on_cluster(arguments: argparse.Namespace) -> int:
    """The rows go to FOLDER, in shards."""
    if arguments.output is None or arguments.format not in CLUSTER_FORMATS:
        arguments.wrong("--engine ray needs --output FOLDER and --format jsonl or parquet")
    if arguments.resume or arguments.explain:
        arguments.wrong("--resume and --explain cannot be had with --engine ray. Leave them out, or this")
    if "-" in arguments.sources:
        arguments.wrong("--engine ray reads no picture from standard input. Name a file, or leave the option out")
    from thumbnet.model.classifier import load_with_content
    from thumbnet.prediction import cluster

    _, model = load_with_content(arguments.model)  # a broken one is told before Ray starts
    tally = cluster.predict(
        model, arguments.sources or [_ask_for_url()], arguments.output, form=arguments.format, top_k=arguments.top_k,
        views=arguments.views, threshold=arguments.threshold,
    )  # fmt: skip
    say(f"{arguments.output}: {tally.rows:,} rows, {tally.failures:,} of them errors")
    return _code(tally)


def _within(folder: str, sources: list[str]) -> str | None:
    """A source that is a folder around `folder`."""
    path = Path(os.path.realpath(folder))
    around = {path, *path.parents}
    folders = filter(os.path.isdir, sources)  # Path.is_dir raises where a name is too long, as data URLs are
    return next((each for each in folders if Path(os.path.realpath(each)) in around), None)


def _answers(
    classifier: "Classifier",
    sources: "Iterator[str | Failure]",
    arguments: argparse.Namespace,
    tally: "rows.Tally",
) -> "Generator[rows.Row]":
    """The rows that are not there yet; with --explain, each puts a map into that folder."""
    from thumbnet.prediction import bulk

    maps = None if arguments.explain is None else Path(arguments.explain)
    return bulk.predict(classifier, sources, top_k=arguments.top_k, maps=maps, first=tally.rows + 1)


def _write(
    answers: "Generator[rows.Row]",
    file: IO[str],
    form: "rows.Format",
    tally: "rows.Tally",
    show: Callable[[int], object],
) -> None:
    """Each row is flushed, so that a reader has it at once and a kill loses none. `tally` knows what is there."""
    from thumbnet.prediction import rows
    from thumbnet.sources.failure import Failure

    with contextlib.closing(answers):  # its threads end here, also when a reader such as `head` has seen enough
        if not tally.rows:
            file.write(form.head)
        for row in answers:
            text = form.row(row)
            if isinstance(row, Failure) and not text:
                say(f"error: {rows.complaint(row)}")
            file.write((form.between if tally.rows else "") + text)
            file.flush()
            tally.count(isinstance(row, Failure))
            show(tally.rows)
        file.write(form.tail)
        file.flush()


@contextlib.contextmanager
def _bar(named: list[str], tally: "rows.Tally", rows_on_terminal: bool) -> Iterator[Callable[[int], object]]:
    """A progress bar, where there is a terminal that is not full of rows. Only for it are the sources counted."""
    from thumbnet.progress import progress
    from thumbnet.sources.expand import count, several

    shown = sys.stderr.isatty() and not rows_on_terminal and several(named)
    total = count(named) if shown else None
    if total is None:
        yield lambda _: None
        return
    with progress("predict", total, " pictures", tally.rows) as show:
        yield show


def _code(tally: "rows.Tally") -> int:
    if not tally.failures:
        return DONE
    return FAILED if tally.failures == tally.rows else SOME_FAILED


def _ask_for_url() -> str:
    if sys.stdin is None:
        raise SourceError("no picture is named, and standard input is closed. Name a file: thumbnet predict FILE")
    print("URL of an image: ", end="", file=sys.stderr, flush=True)
    try:
        url = sys.stdin.readline().strip()
    except (OSError, ValueError):  # it leads nowhere, is closed, or is no text
        url = ""
    if not url:
        raise SourceError("expected the URL of an image, got no text. Type one, or name a file: thumbnet predict FILE")
    return url
