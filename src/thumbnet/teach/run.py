"""Runs the page of one folder on uvicorn, for this machine's user alone."""

import secrets
import sys
from pathlib import Path
from types import FrameType

from uvicorn import Config, Server

from thumbnet import process
from thumbnet.errors import ThumbnetError
from thumbnet.server.app import log_to_stderr
from thumbnet.server.protocol import LIMITS, Protocol
from thumbnet.server.run import listen
from thumbnet.teach.app import create_app
from thumbnet.teach.work import Work
from thumbnet.text import printable
from thumbnet.transfer.backbone import DEFAULT, open_backbone

HOST = "127.0.0.1"
KEY_BYTES = 32
LAST_SECONDS = 5  # that unfinished requests have after Ctrl-C


def teach(folder: str | Path, *, port: int = 0, backbone: str | Path = DEFAULT, private_urls: bool = False) -> None:
    """Serve the page of a folder until SIGTERM or Ctrl-C. Prints the address, with a key that changes each time.

    Args:
        folder: Holds a subfolder for each class; made if it is not there.
        port: The port; 0 takes a free one.
        backbone: As for `transfer.pipeline.train`.
        private_urls: Whether pictures may come from URLs that lead to addresses that are not public.

    Raises:
        DataError: The folder is none, or holds splits and no classes.
        MissingExtraError: The backbone's package is not installed.
        ModelError: There is no such backbone, or it does not do what it declares.
        ThumbnetError: The folder cannot be made or written to, another process works on it, or the port is taken.
    """
    root = Path(folder).expanduser()
    try:
        root.mkdir(parents=True, exist_ok=True)
        work = Work(root, open_backbone(backbone))
    except FileExistsError:
        raise ThumbnetError(f"{root}: expected a folder, got a file. Name another") from None
    except OSError as error:
        raise ThumbnetError(f"{root}: cannot be used: {error.strerror or error}. Name another folder") from error
    key = secrets.token_urlsafe(KEY_BYTES)
    with listen(HOST, port) as listening, work.working():
        process.mute()
        log_to_stderr()
        bound = listening.getsockname()[1]
        app = create_app(work, key, bound, private_urls=private_urls)
        config = Config(
            app, http=Protocol, ws="none", lifespan="on", log_config=None, access_log=False, server_header=False,
            limit_concurrency=LIMITS.connections, timeout_graceful_shutdown=LAST_SECONDS,
        )  # fmt: skip
        _say(f"Teach {printable(str(root))} at http://{HOST}:{bound}/#{key}")
        _say("Open this address in a browser on this machine, and keep it to yourself. Ctrl-C ends.")
        _Server(config, work).run([listening])


class _Server(Server):
    """Lets the requests that wait for news end at once."""

    def __init__(self, config: Config, work: Work) -> None:
        super().__init__(config)
        self._work = work

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Of a signal."""
        self._work.ended = True
        super().handle_exit(sig, frame)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
