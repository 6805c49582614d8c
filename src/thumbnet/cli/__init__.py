"""The command line: parse, one call, print. What is imported here counts against every start."""

import argparse
import io
import json
import os
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbnet.cli import predict
from thumbnet.cli.arguments import Run, parser
from thumbnet.cli.terminal import DONE, FAILED, INTERRUPTED, SOME_FAILED, say
from thumbnet.errors import DataWarning, MissingExtraError, ThumbnetError
from thumbnet.pictures import opencv
from thumbnet.text import printable

if TYPE_CHECKING:
    from thumbnet.data import check


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 wrong usage, 3 some inputs failed, 130 Ctrl-C."""
    opencv.settle()
    for name in ("stdout", "stderr"):  # one that the shell has closed, as by `2>&-`, goes nowhere
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no failure
    parsed = parser(COMMANDS).parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        warnings.showwarning = _show_warning
        try:
            code: int = parsed.run(parsed)
            sys.stdout.flush()
        except KeyboardInterrupt:
            say("Stopped.")
            code = INTERRUPTED
        except BrokenPipeError:  # a reader such as `head` has seen enough
            code = DONE
        except (ThumbnetError, OSError) as error:  # OSError: a full disk, a folder that may not be written to
            say(f"error: {error}")
            code = FAILED
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = None  # or Python would flush it once more at its end, and say so
    return code


def _train(arguments: argparse.Namespace) -> int:
    _settle_training()
    from thumbnet import train

    trained = train(
        arguments.data, arguments.recipe, epochs=arguments.epochs, minutes=arguments.time, seed=arguments.seed,
        output=arguments.output, resume=arguments.resume, refit=arguments.refit, mirror=arguments.mirror,
        precision=arguments.precision, patience=arguments.patience, size=arguments.size, logs=arguments.logs,
        foreign=arguments.foreign,
    )  # fmt: skip
    if trained.interrupted and trained.written:
        say("Stopped. The model is the best so far; --resume continues the training.")
    if trained.written:
        print(f"{trained.path}: {_accuracy(trained.scores.as_dict())}")
    return INTERRUPTED if trained.interrupted else DONE


def _settle_training() -> None:
    """Before Keras is imported. TensorFlow announces its processor features, in lines that no setting turns off."""
    from thumbnet import process

    process.settle_keras()
    process.mute()


def _evaluate(arguments: argparse.Namespace) -> int:
    named = [*([arguments.model] if arguments.model else []), *arguments.models]
    if len(named) > 2:
        arguments.wrong("expected one model, or two to compare")
    from thumbnet import process
    from thumbnet.evaluation import report
    from thumbnet.evaluation.judge import judge_each
    from thumbnet.evaluation.page import prepare, write
    from thumbnet.evaluation.report import versus

    process.mute()
    if arguments.report:
        prepare(Path(arguments.report))
    judged, *other = judge_each(named or [None], arguments.data, arguments.foreign)
    if judged.note:
        say(f"note: {judged.note}")
    if other:
        print(versus(judged, other[0]))
    else:
        print(f"{_accuracy(judged.scores.as_dict())}\n{report.text(judged)}")
    if arguments.report:
        say(f"The report: {write(Path(arguments.report), judged, *other)}")
    return DONE


def _check_data(arguments: argparse.Namespace) -> int:
    from thumbnet.data import check
    from thumbnet.files import check_output

    if arguments.report:
        check_output(Path(arguments.report))
    found = check.check(arguments.data, judge=_label_judge(arguments.seed) if arguments.labels else None)
    print(check.text(found))
    if arguments.report:
        from thumbnet.data import check_page

        check_page.save(found, Path(arguments.report))
        say(f"The pictures: {arguments.report}")
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
    key = os.environ.get(KEY) if arguments.api_key is None else arguments.api_key
    settings = Settings(
        arguments.model, arguments.views, arguments.urls, arguments.private_urls, tuple(arguments.cors),
        arguments.log_format, arguments.workers, key,
    )  # fmt: skip
    serve(settings, arguments.host, arguments.port)
    return DONE


def _export(arguments: argparse.Namespace) -> int:
    if arguments.model and arguments.named:
        arguments.wrong("name the model once: as MODEL or by --model")
    if arguments.runtime and arguments.format != "web":
        arguments.wrong("--runtime is for --format web")
    _settle_training()
    from thumbnet import export

    model = arguments.model or arguments.named
    exported = export.export(model, arguments.format, arguments.output, arguments.data, arguments.runtime)
    print(f"{exported.path}: {exported.agreement or 'holds the model file itself, unchanged'}")
    return DONE


def _info(arguments: argparse.Namespace) -> int:
    from thumbnet.model.classifier import load

    for name, value in load(arguments.model).info.as_dict().items():
        # Escaped, as a stranger's file could hold what steers a terminal.
        text = printable(", ".join(value)) if name == "names" else json.dumps(value)
        print(f"{name:15}{text}" if not isinstance(value, dict) else f"{name}")
        for key, inner in value.items() if isinstance(value, dict) else ():
            print(f"  {json.dumps(key)[1:-1]:20}{json.dumps(inner)}")
    return DONE


def _accuracy(scores: dict[str, float]) -> str:
    return (
        f"{scores['accuracy']:.2%} of {scores['images']:,} test images right "
        f"(95 % interval {scores['accuracy_low']:.2%} to {scores['accuracy_high']:.2%})"
    )


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    say(f"note: {message}" if issubclass(category, DataWarning) else f"{category.__name__}: {message}")


COMMANDS: dict[str, Run] = {
    "predict": predict.run,
    "train": _train,
    "evaluate": _evaluate,
    "check-data": _check_data,
    "serve": _serve,
    "export": _export,
    "info": _info,
}
