"""The ASGI application: all APIs and the page, with keys, logs, metrics and errors around them."""

import contextlib
import hmac
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from thumbnet.errors import ModelError, ThumbnetError
from thumbnet.model.classifier import Classifier
from thumbnet.server import api, open_inference, tensorflow_serving
from thumbnet.server.metrics import Metrics
from thumbnet.server.service import Limits, RequestError, Service
from thumbnet.sources.urls import host_and_port

PAGE = Path(__file__).parent.parent / "page"
OPEN = ("GET", "HEAD", "OPTIONS")  # if there is a key, these read the page, the documents and health without it
KEYED = ("/metrics", "/model", "/v1/", "/v2")  # except these paths
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
DEFAULT_PORTS = {"http": ":80", "https": ":443"}
LogFormat = Literal["text", "json"]
log = logging.getLogger("thumbnet.server")


def create_app(
    classifier: Classifier,
    *,
    name: str = "thumbnet",
    limits: Limits | None = None,
    urls: bool = True,
    private_urls: bool = False,
    api_key: str | None = None,
    cors: Sequence[str] = (),
    log_format: LogFormat = "text",
    decoders: int | None = None,
) -> Starlette:
    """An ASGI application that answers for one classifier.

    Args:
        classifier: The classifier that answers.
        name: The model's name in the paths of the protocols that have one.
        limits: What requests may take; `Limits()` if not given.
        urls: Whether the server reads URLs that a request names.
        private_urls: Whether such URLs may lead to addresses that are not public. For tests and intranets only.
        api_key: The key that requests must send, as `Authorization: Bearer KEY` or `X-API-Key: KEY`. The page and the
            documents need none.
        cors: Origins whose pages may use the API from a browser, such as `https://example.org`; `*` for all.
        log_format: The format of the access log. Each request is one line, through the logger `thumbnet.server`.
        decoders: Threads that decode pictures; one for each core if not given. If it is 1, for a process that shares
            the cores with others, a small JPEG is decoded without a thread.

    Raises:
        ThumbnetError: The key is empty or does not fit into a header, or one of `cors` is no origin.
    """
    key = None if api_key is None else checked_key(api_key)
    origins = [checked_origin(each) for each in cors]
    metrics = Metrics()
    service = Service(
        classifier, name, limits or Limits(), metrics, urls=urls, private_urls=private_urls, decoders=decoders
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        service.close()

    apis = [*api.routes(service), *open_inference.routes(service), *tensorflow_serving.routes(service)]
    middleware = [Middleware(_Observed, metrics=metrics, routes=apis, log_format=log_format)]
    if origins:
        allowed = ["Authorization", "Content-Type", "X-API-Key"]
        middleware.append(Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=allowed))
    if key is not None:
        middleware.append(Middleware(_Keyed, key=key))
    return Starlette(
        routes=[*apis, *files(PAGE)],
        middleware=middleware,
        exception_handlers={
            RequestError: _refused,
            ThumbnetError: _failed,
            HTTPException: _not_found,
            Exception: _unforeseen,
        },
        lifespan=lifespan,
    )


def checked_key(key: str) -> str:
    """An API key as requests send it. An empty one, such as an unset variable's, would protect nothing.

    Raises:
        ThumbnetError: It is empty, or no header can hold it.
    """
    found = key.strip()
    if not found or not found.isascii() or not found.isprintable():
        got = "an empty one; leave it out for a server that is open to all" if not found else repr(found)
        raise ThumbnetError(f"expected an API key of printable ASCII characters, got {got}")
    return found


def checked_origin(origin: str) -> str:
    """An origin as browsers send it: in lower case, without a final slash and without its scheme's default port.

    Raises:
        ThumbnetError: It is no origin, so that it would never match.
    """
    found = origin.strip()
    if found == "*":
        return found
    try:
        parts = urlsplit(found)
        host = host_and_port(parts)
    except ValueError:  # UnicodeError is one too
        parts, host = urlsplit(""), ""
    if (
        parts.scheme not in DEFAULT_PORTS
        or "@" in parts.netloc
        or parts.path not in ("", "/")
        or set(found) & set("?#")
    ):
        raise ThumbnetError(f"expected an origin such as https://example.org, without a path, got {origin!r}")
    return f"{parts.scheme}://{host.removesuffix(DEFAULT_PORTS[parts.scheme])}"


def files(folder: Path) -> list[Route]:
    """One route for each file in a page's folder, and for no other file."""

    def route(file: Path) -> Route:
        async def send(_: Request) -> Response:
            return FileResponse(file)

        name = file.relative_to(folder).as_posix()
        return Route("/" if name == "index.html" else f"/{name}", send)

    return [route(file) for file in sorted(folder.rglob("*")) if file.is_file()]


async def _refused(_: Request, error: Any) -> Response:
    return JSONResponse({"error": error.message}, error.status, error.headers)


async def _failed(_: Request, error: Exception) -> Response:
    """A picture that cannot be read is the sender's fault; a model that fails is not."""
    return JSONResponse({"error": str(error)}, 500 if isinstance(error, ModelError) else 422)


async def _not_found(_: Request, error: Any) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _unforeseen(_: Request, error: Exception) -> Response:
    log.error("a request failed", exc_info=error)
    return JSONResponse({"error": "the server failed; its log says why"}, 500)


class _Keyed:
    """Answers only those who have the key."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._key = app, key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._asked_for(scope) and not self._has_key(scope):
            headers = {"WWW-Authenticate": "Bearer", "Connection": "close"}
            refusal = JSONResponse({"error": "expected a key: Authorization: Bearer KEY"}, 401, headers)
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    @staticmethod
    def _asked_for(scope: Scope) -> bool:
        return scope["method"] not in OPEN or scope["path"].startswith(KEYED)

    def _has_key(self, scope: Scope) -> bool:
        headers = dict(scope["headers"])
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        if kind.lower() != b"bearer":
            given = headers.get(b"x-api-key", b"")
        return hmac.compare_digest(given.strip(), self._key)


class _Observed:
    """Counts and logs every request, and adds the security headers to every answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: list[Route], log_format: LogFormat) -> None:
        self._app, self._metrics, self._routes, self._as_json = app, metrics, routes, log_format == "json"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status, sent = time.perf_counter(), 500, 0

        async def observed(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *_SECURITY]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, observed)
        finally:
            seconds = time.perf_counter() - start
            path = self._path(scope["path"])
            self._metrics.requests.labels(path, status).inc()
            self._metrics.seconds.labels(path).observe(seconds)
            if log.isEnabledFor(logging.INFO):
                log.info(self._line(scope, status, sent, seconds))

    def _path(self, path: str) -> str:
        """The route, such as `/v2/models/{name}/infer`. Other paths are counted as one: there is no end of them."""
        return next((route.path for route in self._routes if route.path_regex.match(path)), "other")

    def _line(self, scope: Scope, status: int, sent: int, seconds: float) -> str:
        fields = {
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "client": (scope.get("client") or ("-",))[0],
            "method": scope["method"],
            "path": scope["path"],  # without the query, which may hold secrets
            "status": status,
            "bytes": sent,
            "ms": round(seconds * 1000, 1),
        }
        if self._as_json:
            return json.dumps(fields)
        # The path is escaped, because it could hold characters that control a terminal.
        return "{time} {client} {method} {path!a} {status} {bytes} B {ms} ms".format(**fields)


_SECURITY = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]


def log_to_stderr() -> None:
    """Write each record of the log as a line on standard error, as `thumbnet serve` does."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
