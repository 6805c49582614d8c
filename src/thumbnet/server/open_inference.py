"""The Open Inference Protocol, version 2, as KServe, Triton and MLServer speak it, with Triton's binary tensors.

https://github.com/kserve/open-inference-protocol, and Triton's extensions "binary tensor data" and "classification".
The input `images` is uint8 `(n, S, S, 3)`, or `n` encoded pictures as BYTES. The outputs are float32: `probabilities`,
`(n, C)`, and `sureness`, `(n, 1)`, with which an answer is "unsure" below the answer's parameter `threshold`.
"""

import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from thumbnet._version import __version__
from thumbnet.model.classifier import Asked
from thumbnet.server.service import RequestError, Service
from thumbnet.server.tensors import VERSION, check_model, from_base64, from_numbers, from_pictures, read_json

HEADER_LENGTH = "Inference-Header-Content-Length"  # bytes of JSON before the binary tensors
INPUT, PROBABILITIES, SURENESS = "images", "probabilities", "sureness"


@dataclass(frozen=True)
class _Wanted:
    """An output that a request wants, and in which form."""

    name: str
    binary: bool
    classes: int  # how many of the most probable classes, as texts; 0 for all probabilities


def routes(service: Service) -> list[Route]:
    """The routes of `/v2`."""
    info = service.classifier.info

    async def server(_: Request) -> Response:
        extensions = ["binary_tensor_data", "classification"]
        return JSONResponse({"name": "thumbnet", "version": __version__, "extensions": extensions})

    async def live(_: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(_: Request) -> Response:
        return JSONResponse({"ready": True})

    async def model(request: Request) -> Response:
        check_model(service, **request.path_params)
        return JSONResponse(
            {
                "name": service.name,
                "versions": [VERSION],
                "platform": "onnxruntime_onnx",
                "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, info.size, info.size, 3]}],
                "outputs": [
                    {"name": PROBABILITIES, "datatype": "FP32", "shape": [-1, len(info.names)]},
                    {"name": SURENESS, "datatype": "FP32", "shape": [-1, 1]},
                ],
            }
        )

    async def model_ready(request: Request) -> Response:
        check_model(service, **request.path_params)
        return JSONResponse({"name": service.name, "ready": True})

    async def infer(request: Request, body: bytes) -> Response:
        check_model(service, **request.path_params)
        head, tail = _split(request.headers.get(HEADER_LENGTH), body)
        asked = await read_json(service, head)
        wanted = _wanted(asked, len(info.names))
        squares = await _squares(service, asked, tail)
        return _response(service, asked.get("id"), await service.ask(squares), wanted)

    def both(path: str, run: Callable[[Request], Any], methods: list[str]) -> list[Route]:
        whole = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
        return [Route(start + path, run, methods=methods) for start in whole]

    return [
        Route("/v2", server),
        Route("/v2/health/live", live),
        Route("/v2/health/ready", ready),
        *both("/infer", service.endpoint(infer), ["POST"]),
        *both("/ready", model_ready, ["GET"]),
        *both("", model, ["GET"]),
    ]


def _split(length: str | None, body: bytes) -> tuple[bytes, memoryview]:
    """The JSON and the binary tensors after it, which are not copied."""
    if length is None:
        return body, memoryview(b"")
    if not (length.isascii() and length.isdigit() and len(length) < 12 and int(length) <= len(body)):
        raise RequestError(400, f"expected {HEADER_LENGTH} to be at most the body's {len(body)}, got {length!r:.40}")
    return body[: int(length)], memoryview(body)[int(length) :]


def _wanted(asked: dict[str, Any], classes: int) -> list[_Wanted]:
    all_binary = _parameters(asked).get("binary_data_output") is True
    outputs = asked.get("outputs") or [{"name": PROBABILITIES}, {"name": SURENESS}]
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise RequestError(400, "expected outputs to be a list of objects")
    names = [output.get("name") for output in outputs]
    if sorted(map(str, names)) not in ([PROBABILITIES], [SURENESS], [PROBABILITIES, SURENESS]):
        raise RequestError(400, f"expected the outputs {PROBABILITIES}, {SURENESS} or both, got {names!r:.80}")
    wanted = []
    for name, parameters in zip(names, map(_parameters, outputs), strict=True):
        count = parameters.get("classification", 0)
        if not isinstance(count, int) or isinstance(count, bool) or count < 0 or (count and name == SURENESS):
            raise RequestError(
                400,
                f"expected classification to be a number of classes of {PROBABILITIES}, got {count!r:.40} of {name}",
            )
        wanted.append(_Wanted(name, parameters.get("binary_data", all_binary) is True, min(count, classes)))
    return wanted


async def _squares(service: Service, asked: dict[str, Any], tail: memoryview) -> NDArray[np.uint8]:
    inputs = asked.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise RequestError(400, f"expected one input, {INPUT}")
    (given,) = inputs
    if given.get("name") != INPUT:
        raise RequestError(400, f"expected the input {INPUT}, got {given.get('name')!r:.80}")
    shape, kind, parameters = given.get("shape"), given.get("datatype"), _parameters(given)
    if not isinstance(shape, list) or not shape or not all(type(length) is int and length > 0 for length in shape):
        raise RequestError(400, f"expected shape to be a list of lengths, got {shape!r:.80}")
    if shape[0] > service.limits.pictures:
        raise RequestError(413, f"expected at most {service.limits.pictures} pictures a request, got {shape[0]:,}")
    if kind not in ("BYTES", "UINT8") or (kind == "BYTES" and shape[1:] not in ([], [1])):
        raise RequestError(400, f"expected UINT8 (n, S, S, 3) or BYTES (n) or (n, 1), got {kind!r:.40} {shape!r:.80}")
    size = parameters.get("binary_data_size")
    if size is None and tail:
        raise RequestError(400, f"expected no bytes after the JSON without binary_data_size, got {len(tail)}")
    if size is not None and (type(size) is not int or size != len(tail)):
        raise RequestError(
            400, f"expected binary_data_size to be the {len(tail)} bytes after the JSON, got {size!r:.40}"
        )
    if kind == "UINT8":
        if size is None:
            return await service.beside(from_numbers, service.classifier.info.size, given.get("data"), shape)
        return _uint8(service.classifier.info.size, tail, shape)
    if size is None:
        contents = _texts(given.get("data"), parameters, shape[0])
    else:
        service.hold(len(tail))
        contents = _strings(tail, shape[0])
    return await from_pictures(service, contents)


def _uint8(size: int, tail: memoryview, shape: list[int]) -> NDArray[np.uint8]:
    if shape[1:] != [size, size, 3] or len(tail) != math.prod(shape):
        raise RequestError(400, f"expected UINT8 (n, {size}, {size}, 3), got {len(tail)} bytes as {shape!r:.80}")
    return np.frombuffer(tail, np.uint8).reshape(shape)


def _texts(data: Any, parameters: dict[str, Any], count: int) -> list[bytes]:
    if parameters.get("content_type") != "base64" or not isinstance(data, list):
        raise RequestError(400, 'expected pictures in base64: "data": […], "parameters": {"content_type": "base64"}')
    if len(data) != count:
        raise RequestError(400, f"expected {count} pictures, as shape says, got {len(data)}")
    return [from_base64(text) for text in data]


def _strings(tail: memoryview, count: int) -> list[bytes]:
    """Up to `count` contents, each after its length in four bytes, little-endian."""
    found: list[bytes] = []
    at = 0
    while at < len(tail) and len(found) < count:
        length = int.from_bytes(tail[at : at + 4], "little")
        found.append(bytes(tail[at + 4 : at + 4 + length]))
        at += 4 + length
    if at > len(tail):
        raise RequestError(400, "expected BYTES as lengths of four bytes and contents, got one that is cut off")
    if at < len(tail) or len(found) < count:
        more = "more" if at < len(tail) else len(found)
        raise RequestError(400, f"expected {count} pictures, as shape says, got {more}")
    return found


def _parameters(value: dict[str, Any]) -> dict[str, Any]:
    parameters = value.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise RequestError(400, "expected parameters to be an object")
    return parameters


def _response(service: Service, identity: Any, answered: Asked, wanted: list[_Wanted]) -> Response:
    info = service.classifier.info
    arrays = {PROBABILITIES: answered.probabilities, SURENESS: answered.sureness[:, np.newaxis]}  # (n, C), (n, 1)
    outputs, tail = [], []
    for each in wanted:
        array = arrays[each.name]
        output: dict[str, Any] = {"name": each.name, "datatype": "FP32", "shape": list(array.shape)}
        if each.classes:
            texts = _classes(info.names, array, each.classes)
            output |= {"datatype": "BYTES", "shape": [len(array), each.classes]}
            data: Any = texts
            packed = b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)
        else:
            data, packed = array.ravel().tolist(), array.tobytes()
        if each.binary:
            output["parameters"] = {"binary_data_size": len(packed)}
            tail.append(packed)
        else:
            output["data"] = data
        outputs.append(output)
    answer: dict[str, Any] = {
        "model_name": service.name,
        "model_version": VERSION,
        "parameters": {"threshold": info.threshold},
        "outputs": outputs,
    }
    if isinstance(identity, str):
        answer["id"] = identity
    if not tail:
        return JSONResponse(answer)
    head = json.dumps(answer).encode()
    content = b"".join([head, *tail])
    return Response(content, media_type="application/octet-stream", headers={HEADER_LENGTH: str(len(head))})


def _classes(names: tuple[str, ...], probabilities: NDArray[np.float32], count: int) -> list[str]:
    """The most probable classes of each picture, as Triton writes them: `0.996023:3:cat`."""
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]  # (n, count)
    return [
        f"{row[index]:.6f}:{index}:{names[index]}"
        for row, order in zip(probabilities, best, strict=True)
        for index in order
    ]
