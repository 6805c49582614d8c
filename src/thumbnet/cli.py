"""The command line: parse, one call, print. What is imported here counts against every start."""

import argparse
import contextlib
import gc
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import thumbnet
from thumbnet.errors import DataWarning, MissingExtraError, SourceError, ThumbnetError
from thumbnet.pictures import opencv
from thumbnet.text import printable

if TYPE_CHECKING:
    from thumbnet.data import check
    from thumbnet.model.classifier import Classifier
    from thumbnet.prediction import rows
    from thumbnet.sources.failure import Failure

DONE, FAILED, SOME_FAILED, INTERRUPTED = 0, 1, 3, 130  # 2, wrong usage, is argparse's
RECIPES = ("seed", "fast", "best")  # as in training.recipes, which cannot be imported without Keras
PRECISIONS = ("auto", "float32", "mixed_bfloat16")  # likewise
LEAST_SIZE = 18  # as in training.networks
FORMATS = ("text", "json", "jsonl", "csv")  # as in rows, which takes longer to import than --help should
CLUSTER_FORMATS = ("jsonl", "parquet")  # as in cluster, which cannot be imported without Ray
EXPORTS = ("keras", "savedmodel", "litert", "int8", "triton", "web")  # as in formats, likewise

Number = TypeVar("Number", int, float)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 wrong usage, 3 some inputs failed, 130 Ctrl-C."""
    opencv.settle()
    for name in ("stdout", "stderr"):  # one that the shell has closed, as by `2>&-`, goes nowhere
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no failure
    parsed = _parser().parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        warnings.showwarning = _show_warning
        try:
            code: int = parsed.run(parsed)
            sys.stdout.flush()
        except KeyboardInterrupt:
            _say("Stopped.")
            code = INTERRUPTED
        except BrokenPipeError:  # a reader such as `head` has seen enough
            code = DONE
        except (ThumbnetError, OSError) as error:  # OSError: a full disk, a folder that may not be written to
            _say(f"error: {error}")
            code = FAILED
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = None  # or Python would flush it once more at its end, and say so
    return code


def _train(arguments: argparse.Namespace) -> int:
    _settle_training()
    trained = thumbnet.train(
        arguments.data, arguments.recipe, epochs=arguments.epochs, minutes=arguments.time, seed=arguments.seed,
        output=arguments.output, resume=arguments.resume, refit=arguments.refit, mirror=arguments.mirror,
        precision=arguments.precision, patience=arguments.patience, size=arguments.size, logs=arguments.logs,
        foreign=arguments.foreign,
    )  # fmt: skip
    if trained.interrupted and trained.written:
        _say("Stopped. The model is the best until then; --resume goes on with the training.")
    if trained.written:
        print(f"{trained.path}: {_accuracy(trained.scores.as_dict())}")
    return INTERRUPTED if trained.interrupted else DONE


def _settle_training() -> None:
    """Before Keras is imported. TensorFlow announces its processor features, in lines that no setting turns off."""
    from thumbnet import process

    process.settle_keras()
    process.mute()


def _predict(arguments: argparse.Namespace) -> int:
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
    from thumbnet import process

    process.mute()
    gc.disable()  # imports and a model make many objects and no garbage; looking for some takes a tenth of the start
    try:
        from thumbnet.sources.expand import expand, several

        classifier = thumbnet.load(arguments.model, views=arguments.views)
    finally:
        gc.enable()
    sources = arguments.sources or [_ask_for_url()]
    if arguments.output is not None:
        return _predict_into(Path(arguments.output), classifier, sources, arguments)
    # JSON has to be UTF-8, which standard output is not in a pipe on Windows: then all else is escaped.
    ascii_only = (sys.stdout.encoding or "").lower() != "utf-8"
    form = rows.form(arguments.format, several=several(sources), ascii_only=ascii_only)
    tally = rows.Tally()
    with _bar(sources, tally, sys.stdout.isatty()) as show:
        _write(_answers(classifier, expand(sources), arguments, tally), sys.stdout, form, tally, show)
    return _code(tally)


def _predict_into(path: Path, classifier: "Classifier", named: list[str], arguments: argparse.Namespace) -> int:
    """The rows go to FILE.part, which becomes FILE when all are there. FILE.part.json says by what they are made."""
    from thumbnet.model.classifier import BUNDLED, fingerprint
    from thumbnet.prediction import rows
    from thumbnet.sources.expand import expand, several
    from thumbnet.sources.expand import named as name_of

    if path.exists() and not path.is_file():
        raise ThumbnetError(f"{path}: expected a file to write to, got a folder or a device")
    part = path.with_name(f"{path.name}.part")
    sources, tally = expand(named), rows.Tally()
    resumable = arguments.format in rows.RESUMABLE
    sha256 = fingerprint(arguments.model) if resumable else None
    maker = rows.Maker(arguments.model or BUNDLED[0], sha256, arguments.top_k, arguments.views)
    if arguments.resume and part.exists():
        tally = rows.resume(part, map(name_of, sources), arguments.format, maker)
        _say(f"note: {part} has {tally.rows:,} rows; going on from there")
        if tally.rows and rows.read_maker(part) is None:
            _say(f"note: by which model they were made is not known, as {rows.maker_path(part)} does not say it")
    elif arguments.resume and path.exists():
        rows.maker_path(part).unlink(missing_ok=True)  # of a run that was killed at its very end
        _say(f"note: {path} is complete, as there is no {part}. Leave out --resume to do it again")
        return DONE
    elif part.exists():
        _say(f"note: {part}, of a run that was broken off, is begun again; --resume would go on from there")
    path.parent.mkdir(parents=True, exist_ok=True)
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
            _say(f"note: {part} keeps {tally.rows:,} rows{goes_on}")
        raise
    part.replace(path)
    rows.maker_path(part).unlink(missing_ok=True)
    _say(f"{path}: {tally.rows:,} rows, {tally.failures:,} of them errors")
    return _code(tally)


def _predict_on_cluster(arguments: argparse.Namespace) -> int:
    """The rows go to FOLDER, in shards."""
    if arguments.output is None or arguments.format not in CLUSTER_FORMATS:
        arguments.wrong("--engine ray needs --output FOLDER and --format jsonl or parquet")
    if arguments.resume or arguments.explain:
        arguments.wrong("--resume and --explain cannot be had with --engine ray. Leave them out, or this")
    if "-" in arguments.sources:
        arguments.wrong("--engine ray reads no picture from standard input. Name a file, or leave the option out")
    from thumbnet.model.classifier import find, load
    from thumbnet.prediction import cluster

    load(arguments.model)  # a broken one is told before Ray starts
    model, sources = find(arguments.model).read_bytes(), arguments.sources or [_ask_for_url()]
    tally = cluster.predict(
        model, sources, arguments.output, form=arguments.format, top_k=arguments.top_k, views=arguments.views
    )
    _say(f"{arguments.output}: {tally.rows:,} rows, {tally.failures:,} of them errors")
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
    if arguments.explain is None:
        from thumbnet.prediction import bulk

        return bulk.predict(classifier, sources, top_k=arguments.top_k)
    from thumbnet.prediction import explain

    folder = Path(arguments.explain)
    return explain.predict(classifier, sources, folder, top_k=arguments.top_k, first=tally.rows + 1)


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
                _say(f"error: {rows.complaint(row)}")
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


def _evaluate(arguments: argparse.Namespace) -> int:
    named = [*([arguments.model] if arguments.model else []), *arguments.models]
    if len(named) > 2:
        arguments.wrong("expected one model, or two to compare")
    from thumbnet import process
    from thumbnet.evaluation import report
    from thumbnet.evaluation.judge import judge
    from thumbnet.evaluation.page import write
    from thumbnet.evaluation.report import versus

    process.mute()
    judged, *other = [judge(name, arguments.data, arguments.foreign) for name in named or [None]]
    if other:
        print(versus(judged, other[0]))
    else:
        print(f"{_accuracy(judged.scores.as_dict())}\n{report.text(judged)}")
    if arguments.report:
        _say(f"The report: {write(Path(arguments.report), judged, *other)}")
    return DONE


def _check_data(arguments: argparse.Namespace) -> int:
    from thumbnet.data import check

    found = check.check(arguments.data, judge=_label_judge(arguments.seed) if arguments.labels else None)
    print(check.text(found))
    if arguments.report:
        from thumbnet.data import check_page

        check_page.save(found, Path(arguments.report))
        _say(f"The pictures: {arguments.report}")
    return SOME_FAILED if found.count else DONE


def _label_judge(seed: int) -> "check.Judge":
    _settle_training()
    try:
        from thumbnet.training.cross_validation import out_of_fold
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("thumbnet"):
            raise
        missing = (error.name or "a package").partition(".")[0]
        raise MissingExtraError("looking for wrong labels", missing, "check") from error
    return partial(out_of_fold, seed=seed)


def _serve(arguments: argparse.Namespace) -> int:
    from thumbnet.server.run import KEY, Settings, serve

    if arguments.private_urls and not arguments.urls:
        arguments.wrong("--allow-private-urls and --no-urls exclude each other")
    if arguments.api_key is not None:
        os.environ[KEY] = arguments.api_key
    settings = Settings(
        arguments.model, arguments.views, arguments.urls, arguments.private_urls, tuple(arguments.cors),
        arguments.log_format, arguments.workers,
    )  # fmt: skip
    serve(settings, arguments.host, arguments.port)
    return DONE


def _export(arguments: argparse.Namespace) -> int:
    if arguments.model and arguments.named:
        arguments.wrong("name the model once: as MODEL or by --model")
    if arguments.runtime and arguments.format != "web":
        arguments.wrong("--runtime is for --format web")
    _settle_training()
    from thumbnet import formats

    model = arguments.model or arguments.named
    exported = formats.export(model, arguments.format, arguments.output, arguments.data, arguments.runtime)
    print(f"{exported.path}: {exported.agreement or 'holds the model file itself, unchanged'}")
    return DONE


def _info(arguments: argparse.Namespace) -> int:
    for name, value in thumbnet.load(arguments.model).info.as_dict().items():
        # Escaped, as a stranger's file could hold what steers a terminal.
        text = printable(", ".join(value)) if name == "names" else json.dumps(value)
        print(f"{name:15}{text}" if not isinstance(value, dict) else f"{name}")
        for key, inner in value.items() if isinstance(value, dict) else ():
            print(f"  {json.dumps(key)[1:-1]:20}{json.dumps(inner)}")
    return DONE


def _ask_for_url() -> str:
    print("URL of an image: ", end="", file=sys.stderr, flush=True)
    try:
        url = sys.stdin.readline().strip()
    except UnicodeDecodeError:
        url = ""
    if not url:
        raise SourceError("expected the URL of an image, got no text. Type one, or name a file: thumbnet predict FILE")
    return url


def _accuracy(scores: dict[str, float]) -> str:
    return (
        f"{scores['accuracy']:.2%} of {scores['images']:,} test images right "
        f"(95 % interval {scores['accuracy_low']:.2%} to {scores['accuracy_high']:.2%})"
    )


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    _say(f"note: {message}" if issubclass(category, DataWarning) else f"{category.__name__}: {message}")


def _say(message: str) -> None:
    print(message, file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="thumbnet",
        description="Small image classifiers: trained from labelled pictures, in one file, used anywhere.",
        epilog="`thumbnet COMMAND --help` tells more. Exit codes: 0 done, 1 failed, 2 wrong usage, "
        "3 some inputs failed and the others were done, 130 Ctrl-C.",
    )
    parser.add_argument("--version", action="version", version=f"thumbnet {thumbnet.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_predict(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_check_data(commands)
    _add_serve(commands)
    _add_export(commands)
    info = _add(commands, "info", _info, "show what a model file says of itself", "thumbnet info cifar10-seed")
    info.add_argument("model", metavar="MODEL", help="a bundled model's name or a file")
    return parser


def _add_predict(commands: Any) -> None:
    command = _add(
        commands, "predict", _predict, "say what pictures show",
        "thumbnet predict cat.jpg\n"
        "thumbnet predict photos/ 'more/**/*.jpg' --format csv --output answers.csv\n"
        "thumbnet predict photos/ --format csv --output answers.csv --resume       (goes on after a kill)\n"
        "thumbnet predict --format jsonl a.jpg https://example.org/b.png | jq .label\n"
        "thumbnet predict @list.txt --format jsonl | jq -r 'select(.error).source' (names those that failed)\n"
        "find . -name '*.jpg' -mtime -1 | thumbnet predict @-\n"
        "curl https://example.org/b.png | thumbnet predict -\n"
        "thumbnet predict s3://bucket/photos/ --engine ray --format parquet --output s3://bucket/answers/\n"
        "thumbnet predict cat.jpg --explain maps/                                  (why? in maps/000001-cat.png)\n"
        "thumbnet predict                                                          (asks for a URL)",
    )  # fmt: skip
    command.add_argument(
        "sources", nargs="*", metavar="SOURCE",
        help="a picture's file or URL; a folder, with all in it; a pattern in quotes, ** for any folders; @FILE, a "
        "list with a file or URL a line, @- one on standard input; - a picture on standard input. Asked for if none",
    )  # fmt: skip
    _add_model(command)
    command.add_argument("--top-k", type=_count, default=3, metavar="K", help="classes to name for each picture (3)")
    _add_views(command)
    command.add_argument(
        "--format", choices=(*FORMATS, "parquet"), default="text", help="how answers are printed (text)"
    )
    command.add_argument(
        "-o", "--output", metavar="FILE",
        help="where they go, in place of standard output; FILE.part until all are there. With --engine ray a new or "
        "empty folder",
    )  # fmt: skip
    command.add_argument(
        "--engine", choices=("threads", "ray"), default="threads",
        help="what does the work: threads of this process, or Ray on all cores of this machine or of the cluster at "
        "$RAY_ADDRESS, which also takes Parquet files and s3:// and gs:// (threads)",
    )  # fmt: skip
    command.add_argument(
        "--resume", action="store_true", help="go on with the FILE.part of a run that was broken off (jsonl and csv)"
    )
    command.add_argument(
        "--explain", metavar="FOLDER", help="put there for each picture a PNG that shows which part of it decided"
    )
    command.set_defaults(wrong=command.error)


def _add_train(commands: Any) -> None:
    command = _add(
        commands, "train", _train, "train a network and write its model file",
        "thumbnet train --data digits\nthumbnet train --data my-pictures/ --time 10 --output mine.onnx\n"
        "thumbnet train --data my-pictures/ --time 10 --output mine.onnx --resume",
    )  # fmt: skip
    _add_data(command)
    command.add_argument("--recipe", choices=RECIPES, default="fast", help="network and training (fast)")
    command.add_argument(
        "--size", type=_size, metavar="PIXELS", help="a side of what the network sees; larger takes longer (32)"
    )
    length = command.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=_count, metavar="N", help="times over all images (the recipe's)")
    length.add_argument("--time", type=_minutes, metavar="MINUTES", help="stop after so long; the schedule fits that")
    command.add_argument("--seed", type=_natural, default=0, metavar="N", help="the same seed gives the same model (0)")
    command.add_argument("--output", default="model.onnx", metavar="MODEL.onnx", help="where it goes (model.onnx)")
    command.add_argument("--resume", action="store_true", help="go on with a training that was broken off")
    command.add_argument("--refit", action="store_true", help="train again on all images, held-out ones too")
    command.add_argument(
        "--patience", type=_count, metavar="N", help="stop after N epochs in a row that were no better"
    )
    command.add_argument("--logs", metavar="FOLDER", help="write curves for TensorBoard there, a point an epoch")
    command.add_argument(
        "--foreign", metavar="FOLDER", help="pictures of other things: the model file then says how many it rejects"
    )
    command.add_argument(
        "--precision", choices=PRECISIONS, help="of the training; the model file is float32 (what the processor has)"
    )
    command.add_argument(
        "--no-mirror", dest="mirror", action="store_false", help="mirror images mean something else: letters, signs"
    )


def _add_evaluate(commands: Any) -> None:
    command = _add(
        commands, "evaluate", _evaluate, "measure a model on test pictures",
        "thumbnet evaluate --model model.onnx --data cifar10\n"
        "thumbnet evaluate model.onnx --report report/         (a page with pictures)\n"
        "thumbnet evaluate model.onnx other.onnx               (is one better?)\n"
        "thumbnet evaluate model.onnx --foreign other-things/  (is it unsure where it should be?)",
    )  # fmt: skip
    command.add_argument("models", nargs="*", metavar="MODEL", help="as --model; a second one is compared with it")
    _add_model(command)
    _add_data(command)
    command.add_argument("--report", metavar="FOLDER", help="write a page, index.html, and scores.json there")
    command.add_argument("--foreign", metavar="FOLDER", help="pictures of other things: how many are rejected?")
    command.set_defaults(wrong=command.error)


def _add_check_data(commands: Any) -> None:
    command = _add(
        commands, "check-data", _check_data, "find what is wrong with a data set; exit code 3 if anything is",
        "thumbnet check-data --data my-pictures/ --report check.html\n"
        "thumbnet check-data --data my-pictures/ --labels      (trains for minutes)",
    )  # fmt: skip
    _add_data(command)
    command.add_argument("--labels", action="store_true", help="look for wrong labels, too, by training networks")
    command.add_argument("--seed", type=_natural, default=0, metavar="N", help="of these trainings (0)")
    command.add_argument("--report", metavar="FILE.html", help="write a page with the pictures side by side")


def _add(commands: Any, name: str, run: Callable[[argparse.Namespace], int], what: str, example: str) -> Any:
    command = commands.add_parser(
        name, help=what, description=what[0].upper() + what[1:] + ".",
        epilog=f"examples:\n{example}".replace("\n", "\n  "), formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    command.set_defaults(run=run)
    return command


def _add_serve(commands: Any) -> None:
    command = _add(
        commands, "serve", _serve, "answer over HTTP, and by a web page",
        "thumbnet serve                                   (then open http://127.0.0.1:8080/)\n"
        "curl --data-binary @cat.jpg http://127.0.0.1:8080/classify\n"
        "THUMBNET_API_KEY=secret thumbnet serve --host 0.0.0.0 --workers 2 --log-format json",
    )  # fmt: skip
    _add_model(command)
    _add_views(command)
    command.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="0.0.0.0 for all (127.0.0.1)")
    command.add_argument("--port", type=_port, default=8080, help="0 for a free one (8080)")
    command.add_argument("--workers", type=_count, default=1, metavar="N", help="processes that share the port (1)")
    command.add_argument(
        "--api-key", metavar="KEY", help="ask requests for it; $THUMBNET_API_KEY does the same, and hides it"
    )
    command.add_argument("--no-urls", dest="urls", action="store_false", help="read no pictures from URLs")
    command.add_argument(
        "--allow-private-urls", dest="private_urls", action="store_true",
        help="read URLs that lead to private addresses, too: for tests and intranets",
    )  # fmt: skip
    command.add_argument(
        "--cors", action="append", default=[], metavar="ORIGIN", help="let this origin's pages use the API; repeatable"
    )
    command.add_argument("--log-format", choices=("text", "json"), default="text", help="of the access log (text)")
    command.set_defaults(wrong=command.error)


def _add_export(commands: Any) -> None:
    command = _add(
        commands, "export", _export, "make a model's file for other programs, and prove that it answers the same",
        "thumbnet export --format litert                  (cifar10-best.tflite, for phones)\n"
        "thumbnet export model.onnx --format int8         (model-int8.onnx, smaller and faster)\n"
        "thumbnet export mine.onnx --format savedmodel --data my-pictures/ --output served/1\n"
        "thumbnet export mine.onnx --format web           (mine-web/, a page that needs no server of ours)",
    )  # fmt: skip
    command.add_argument("named", nargs="?", metavar="MODEL", help="as --model")
    _add_model(command)
    command.add_argument("--format", choices=EXPORTS, required=True, help="what to make of it")
    command.add_argument("--output", metavar="PATH", help="where it goes (the model's name, in the working folder)")
    _add_data(command)
    command.add_argument(
        "--runtime", metavar="FOLDER|TGZ", help="for web: what `npm pack onnxruntime-web` gave (it is downloaded)"
    )
    command.set_defaults(wrong=command.error)


def _add_views(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--views", action="store_true",
        help="look at large pictures twice, at their middle more closely: tells better what is foreign, and is slower",
    )  # fmt: skip


def _add_model(command: Any) -> None:
    command.add_argument("--model", metavar="NAME|FILE", help="a bundled model's name or a file (the best bundled one)")


def _add_data(command: Any) -> None:
    command.add_argument(
        "--data", default="cifar10", metavar="DATA",
        help="cifar10, digits, a folder of pictures (a subfolder a class) or an .npz file (cifar10)",
    )  # fmt: skip


def _count(text: str) -> int:
    return _number(text, int, 1, "a whole number from 1")


def _natural(text: str) -> int:
    return _number(text, int, 0, "a whole number from 0")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"expected 0 to 65535, got {text}")
    return int(text)


def _size(text: str) -> int:
    return _number(text, int, LEAST_SIZE, f"a whole number from {LEAST_SIZE}, as the networks need room")


def _minutes(text: str) -> float:
    return _number(text, float, 0.01, "minutes, 0.01 or more")


def _number(text: str, kind: Callable[[str], Number], least: float, expected: str) -> Number:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not least <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
    return value
