"""The command line: parse, one call, print. What is imported here counts against every start."""

import argparse
import io
import json
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbnet.cli import predict
from thumbnet.cli.arguments import Run, parser
from thumbnet.cli.terminal import DONE, FAILED, INTERRUPTED, SOME_FAILED, say
from thumbnet.errors import DataWarning, ThumbnetError, needs
from thumbnet.pictures import opencv
from thumbnet.text import printable

if TYPE_CHECKING:
    from thumbnet.data import check
    from thumbnet.data.dataset import Dataset
    from thumbnet.evaluation.scores import Answers
    from thumbnet.model.classifier import Classifier


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
        foreign=arguments.foreign, backbone=arguments.backbone, other=arguments.other,
    )  # fmt: skip
    if trained.interrupted and trained.written:
        say("Stopped. The model is the best so far; --resume continues the training.")
    if trained.written:
        info = trained.classifier.info
        print(f"{trained.path}: {_accuracy(info.scores) if trained.scores else 'not measured'}")
        if (share := info.scores.get("unknown_class")) is not None:
            print(f"Shown a class it never learnt, it is unsure about {share:.0%} (each class was left out once).")
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
    judged, *other = judge_each(named or [None], arguments.data, arguments.foreign, _cross_validated)
    if judged.note:
        say(f"note: {judged.note}")
    if other:
        print(versus(judged, other[0]))
    else:
        scores = {**judged.scores.as_dict(), "cross_validated": judged.cross_validated}
        print(f"{_accuracy(scores)}\n{report.text(judged)}")
    if arguments.report:
        say(f"The report: {write(Path(arguments.report), judged, *other)}")
    return DONE


def _cross_validated(classifier: "Classifier", dataset: "Dataset") -> "Answers":
    """Answers to the very pictures that a model learnt from, each by a head that has not learnt from it."""
    with needs("measuring a model on pictures that it learnt from", "transfer"):
        from thumbnet.transfer.learn import cross_validated
    return cross_validated(classifier, dataset)


def _check_data(arguments: argparse.Namespace) -> int:
    from thumbnet import process
    from thumbnet.data import check
    from thumbnet.files import check_output

    process.mute()
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
    with needs("looking for wrong labels", "check"):
        from thumbnet.transfer.labels import label_judge
    return label_judge(seed)


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


def _teach(arguments: argparse.Namespace) -> int:
    from thumbnet.teach import teach

    teach(arguments.folder, port=arguments.port, backbone=arguments.backbone, private_urls=arguments.private_urls)
    return DONE


def _export(arguments: argparse.Namespace) -> int:
    if None not in (arguments.model, arguments.named):
        arguments.wrong("name the model once: as MODEL or by --model")
    if arguments.runtime is not None and arguments.format != "web":
        arguments.wrong("--runtime is for --format web")
    _settle_training()
    from thumbnet import export

    model = arguments.named if arguments.model is None else arguments.model  # "" is no model, not the best one
    exported = export.export(model, arguments.format, arguments.output, arguments.data, arguments.runtime)
    print(f"{printable(str(exported.path))}: {exported.agreement or 'holds the model file itself, unchanged'}")
    return DONE


def _info(arguments: argparse.Namespace) -> int:
    from thumbnet.model.classifier import load

    for name, value in load(arguments.model).info.as_dict().items():
        if name == "names":
            print(f"{name:15}{printable(', '.join(value))}")
        elif isinstance(value, dict):
            print(name)
            for key, inner in value.items():
                print(f"  {printable(key):20}{_json(inner)}")
        elif isinstance(value, list):  # the history: an epoch a line
            print(name)
            for row in value:
                print(f"  {_json(row)}")
        else:
            print(f"{name:15}{_json(value)}")
    return DONE


def _json(value: Any) -> str:
    """JSON for a terminal, which a stranger's model file could steer."""
    return printable(json.dumps(value, ensure_ascii=False))


def _accuracy(scores: dict[str, float]) -> str:
    how = "pictures right, cross-validated" if scores.get("cross_validated") else "test images right"
    return (
        f"{scores['accuracy']:.2%} of {scores['images']:,} {how} "
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
    "teach": _teach,
    "export": _export,
    "info": _info,
}
