"""`create_app` on uvicorn: one port, one process or several."""

import json
import os
import socket
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from starlette.applications import Starlette
from uvicorn import Config, Server
from uvicorn.supervisors import Multiprocess

from thumbnet import classifier as classifiers
from thumbnet import native
from thumbnet.errors import ThumbnetError
from thumbnet.server.app import LogFormat, create_app, log_to_stderr
from thumbnet.server.metrics import SHARED_FOLDER
from thumbnet.server.protocol import LIMITS, Protocol

SETTINGS = "THUMBNET_SERVE_SETTINGS"  # how they reach worker processes
KEY = "THUMBNET_API_KEY"
LAST_SECONDS = 10  # that requests under way have, after SIGTERM


@dataclass(frozen=True)
class Settings:
    """What the command line says of the application, and how many processes of it share the port."""

    model: str | None
    urls: bool
    private_urls: bool
    cors: tuple[str, ...]
    log_format: LogFormat
    workers: int


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until SIGTERM or Ctrl-C. The API key, if any, is $THUMBNET_API_KEY.

    Args:
        settings: What to serve, and how.
        host: The address to listen at.
        port: Likewise; 0 takes a free one.

    Raises:
        ModelError: No such model, or a broken one.
        ThumbnetError: The address cannot be listened at.
    """
    classifiers.load(settings.model)  # what is wrong with it shows here, once, before any worker starts
    os.environ[SETTINGS] = json.dumps(asdict(settings))
    listening = _listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    _say(f"{_name(settings.model)} at http://{shown}:{listening.getsockname()[1]}/ (Ctrl-C ends)")
    config = Config(
        "thumbnet.server.run:application", factory=True, workers=settings.workers, http=Protocol, ws="none",
        lifespan="on", log_config=None, access_log=False, server_header=False,
        limit_concurrency=LIMITS.connections, timeout_graceful_shutdown=LAST_SECONDS,
    )  # fmt: skip
    if settings.workers == 1:
        Server(config).run([listening])
        return
    with tempfile.TemporaryDirectory(prefix="thumbnet-serve-") as folder:
        os.environ[SHARED_FOLDER] = folder
        Multiprocess(config, [listening]).run()


def application() -> Starlette:
    """The application of this process, by the settings in its environment."""
    read = json.loads(os.environ[SETTINGS])
    settings = Settings(**{**read, "cors": tuple(read["cors"])})
    native.mute()
    log_to_stderr()
    return create_app(
        classifiers.load(settings.model, threads=_threads(settings.workers)),
        name=_name(settings.model),
        urls=settings.urls,
        private_urls=settings.private_urls,
        api_key=os.environ.get(KEY),
        cors=settings.cors,
        log_format=settings.log_format,
    )


def _threads(workers: int) -> int:
    """Of the network in each process: as many as there are cores for it. More would wait for each other."""
    return max(1, (os.cpu_count() or 1) // workers) if workers > 1 else 0


def _name(model: str | None) -> str:
    return Path(model).stem if model else classifiers.BUNDLED[0]


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        raise ThumbnetError(
            f"cannot listen at {host} port {port}: {error.strerror or error}. Give another --host or --port"
        ) from None
    listening.set_inheritable(True)
    return listening


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
