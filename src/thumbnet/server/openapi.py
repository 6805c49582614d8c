"""Describes the API, as OpenAPI 3.1 and as a page for people."""

from html import escape
from typing import Any

from thumbnet._version import __version__
from thumbnet.server.service import Service

_ERROR = {"$ref": "#/components/schemas/Error"}
_PREDICTION = {"$ref": "#/components/schemas/Prediction"}
_FAILURE = {"$ref": "#/components/schemas/Failure"}
_ANSWERS = {"anyOf": [_PREDICTION, {"type": "array", "items": {"anyOf": [_PREDICTION, _FAILURE]}}]}

_TEXTS = {
    400: "The request is not what its type says, or it asks for something that does not exist.",
    401: "The server requires a key, and the request has none or a wrong one.",
    403: "The request names a URL, and the server reads none.",
    408: "The body took too long to arrive.",
    413: "The body is too large, or it has too many pictures, pixels or values.",
    415: "The body is compressed in an unknown way.",
    422: "The picture cannot be fetched or read.",
    503: "The server is busy. Try again after the seconds in Retry-After.",
}


def document(service: Service) -> dict[str, Any]:
    """The server's OpenAPI document."""
    one = {
        "image/*": {"schema": {}},
        "application/octet-stream": {"schema": {}},
        "application/json": {"schema": {"$ref": "#/components/schemas/Url"}},
        "multipart/form-data": {"schema": {"$ref": "#/components/schemas/File"}},
    }
    many = {
        **one,
        "application/json": {"schema": {"$ref": "#/components/schemas/Urls"}},
        "multipart/form-data": {"schema": {"$ref": "#/components/schemas/Files"}},
    }
    top_k = {
        "name": "top_k", "in": "query", "description": "How many of the most probable classes to name.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999, "default": 3},
    }  # fmt: skip
    png: dict[str, Any] = {"image/png": {"schema": {}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Thumbnet",
            "version": __version__,
            "description": f"Classifies pictures with the model {service.name}.",
        },
        "paths": {
            "/classify": {
                "post": {
                    "summary": "Classify pictures",
                    "description": "Send one picture as the body, several as the files of a form, or URLs as JSON. One "
                    "picture is answered by an object, several by a list in their order. A picture that failed has an "
                    "error in its place.",
                    "operationId": "classify",
                    "parameters": [top_k],
                    "requestBody": {"required": True, "content": many},
                    "responses": {
                        "200": _json("One answer, or a list of answers.", _ANSWERS),
                        **_errors(*_TEXTS),
                        "422": _json(_TEXTS[422], {"anyOf": [_FAILURE, _ERROR]}),
                    },
                }
            },
            "/explain": {
                "post": {
                    "summary": "Show which part of a picture decided",
                    "operationId": "explain",
                    "requestBody": {"required": True, "content": one},
                    "responses": {
                        "200": {"description": "The picture with a heat map over it.", "content": png},
                        **_errors(*_TEXTS),
                    },
                }
            },
            "/square": {
                "post": {
                    "summary": "Show what the network sees of a picture",
                    "operationId": "square",
                    "requestBody": {"required": True, "content": one},
                    "responses": {
                        "200": {"description": "The small square that the network gets.", "content": png},
                        **_errors(*_TEXTS),
                    },
                }
            },
            "/model": {
                "get": {
                    "summary": "Describe the model",
                    "operationId": "model",
                    "responses": {
                        "200": _json("What the model file says about itself.", {"type": "object"}),
                        **_errors(401),
                    },
                }
            },
            "/health/live": _health("Check that the server is alive"),
            "/health/ready": _health("Check that the server accepts requests"),
            "/metrics": {
                "get": {
                    "summary": "Get metrics in Prometheus' format",
                    "operationId": "metrics",
                    "responses": {
                        "200": {
                            "description": "The metrics as text.",
                            "content": {"text/plain": {"schema": {"type": "string"}}},
                        },
                        **_errors(401),
                    },
                }
            },
        },
        "components": {"schemas": _schemas(service)},
    }


def page(service: Service) -> str:
    """The same document as HTML, without scripts."""
    described = document(service)
    parts = []
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            rows = "".join(
                f"<tr><td>{status}</td><td>{escape(answer['description'])}</td></tr>"
                for status, answer in operation["responses"].items()
            )
            takes = ", ".join(operation.get("requestBody", {}).get("content", {}))
            parts.append(
                f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}. "
                f"{escape(operation.get('description', ''))}</p>"
                + (f"<p>Takes: {escape(takes)}</p>" if takes else "")
                + f"<table><tr><th>Status</th><th>Answer</th></tr>{rows}</table>"
            )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>Thumbnet\'s API</title><link rel="stylesheet" href="docs.css"><main><h1>Thumbnet\'s API</h1>'
        f'<p>{escape(described["info"]["description"])} For programs: <a href="openapi.json">openapi.json</a>.</p>'
        f"{''.join(parts)}</main></html>"
    )


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _errors(*statuses: int) -> dict[str, Any]:
    return {str(status): _json(_TEXTS[status], _ERROR) for status in statuses}


def _health(summary: str) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": {"200": _json("It is.", {"type": "object"})}}}


def _schemas(service: Service) -> dict[str, Any]:
    url = {"type": "string", "description": "An http, https or data URL."}
    confidence = {"type": "number", "minimum": 0, "maximum": 1}
    guess = {
        "type": "object",
        "required": ["label", "confidence"],
        "properties": {"label": {"type": "string"}, "confidence": confidence},
    }
    return {
        "Prediction": {
            "type": "object",
            "required": ["source", "label", "confidence", "known", "sureness", "top"],
            "properties": {
                "source": {"type": "string"},
                "label": {"enum": list(service.classifier.info.names)},
                "confidence": confidence,
                "known": {"type": "boolean", "description": "False if the answer is unsure."},
                "sureness": {
                    **confidence,
                    "description": "How sure the answer is. Below the model's threshold, it is unsure.",
                },
                "network": {
                    "type": "string",
                    "description": "The bundled model that answered instead, as the picture is a thumbnail.",
                },
                "top": {"type": "array", "items": guess},
            },
        },
        "Failure": {
            "type": "object",
            "required": ["source", "error"],
            "properties": {
                "source": {"type": "string"},
                "error": {
                    "type": "object",
                    "required": ["type", "message"],
                    "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
                },
            },
        },
        "Error": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}},
        "Url": _object({"url": url}),
        "Urls": {"oneOf": [_object({"url": url}), _object({"urls": {"type": "array", "items": url, "minItems": 1}})]},
        "File": _object({"file": {"type": "string", "format": "binary"}}, more=True),
        "Files": _object(
            {"file": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}}, more=True
        ),
    }


def _object(properties: dict[str, Any], *, more: bool = False) -> dict[str, Any]:
    """An object with all of these properties. With `more`, it may have others, which are ignored."""
    return {"type": "object", "required": list(properties), "properties": properties, "additionalProperties": more}
