"""Thumbnet's own API: it takes pictures and answers as `thumbnet predict --format json` does."""

from typing import TypeAlias

import cv2
import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from thumbnet.errors import ThumbnetError
from thumbnet.model.classifier import by_size, together
from thumbnet.pictures.decode import RGB
from thumbnet.prediction import explain
from thumbnet.prediction.rows import Row
from thumbnet.server import form, openapi
from thumbnet.server.metrics import CONTENT_TYPE
from thumbnet.server.service import RequestError, Service
from thumbnet.server.tensors import read_json
from thumbnet.sources.failure import Failure
from thumbnet.sources.urls import without_password
from thumbnet.text import CONTROL

BODY = "picture"  # the name of a picture that is a whole body
Input: TypeAlias = "tuple[str, bytes | ThumbnetError]"  # its name; its content, or the error


def routes(service: Service) -> list[Route]:
    """`/classify`, `/explain`, `/square`, `/model`, `/health/…`, `/metrics`, `/openapi.json`, `/docs`."""

    async def classify(request: Request, body: bytes) -> Response:
        top_k = _top_k(request)
        inputs, several = await _inputs(service, request, body)
        answers = [row.as_dict() for row in await _answered(service, inputs, top_k)]
        if several:
            return JSONResponse(answers)
        return JSONResponse(answers[0], 422 if "error" in answers[0] else 200)

    async def heat_map(request: Request, body: bytes) -> Response:
        def draw(picture: RGB) -> bytes:
            return _png(explain.drawn(service.classifier, picture))

        content = await _one(service, request, body)
        return Response(await service.explained(content, draw), media_type="image/png")

    async def square(request: Request, body: bytes) -> Response:
        (seen,) = await service.squares([await _one(service, request, body)])
        if isinstance(seen, ThumbnetError):
            raise seen
        return Response(_png(seen[0]), media_type="image/png")

    async def model(_: Request) -> Response:
        info = service.classifier.info.as_dict()
        return JSONResponse({"model": service.name, "urls": service.urls, **info})

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok", "model": service.name})

    async def metrics(_: Request) -> Response:
        return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def description(_: Request) -> Response:
        return JSONResponse(openapi.document(service))

    async def documentation(_: Request) -> Response:
        return Response(openapi.page(service), media_type="text/html")

    return [
        Route("/classify", service.endpoint(classify), methods=["POST"], name="classify"),
        Route("/explain", service.endpoint(heat_map), methods=["POST"], name="explain"),
        Route("/square", service.endpoint(square), methods=["POST"], name="square"),
        Route("/model", model, name="model"),
        Route("/health/live", health, name="health"),
        Route("/health/ready", health, name="health"),
        Route("/metrics", metrics, name="metrics"),
        Route("/openapi.json", description, name="openapi"),
        Route("/docs", documentation, name="docs"),
    ]


async def _answered(service: Service, inputs: list[Input], top_k: int) -> list[Row]:
    """A row for each input, in their order."""
    contents = [found for _, found in inputs if isinstance(found, bytes)]
    seen = iter(await service.squares(contents))
    squares = [(source, next(seen) if isinstance(found, bytes) else found) for source, found in inputs]
    good = [(source, views) for source, views in squares if not isinstance(views, ThumbnetError)]
    rows: dict[int, Row] = {}
    for size, places in by_size([views for _, views in good]).items():
        asked = await service.ask(np.concatenate([good[place][1] for place in places]), pictures=len(places))
        asked = together(asked, [len(good[place][1]) for place in places])
        answers = service.classifier.for_squares(size).answers([good[place][0] for place in places], asked, top_k)
        rows.update(zip(places, answers, strict=True))
    answered = (rows[place] for place in range(len(good)))
    return [Failure(source, views) if isinstance(views, ThumbnetError) else next(answered) for source, views in squares]


async def _inputs(service: Service, request: Request, body: bytes) -> tuple[list[Input], bool]:
    """The pictures that a request brings or names, and whether the answer is a list.

    Raises:
        RequestError: The body is not what its type says (400). It has too many pictures (413). It names URLs, and the
            server reads none (403).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return await _named(service, body)
    if kind == "multipart/form-data":
        service.hold(len(body))
        files = form.files(request.headers["content-type"], body, service.limits.pictures, BODY)
        return list(files), len(files) > 1
    return [(BODY, body)], False


async def _named(service: Service, body: bytes) -> tuple[list[Input], bool]:
    asked = await read_json(service, body)
    if len(asked) != 1 or not asked.keys() <= {"url", "urls"}:
        raise RequestError(400, 'expected {"url": "https://…"} or {"urls": ["https://…", …]}')
    ((key, value),) = asked.items()
    urls = [value] if key == "url" else value
    if not isinstance(urls, list) or not urls or not all(map(_is_line, urls)):
        raise RequestError(400, f"expected {key} to be {'a URL' if key == 'url' else 'a list of URLs, one at least'}")
    found = await service.fetched(urls)
    return [(without_password(url), content) for url, content in zip(urls, found, strict=True)], key == "urls"


async def _one(service: Service, request: Request, body: bytes) -> bytes:
    inputs, several = await _inputs(service, request, body)
    if several:
        raise RequestError(400, f"expected one picture, got {len(inputs)}")
    ((_, content),) = inputs
    if isinstance(content, ThumbnetError):
        raise content
    return content


def _is_line(value: object) -> bool:
    return isinstance(value, str) and not CONTROL.search(value)


def _top_k(request: Request) -> int:
    text = request.query_params.get("top_k", "3")
    if not (text.isascii() and text.isdigit() and int(text[:9]) >= 1 and len(text) < 10):
        raise RequestError(400, f"expected top_k to be 1 or more, got {text!r:.40}")
    return int(text)


def _png(picture: RGB) -> bytes:
    _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return data.tobytes()
