"""cluster: by Ray the rows are those of one machine, whatever happens to its processes. One Ray for the whole file."""

import contextlib
import importlib.util
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from onnx import helper
from support import web as pages
from support.models import content, encode, graph, lost, png, write
from support.web import Visit, Web

from thumbnet import cli, files, process
from thumbnet.cli import arguments
from thumbnet.errors import SourceError
from thumbnet.model.classifier import Classifier, find
from thumbnet.prediction.rows import Tally
from thumbnet.sources.failure import Failure

if importlib.util.find_spec("ray") is None:
    pytest.skip("Ray is not installed: pip install -e '.[scale]'", allow_module_level=True)
if sys.platform == "win32":
    pytest.skip("signals and processes of POSIX", allow_module_level=True)

process.settle_ray()  # before Ray is imported, as the command line does

import pyarrow as pa  # noqa: E402
from pyarrow import fs, parquet  # noqa: E402

from thumbnet.prediction import cluster  # noqa: E402

pytestmark = pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*")  # it uses what it has given up itself

ROOT = Path(__file__).parents[2]
COLOURS = ("red", "green", "blue")
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def environment() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as environment:
        yield environment


@pytest.fixture(scope="module")
def s3(environment: pytest.MonkeyPatch) -> Iterator[fs.FileSystem | None]:
    """What stands in for S3 on this machine, with a bucket in it; None where there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from moto.server import ThreadedMotoServer
    except ImportError:
        yield None
        return
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    address = "{}:{}".format(*server.get_host_and_port())
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": f"http://{address}"}).items():
        environment.setenv(name, value)
    there = fs.S3FileSystem(endpoint_override=address, scheme="http", allow_bucket_creation=True)
    there.create_dir("bucket")
    yield there
    server.stop()


@pytest.fixture(scope="module")
def gs(environment: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[fs.FileSystem | None]:
    """Likewise for Google's store."""
    try:
        import gcp_storage_emulator as _  # noqa: F401
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa
    except ImportError:
        yield None
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # Credentials whose tokens Google's client makes by itself, as it would ask Google for others.
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    credentials = tmp_path_factory.mktemp("google") / "key.json"
    credentials.write_text(
        json.dumps(
            {
                "type": "service_account", "private_key_id": "1", "private_key": key.decode(),
                "client_email": "a@example.com", "token_uri": "https://oauth2.googleapis.com/token",
            }
        )
    )  # fmt: skip
    environment.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(credentials))
    environment.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", f"http://127.0.0.1:{port}")
    # In a process of its own: Arrow keeps Python's lock while it asks for a file's size.
    serve = ["start", "--host=127.0.0.1", f"--port={port}", "--in-memory", "--default-bucket=bucket"]
    log = tmp_path_factory.mktemp("log") / "log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-m", "gcp_storage_emulator", *serve], stdout=output, stderr=output
        ) as server,
    ):
        while server.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        assert server.poll() is None, log.read_text()
        yield fs.FileSystem.from_uri("gs://bucket")[0]
        server.kill()


@pytest.fixture(scope="module")
def _ray(
    environment: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Ray, with the environment that its processes keep, so the stores come before it."""
    for store in ("s3", "gs"):
        request.getfixturevalue(store)
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "RAY_ADDRESS"):
        environment.delenv(name, raising=False)
        environment.delenv(name.upper(), raising=False)
    environment.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    environment.setenv("PYTHONPATH", str(ROOT / "src"))
    with cluster._connected():
        yield


@pytest.fixture(params=["s3", "gs"])
def store(request: pytest.FixtureRequest, _ray: None) -> tuple[str, fs.FileSystem]:
    """A store's bucket as it is named, and what reads and writes there."""
    there: fs.FileSystem | None = request.getfixturevalue(request.param)
    if there is None:
        pytest.skip(f"nothing that stands in for {request.param}:// is installed: pip install --group test")
    return f"{request.param}://bucket", there


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with pictures and a model."""
    folder = tmp_path / "work"
    (folder / "photos").mkdir(parents=True)
    for colour in COLOURS:
        (folder / "photos" / f"{colour}.png").write_bytes(png(colour))
    (folder / "photos" / "broken.png").write_bytes(b"<html>")
    write(folder / "model.onnx")
    monkeypatch.chdir(folder)


def by_ray(*arguments: str, form: str = "jsonl", output: str = "out", model: str = "model.onnx") -> int:
    """The exit code of the whole command."""
    options = ["--engine", "ray", "--model", model, "--format", form, "--output", output]
    return cli.main(["predict", *arguments, *options])


def lines(folder: str = "out") -> list[str]:
    """Of all shards, sorted, as shards have no order."""
    return sorted(line for shard in Path(folder).glob("*.jsonl") for line in shard.read_text().splitlines())


def one_machines(*arguments: str) -> list[str]:
    cli.main(["predict", *arguments, "--model", "model.onnx", "--format", "jsonl", "--output", "one.jsonl"])
    return sorted(Path("one.jsonl").read_text().splitlines())


def answer(source: str, colour: str, **changes: Any) -> dict[str, Any]:
    """A row of a Parquet shard."""
    row = Classifier(content()).predict(png(colour)).as_dict()
    return {**row, "network": None, "error": None, **changes, "source": source}


def failure(source: str, kind: str, message: str) -> dict[str, Any]:
    none = dict.fromkeys(("label", "confidence", "known", "sureness", "network", "top"))
    return {"source": source, **none, "error": {"type": kind, "message": message}}


def columns(**named: list[Any]) -> pa.Table:
    return pa.table(named)


# The same rows


@pytest.mark.usefixtures("_ray")
def test_rows_are_those_of_one_machine(web: Web, capsys: pytest.CaptureFixture[str]) -> None:
    web.pages["/red"] = pages.ok(png("red"))
    for place in range(2 * cluster.BLOCK + 13):  # more than one block, and an odd one
        Path("photos", f"{place}.png").write_bytes(png(COLOURS[place % 3], size=4 + place % 7))
    Path("photos/not UTF-8 \udc80.png").symlink_to("red.png")
    named = [
        web.url("/red"),
        web.url("/red").replace("//", "//me:word@"),
        web.url("/lost"),
        "photos/red.png",
        "lost.png",
    ]
    Path("list.txt").write_text("\n".join([*named, "data:image/png;base64,ab", "ftp://127.0.0.1/a.png"]))
    Path("photos/large.png").write_bytes(encode(lost()))
    more = ["@list.txt", "@lost.txt", str(Path("photos/red.png").resolve()), "--views"]
    arguments = ["photos", "photos/*[ue].png", *more]
    expected = one_machines(*arguments)
    capsys.readouterr()
    assert by_ray(*arguments) == 3
    assert lines() == expected
    assert Path("out", "_SUCCESS").read_bytes() == b""
    captured = capsys.readouterr()
    assert captured.out == ""
    failed = sum("error" in json.loads(line) for line in expected)
    assert failed == 6
    assert captured.err == f"out: {len(expected):,} rows, {failed} of them errors\n"


@pytest.mark.usefixtures("_ray")
def test_worker_that_is_killed_changes_no_row(web: Web) -> None:
    killed: list[int] = []

    def kill_who_asks(visit: Visit) -> None:
        if not killed:
            killed.extend(actors())
            for actor in killed:
                os.kill(actor, signal.SIGKILL)
        else:
            pages.ok(png("red"))(visit)

    web.pages |= {"/red": pages.ok(png("red")), "/kill": kill_who_asks}
    Path("list.txt").write_text("\n".join([web.url("/red"), web.url("/kill"), "lost.png", "photos/blue.png"]))
    assert by_ray("@list.txt") == 3
    assert killed
    assert lines() == one_machines("@list.txt")


def actors() -> list[int]:
    """The processes of our actors."""
    return [each for each in below(os.getpid()) if b"MapWorker" in Path(f"/proc/{each}/cmdline").read_bytes()]


def below(process: int) -> list[int]:
    """All processes that one has started, and those that these have."""
    children = [each for each, parent in parents().items() if parent == process]
    return [*children, *(grandchild for child in children for grandchild in below(child))]


def parents() -> dict[int, int]:
    """Of every process that runs."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                found[int(folder.name)] = int(parent)
    return found


@pytest.mark.usefixtures("_ray")
def test_parquet_in_and_out() -> None:
    held = {"bytes": png("green"), "path": "inside.png"}
    parquet.write_table(columns(image=[png("red"), b"<html>", None, png("blue")]), "a.parquet", row_group_size=3)
    Path("tables/deeper").mkdir(parents=True)
    parquet.write_table(columns(image=[held, held | {"bytes": None}]), "tables/b.parquet")
    paths = ["photos/red.png", "lost.png", None, "photos/blue.png"]
    parquet.write_table(columns(path=paths, label=["?"] * 4), "tables/deeper/c.parquet", row_group_size=2)
    parquet.write_table(columns(image=[png("blue")] * 2, url=["https://me:word@host/a", "-"]), "d.parquet")
    Path("tables/seen.png").write_bytes(png("red"))
    parquet.write_table(columns(image=["red.png"], name=["red"]), "wrong.parquet")
    Path("broken.parquet").write_bytes(b"PAR1, or so it says")
    parquet.write_table(columns(image=[]).cast(pa.schema([("image", pa.binary())])), "empty.parquet")
    named = ["a.parquet", "tables", "[d]*.parquet", "wrong.parquet", "broken.parquet", "empty.parquet", "no.parquet"]
    assert by_ray(*named, "photos/green.png", form="parquet") == 3
    rows = parquet.read_table("out").to_pylist()
    [broken], [page] = ([row for row in rows if row["source"] == name] for name in ("broken.parquet", "a.parquet#1"))
    assert broken["error"]["message"].startswith("cannot read this Parquet file: ")
    assert page["error"]["message"].startswith("this is a web page")
    expected = [
        answer("a.parquet#0", "red"),
        page,
        failure("a.parquet#2", "SourceError", "this row has neither a picture nor the name of one"),
        answer("a.parquet#3", "blue"),
        answer("tables/b.parquet#0", "green"),
        failure("tables/b.parquet#1", "SourceError", "this row has neither a picture nor the name of one"),
        answer("photos/red.png", "red"),
        failure("lost.png", "SourceError", "no such file. Expected a picture's path or its URL"),
        failure("tables/deeper/c.parquet#2", "SourceError", "this row has neither a picture nor the name of one"),
        answer("photos/blue.png", "blue"),
        answer("https://host/a", "blue"),
        answer("-", "blue"),
        failure(
            "wrong.parquet", "SourceError",
            "expected a column image (bytes), path or url (texts), got image string, name string",
        ),
        broken,
        failure("no.parquet", "SourceError", "no such file. Expected a Parquet file's path"),
        answer("photos/green.png", "green"),
    ]  # fmt: skip
    assert {json.dumps(row, sort_keys=True) for row in rows} == {json.dumps(row, sort_keys=True) for row in expected}
    assert len(rows) == len(expected)


def test_objects_in_a_store(store: tuple[str, fs.FileSystem]) -> None:
    bucket, there = store
    for name in ("photos/a b/é#1.png", "photos/red.png", "photos/.hidden.png", "photos/notes.txt"):
        with there.open_output_stream(f"bucket/{name}") as file:
            file.write(png("red"))
    lost = [f"{bucket}/lost.png", bucket.replace("bucket", "nowhere/lost.png")]
    assert by_ray(f"{bucket}/photos/", "photos/blue.png", *lost, output=f"{bucket}/answers/") == 3
    shards = [info.path for info in there.get_file_info(fs.FileSelector("bucket/answers")) if info.size]
    texts = [there.open_input_stream(shard).read().decode() for shard in shards]
    rows = {row["source"]: row for text in texts for row in map(json.loads, text.splitlines())}
    assert {source for source, row in rows.items() if "error" in row} == set(lost)
    assert rows[f"{bucket}/photos/a b/é#1.png"]["label"] == "red"
    assert rows[f"{bucket}/photos/red.png"]["label"] == "red"
    assert rows["photos/blue.png"]["label"] == "blue"
    assert len(rows) == 5
    assert there.get_file_info("bucket/answers/_SUCCESS").is_file
    assert by_ray("photos", output=f"{bucket}/answers") == 1


def test_tables_in_a_store(store: tuple[str, fs.FileSystem]) -> None:
    bucket, there = store
    with there.open_output_stream("bucket/red.png") as file:
        file.write(png("red"))
    parquet.write_table(columns(url=[f"{bucket}/red.png"]), "bucket/list.parquet", filesystem=there)
    arguments = [f"{bucket}/list.parquet", f"{bucket}/lost.parquet"]
    assert by_ray(*arguments, form="parquet", output=f"{bucket}/tables/") == 3
    rows = {row["source"]: row for row in parquet.read_table("bucket/tables", filesystem=there).to_pylist()}
    assert rows[f"{bucket}/red.png"] == answer(f"{bucket}/red.png", "red")
    assert rows[f"{bucket}/lost.parquet"]["error"]
    assert len(rows) == 2


@pytest.mark.usefixtures("_ray")
def test_network_that_fails_ends_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    nan = helper.make_node("Log", ["raw"], ["lower"]), helper.make_node("Sqrt", ["lower"], ["probabilities"])
    Path("bad.onnx").write_bytes(content(graph(extra=nan)))
    assert by_ray("photos", model="bad.onnx") == 1
    assert capsys.readouterr().err == (
        "error: the model file's network gives numbers that are no probabilities. Make or fetch it again\n"
    )
    assert not Path("out", "_SUCCESS").exists()


@pytest.mark.usefixtures("_ray")
def test_empty_list_is_no_error() -> None:
    Path("list.txt").touch()
    assert by_ray("@list.txt") == 0
    assert [each.name for each in Path("out").iterdir()] == ["_SUCCESS"]


def test_ctrl_c_stops_ray_too(web: Web, tmp_path: Path) -> None:
    web.pages["/slow"] = pages.silent
    home = tmp_path / "home"
    home.mkdir()
    command = [sys.executable, "-c", f"{HANDLED}from thumbnet.cli import main; sys.exit(main())"]
    typed = ["predict", web.url("/slow"), "--engine", "ray", "--format", "jsonl", "--output", "out"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HOME": str(home)}
    process = subprocess.Popen(
        [*command, *typed, "--model", "model.onnx"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment, start_new_session=True,
    )  # fmt: skip
    while not web.seen:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    started = below(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "Stopped."
    assert started
    while set(started) & set(parents()):
        time.sleep(0.1)
    assert list(Path("out").iterdir()) == []
    assert not (home / ".ray").exists()


# A shell that starts the tests in the background has SIGINT ignored, and children would inherit that.
HANDLED = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "


# What is written


@pytest.mark.parametrize(
    ("name", "sides"),
    [("cifar10-photo", [80]), ("cifar10-photo", [32, 80, 32]), ("cifar10-best", [32]), ("cifar10-seed", [32])],
)
def test_no_row_depends_on_its_block(name: str, sides: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.get", lambda model: model)
    model: Any = find(name).read_bytes()
    random = np.random.default_rng(0)
    shapes = [(sides[place % len(sides)], sides[place % len(sides)], 3) for place in range(40)]
    pictures = [random.integers(0, 256, shape, np.uint8) for shape in shapes]
    held = [{"source": b"%d" % place, "content": encode(image)} for place, image in enumerate(pictures)]
    answers = cluster._Answers(model, "", "jsonl", 3, views=False, threshold=None)

    def answered(size: int) -> list[bytes]:
        blocks = [pa.Table.from_pylist(held[start : start + size], cluster.SOURCES) for start in range(0, 40, size)]
        return [line for block in blocks for line in answers(block)["line"].to_pylist()]

    whole = answered(40)
    assert len(set(whole)) == 40
    for size in (1, 2, 3, 7, 32, 39):
        assert answered(size) == whole


def test_name_of_a_row_takes_no_other_rows_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.get", lambda model: model)
    given = [
        ("a.png", png("red")),
        ("\0000", None),
        ("\0000", png("blue")),
        ("photos/green.png", None),
        ("a.png", png("green")),
    ]
    table = pa.Table.from_pylist([{"source": name.encode(), "content": held} for name, held in given], cluster.SOURCES)
    answers = cluster._Answers(content(), str(Path.cwd()), "parquet", 3, views=False, threshold=None)(table).to_pylist()  # type: ignore[arg-type]
    assert [row["source"] for row in answers] == [name for name, _ in given]
    assert [row["label"] for row in answers] == ["red", None, "blue", "green", "green"]


@pytest.mark.parametrize(("threshold", "known"), [(None, [True, False]), (0.0, [True, True]), (1.0, [False, False])])
def test_actors_get_the_threshold(monkeypatch: pytest.MonkeyPatch, threshold: float | None, known: list[bool]) -> None:
    monkeypatch.setattr("ray.get", lambda model: model)
    held = [{"source": name.encode(), "content": png(name)} for name in ("red", "grey")]
    answers = cluster._Answers(content(), "", "parquet", 3, views=False, threshold=threshold)  # type: ignore[arg-type]
    table = answers(pa.Table.from_pylist(held, cluster.SOURCES))
    assert table["known"].to_pylist() == known
    assert all(0 < sureness <= 1 for sureness in table["sureness"].to_pylist())


@pytest.mark.parametrize(
    "name",
    [
        "s3://bucket?endpoint_override={}&scheme=http/a.png", "s3://bucket?endpoint_override={}&scheme=http",
        "s3://bucket#part/a.png", "s3://key:word@bucket/a.png", "s3://{}/a.png", "s3:///a.png", "s3://%62ucket/a.png",
        "gs://bucket?endpoint_override={}&scheme=http/a.png", "gs://anonymous@bucket/a.png",
    ],
)  # fmt: skip
def test_row_sends_no_signed_request_elsewhere(name: str, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in KEYS.items():
        monkeypatch.setenv(key, value)
    named = name.format(web.url("/").split("/")[2])
    with pytest.raises(SourceError, match=r"expected a bucket's name after (s3|gs)://, .* not from a URL"):
        cluster._content(named)
    [failed] = cluster._expand([named])
    assert isinstance(failed, Failure)
    assert "expected a bucket's name" in failed.message
    with pytest.raises(SourceError, match="expected a bucket's name"):
        cluster._groups(f"{named}.parquet")
    with pytest.raises(SourceError, match="expected a bucket's name"):
        cluster._Shards(named, "jsonl")
    assert not web.seen


def passed_on(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command will give `cluster.predict`."""
    seen: dict[str, Any] = {}

    def predict(model: bytes, sources: list[str], output: str, **options: Any) -> Tally:
        seen.update(model=model, sources=sources, output=output, **options)
        return Tally(1, 0)

    monkeypatch.setattr(cluster, "predict", predict)
    return seen


def test_model_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo("pipe.onnx")

    def give() -> None:  # a second reader would get nothing
        for part in (content(), b""):
            Path("pipe.onnx").write_bytes(part)

    threading.Thread(target=give, daemon=True).start()
    seen = passed_on(monkeypatch)
    assert by_ray("photos", model="pipe.onnx") == 0
    assert seen["model"] == content()


def test_options_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = passed_on(monkeypatch)
    assert by_ray("photos", "--threshold", "0.5", "--views", "--top-k", "2", form="parquet") == 0
    del seen["model"]
    assert seen == {
        "sources": ["photos"], "output": "out", "form": "parquet", "top_k": 2, "views": True, "threshold": 0.5,
    }  # fmt: skip


def test_second_run_into_a_folder_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with files.exclusive(Path("out", cluster.LOCK)):  # as the first run has it, before its first shard
        assert by_ray("photos") == 1
        told = f"error: {Path('out', cluster.LOCK).resolve()}: another process writes to it. "
        assert capsys.readouterr().err.startswith(told)
    assert [each.name for each in Path("out").iterdir()] == [cluster.LOCK]  # as a kill leaves it, which is no hindrance
    with cluster._claimed("out"):
        pass
    assert list(Path("out").iterdir()) == []


def test_folder_that_is_not_empty_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    Path("out/rows-000000.jsonl").write_text("from before")
    assert by_ray("photos") == 1
    assert capsys.readouterr().err.startswith("error: out: expected an empty or a new folder")
    assert by_ray("photos", output="model.onnx") == 1
    assert capsys.readouterr().err == "error: model.onnx: expected a folder to write to, got a file\n"
    assert [each.read_text() for each in Path("out").iterdir()] == ["from before"]


def test_shard_that_is_written_again_takes_the_place_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = cluster._Shards("out", "jsonl")
    table = pa.table({"line": [b"a\n", b"b\n"], "failed": [False, True]})
    assert [sink.write([table, table], SimpleNamespace(task_idx=7)) for _ in range(2)] == [2, 2]
    assert [(each.name, each.read_bytes()) for each in Path("out").iterdir()] == [("rows-000007.jsonl", b"a\nb\n" * 2)]
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", lambda _: sys.exit("killed"))
        with pytest.raises(SystemExit):
            sink.write([table], SimpleNamespace(task_idx=8))
    assert [each.name for each in Path("out").iterdir()] == ["rows-000007.jsonl"]
    sink.on_write_complete(SimpleNamespace(num_rows=4, write_returns=[2]))
    assert sink.tally == Tally(4, 2)


@pytest.mark.parametrize("name", ["ray.data.arrow_tensor", "ray.data.arrow_tensor_v2", "ray.data.arrow_pickled_object"])
def test_parquet_runs_nothing(name: str) -> None:
    hostile = pickle.dumps(Hostile())
    field = pa.field("image", pa.binary(), metadata={"ARROW:extension:name": name, "ARROW:extension:metadata": hostile})
    parquet.write_table(pa.table([pa.array([hostile])], schema=pa.schema([field])), "hostile.parquet")
    with pytest.raises(SourceError, match=r"expected a column image|cannot read this Parquet file"):
        cluster._groups("hostile.parquet")
    assert not Path("harm").exists()


class Hostile:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("harm",)


# Wrong usage


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a.png --engine ray --format jsonl", "--engine ray needs --output FOLDER and --format jsonl or parquet"),
        ("a.png --engine ray --output out", "--engine ray needs --output FOLDER and --format jsonl or parquet"),
        (
            "a.png --engine ray --format jsonl --output out --resume",
            "--engine ray does not support --resume and --explain",
        ),
        (
            "a.png --engine ray --format jsonl --output out --explain maps",
            "--engine ray does not support --resume and --explain",
        ),
        ("- --engine ray --format jsonl --output out", "does not read a picture from standard input"),
        ("a.png --format parquet --output out", "--format parquet needs --engine ray"),
    ],
)
def test_wrong_usage(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["predict", *words.split()])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.parametrize("missing", ["ray", "pyarrow"])
def test_without_ray_the_command_that_adds_it_is_told(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "thumbnet.prediction.cluster")
    monkeypatch.delattr("thumbnet.prediction.cluster")
    monkeypatch.setitem(sys.modules, missing, None)
    assert by_ray("photos") == 1
    told = f"error: --engine ray needs {missing}, which is not installed. Add it: pip install 'thumbnet[scale]'\n"
    assert capsys.readouterr().err == told


def test_ray_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def late(**_: Any) -> None:
        raise Exception("The current node timed out during startup.\nThis could happen")  # noqa: TRY002

    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", late)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    assert by_ray("photos") == 1
    assert capsys.readouterr().err.startswith(
        "error: Ray did not start, or no cluster answers: The current node timed out during startup. This"
    )


def test_formats_are_those_of_the_command_line() -> None:
    assert cluster.FORMATS == arguments.CLUSTER_FORMATS
