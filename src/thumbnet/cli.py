"""The command line: parse, one call, print. What is imported here counts against every start."""

import argparse
import csv
import io
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import thumbnet
from thumbnet.errors import DataWarning, FetchError, SourceError, ThumbnetError

if TYPE_CHECKING:
    from thumbnet.classifier import Prediction

DONE, FAILED, SOME_FAILED, INTERRUPTED = 0, 1, 3, 130  # 2, wrong usage, is argparse's
RECIPES = ("seed", "best")  # as in training.recipes, which cannot be imported without Keras

Row: TypeAlias = "Prediction | tuple[str, SourceError]"  # an answer, or a source and why it has none
Number = TypeVar("Number", int, float)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 wrong usage, 3 some inputs failed, 130 Ctrl-C."""
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
    trained = thumbnet.train(
        arguments.data, arguments.recipe, epochs=arguments.epochs, minutes=arguments.time, seed=arguments.seed,
        output=arguments.output, resume=arguments.resume, refit=arguments.refit, mirror=arguments.mirror,
    )  # fmt: skip
    if trained.interrupted:
        _say("Stopped. The model is the best until then; --resume goes on with the training.")
    print(f"{trained.path}: {_accuracy(trained.scores.as_dict())}")
    return INTERRUPTED if trained.interrupted else DONE


def _predict(arguments: argparse.Namespace) -> int:
    classifier = thumbnet.load(arguments.model)
    sources = arguments.sources or [_ask_for_url()]
    failures = 0

    def rows() -> Iterator[Row]:
        nonlocal failures
        for source in sources:
            try:
                yield classifier.predict(source, top_k=arguments.top_k)
            except SourceError as error:
                failures += 1
                yield source, error

    FORMATS[arguments.format](rows(), len(sources) > 1)
    if failures == len(sources):
        return FAILED
    return SOME_FAILED if failures else DONE


def _evaluate(arguments: argparse.Namespace) -> int:
    from thumbnet import datasets
    from thumbnet.evaluation import evaluate

    classifier = thumbnet.load(arguments.model)
    splits = datasets.load(arguments.data, classifier.info.size, fit=classifier.info.fit)
    scores = evaluate(classifier, splits.test)
    print(_accuracy(scores.as_dict()))
    print(f"cross-entropy {scores.cross_entropy:.3f}, calibration error {scores.calibration_error:.3f}")
    print(f"{scores.known:.1%} of the answers are known, not unsure; {scores.known_accuracy:.2%} of these are right")
    return DONE


def _info(arguments: argparse.Namespace) -> int:
    from dataclasses import asdict

    for name, value in asdict(thumbnet.load(arguments.model).info).items():
        # Escaped, as a stranger's file could hold what steers a terminal; names that do are refused.
        text = ", ".join(value) if name == "names" else json.dumps(value)
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


def _as_text(rows: Iterator[Row], several: bool) -> None:
    for row in rows:
        if isinstance(row, tuple):
            source, error = row  # a FetchError names its URL itself, without the password
            _say(f"error: {error}" if isinstance(error, FetchError) else f"error: {source}: {error}")
            continue
        print(f"{row.source}: " * several + row.label + " (unsure)" * (not row.known))
        for guess in row.top:
            print(f"  {guess.confidence:7.1%}  {guess.label}")
        sys.stdout.flush()


def _as_json(rows: Iterator[Row], several: bool) -> None:
    objects = [_as_object(row) for row in rows]
    print(_json(objects if several else objects[0], indent=2))


def _as_json_lines(rows: Iterator[Row], _several: bool) -> None:
    for row in rows:
        print(_json(_as_object(row)), flush=True)


def _as_csv(rows: Iterator[Row], _several: bool) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["source", "label", "confidence", "known", "error"])
    for row in rows:
        if isinstance(row, tuple):
            writer.writerow([row[0], "", "", "", str(row[1])])
        else:
            writer.writerow([row.source, row.label, row.confidence, str(row.known).lower(), ""])
        sys.stdout.flush()


def _json(value: Any, indent: int | None = None) -> str:
    """Escaped where standard output is not UTF-8, as JSON has to be: in a pipe on Windows."""
    return json.dumps(value, indent=indent, ensure_ascii=(sys.stdout.encoding or "").lower() != "utf-8")


def _as_object(row: Row) -> dict[str, Any]:
    if isinstance(row, tuple):
        return {"source": row[0], "error": {"type": type(row[1]).__name__, "message": str(row[1])}}
    return row.as_dict()


FORMATS: dict[str, Callable[[Iterator[Row], bool], None]] = {
    "text": _as_text,
    "json": _as_json,
    "jsonl": _as_json_lines,
    "csv": _as_csv,
}


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
    info = _add(commands, "info", _info, "show what a model file says of itself", "thumbnet info cifar10-seed")
    info.add_argument("model", metavar="MODEL", help="a bundled model's name or a file")
    return parser


def _add_predict(commands: Any) -> None:
    command = _add(
        commands, "predict", _predict, "say what pictures show",
        "thumbnet predict cat.jpg\nthumbnet predict --format jsonl a.jpg https://example.org/b.png | jq .label\n"
        "thumbnet predict                     (asks for a URL)",
    )  # fmt: skip
    command.add_argument("sources", nargs="*", metavar="SOURCE", help="a picture's file or URL; asked for if none")
    _add_model(command)
    command.add_argument("--top-k", type=_count, default=3, metavar="K", help="classes to name for each picture (3)")
    command.add_argument("--format", choices=FORMATS, default="text", help="how answers are printed (text)")


def _add_train(commands: Any) -> None:
    command = _add(
        commands, "train", _train, "train a network and write its model file",
        "thumbnet train --data digits\nthumbnet train --data my-pictures/ --time 10 --output mine.onnx\n"
        "thumbnet train --data my-pictures/ --time 10 --output mine.onnx --resume",
    )  # fmt: skip
    _add_data(command)
    command.add_argument("--recipe", choices=RECIPES, default="seed", help="network and training (seed)")
    length = command.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=_count, metavar="N", help="times over all images (the recipe's)")
    length.add_argument("--time", type=_minutes, metavar="MINUTES", help="stop after so long; the schedule fits that")
    command.add_argument("--seed", type=_natural, default=0, metavar="N", help="the same seed gives the same model (0)")
    command.add_argument("--output", default="model.onnx", metavar="MODEL.onnx", help="where it goes (model.onnx)")
    command.add_argument("--resume", action="store_true", help="go on with a training that was broken off")
    command.add_argument("--refit", action="store_true", help="train again on all images, held-out ones too")
    command.add_argument(
        "--no-mirror", dest="mirror", action="store_false", help="mirror images mean something else: letters, signs"
    )


def _add_evaluate(commands: Any) -> None:
    command = _add(
        commands, "evaluate", _evaluate, "measure a model on test pictures",
        "thumbnet evaluate --model model.onnx --data cifar10",
    )  # fmt: skip
    _add_model(command)
    _add_data(command)


def _add(commands: Any, name: str, run: Callable[[argparse.Namespace], int], what: str, example: str) -> Any:
    command = commands.add_parser(
        name, help=what, description=what[0].upper() + what[1:] + ".",
        epilog=f"examples:\n{example}".replace("\n", "\n  "), formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    command.set_defaults(run=run)
    return command


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
