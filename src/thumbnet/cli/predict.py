"""`thumbnet predict`: write rows to standard output, to a file that can be resumed, or to the shards of a cluster."""

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
        arguments.wrong("--explain explains the answer to the picture as a whole. Leave out --explain or --views")
    path = None if arguments.output is None else _regular(Path(arguments.output))
    from thumbnet import process

    process.mute()
    gc.disable()  # imports and a model make many objects and no garbage; the search for it takes a tenth of the start
    try:
        from thumbnet.model.classifier import load
        from thumbnet.prediction import bulk  # noqa: F401  # with everything that it imports
        from thumbnet.sources.expand import expand, several

        classifier = load(arguments.model, views=arguments.views, threshold=arguments.threshold)
    finally:
        gc.enable()
    sources = arguments.sources or [_ask_for_url()]
    if path is not None:
        return _predict_into(path, classifier, sources, arguments)
    # JSON must be UTF-8. In a pipe on Windows, standard output has another encoding; then JSON is plain ASCII.
    ascii_only = (sys.stdout.encoding or "").lower() != "utf-8"
    form = rows.form(arguments.format, several=several(sources), ascii_only=ascii_only)
    tally = rows.Tally()
    with _bar(sources, tally, sys.stdout.isatty()) as show:
        _write(_answers(classifier, expand(sources), arguments, tally), sys.stdout, form, tally, show)
    return _code(tally)


def _regular(path: Path) -> Path:
    """Check that a file can be written, and return it; for a link, return its target."""
    from thumbnet import files

    files.check_output(path)
    return path.resolve() if path.is_symlink() else path


def _predict_into(path: Path, classifier: "Classifier", named: list[str], arguments: argparse.Namespace) -> int:
    """Write the rows to FILE.part, which becomes FILE when it is complete. FILE.part.json holds their `Maker`."""
    from thumbnet.files import exclusive
    from thumbnet.prediction import rows

    part = path.with_name(f"{path.name}.part")
    begun = part.exists()
    if arguments.resume and path.exists() and not begun:
        rows.maker_path(part).unlink(missing_ok=True)  # left by a run that was killed at its very end
        say(f"note: {path} is complete, as there is no {part}. Leave out --resume to start again")
        return DONE
    with exclusive(part):
        tally = _fill(part, begun, classifier, named, arguments)
        if path.exists():
            part.chmod(stat.S_IMODE(path.stat().st_mode))
        if sys.platform != "win32":
            part.replace(path)  # while it is locked, so that no other run can start to write to it
    if sys.platform == "win32":  # which does not rename open files
        part.replace(path)
    rows.maker_path(part).unlink(missing_ok=True)
    say(f"{path}: {tally.rows:,} rows, {tally.failures:,} of them errors")
    return _code(tally)


def _fill(
    part: Path, begun: bool, classifier: "Classifier", named: list[str], arguments: argparse.Namespace
) -> "rows.Tally":
    """Write the rows that are not yet in `part`, which exists if an earlier run has `begun` it."""
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
        say(f"note: {part} has {tally.rows:,} rows; continuing after them")
        if tally.rows and rows.read_maker(part) is None:
            say(f"note: the model that made them is unknown, as {rows.maker_path(part)} is missing or broken")
    elif begun:
        say(f"note: {part}, left by an interrupted run, is overwritten; --resume would continue it")
    form = rows.form(arguments.format, several=several(named))
    mode = "a" if tally.rows else "w"
    try:
        with (
            part.open(mode, encoding="utf-8", errors="backslashreplace", newline="\n") as file,
            _bar(named, tally, False) as show,
        ):
            if resumable:  # now `part` is empty or its rows are of this maker, so that a kill here mixes nothing
                rows.write_maker(part, maker)
            _write(_answers(classifier, sources, arguments, tally), file, form, tally, show)
            os.fsync(file.fileno())
    except BaseException:  # Ctrl-C, a full disk
        if tally.rows:
            advice = "; --resume continues after them" * resumable
            say(f"note: {part} keeps {tally.rows:,} rows{advice}")
        raise
    return tally


def _predict_on_cluster(arguments: argparse.Namespace) -> int:
    """Write the rows to FOLDER, in shards."""
    if arguments.output is None or arguments.format not in CLUSTER_FORMATS:
        arguments.wrong("--engine ray needs --output FOLDER and --format jsonl or parquet")
    if arguments.resume or arguments.explain:
        arguments.wrong("--engine ray does not support --resume and --explain. Leave out the engine, or these")
    if "-" in arguments.sources:
        arguments.wrong(
            "--engine ray does not read a picture from standard input. Name a file, or leave out the engine"
        )
    from thumbnet import process
    from thumbnet.model.classifier import load_with_content

    process.settle_ray()
    from thumbnet.prediction import cluster

    _, model = load_with_content(arguments.model)  # a broken model is reported before Ray starts
    tally = cluster.predict(
        model, arguments.sources or [_ask_for_url()], arguments.output, form=arguments.format, top_k=arguments.top_k,
        views=arguments.views, threshold=arguments.threshold,
    )  # fmt: skip
    say(f"{arguments.output}: {tally.rows:,} rows, {tally.failures:,} of them errors")
    return _code(tally)


def _within(folder: str, sources: list[str]) -> str | None:
    """Find a source that is a folder around `folder`."""
    path = Path(os.path.realpath(folder))
    around = {path, *path.parents}
    folders = filter(os.path.isdir, sources)  # Path.is_dir raises for too long names, such as data URLs
    return next((each for each in folders if Path(os.path.realpath(each)) in around), None)


def _answers(
    classifier: "Classifier",
    sources: "Iterator[str | Failure]",
    arguments: argparse.Namespace,
    tally: "rows.Tally",
) -> "Generator[rows.Row]":
    """Classify the sources whose rows are missing. With --explain, each row has its map."""
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
    """Write and count rows. Each is flushed, so that a reader gets it at once and a kill loses none."""
    from thumbnet.prediction import rows
    from thumbnet.sources.failure import Failure

    with contextlib.closing(answers):  # ends its threads, also when a reader such as `head` has stopped
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
    """Show a progress bar if there is a terminal without rows on it. The sources are counted for it alone."""
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
