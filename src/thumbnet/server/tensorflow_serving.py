"""TensorFlow Serving's REST API: `POST /v1/models/M:predict`.

https://www.tensorflow.org/tfx/serving/api_rest. A tensor is whole numbers `(n, S, S, 3)`. A picture is `{"b64": "…"}`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from thumbnet.server.service import RequestError, Service
from thumbnet.server.tensors import VERSION, check_model, from_base64, from_numbers, from_pictures, read_json

INPUT, OUTPUT, SIGNATURE = "images", "probabilities", "serving_default"
FORMS = {"instances": "predictions", "inputs": "outputs"}  # the key of a request → the key of its answer


def routes(service: Service) -> list[Route]:
    """The routes of `/v1`."""
    info = service.classifier.info

    async def status(request: Request) -> Response:
        check_model(service, **request.path_params)
        fine = {"error_code": "OK", "error_message": ""}
        return JSONResponse({"model_version_status": [{"version": VERSION, "state": "AVAILABLE", "status": fine}]})

    async def metadata(request: Request) -> Response:
        check_model(service, **request.path_params)
        signature = {
            "inputs": {INPUT: _tensor(INPUT, "DT_UINT8", (-1, info.size, info.size, 3))},
            "outputs": {OUTPUT: _tensor(OUTPUT, "DT_FLOAT", (-1, len(info.names)))},
            "method_name": "tensorflow/serving/predict",
        }
        return JSONResponse(
            {
                "model_spec": {"name": service.name, "signature_name": "", "version": VERSION},
                "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
            }
        )

    async def predict(request: Request, body: bytes) -> Response:
        check_model(service, **request.path_params)
        asked = await read_json(service, body)
        if asked.get("signature_name", "") not in ("", SIGNATURE):
            raise RequestError(400, f"expected the signature {SIGNATURE}, got {asked['signature_name']!r:.80}")
        given = [form for form in FORMS if form in asked]
        if len(given) != 1:
            raise RequestError(400, "expected either instances or inputs")
        squares = await _squares(service, _unnamed(asked[given[0]]))
        return JSONResponse({FORMS[given[0]]: (await service.ask(squares)).probabilities.tolist()})

    starts = "/v1/models/{name}", "/v1/models/{name}/versions/{version}"
    return [
        *(Route(f"{start}:predict", service.endpoint(predict), methods=["POST"]) for start in starts),
        *(Route(f"{start}/metadata", metadata) for start in starts),
        *(Route(start, status) for start in starts),
    ]


def _tensor(name: str, kind: str, shape: tuple[int, ...]) -> dict[str, Any]:
    lengths = [{"size": str(length), "name": ""} for length in shape]
    return {"dtype": kind, "tensor_shape": {"dim": lengths, "unknown_rank": False}, "name": f"{name}:0"}


def _unnamed(values: Any) -> Any:
    """Values without the name of their input, which may stand around all of them or around each.

    Raises:
        RequestError: They have another input's name (400).
    """
    if isinstance(values, dict):
        return _of_input(values)
    if isinstance(values, list):
        return [_of_input(each) if isinstance(each, dict) and "b64" not in each else each for each in values]
    return values


def _of_input(named: dict[str, Any]) -> Any:
    if named.keys() != {INPUT}:
        raise RequestError(400, f"expected the input {INPUT} alone, got {', '.join(map(repr, named)):.80}")
    return named[INPUT]


async def _squares(service: Service, values: Any) -> NDArray[np.uint8]:
    if not isinstance(values, list) or not values:
        raise RequestError(400, "expected a list of pictures, one at least")
    if len(values) > service.limits.pictures:
        raise RequestError(413, f"expected at most {service.limits.pictures} pictures a request, got {len(values):,}")
    if all(isinstance(each, dict) and each.keys() == {"b64"} for each in values):
        return await from_pictures(service, [from_base64(each["b64"]) for each in values])
    return await service.beside(from_numbers, service.classifier.info.size, values)
