"""The arguments and the help of the command line. Every import here slows every start."""

import argparse
import sys
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from thumbnet._version import __version__

RECIPES = ("transfer", "tune", "seed", "fast", "best")  # as in recipe, and in training.recipes, which needs Keras
PRECISIONS = ("auto", "float32", "mixed_bfloat16")  # likewise
LEAST_SIZE = 18  # as in training.networks
MOST_SEED = 2**32 - 1  # as in training.settings
FORMATS = ("text", "json", "jsonl", "csv")  # as in prediction.rows, which takes longer to import than --help should
CLUSTER_FORMATS = ("jsonl", "parquet")  # as in prediction.cluster, which needs Ray
EXPORTS = ("keras", "savedmodel", "litert", "int8", "triton", "web")  # as in export, which takes longer to import, too


Number = TypeVar("Number", int, float)
Run: TypeAlias = Callable[[argparse.Namespace], int]  # runs a command; returns its exit code


def parser(commands_by_name: dict[str, Run]) -> argparse.ArgumentParser:
    """Make the parser of all commands. The result of parsing holds the function of the command as `run`."""
    whole = argparse.ArgumentParser(
        prog="thumbnet",
        description="Train small image classifiers from labelled pictures, and use them anywhere, each in one file.",
        epilog="See `thumbnet COMMAND --help` for the options. Exit codes: 0 done, 1 failed, 2 wrong usage, "
        "3 some inputs failed and the others were processed, 130 Ctrl-C.",
    )
    whole.add_argument("--version", action="version", version=f"thumbnet {__version__}")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_predict(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_check_data(commands)
    _add_serve(commands)
    _add_teach(commands)
    _add_export(commands)
    info = _add(commands, "info", "show what a model file says about itself", "thumbnet info cifar10-seed")
    info.add_argument("model", metavar="MODEL", help="the name of a bundled model, or a file")
    for name, run in commands_by_name.items():
        commands.choices[name].set_defaults(run=run)
    return whole


def _add_predict(commands: Any) -> None:
    command = _add(
        commands, "predict", "say what pictures show",
        "thumbnet predict cat.jpg\n"
        "thumbnet predict photos/ 'more/**/*.jpg' --format csv --output answers.csv\n"
        "thumbnet predict photos/ --format csv --output answers.csv --resume       (resumes after a kill)\n"
        "thumbnet predict --format jsonl a.jpg https://example.org/b.png | jq .label\n"
        "thumbnet predict @list.txt --format jsonl | jq -r 'select(.error).source' (lists those that failed)\n"
        "find . -name '*.jpg' -mtime -1 | thumbnet predict @-\n"
        "curl https://example.org/b.png | thumbnet predict -\n"
        "thumbnet predict s3://bucket/photos/ --engine ray --format parquet --output s3://bucket/answers/\n"
        "thumbnet predict cat.jpg --explain maps/                                  (why? in maps/000001-cat.png)\n"
        "thumbnet predict                                                          (asks for a URL)",
    )  # fmt: skip
    command.add_argument(
        "sources", nargs="*", metavar="SOURCE",
        help="the file or URL of a picture; a folder, for all pictures in and below it; a quoted pattern, in which ** "
        "stands for any folders; @FILE, a list with one file or URL per line, or @- for a list on standard input; - "
        "for a picture on standard input. Without a SOURCE, it asks for a URL",
    )  # fmt: skip
    _add_model(command)
    command.add_argument("--top-k", type=_count, default=3, metavar="K", help="name the K most probable classes (3)")
    _add_views(command)
    command.add_argument(
        "--threshold",
        type=_share,
        metavar="T",
        help='answer "unsure" below this sureness, 0 to 1 (the threshold of the model file)',
    )
    command.add_argument(
        "--format", choices=(*FORMATS, "parquet"), default="text", help="the format of the answers (text)"
    )
    command.add_argument(
        "-o", "--output", metavar="FILE",
        help="write the answers to this file, not to standard output; FILE.part holds them until all are done. With "
        "--engine ray, a new or empty folder",
    )  # fmt: skip
    command.add_argument(
        "--engine", choices=("threads", "ray"), default="threads",
        help="threads of this process, or Ray on all cores of this machine or of the cluster at $RAY_ADDRESS; only Ray "
        "reads Parquet files, s3:// and gs:// (threads)",
    )  # fmt: skip
    command.add_argument(
        "--resume", action="store_true", help="continue an interrupted run from its FILE.part (jsonl and csv)"
    )
    command.add_argument(
        "--explain",
        type=_named,
        metavar="FOLDER",
        help="write a PNG for each picture, which shows the parts that decided the answer",
    )
    command.set_defaults(wrong=command.error)


def _add_train(commands: Any) -> None:
    command = _add(
        commands, "train", "train a classifier and write its model file",
        "thumbnet train --data my-pictures/ --output mine.onnx                       (photographs: in seconds)\n"
        "thumbnet train --data my-pictures/ --other other-things/ --output mine.onnx (learns what to be unsure of)\n"
        "thumbnet train --data my-pictures/ --recipe tune --output mine.onnx         (in minutes: unusual pictures)\n"
        "thumbnet train --data digits                                                (thumbnails: from scratch)\n"
        "thumbnet train --data my-pictures/ --recipe fast --time 10 --output mine.onnx\n"
        "thumbnet train --data my-pictures/ --recipe fast --time 10 --output mine.onnx --resume",
    )  # fmt: skip
    _add_data(command)
    command.add_argument(
        "--recipe", choices=RECIPES,
        help="transfer learns from photographs in seconds, by a pretrained backbone; tune trains most of the backbone "
        "too, in minutes; the others train a network from scratch (transfer for photographs, fast for thumbnails)",
    )  # fmt: skip
    command.add_argument(
        "--backbone",
        type=_named,
        metavar="NAME|FILE.onnx",
        help="for transfer and tune: lite0, or for transfer a file (lite0)",
    )
    command.add_argument(
        "--other", type=_named, metavar="FOLDER",
        help="for transfer and tune: pictures of none of the classes, from which it learns what to be unsure of",
    )  # fmt: skip
    command.add_argument(
        "--size", type=_size, metavar="PIXELS",
        help="the side of the network's pictures; more takes longer (from scratch 32, tune 288)",
    )  # fmt: skip
    length = command.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=_count, metavar="N", help="passes over all images (the recipe's)")
    length.add_argument(
        "--time", type=_minutes, metavar="MINUTES", help="train for this long; the learning rate fits it"
    )
    command.add_argument("--seed", type=_seed, default=0, metavar="N", help="the same seed gives the same model (0)")
    command.add_argument("--output", default="model.onnx", metavar="MODEL.onnx", help="the model file (model.onnx)")
    command.add_argument(
        "--resume", action="store_true", help="continue a training that was broken off, or make it longer"
    )
    command.add_argument("--refit", action="store_true", help="train a second time, on the held-out images too")
    command.add_argument(
        "--patience", type=_count, metavar="N", help="stop after N epochs in a row that were no better"
    )
    command.add_argument("--logs", type=_named, metavar="FOLDER", help="write learning curves there, for TensorBoard")
    command.add_argument(
        "--foreign",
        type=_named,
        metavar="FOLDER",
        help="pictures of other things; the model file records how many it rejects",
    )
    command.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="what the training computes in (auto: what the processor computes fast); the model file is float32",
    )
    command.add_argument(
        "--no-mirror",
        dest="mirror",
        action="store_false",
        help="mirror no pictures; for letters, digits and signs, whose mirror images mean something else",
    )


def _add_evaluate(commands: Any) -> None:
    command = _add(
        commands, "evaluate", "measure a model on test pictures",
        "thumbnet evaluate model.onnx --data my-pictures/\n"
        "thumbnet evaluate model.onnx --report report/         (a page with pictures)\n"
        "thumbnet evaluate model.onnx other.onnx               (is one of them better?)\n"
        "thumbnet evaluate model.onnx --foreign other-things/  (is it unsure where it should be?)",
    )  # fmt: skip
    command.add_argument(
        "models", nargs="*", metavar="MODEL", help="the same as --model; a second one is compared with the first"
    )
    _add_model(command)
    _add_data(command, default=None)
    command.add_argument("--report", type=_named, metavar="FOLDER", help="write a page, index.html, and scores.json")
    command.add_argument(
        "--foreign",
        type=_named,
        metavar="FOLDER",
        help="pictures of other things; it reports how many of them the model rejects",
    )
    command.set_defaults(wrong=command.error)


def _add_check_data(commands: Any) -> None:
    command = _add(
        commands, "check-data", "find the faults of a data set; exit code 3 if there are any",
        "thumbnet check-data --data my-pictures/ --report check.html\n"
        "thumbnet check-data --data my-pictures/ --labels      (takes longer)",
    )  # fmt: skip
    _add_data(command)
    command.add_argument(
        "--labels", action="store_true", help="also look for wrong labels, and for copies that were cropped or turned"
    )
    command.add_argument("--seed", type=_seed, default=0, metavar="N", help="the seed of the folds for --labels (0)")
    command.add_argument(
        "--report", type=_named, metavar="FILE.html", help="write a page that shows the pictures side by side"
    )


def _add(commands: Any, name: str, what: str, example: str) -> Any:
    return commands.add_parser(
        name, help=what, description=what[0].upper() + what[1:] + ".",
        epilog=f"examples:\n{example}".replace("\n", "\n  "), formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip


def _add_serve(commands: Any) -> None:
    command = _add(
        commands, "serve", "answer over HTTP, and on a web page",
        "thumbnet serve                                   (then open http://127.0.0.1:8080/)\n"
        "curl --data-binary @cat.jpg http://127.0.0.1:8080/classify\n"
        "THUMBNET_API_KEY=secret thumbnet serve --host 0.0.0.0 --workers 2 --log-format json",
    )  # fmt: skip
    _add_model(command)
    _add_views(command)
    command.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="the address to listen on; 0.0.0.0 for all (127.0.0.1)"
    )
    command.add_argument("--port", type=_port, default=8080, help="the port to listen on; 0 for a free one (8080)")
    command.add_argument(
        "--workers", type=_count, default=1, metavar="N", help="the number of processes that share the port (1)"
    )
    command.add_argument(
        "--api-key",
        metavar="KEY",
        help="require this key in requests; $THUMBNET_API_KEY does the same, and keeps it out of process lists",
    )
    command.add_argument("--no-urls", dest="urls", action="store_false", help="do not read pictures from URLs")
    command.add_argument(
        "--allow-private-urls", dest="private_urls", action="store_true",
        help="also read URLs that lead to private addresses, for tests and intranets",
    )  # fmt: skip
    command.add_argument(
        "--cors", action="append", default=[], metavar="ORIGIN", help="let pages of this origin use the API; repeatable"
    )
    command.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="the format of the access log (text)"
    )
    command.set_defaults(wrong=command.error)


def _add_teach(commands: Any) -> None:
    command = _add(
        commands, "teach", "make a classifier on a web page, by showing it pictures",
        "thumbnet teach my-pictures/                             (then open the address that it prints in a browser)\n"
        "thumbnet train --data my-pictures/ --output mine.onnx   (the same pictures, from the shell)",
    )  # fmt: skip
    command.add_argument(
        "folder", type=_named, metavar="FOLDER",
        help="holds the pictures, a subfolder a class; made if it is not there. The page and the other commands work "
        "on the same files. What is removed on the page is moved to FOLDER/.thumbnet/removed/",
    )  # fmt: skip
    command.add_argument("--port", type=_port, default=0, help="the port to listen on (a free one)")
    command.add_argument(
        "--backbone", type=_named, default="lite0", metavar="NAME|FILE.onnx", help="lite0, or a backbone's file (lite0)"
    )
    command.add_argument(
        "--allow-private-urls", dest="private_urls", action="store_true",
        help="also read URLs that lead to private addresses, for tests and intranets",
    )  # fmt: skip


def _add_export(commands: Any) -> None:
    command = _add(
        commands, "export", "convert a model file for other programs, and prove that it answers the same",
        "thumbnet export cifar10-best --format litert     (cifar10-best.tflite, for phones)\n"
        "thumbnet export model.onnx --format int8         (model-int8.onnx, smaller and faster)\n"
        "thumbnet export mine.onnx --format savedmodel --data my-pictures/ --output served/1\n"
        "thumbnet export mine.onnx --format web           (mine-web/, a page that needs no Thumbnet server)",
    )  # fmt: skip
    command.add_argument("named", nargs="?", metavar="MODEL", help="the same as --model")
    _add_model(command)
    command.add_argument("--format", choices=EXPORTS, required=True, help="the format to convert to")
    command.add_argument(
        "--output", metavar="PATH", help="the file or folder to write (the model's name, in the working folder)"
    )
    command.add_argument(
        "--data", metavar="DATA",
        help="pictures of the model's classes, to compare on, as for evaluate (what the model was trained on)",
    )  # fmt: skip
    command.add_argument(
        "--runtime",
        metavar="FOLDER|TGZ",
        help="for web: what `npm pack onnxruntime-web` made (downloaded if not given)",
    )
    command.set_defaults(wrong=command.error)


def _add_views(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--views", action="store_true",
        help="look at large pictures twice, the second time closely at the middle; this rejects foreign pictures "
        "better, and is slower",
    )  # fmt: skip


def _add_model(command: Any) -> None:
    command.add_argument(
        "--model", metavar="NAME|FILE", help="the name of a bundled model, or a file (the best bundled one)"
    )


def _add_data(command: Any, default: str | None = "cifar10") -> None:
    command.add_argument(
        "--data", default=default, metavar="DATA",
        help="cifar10, digits, a folder or ZIP file of pictures (a subfolder a class), a table of labels (.csv) or an "
        f".npz file ({default or 'what the model was trained on'})",
    )  # fmt: skip


def _named(text: str) -> str:
    """A path. An empty one, from an unset variable, would be the working folder, or as if it were not given."""
    if not text.strip():
        raise argparse.ArgumentTypeError("expected a path, got an empty one")
    return text


def _count(text: str) -> int:
    return _number(text, int, 1, "a whole number from 1")


def _seed(text: str) -> int:
    return _number(text, int, 0, f"a whole number from 0 to {MOST_SEED}", MOST_SEED)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"expected 0 to 65535, got {text}")
    return int(text)


def _size(text: str) -> int:
    return _number(text, int, LEAST_SIZE, f"a whole number from {LEAST_SIZE}, as the networks need room")


def _minutes(text: str) -> float:
    return _number(text, float, 0.01, "minutes, 0.01 or more")


def _share(text: str) -> float:
    return _number(text, float, 0, "a number from 0 to 1", 1)


def _number(
    text: str, kind: Callable[[str], Number], least: float, expected: str, most: float = sys.float_info.max
) -> Number:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not least <= value <= most:
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
    return value
