"""An application of the server on a real socket of 127.0.0.1, in a thread of this process."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette

from thumbnet.server.protocol import Protocol


@contextlib.contextmanager
def listening(app: Starlette) -> Iterator[tuple[uvicorn.Server, int]]:
    """The server and its port. It ends with the block, a failing one too, or its thread would hang pytest."""
    server = uvicorn.Server(uvicorn.Config(app, http=Protocol, ws="none", log_config=None, lifespan="on"))
    with socket.create_server(("127.0.0.1", 0)) as bound:
        thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield server, bound.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)
        assert not thread.is_alive()
