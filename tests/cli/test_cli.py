"""cli: exit codes, what goes to which stream, and every format."""

import csv
import gc
import inspect
import io
import json
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, get_args

import pytest
from support import web as pages
from support.models import encode, lost, png, write
from support.web import Web

import thumbnet
from thumbnet import cli
from thumbnet.cli import arguments
from thumbnet.errors import DataWarning, ThumbnetError
from thumbnet.model import classifier

ROOT = Path(__file__).parents[2]
COMMANDS = ["predict", "train", "evaluate", "info"]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals and pipes of POSIX")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with pictures, and with tiny models in place of the bundled ones."""
    folder = tmp_path / "work"
    folder.mkdir()
    for colour in ("red", "green", "blue", "grey"):
        (folder / f"{colour}.png").write_bytes(png(colour))
    (folder / "broken.png").write_bytes(b"<html>")
    for name in classifier.BUNDLED:
        write(folder / f"{name}.onnx")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(classifier, "PRETRAINED", folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))  # absolute, as processes start in that folder
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # it would hide what happens to a buffer at the end


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """The exit code, standard output and standard error of a command."""
    try:
        code = cli.main(list(arguments))
    except SystemExit as end:  # argparse's way
        code = int(end.code or 0)
    output, errors = capsys.readouterr()
    return code, output, errors


def type_in(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


# predict


def test_one_picture_in_text(capsys: pytest.CaptureFixture[str]) -> None:
    code, output, errors = run(capsys, "predict", "red.png")
    assert (code, errors) == (0, "")
    assert output == "red\n   100.0%  red\n     0.0%  green\n     0.0%  blue\n"


def test_several_pictures_in_text(capsys: pytest.CaptureFixture[str]) -> None:
    code, output, errors = run(capsys, "predict", "--top-k", "1", "red.png", "grey.png")
    assert (code, errors) == (0, "")
    assert output == "red.png: red\n   100.0%  red\ngrey.png: red (unsure)\n    33.3%  red\n"


@pytest.mark.parametrize("model", ["cifar10-seed", "missing.onnx"])
def test_garbage_is_collected_again_after_the_start(capsys: pytest.CaptureFixture[str], model: str) -> None:
    run(capsys, "predict", "red.png", "--model", model)
    assert gc.isenabled()


def test_views_find_what_is_lost_in_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    Path("lost.png").write_bytes(encode(lost()))
    assert run(capsys, "predict", "lost.png")[1].startswith("red\n")
    assert run(capsys, "predict", "lost.png", "--views")[1].startswith("green\n")
    many = run(capsys, "predict", "lost.png", "red.png", "lost.png", "--views", "--format", "csv")[1]
    assert [row["label"] for row in objects(many, "csv")] == ["green", "red", "green"]


def objects(output: str, form: str) -> list[dict[str, Any]]:
    if form == "csv":
        return list(csv.DictReader(io.StringIO(output)))
    loaded = [json.loads(line) for line in output.splitlines()] if form == "jsonl" else json.loads(output)
    return loaded if isinstance(loaded, list) else [loaded]


@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
def test_rows_keep_the_order_of_the_sources(capsys: pytest.CaptureFixture[str], form: str) -> None:
    sources = ["blue.png", "missing.png", "grey.png", "broken.png", "blue.png"]
    code, output, errors = run(capsys, "predict", "--format", form, *sources)
    assert (code, errors) == (3, "")
    rows = objects(output, form)
    assert [row["source"] for row in rows] == sources
    assert [row.get("label") or None for row in rows] == ["blue", None, "red", None, "blue"]
    assert [str(row.get("known")).lower() for row in rows if row.get("label")] == ["true", "false", "true"]
    assert ["error" in row and "no such file" in str(row["error"]) for row in rows] == [
        False,
        True,
        False,
        False,
        False,
    ]


def test_failures_between_answers_in_text(capsys: pytest.CaptureFixture[str]) -> None:
    code, output, errors = run(capsys, "predict", "red.png", "missing.png", "blue.png")
    assert code == 3
    assert re.findall("^.*png: .*$", output, re.MULTILINE) == ["red.png: red", "blue.png: blue"]
    assert errors == "error: missing.png: no such file. Expected a picture's path or its URL\n"


def test_json_is_as_designed(capsys: pytest.CaptureFixture[str]) -> None:
    answer = json.loads(run(capsys, "predict", "--format", "json", "--top-k", "2", "red.png")[1])
    assert list(answer) == ["source", "label", "confidence", "known", "sureness", "top"]
    assert [list(guess) for guess in answer["top"]] == [["label", "confidence"]] * 2
    failure = json.loads(run(capsys, "predict", "--format", "json", "broken.png")[1])
    assert list(failure) == ["source", "error"]
    assert failure["error"]["type"] == "ImageError"
    assert "web page" in failure["error"]["message"]


def test_csv_has_a_header_and_plain_line_ends(capsys: pytest.CaptureFixture[str]) -> None:
    _, output, _ = run(capsys, "predict", "--format", "csv", "red.png")
    assert output.splitlines(keepends=True)[0] == "source,label,confidence,known,sureness,network,error\n"
    assert "\r" not in output


@pytest.mark.parametrize("form", ["text", "json", "jsonl", "csv"])
@pytest.mark.parametrize(
    ("sources", "code"),
    [(["red.png"], 0), (["missing.png"], 1), (["missing.png", "broken.png"], 1), (["red.png", "a"], 3)],
)
def test_exit_code_is_the_same_in_every_format(
    capsys: pytest.CaptureFixture[str], form: str, sources: list[str], code: int
) -> None:
    assert run(capsys, "predict", "--format", form, *sources)[0] == code


def test_url_is_read(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    web.pages["/green"] = pages.ok(png("green"))
    assert run(capsys, "predict", web.url("/green"))[:2] == (
        0,
        "green\n   100.0%  green\n     0.0%  red\n     0.0%  blue\n",
    )


def test_failing_url_is_named_once_and_without_its_password(capsys: pytest.CaptureFixture[str], web: Web) -> None:
    code, output, errors = run(capsys, "predict", web.url("/none").replace("://", "://ann:secret@"))
    assert (code, output) == (1, "")
    assert errors.startswith(f"error: {web.url('/none')}: the server answered 404")
    assert errors.count("/none") == 1
    assert "secret" not in errors


@pytest.mark.parametrize("typed", [b"red.png", b"  red.png \r\nblue.png\n"])
def test_without_a_source_it_asks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, typed: bytes
) -> None:
    type_in(monkeypatch, typed)
    code, output, errors = run(capsys, "predict")
    assert (code, output.splitlines()[0], errors) == (0, "red", "URL of an image: ")


@pytest.mark.parametrize("typed", [b"", b"\n", b"  \n", b"\xff\n"], ids=["end", "empty", "blank", "no text"])
def test_asked_and_nothing_answered(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, typed: bytes
) -> None:
    type_in(monkeypatch, typed)
    code, output, errors = run(capsys, "predict")
    assert (code, output) == (1, "")
    assert errors.startswith("URL of an image: error: expected the URL of an image, got no text.")


def test_without_a_source_and_with_standard_input_closed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    told = "error: no picture is named, and standard input is closed. Name a file: thumbnet predict FILE\n"
    assert run(capsys, "predict") == (1, "", told)


@pytest.mark.parametrize("typed", [b"a\0b\n", b"http://[\n", b"ftp://host/a.png\n"])
def test_asked_and_nonsense_answered(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, typed: bytes
) -> None:
    type_in(monkeypatch, typed)
    code, output, errors = run(capsys, "predict")
    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert "error: " in errors


@pytest.mark.parametrize(
    ("encoding", "form"), [("utf-8", "text"), ("ascii", "text"), ("ascii", "json"), ("cp1252", "json")]
)
def test_name_that_the_terminal_cannot_show_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, encoding: str, form: str
) -> None:
    names = ["é 猫 😀.png", *(["\udcff.png"] if sys.platform == "linux" else [])]
    for name in names:
        Path(name).write_bytes(png("red"))
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding=encoding))
    assert cli.main(["predict", "--format", form, *names, "red.png"]) == 0
    if form == "json":
        assert [row["source"] for row in json.loads(output.getvalue())] == [*names, "red.png"]
    assert b"red.png" in output.getvalue()


# The other commands


def test_the_best_bundled_model_answers_unless_another_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert classifier.BUNDLED == ("cifar10-photo", "cifar10-best", "cifar10-seed")
    write(Path("cifar10-photo.onnx"), names=("cyan", "lime", "navy"))
    assert run(capsys, "predict", "red.png")[1].startswith("cyan\n")
    assert run(capsys, "predict", "--model", "cifar10-best", "red.png")[1].startswith("red\n")


def test_info_shows_which_network_is_for_thumbnails(capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("two.onnx"), thumbnails="cifar10-best")
    assert 'thumbnails     "cifar10-best"\n' in run(capsys, "info", "two.onnx")[1]


def test_a_stranger_names_no_file_for_thumbnails(capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("two.onnx"), thumbnails="\x1b[31m../red.onnx")
    code, output, errors = run(capsys, "predict", "--model", "two.onnx", "red.png")
    assert (code, output) == (1, "")
    assert errors == (
        "error: two.onnx: expected a model for thumbnails among cifar10-photo, cifar10-best, cifar10-seed, got "
        "'\\x1b[31m../red.onnx'. Make or fetch the file again, or upgrade Thumbnet\n"
    )


def test_info_shows_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("mine.onnx"), recipe={"name": "seed", "evil\x1b[31m": "\x1b[31m\x9b"}, version="\x1b]0;")
    code, output, errors = run(capsys, "info", "mine.onnx")
    assert (code, errors) == (0, "")
    assert re.search(r"^names +red, green, blue$", output, re.MULTILINE)
    assert re.search(r"^  name +\"seed\"$", output, re.MULTILINE)
    assert output.replace("\n", "").isprintable()


def make_dataset(test: tuple[str, ...]) -> None:
    """A folder of pictures whose classes stand in the model's order."""
    for split, colours in (("train", ("red", "green", "blue")), ("test", test)):
        for colour in colours:
            place = Path("data", split, {"red": "1", "green": "2", "blue": "3"}[colour])
            place.mkdir(parents=True)
            (place / "a.png").write_bytes(png(colour))
    write(Path("numbers.onnx"), names=("1", "2", "3"))


def test_evaluate(capsys: pytest.CaptureFixture[str]) -> None:
    make_dataset(("red", "green", "blue"))
    code, output, errors = run(capsys, "evaluate", "--model", "numbers.onnx", "--data", "data")
    assert (code, errors) == (0, "")
    assert output.startswith("100.00% of 3 test images right (95 % interval 43.85% to 100.00%)\n")


def test_warning_is_one_note(capsys: pytest.CaptureFixture[str]) -> None:
    make_dataset(("red", "green"))
    code, _, errors = run(capsys, "evaluate", "--model", "numbers.onnx", "--data", "data")
    assert code == 0
    assert re.fullmatch(r"note: .*classes without a picture in the test split.*: 3\n", errors)


def test_warnings_are_pythons_again_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    before = warnings.showwarning
    run(capsys, "predict", "red.png")
    assert warnings.showwarning is before
    with pytest.raises(DataWarning):
        warnings.warn("an error in these tests", DataWarning, stacklevel=1)


def test_train_passes_everything_on(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def train(data: str, recipe: str, **options: Any) -> None:
        seen.update(data=data, recipe=recipe, **options)
        raise ThumbnetError("far enough")

    monkeypatch.setitem(vars(thumbnet), "train", train)
    options = "--data digits --recipe seed --time 1.5 --seed 7 --output a.onnx --resume --refit --no-mirror"
    options += " --precision float32 --patience 3 --size 64 --logs curves --foreign other"
    options += " --backbone own.onnx --other things"
    assert run(capsys, "train", *options.split()) == (1, "", "error: far enough\n")
    assert seen == {
        "data": "digits", "recipe": "seed", "epochs": None, "minutes": 1.5, "seed": 7, "output": "a.onnx",
        "resume": True, "refit": True, "mirror": False, "precision": "float32", "patience": 3, "size": 64,
        "logs": "curves", "foreign": "other", "backbone": "own.onnx", "other": "things",
    }  # fmt: skip
    run(capsys, "train", "--epochs", "3")
    assert (seen["data"], seen["recipe"], seen["epochs"], seen["minutes"]) == ("cifar10", None, 3, None)


def test_the_training_has_the_same_defaults_from_a_program_and_from_the_shell() -> None:
    from thumbnet.recipe import train

    parameters = inspect.signature(train).parameters
    typed = vars(arguments.parser(cli.COMMANDS).parse_args(["train"])) | {"minutes": None}
    assert {name: typed[name] for name in parameters} == {name: each.default for name, each in parameters.items()}
    assert typed["time"] is None
    assert arguments.parser(cli.COMMANDS).parse_args(["check-data"]).seed == typed["seed"] == 0


def test_the_largest_seed_is_that_of_the_training(capsys: pytest.CaptureFixture[str]) -> None:
    from thumbnet.training.settings import MOST_SEED

    assert arguments.MOST_SEED == MOST_SEED == arguments.parser(cli.COMMANDS).parse_args(
        ["train", "--seed", str(MOST_SEED)]
    ).seed  # fmt: skip
    with pytest.raises(SystemExit):
        arguments.parser(cli.COMMANDS).parse_args(["train", "--seed", str(MOST_SEED + 1)])
    assert "expected a whole number from 0 to 4294967295, got '4294967296'" in capsys.readouterr().err


def test_recipes_are_those_of_the_training() -> None:
    from thumbnet.training.recipes import RECIPES

    assert ("transfer", "tune", *RECIPES) == arguments.RECIPES


def test_precisions_are_those_of_the_training() -> None:
    from thumbnet.training.precision import Precision

    assert get_args(Precision) == arguments.PRECISIONS


def test_the_least_size_is_that_of_the_training() -> None:
    from thumbnet.training.networks import LEAST

    assert LEAST == arguments.LEAST_SIZE


def test_formats_are_those_of_the_rows() -> None:
    from thumbnet.prediction.rows import FORMATS

    assert FORMATS == arguments.FORMATS


# Failures


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("predict --model missing.onnx red.png", "no model file at missing.onnx"),
        ("predict --model red.png red.png", "red.png: not a model file"),
        ("predict --model . red.png", "cannot read the model file"),
        ("info missing.onnx", "no model file at missing.onnx"),
        ("evaluate --data missing", "missing: no such file or folder"),
    ],
)
def test_error_is_one_line(capsys: pytest.CaptureFixture[str], arguments: str, told: str) -> None:
    code, output, errors = run(capsys, *arguments.split())
    assert (code, output) == (1, "")
    assert errors.startswith("error: ")
    assert told in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("predict", "--explain"), ("train", "--logs"), ("train", "--foreign"), ("evaluate", "--foreign"),
        ("evaluate", "--report"), ("check-data", "--report"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_path_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], command: str, option: str, empty: str
) -> None:
    code, _, errors = run(capsys, command, option, empty)
    assert code == 2
    assert f"argument {option}: expected a path, got an empty one" in errors


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "fly",
        "predict --format xml",
        "predict --top-k 0",
        "predict --views --explain maps red.png",
        "predict --top-k -1",
        "predict --top-k many",
        "predict --top-k 1.5",
        "predict --threshold -0.1",
        "predict --threshold 1.01",
        "predict --threshold nan",
        "predict --threshold half",
        "train --epochs 0",
        "train --time 0",
        "train --time nan",
        "train --time inf",
        "train --seed -1",
        "train --epochs 1 --time 1",
        "train --size 17",
        "train --recipe best-of-all",
        "info",
    ],
)
def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str], arguments: str) -> None:
    code, output, errors = run(capsys, *arguments.split())
    assert (code, output) == (2, "")
    assert errors.startswith("usage: thumbnet")


@pytest.mark.parametrize(
    ("failure", "code", "told"),
    [
        (KeyboardInterrupt(), 130, "Stopped.\n"),
        (BrokenPipeError(), 0, ""),
        (PermissionError(13, "Permission denied", "a.onnx"), 1, "error: [Errno 13] Permission denied: 'a.onnx'\n"),
        (ThumbnetError("too bad"), 1, "error: too bad\n"),
    ],
    ids=["Ctrl-C", "pipe", "disk", "ours"],
)
def test_failure_becomes_an_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, failure: BaseException, code: int, told: str
) -> None:
    def load(_: str | None) -> None:
        raise failure

    monkeypatch.setattr("thumbnet.model.classifier.load", load)
    assert run(capsys, "info", "any") == (code, "", told)


def test_fault_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thumbnet.model.classifier.load", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["info", "any"])


# Help


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_examples(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, output, errors = run(capsys, command, "--help")
    assert (code, errors) == (0, "")
    examples = output.partition("\nexamples:\n")[2].splitlines()
    assert examples
    assert all(f"thumbnet {command}" in example for example in examples)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, output, errors = run(capsys, "--help")
    assert (code, errors) == (0, "")
    assert all(f"\n    {command} " in output for command in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"thumbnet {thumbnet.__version__}\n", "")


# Real processes

# A shell that starts the tests in the background has SIGINT ignored, and children would inherit that.
START = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from thumbnet.cli import main
sys.exit(main())
"""


def start(*arguments: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", START, *arguments], stdin=pipe, stdout=pipe, stderr=pipe)


@POSIX
def test_ctrl_c_while_asking() -> None:
    with start("predict", "--model", "cifar10-seed.onnx") as process:
        assert process.stderr is not None
        prompt = b"URL of an image: "
        assert process.stderr.read(len(prompt)) == prompt
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (130, b"", b"Stopped.\n")


@POSIX
def test_reader_that_has_seen_enough() -> None:
    with start("predict", "--model", "cifar10-seed.onnx", "--format", "jsonl", *["red.png"] * 2000) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["label"] == "red"
        process.stdout.close()
        process.stdout = None
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("form", ["text", "json"])
def test_full_disk_is_told(form: str) -> None:
    command = [sys.executable, "-m", "thumbnet", "predict", "--model", "cifar10-seed.onnx", "--format", form, "red.png"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"error: [Errno 28] No space left on device\n")


@POSIX
@pytest.mark.parametrize("closed", ["1", "2"])
def test_a_closed_stream_goes_nowhere(closed: str) -> None:
    command = "exec {} -m thumbnet predict --model cifar10-seed.onnx --format jsonl --output out.jsonl red.png none.png"
    shell = ["sh", "-c", f"{command.format(sys.executable)} {closed}>&-"]
    done = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    rows = list(map(json.loads, Path("out.jsonl").read_text().splitlines()))
    assert [row.get("label") for row in rows] == ["red", None]


def test_predict_py_takes_the_model_of_this_folder() -> None:
    write(Path("model.onnx"), names=("crimson", "green", "blue"))
    command = [sys.executable, str(ROOT / "predict.py")]
    done = subprocess.run(command, input=b"red.png\n", capture_output=True, check=True)
    assert done.stdout.splitlines()[0] == b"crimson"
    assert done.stderr.decode().splitlines() == ["Model: model.onnx", "URL of an image: "]


def test_predict_py_takes_the_bundled_model_else(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import runpy

    monkeypatch.setattr(sys, "argv", ["predict.py", "red.png", "--top-k", "1"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "predict.py"), run_name="__main__")
    assert end.value.code == 0
    assert capsys.readouterr() == ("red\n   100.0%  red\n", "Model: cifar10-seed\n")


def test_info_shows_the_history_an_epoch_a_line_and_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"epoch": 1, "loss": 2.5}, {"epoch": 2, "loss": 1.25}]
    write(Path("mine.onnx"), history=rows, data={"source": "Bilder/Äpfel\x1b[2J"})
    code, output, _ = run(capsys, "info", "mine.onnx")
    assert code == 0
    lines = output.splitlines()
    start = lines.index("history")
    assert lines[start + 1 : start + 3] == ['  {"epoch": 1, "loss": 2.5}', '  {"epoch": 2, "loss": 1.25}']
    assert lines[lines.index("data") + 1] == '  source              "Bilder/Äpfel\\u001b[2J"'
