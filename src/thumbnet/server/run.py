"""Runs `create_app` on uvicorn: one port, and one process or several."""

import contextlib
import os
import socket
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from uvicorn import Config, Server
from uvicorn.supervisors import Multiprocess

from thumbnet import process
from thumbnet.errors import ModelError, ThumbnetError
from thumbnet.model import classifier
from thumbnet.server.app import LogFormat, create_app, log_to_stderr
from thumbnet.server.metrics import SHARED_FOLDER
from thumbnet.server.protocol import LIMITS, Protocol

KEY = "THUMBNET_API_KEY"
BACKLOG = 2048  # connections that may wait to be accepted
LAST_SECONDS = 10  # that unfinished requests have after SIGTERM


@dataclass(frozen=True)
class Settings:
    """The command line's settings of the application, and how many processes share the port."""

    model: str | None
    views: bool
    urls: bool
    private_urls: bool
    cors: tuple[str, ...]
    log_format: LogFormat
    workers: int
    api_key: str | None = field(default=None, repr=False)


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until SIGTERM or Ctrl-C.

    The model file is read once. Every process gets this content, also one that replaces another. So all of them answer
    by the file that the server started with, even if the file has changed since.

    Args:
        settings: What to serve, and how.
        host: The address to listen on.
        port: The port; 0 takes a free one.

    Raises:
        ModelError: The model does not exist or is broken.
        ThumbnetError: The server cannot listen on the address, the API key is empty, or an origin is none.
    """
    content = _content(settings.model)
    app: Any = _application(settings, content)  # what is wrong shows here, once, before any worker starts
    if settings.workers > 1:
        app = partial(application, settings, content)
    listening = listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    address = listening.getsockname()
    ready = f"{_name(settings.model)} at http://{shown}:{address[1]}/ (Ctrl-C ends)"
    config = Config(
        app, factory=settings.workers > 1, workers=settings.workers, http=Protocol, ws="none",
        lifespan="on", log_config=None, access_log=False, server_header=False,
        limit_concurrency=LIMITS.connections, timeout_graceful_shutdown=LAST_SECONDS,
    )  # fmt: skip
    if settings.workers == 1:
        del content
        process.mute()
        log_to_stderr()
        _say(ready)
        Server(config).run([listening])
        return
    with tempfile.TemporaryDirectory(prefix="thumbnet-serve-") as folder:
        os.environ[SHARED_FOLDER] = folder
        workers = Multiprocess(config, [_spread(listening)])
        threading.Thread(target=_say_once_reached, args=(ready, address), daemon=True).start()
        workers.run()


def application(settings: Settings, model: bytes) -> Starlette:
    """The application of a worker process."""
    process.mute()
    log_to_stderr()
    return _application(settings, model)


def _application(settings: Settings, model: bytes) -> Starlette:
    threads = _threads(settings.workers)
    try:
        loaded = classifier.Classifier(model, threads, settings.views)
    except ModelError as error:
        raise ModelError(f"{settings.model or classifier.BUNDLED[0]}: {error}") from None
    return create_app(
        loaded,
        name=_name(settings.model),
        urls=settings.urls,
        private_urls=settings.private_urls,
        api_key=settings.api_key,
        cors=settings.cors,
        log_format=settings.log_format,
        decoders=threads or None,
    )


def _content(model: str | None) -> bytes:
    try:
        return classifier.find(model).read_bytes()
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        classifier.load(model)  # which says in words what is wrong
        raise


def _threads(workers: int) -> int:
    """How many threads a process has for the network, and for decoding: its share of the cores. 0 means all cores."""
    return max(1, (os.cpu_count() or 1) // workers) if workers > 1 else 0


def _name(model: str | None) -> str:
    return Path(model).stem if model else classifier.BUNDLED[0]


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one. Raises ThumbnetError if it cannot."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        raise ThumbnetError(
            f"cannot listen on {host} port {port}: {error.strerror or error}. Give another --host or --port"
        ) from None
    listening.set_inheritable(True)
    return listening


class _Spread(socket.socket):
    """Holds a port. Every process that it is sent to gets a socket of its own that listens on the port.

    Linux then gives each process its share of the connections. If all processes had one socket, the first to wake up
    would take what is there, and 32 connections that come at once might all go to one process.
    """

    def __reduce__(self) -> tuple[Any, ...]:  # how `multiprocessing` sends it
        return _listening_too, (self.family, self.getsockname())


def _spread(listening: socket.socket) -> socket.socket:
    """What worker processes get instead of `listening`, which has shown that the port is free."""
    if sys.platform != "linux":
        return listening
    address = listening.getsockname()
    listening.close()
    holding = _Spread(listening.family, socket.SOCK_STREAM)
    holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if listening.family == socket.AF_INET6:
        holding.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # as `create_server` does
    holding.bind(address)  # without `listen`, or it would get connections itself
    return holding


def _listening_too(family: socket.AddressFamily, address: Any) -> socket.socket:
    return socket.create_server(address, family=family, backlog=BACKLOG, reuse_port=True)


def _say_once_reached(message: str, address: Any) -> None:
    while True:
        with contextlib.suppress(OSError), socket.create_connection(address[:2], timeout=1):
            break
        time.sleep(0.02)
    _say(message)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
