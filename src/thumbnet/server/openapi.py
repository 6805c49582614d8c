"""What the API takes and gives, as OpenAPI 3.1 and as a page for people."""

from html import escape
from typing import Any

from thumbnet._version import __version__
from thumbnet.server.service import Service

_ERROR = {"$ref": "#/components/schemas/Error"}
_PREDICTION = {"$ref": "#/components/schemas/Prediction"}
_FAILURE = {"$ref": "#/components/schemas/Failure"}
_ANSWERS = {"anyOf": [_PREDICTION, {"type": "array", "items": {"anyOf": [_PREDICTION, _FAILURE]}}]}

_TEXTS = {
    400: "The request is not what its type says, or asks for what there is not.",
    401: "No key, or a wrong one, where the server asks for one.",
    403: "A URL, where the server reads none.",
    408: "The body took too long.",
    413: "The body is too large, or has too many pictures.",
    415: "The body is packed in an unknown way.",
    422: "The picture cannot be had or read.",
    503: "Busy. Try again after the seconds in Retry-After.",
}


def document(service: Service) -> dict[str, Any]:
    """The OpenAPI document of a server."""
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
        "name": "top_k", "in": "query", "description": "Classes to name for each picture.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999, "default": 3},
    }  # fmt: skip
    png: dict[str, Any] = {"image/png": {"schema": {}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Thumbnet",
            "version": __version__,
            "description": f"Says what pictures show. The model is {service.name}.",
        },
        "paths": {
            "/classify": {
                "post": {
                    "summary": "Say what pictures show",
                    "description": "One picture as the body, several as a form's files, or URLs. One is answered by an "
                    "object, several by a list in their order, in which those that failed have an error.",
                    "operationId": "classify",
                    "parameters": [top_k],
                    "requestBody": {"required": True, "content": many},
                    "responses": {
                        "200": _json("An answer, or a list of them.", _ANSWERS),
                        **_errors(400, 401, 403, 408, 413, 415, 503),
                        "422": _json(_TEXTS[422], {"anyOf": [_FAILURE, _ERROR]}),
                    },
                }
            },
            "/explain": {
                "post": {
                    "summary": "Draw which part of a picture decided",
                    "operationId": "explain",
                    "requestBody": {"required": True, "content": one},
                    "responses": {
                        "200": {"description": "The picture under a heat map.", "content": png},
                        **_errors(*_TEXTS),
                    },
                }
            },
            "/square": {
                "post": {
                    "summary": "Show what the network sees of a picture",
                    "operationId": "square",
                    "requestBody": {"required": True, "content": one},
                    "responses": {"200": {"description": "The small square.", "content": png}, **_errors(*_TEXTS)},
                }
            },
            "/model": {
                "get": {
                    "summary": "What the model file says of itself",
                    "operationId": "model",
                    "responses": {"200": _json("Its information.", {"type": "object"}), **_errors(401)},
                }
            },
            "/health/live": _health("Whether the server lives"),
            "/health/ready": _health("Whether it takes requests"),
            "/metrics": {
                "get": {
                    "summary": "Counts and times in Prometheus' format",
                    "operationId": "metrics",
                    "responses": {
                        "200": {"description": "Text.", "content": {"text/plain": {"schema": {"type": "string"}}}},
                        **_errors(401),
                    },
                }
            },
        },
        "components": {"schemas": _schemas(service)},
    }


def page(service: Service) -> str:
    """The document, as HTML with no script."""
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
    return {"get": {"summary": summary, "responses": {"200": _json("It does.", {"type": "object"})}}}


def _schemas(service: Service) -> dict[str, Any]:
    url = {"type": "string", "description": "http, https or data"}
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
                "known": {"type": "boolean", "description": "False: the answer is unsure."},
                "sureness": {**confidence, "description": "The answer is known from the model's threshold on."},
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
    """All of these properties; with `more`, others too, which are not looked at."""
    return {"type": "object", "required": list(properties), "properties": properties, "additionalProperties": more}
