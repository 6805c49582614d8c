"""The command line's arguments and its help. What is imported here counts against every start."""

import argparse
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from thumbnet._version import __version__

RECIPES = ("seed", "fast", "best")  # as in training.recipes, which cannot be imported without Keras
PRECISIONS = ("auto", "float32", "mixed_bfloat16")  # likewise
LEAST_SIZE = 18  # as in training.networks
FORMATS = ("text", "json", "jsonl", "csv")  # as in rows, which takes longer to import than --help should
CLUSTER_FORMATS = ("jsonl", "parquet")  # as in cluster, which cannot be imported without Ray
EXPORTS = ("keras", "savedmodel", "litert", "int8", "triton", "web")  # as in formats, likewise


Number = TypeVar("Number", int, float)
Run: TypeAlias = Callable[[argparse.Namespace], int]  # a command's work; gives the exit code


def parser(commands_by_name: dict[str, Run]) -> argparse.ArgumentParser:
    """The parser of all commands. What it parses holds the command's function as `run`."""
    whole = argparse.ArgumentParser(
        prog="thumbnet",
        description="Small image classifiers: trained from labelled pictures, in one file, used anywhere.",
        epilog="`thumbnet COMMAND --help` tells more. Exit codes: 0 done, 1 failed, 2 wrong usage, "
        "3 some inputs failed and the others were done, 130 Ctrl-C.",
    )
    whole.add_argument("--version", action="version", version=f"thumbnet {__version__}")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_predict(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_check_data(commands)
    _add_serve(commands)
    _add_export(commands)
    info = _add(commands, "info", "show what a model file says of itself", "thumbnet info cifar10-seed")
    info.add_argument("model", metavar="MODEL", help="a bundled model's name or a file")
    for name, run in commands_by_name.items():
        commands.choices[name].set_defaults(run=run)
    return whole


def _add_predict(commands: Any) -> None:
    command = _add(
        commands, "predict", "say what pictures show",
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
        commands, "train", "train a network and write its model file",
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
        commands, "evaluate", "measure a model on test pictures",
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
        commands, "check-data", "find what is wrong with a data set; exit code 3 if anything is",
        "thumbnet check-data --data my-pictures/ --report check.html\n"
        "thumbnet check-data --data my-pictures/ --labels      (trains for minutes)",
    )  # fmt: skip
    _add_data(command)
    command.add_argument("--labels", action="store_true", help="look for wrong labels, too, by training networks")
    command.add_argument("--seed", type=_natural, default=0, metavar="N", help="of these trainings (0)")
    command.add_argument("--report", metavar="FILE.html", help="write a page with the pictures side by side")


def _add(commands: Any, name: str, what: str, example: str) -> Any:
    return commands.add_parser(
        name, help=what, description=what[0].upper() + what[1:] + ".",
        epilog=f"examples:\n{example}".replace("\n", "\n  "), formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip


def _add_serve(commands: Any) -> None:
    command = _add(
        commands, "serve", "answer over HTTP, with a web page",
        "thumbnet serve                                   (then open http://127.0.0.1:8080/)\n"
        "curl --data-binary @cat.jpg http://127.0.0.1:8080/classify\n"
        "THUMBNET_API_KEY=secret thumbnet serve --host 0.0.0.0 --workers 2 --log-format json",
    )  # fmt: skip
    _add_model(command)
    _add_views(command)
    command.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on; 0.0.0.0 for all (127.0.0.1)"
    )
    command.add_argument("--port", type=_port, default=8080, help="port to listen on; 0 for a free one (8080)")
    command.add_argument("--workers", type=_count, default=1, metavar="N", help="processes that share the port (1)")
    command.add_argument(
        "--api-key",
        metavar="KEY",
        help="require this key from requests; $THUMBNET_API_KEY does the same without showing it",
    )
    command.add_argument("--no-urls", dest="urls", action="store_false", help="read no pictures from URLs")
    command.add_argument(
        "--allow-private-urls", dest="private_urls", action="store_true",
        help="also read URLs that lead to private addresses, for tests and intranets",
    )  # fmt: skip
    command.add_argument(
        "--cors",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let pages of this origin, such as https://example.org, use the API; repeatable",
    )
    command.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="format of the access log (text)"
    )
    command.set_defaults(wrong=command.error)


def _add_export(commands: Any) -> None:
    command = _add(
        commands, "export", "make a model's file for other programs, and prove that it answers the same",
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
