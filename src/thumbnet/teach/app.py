"""The ASGI application of one folder's page. It reads requests within limits, and lets `Work` do the rest."""

import asyncio
import base64
import contextlib
import errno
import functools
import hmac
import json
import logging
import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

import anyio
import cv2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from thumbnet.data.collection import MissingError, Place, TakenError
from thumbnet.errors import ExportError, ModelError, ThumbnetError, TrainingError
from thumbnet.prediction import explain
from thumbnet.server.app import SECURITY_HEADERS, files
from thumbnet.server.service import CLIENT_LEFT, RETRY_AFTER, Limits, RequestError
from thumbnet.sources.urls import is_data
from thumbnet.teach import openapi, take_away
from thumbnet.teach.thumbnails import LARGE, SIDE, jpeg
from thumbnet.teach.work import PIXELS, Model, Work

PAGE = Path(__file__).parent / "page"
BODY = Limits.body  # bytes of a picture
JSON = 2**20  # bytes of a JSON text
BODIES = 4  # bodies that are held at once; others wait to be read
BODY_SECONDS = 60.0  # until a whole body has arrived
NEWS_SECONDS = 20.0  # that a request waits for news
LOOKS = 0.1  # seconds between two looks for news
FRAMES = 3  # pictures that may wait for an answer; more are refused
TOP = 10  # classes of an answer
FETCH_SECONDS = 30.0
NO_SPACE = (errno.ENOSPC, errno.EDQUOT) if hasattr(errno, "EDQUOT") else (errno.ENOSPC,)
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
GONE = (errno.ENOENT, errno.ENOTDIR)
HEADERS = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
T = TypeVar("T")
log = logging.getLogger("thumbnet.server.teach")


def create_app(work: Work, key: str, port: int, *, private_urls: bool = False) -> Starlette:
    """An ASGI application for one folder.

    Args:
        work: The folder's. Who calls this runs `work.working()`.
        key: What requests for `/api/` must send, as `Authorization: Bearer KEY`.
        port: Where the application is reached, on 127.0.0.1 and localhost alone.
        private_urls: Whether pictures may come from URLs that lead to addresses that are not public.
    """
    api = _Api(work, private_urls)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        api.close()

    one = "/api/classes/{name}"
    routes = [
        Route("/api/state", api.state),
        Route("/api/classes", api.add_class, methods=["POST"]),
        Route(f"{one}/rename", api.rename_class, methods=["POST"]),
        Route(f"{one}/remove", api.remove_class, methods=["POST"]),
        Route(f"{one}/pictures", api.add_picture, methods=["POST"]),
        Route(f"{one}/urls", api.add_url, methods=["POST"]),
        Route("/api/move", api.move, methods=["POST"]),
        Route("/api/undo", api.undo, methods=["POST"]),
        Route("/api/train", api.train, methods=["POST"]),
        Route("/api/thumbnail", api.thumbnail),
        Route("/api/picture", api.picture),
        Route("/api/predict", api.predict, methods=["POST"]),
        Route("/api/model", api.model),
        Route("/api/report", api.report),
        Route("/api/web", api.web),
        Route("/api/openapi.json", api.openapi),
    ]
    return Starlette(
        routes=[*routes, *files(PAGE)],
        middleware=[Middleware(_Guarded, key=key, port=port)],
        exception_handlers={
            RequestError: _refused,
            ThumbnetError: _failed,
            OSError: _failed,
            HTTPException: _not_found,
            ClientDisconnect: _left,
            Exception: _unforeseen,
        },
        lifespan=lifespan,
    )


class _Api:
    """The endpoints."""

    def __init__(self, work: Work, private_urls: bool) -> None:
        self._work, self._private_urls = work, private_urls
        self._files = ThreadPoolExecutor(BODIES, "files")
        self._network = ThreadPoolExecutor(1, "answer")
        self._making = ThreadPoolExecutor(1, "make")
        self._fetching = ThreadPoolExecutor(BODIES, "fetch")
        self._bodies, self._urls = asyncio.Semaphore(BODIES), asyncio.Semaphore(BODIES)
        self._frames = 0

    def close(self) -> None:
        """Let all threads end."""
        for pool in (self._files, self._network, self._making, self._fetching):
            pool.shutdown(wait=False, cancel_futures=True)

    async def state(self, request: Request) -> Response:
        after = request.query_params.get("after")
        if after is not None and not re.fullmatch(r"[0-9]{1,18}", after, re.ASCII):
            raise RequestError(422, f"expected after to be a version, got {after!r:.40}")
        with anyio.move_on_after(NEWS_SECONDS):
            while after is not None and self._work.version == int(after) and not self._work.ended:
                await asyncio.sleep(LOOKS)
        return _json(await self._in(self._files, self._work.state))

    async def add_class(self, request: Request) -> Response:
        name = _text(await self._json(request, {"name"}), "name")
        made = await self._change(lambda folder: folder.add_class(name))
        return _json({"name": made}, 201)

    async def rename_class(self, request: Request) -> Response:
        asked = await self._json(request, {"name", "merge"}, needed={"name"})
        name, merge = _text(asked, "name"), asked.get("merge", False)
        if not isinstance(merge, bool):
            raise RequestError(422, "expected merge to be true or false")
        old = request.path_params["name"]
        new = await self._change(lambda folder: folder.rename_class(old, name, merge=merge))
        return _json({"name": new})

    async def remove_class(self, request: Request) -> Response:
        name = request.path_params["name"]
        await self._change(lambda folder: folder.remove_class(name))
        return _json({})

    async def add_picture(self, request: Request) -> Response:
        async with self._body(request, BODY) as content:
            return await self._add(request.path_params["name"], request.query_params.get("name", ""), content)

    async def add_url(self, request: Request) -> Response:
        url = _text(await self._json(request, {"url"}), "url").strip()
        name = "" if is_data(url) else unquote(urlsplit(url).path.rpartition("/")[2], errors="replace")
        async with self._urls:
            content = await self._in(self._fetching, self._fetch, url)
            return await self._add(request.path_params["name"], name, content)

    def _fetch(self, url: str) -> bytes:
        from thumbnet.sources.fetch import read  # imports ssl and urllib.request

        return read(url, deadline=FETCH_SECONDS, max_bytes=BODY, public_only=not self._private_urls)

    async def _add(self, label: str, name: str, content: bytes) -> Response:
        shown, known = await self._in(self._files, self._work.add, label, name, content)
        added = {"name": shown.name, "key": shown.key}
        return _json({**added, "known": True}) if known else _json(added, 201)

    async def move(self, request: Request) -> Response:
        asked = await self._json(request, {"pictures", "to"})
        to, named = asked["to"], asked["pictures"]
        if to is not None and not isinstance(to, str):
            raise RequestError(422, "expected to to be a class's name or null")
        if not isinstance(named, list) or not all(isinstance(each, dict) for each in named):
            raise RequestError(422, "expected pictures to be a list of objects with class and name")
        places = [Place(_text(each, "class"), _text(each, "name")) for each in named]
        await self._change(lambda folder: folder.move(places, to))
        return _json({})

    async def undo(self, request: Request) -> Response:
        await self._drop(request)
        try:
            label = await self._change(lambda folder: folder.undo())
        except MissingError as error:
            raise RequestError(409, str(error)) from None
        return _json({"label": label})

    async def train(self, request: Request) -> Response:
        await self._drop(request)
        self._work.train()
        return _json({}, 202)

    async def thumbnail(self, request: Request) -> Response:
        return await self._sent(request, SIDE)

    async def picture(self, request: Request) -> Response:
        return await self._sent(request, LARGE)

    async def _sent(self, request: Request, side: int) -> Response:
        """A picture as JPEG. The browser asks each time whether its own is still right."""
        place = Place(*(request.query_params.get(name, "") for name in ("class", "name")))
        _, key = await self._in(self._files, self._work.entry, place)
        headers = {"ETag": f'"{key}-{side}"', "Cache-Control": "private, no-cache"}
        if key and headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        drawn = await self._in(self._files, self._drawn, place, key, side)
        return Response(drawn, headers=headers, media_type="image/jpeg")

    def _drawn(self, place: Place, key: str, side: int) -> bytes:
        small = self._work.thumbnails
        if side == SIDE and key and (kept := small.kept(key)):
            return kept
        image = small.decoded(self._work.content(place), side)
        return small.keep(key, image) if side == SIDE and key else jpeg(image, side)

    async def predict(self, request: Request) -> Response:
        async with self._body(request, BODY) as content:
            if self._frames > FRAMES:
                raise RequestError(503, "busy: try again in a second", RETRY_AFTER)
            model = self._work.model
            if model is None:
                raise RequestError(409, "there is no model yet. Show pictures of two classes first")
            self._frames += 1
            try:
                heat = request.query_params.get("heat", "") == "1"
                return _json(await self._in(self._network, self._answered, model, content, heat))
            finally:
                self._frames -= 1

    def _answered(self, model: Model, content: bytes, heat: bool) -> dict[str, Any]:
        classifier = model.classifier
        with self._work.thumbnails.memory(content):
            square = classifier.squares(content, max_pixels=PIXELS)[0]  # (S, S, 3)
        [answer] = classifier.answers([""], classifier.ask(square[None]), TOP)
        drawn = None
        if heat:
            layer = explain.layer(explain.heat(classifier, square))
            png = cv2.imencode(".png", cv2.cvtColor(layer, cv2.COLOR_RGBA2BGRA))[1].tobytes()
            drawn = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        fields = answer.as_dict()
        del fields["source"]
        return {**fields, "heat": drawn}

    async def model(self, _: Request) -> Response:
        model = self._fresh()
        return _download(model.content, f"{self._work.folder.name or 'model'}.onnx", "application/octet-stream")

    async def report(self, _: Request) -> Response:
        model = self._fresh()
        content = await self._in(self._making, take_away.report, self._work, model)
        return _download(content, f"{self._work.folder.name or 'model'}-report.zip", "application/zip")

    async def web(self, _: Request) -> Response:
        model = self._fresh()
        content = await self._in(self._making, take_away.web, self._work, model)
        return _download(content, f"{self._work.folder.name or 'model'}-web.zip", "application/zip")

    async def openapi(self, _: Request) -> Response:
        return _json(openapi.document())

    def _fresh(self) -> Model:
        try:
            return self._work.fresh()
        except TrainingError as error:
            raise RequestError(409, str(error)) from None

    async def _change(self, act: Callable[[Any], T]) -> T:
        return await self._in(self._files, self._work.change, act)

    @staticmethod
    async def _in(pool: ThreadPoolExecutor, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, functools.partial(work, *arguments))

    # --- bodies ---

    @contextlib.asynccontextmanager
    async def _body(self, request: Request, most: int) -> AsyncIterator[bytes]:
        """A request's body, once there is room for it. The connection holds the others' back.

        Raises:
            RequestError: It is too large (413) or too slow (408).
        """
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > most:
            raise RequestError(413, f"expected at most {most // 2**20} MiB", {"Connection": "close"})
        async with self._bodies if most > JSON else contextlib.nullcontext():
            blocks, count = [], 0
            try:
                with anyio.fail_after(BODY_SECONDS):
                    async for block in request.stream():
                        count += len(block)
                        if count > most:
                            raise RequestError(413, f"expected at most {most // 2**20} MiB", {"Connection": "close"})
                        blocks.append(block)
            except TimeoutError:
                raise RequestError(408, f"expected the whole body within {BODY_SECONDS:g} s") from None
            content = b"".join(blocks)
            del blocks
            yield content

    async def _json(self, request: Request, fields: set[str], needed: set[str] | None = None) -> dict[str, Any]:
        """A body's JSON object.

        Raises:
            RequestError: It is none, or has other fields (422).
        """
        async with self._body(request, JSON) as content:
            try:
                asked = json.loads(content)
            except (ValueError, RecursionError):
                asked = None
        wanted = fields if needed is None else needed
        if not isinstance(asked, dict) or not wanted <= asked.keys() <= fields:
            raise RequestError(422, f"expected a JSON object with {', '.join(sorted(fields))}")
        return asked

    async def _drop(self, request: Request) -> None:
        async with self._body(request, JSON):
            pass


def _text(asked: dict[str, Any], field: str) -> str:
    if not isinstance(asked.get(field), str):
        raise RequestError(422, f"expected {field} to be text")
    return str(asked[field])


def _json(content: Any, status: int = 200) -> Response:
    """JSON in ASCII: names of files may hold what no Unicode text may."""
    return Response(json.dumps(content, separators=(",", ":")), status, media_type="application/json")


def _download(content: bytes, name: str, kind: str) -> Response:
    plain = re.sub(r'[^ -~]|["\\%]', "_", name)
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"
    return Response(content, media_type=kind, headers={"Content-Disposition": disposition})


# --- errors ---


async def _refused(_: Request, error: Any) -> Response:
    return JSONResponse({"error": error.message}, error.status, error.headers)


async def _failed(_: Request, error: Exception) -> Response:
    status, message = _explained(error)
    if status == 500:
        log.error("a request failed", exc_info=error)
    return _json({"error": message}, status)


def _explained(error: Exception) -> tuple[int, str]:
    """A status and a sentence for what went wrong."""
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        if error.errno in NO_SPACE:
            return 507, f"the disk is full: {reason}. Nothing is lost. Make room, and do it again"
        if error.errno in NOT_ALLOWED:
            return 403, f"the folder may not be written to: {reason}. Nothing is lost"
        if error.errno in GONE:
            return 404, "another program has moved or removed this meanwhile"
        return 500, f"this failed: {reason}"
    if isinstance(error, MissingError):
        return 404, str(error)
    if isinstance(error, TakenError):
        return 409, str(error)
    if isinstance(error, ModelError):
        return 500, str(error)
    if isinstance(error, ExportError):
        return 502, str(error)
    return 422, str(error)


async def _not_found(_: Request, error: Any) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _left(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)


async def _unforeseen(_: Request, error: Exception) -> Response:
    log.error("a request failed", exc_info=error)
    return JSONResponse({"error": "this failed; the terminal says why"}, 500)


class _Guarded:
    """Answers the page of this very application alone, and adds the security headers."""

    def __init__(self, app: ASGIApp, key: str, port: int) -> None:
        self._app, self._key = app, key.encode()
        self._hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost")}
        self._origins = {b"http://" + host for host in self._hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message.get("headers", [])}
                fresh = [] if b"cache-control" in own else [(b"cache-control", b"no-store")]
                message["headers"] = [*message.get("headers", []), *HEADERS, *fresh]
            await send(message)

        refusal = self._refusal(scope)
        await (self._app if refusal is None else refusal)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        """What another site's page, or another user of the machine, is answered."""
        headers = dict(scope["headers"])
        host, origin = headers.get(b"host", b"").lower(), headers.get(b"origin")
        if host not in self._hosts:  # a name of another site may lead to this machine
            return _json({"error": "expected the address that `thumbnet teach` printed"}, 421)
        if origin is not None and origin.lower() != b"http://" + host:
            return _json({"error": "another site's page may not do this"}, 403)
        if not scope["path"].startswith("/api/"):
            return None
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        if kind.lower() == b"bearer" and hmac.compare_digest(given.strip(), self._key):
            return None
        refusal = _json({"error": "expected the key in the address that `thumbnet teach` printed. Open it again"}, 401)
        refusal.headers["WWW-Authenticate"] = "Bearer"
        refusal.headers["Connection"] = "close"  # the body is not read
        return refusal
