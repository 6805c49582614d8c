"""`thumbnet serve` as it runs: real processes and sockets, and clients that mean no good."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.models import png, write

pytest.importorskip("starlette", reason="serving is not installed: pip install -e '.[serve]'")
pytest.importorskip("schemathesis", reason="part of the test group: pip install --group test")

import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from support import live

import thumbnet
from thumbnet.server import Limits, create_app, protocol


@contextlib.contextmanager
def running(model: Path, *options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process of `thumbnet serve` and its port."""
    command = [sys.executable, "-m", "thumbnet", "serve", "--model", str(model), "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}) as process:
        assert process.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stderr.readline())
        assert found
        try:
            yield process, int(found[1])
        finally:
            process.terminate()
            process.communicate(timeout=30)


def classify(port: int, content: bytes = b"", **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request("POST", "/classify", content or png("red"), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path / "tiny.onnx")


@contextlib.contextmanager
def listening(model: Path, limits: Limits, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[uvicorn.Server, int]]:
    """The same in this process, with other limits."""
    monkeypatch.setattr(protocol, "LIMITS", limits)
    with live.listening(create_app(thumbnet.load(model), limits=limits)) as listening:
        yield listening


def said(port: int, *parts: bytes, pause: float = 0) -> bytes:
    """What the server answers to these bytes until it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        with contextlib.suppress(ConnectionError):
            for part in parts:
                client.sendall(part)
                time.sleep(pause)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while block := client.recv(65536):
                answer += block
        return answer


def test_it_answers_and_ends_when_told_to(model: Path) -> None:
    with running(model, "--log-format", "json") as (process, port):
        status, answer = classify(port)
        assert (status, answer["label"]) == (200, "red")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert json.loads(errors.splitlines()[0])["path"] == "/classify"
        assert process.returncode in (0, -signal.SIGTERM)


def test_the_key_comes_from_the_environment(model: Path) -> None:
    with running(model, THUMBNET_API_KEY="secret") as (_, port):
        assert classify(port)[0] == 401
        assert classify(port, Authorization="Bearer secret")[0] == 200


@pytest.mark.parametrize(
    ("options", "key", "message"),
    [
        (["--api-key", ""], None, "expected an API key"),
        (["--workers", "2"], "", "expected an API key"),
        (["--cors", "example.org", "--workers", "2"], None, "expected an origin"),
    ],
)
def test_settings_that_protect_nobody_are_refused(
    model: Path, options: list[str], key: str | None, message: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "THUMBNET_API_KEY"}
    if key is not None:
        environment["THUMBNET_API_KEY"] = key
    command = [sys.executable, "-m", "thumbnet", "serve", "--model", str(model), "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        try:
            said_first = process.stderr.readline()
            process.wait(20)
        finally:
            process.kill()
    assert said_first.startswith(f"error: {message}")
    assert process.returncode == 1


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")
def test_a_restarted_worker_answers_by_the_first_file(model: Path) -> None:
    with running(model, "--workers", "2") as (process, port):
        assert until(lambda: listeners(port) == 2)
        write(model, names=("rot", "grün", "blau"))
        before = children(process.pid)
        os.kill(min(before), signal.SIGKILL)
        assert until(lambda: len(children(process.pid)) == 2 and children(process.pid) != before)
        assert until(lambda: listeners(port) == 2)
        assert {classify(port)[1]["label"] for _ in range(40)} == {"red"}


@pytest.mark.skipif(sys.platform != "linux", reason="a pipe with a name")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_model_may_come_from_a_pipe(model: Path, tmp_path: Path, workers: str) -> None:
    pipe = tmp_path / "piped.onnx"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=(model.read_bytes(),), daemon=True).start()
    with running(pipe, "--workers", workers) as (_, port):
        assert classify(port)[1]["label"] == "red"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_is_told(model: Path, workers: str) -> None:
    with running(model, "--workers", workers) as (_, port):
        command = [sys.executable, "-m", "thumbnet", "serve", "--model", str(model)]
        done = subprocess.run(
            [*command, "--port", str(port), "--workers", workers],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "cannot listen" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_tensorflow_is_imported(model: Path) -> None:
    code = (
        "import sys, thumbnet; from thumbnet.server import create_app; create_app(thumbnet.load(sys.argv[1]));"
        "print(sorted({'tensorflow', 'keras', 'onnx', 'scipy', 'sklearn'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(model)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def children(process: int) -> set[int]:
    command = ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(process)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    workers = [line for line in found.stdout.splitlines() if "spawn_main" in line]
    return {int(line.split()[0]) for line in workers}


def listeners(port: int) -> int:
    """How many sockets listen at this port."""
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return sum(fields[1].endswith(f":{port:04X}") and fields[3] == "0A" for fields in sockets)


def until(condition: Any, seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return bool(held)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")
def test_a_killed_worker_comes_back_and_the_others_go_on(model: Path) -> None:
    with running(model, "--workers", "2") as (process, port):
        assert classify(port)[0] == 200
        assert until(lambda: listeners(port) == 2)
        before = children(process.pid)
        os.kill(min(before), signal.SIGKILL)
        # Its sockets are closed once it is reaped. Its command line is gone earlier, with its memory: who connects
        # between the two is reset.
        assert until(lambda: not Path(f"/proc/{min(before)}").exists())
        statuses = [classify(port)[0] for _ in range(20)]
        assert statuses == [200] * 20
        assert until(lambda: len(children(process.pid)) == 2 and children(process.pid) != before)
        assert classify(port)[0] == 200

        def numbers() -> str:
            return str(urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode())

        # Of both workers together, and of the dead one. A request is counted a moment after its answer is sent.
        assert until(lambda: 'path="/classify",status="200"} 22.0' in numbers(), 5)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")
def test_a_dead_workers_queue_is_not_counted(tmp_path: Path) -> None:
    code = (
        "import os, sys; from thumbnet.server.metrics import Metrics; metrics = Metrics(); metrics.queue.inc(7);"
        "print(metrics.text().decode()) if sys.argv[1] == 'ask' else os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for what in ("die", "ask"):
        done = subprocess.run(
            [sys.executable, "-c", code, what], env=environment, capture_output=True, text=True, check=False
        )
    assert "thumbnet_queue_pictures 7.0" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the workers share a socket")
def test_connections_that_come_at_once_are_spread_over_the_workers(model: Path) -> None:
    with running(model, "--workers", "2") as (process, port):
        assert until(lambda: listeners(port) == 2)
        with contextlib.ExitStack() as stack:
            for _ in range(32):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            time.sleep(0.5)
            counts = [len(list(Path(f"/proc/{child}/fd").iterdir())) for child in children(process.pid)]
        assert abs(counts[0] - counts[1]) <= 24  # by chance once in a hundred thousand; all were with one before


def test_slow_headers_are_cut_off(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(model, Limits(header_seconds=0.5), monkeypatch) as (_, port):
        assert b"408" in said(port)
        assert b"408" in said(port, b"GET /health/live HTTP/1.1\r\n", *[b"a: b\r\n"] * 8, pause=0.1)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
            time.sleep(0.1)  # were both to come at once, the connection would end without a word, after 5 s
            client.sendall(b"GET /slow")
            while b"408" not in (answer := client.recv(65536)):
                assert answer


def test_long_headers_are_cut_off(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(model, Limits(header_bytes=2000), monkeypatch) as (_, port):
        assert b" 431 " in said(port, b"GET / HTTP/1.1\r\n", b"a: " + b"b" * 5000)
        assert b" 431 " in said(port, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000 + b"\r\n")
        assert b" 400 " in said(port, b"no http at all\r\n\r\n")


@pytest.mark.parametrize("first", range(1, 5))
def test_the_end_of_the_headers_may_come_in_two_parts(model: Path, monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    content = png("red") + bytes(100_000)
    head = b"POST /classify HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(content)
    with listening(model, Limits(header_bytes=2000), monkeypatch) as (_, port):
        assert b" 200 OK" in said(port, head[:-first], head[-first:] + content, pause=0.2)
        long = head[:-2] + b"a: b\r\n" * 1000 + b"\r\n"
        assert b" 431 " in said(port, long[:-first], long[-first:] + content, pause=0.2)


def test_requests_that_come_without_waiting_for_answers_are_limited(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
    with listening(model, Limits(pipelined=4), monkeypatch) as (_, port):
        few = said(port, asked * 3 + asked.replace(b"Host: a", b"Host: a\r\nConnection: close"))
        assert few.count(b" 200 OK") == 4
        many = said(port, asked * 1000)
        assert many.count(b" 200 OK") <= 4
        assert b" 400 " in many


def test_one_client_leaves_connections_for_others(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with listening(model, Limits(connections=8), monkeypatch) as (_, port), contextlib.ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        time.sleep(0.2)
        assert b" 503 " in said(port)
        other = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10, ("127.0.0.2", 0)))
        other.sendall(asked)
        assert other.recv(65536).startswith(b"HTTP/1.1 200 OK")
        stack.close()
        assert until(lambda: b" 200 OK" in said(port, asked), 5)


def test_one_client_has_so_many_requests_at_once(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = b"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
    asked = b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with listening(model, Limits(requests=2), monkeypatch) as (_, port):
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(head)
            assert until(lambda: b" 503 " in said(port, asked), 5)
            refused = said(port, asked)
            assert b"retry-after: 1" in refused
            assert refused.endswith(b'{"error":"busy: try again in a second"}')
            other = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10, ("127.0.0.2", 0)))
            other.sendall(asked)
            assert other.recv(65536).startswith(b"HTTP/1.1 200 OK")
        assert until(lambda: b" 200 OK" in said(port, asked), 5)
        for _ in range(5):
            assert b" 200 OK" in said(port, asked)


def test_one_client_leaves_room_for_others(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = threading.Event()
    square = thumbnet.Classifier.square

    def slow(self: thumbnet.Classifier, content: Any, **options: Any) -> Any:
        stuck.wait(20)
        return square(self, content, **options)

    monkeypatch.setattr(thumbnet.Classifier, "square", slow)
    content = png("red")
    asked = b"POST /classify HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)
    with listening(model, Limits(queue=4), monkeypatch) as (_, port), contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(asked)
        assert until(lambda: classify(port)[0] == 503, 5)
        other = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10, ("127.0.0.2", 0)))
        other.sendall(asked)
        time.sleep(0.2)
        stuck.set()
        assert other.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_an_answer_that_nobody_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def large(_: Any) -> Response:
        return Response(bytes(50_000_000))

    monkeypatch.setattr(protocol, "LIMITS", Limits(seconds=0.5))
    app = Starlette(routes=[Route("/", large)])
    with live.listening(app) as (server, port), socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert until(lambda: server.server_state.connections, 5)
        assert until(lambda: not server.server_state.connections, 5)


def test_slow_bodies_are_cut_off(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(body_seconds=0.5, header_seconds=0.5)
    head = b"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
    with listening(model, limits, monkeypatch) as (_, port):
        answer = said(port, head, *[b"x"] * 12, pause=0.1)
        assert b" 408 " in answer
        assert b'{"error":' in answer


def test_the_rest_of_a_large_body_is_read_only_so_long(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(body=1000, header_seconds=0.5)
    head = b"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
    with listening(model, limits, monkeypatch) as (_, port):
        assert b" 413 " in said(port, head, bytes(500_000))
        another = b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        answer = said(port, head, bytes(1_000_000), another)
        assert b" 413 " in answer
        assert b" 200 OK" in answer  # the connection goes on after a body that was thrown away


def test_a_client_that_leaves_frees_its_place(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = threading.Event()
    monkeypatch.setattr(thumbnet.Classifier, "square", lambda *_, **__: stuck.wait(20) and None)
    with listening(model, Limits(queue=1), monkeypatch) as (_, port):
        content = png("red")
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"POST /classify HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))
            assert until(lambda: classify(port)[0] == 503, 5)
        monkeypatch.undo()
        assert until(lambda: classify(port)[0] == 200, 5)
        stuck.set()


def test_what_is_under_way_is_finished_on_shutdown(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    square = thumbnet.Classifier.square

    def slow(self: thumbnet.Classifier, content: Any, **options: Any) -> Any:
        begun.set()
        go_on.wait(20)
        return square(self, content, **options)

    monkeypatch.setattr(thumbnet.Classifier, "square", slow)
    answers: list[int] = []
    with listening(model, Limits(), monkeypatch) as (server, port):
        client = threading.Thread(target=lambda: answers.append(classify(port)[0]))
        client.start()
        assert begun.wait(10)
        server.should_exit = True
        time.sleep(0.3)
        go_on.set()
        client.join(10)
    assert answers == [200]


def test_schemathesis_finds_no_fault(model: Path) -> None:
    # No schema can say which bytes are a picture: that those which are none are refused is no fault.
    options = ["--max-examples", "30", "--exclude-checks", "positive_data_acceptance"]
    with running(model, "--no-urls") as (_, port):
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{port}/openapi.json", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
