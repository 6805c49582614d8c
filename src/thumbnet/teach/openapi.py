"""Describes the page's API as OpenAPI 3.1."""

from typing import Any

from thumbnet._version import __version__

_TEXTS = {
    401: "The key is missing or wrong.",
    403: "Another site's page asks, or the folder may not be written to.",
    404: "There is no such class or picture, or no longer.",
    408: "The body took too long to arrive.",
    409: "There is such a class already; or nothing to undo; or no model yet, or none of just these pictures.",
    413: "The body is too large.",
    421: "The request names another host.",
    422: "This is no picture, no name that a class can have, or not the JSON that is expected.",
    502: "What runs the model in a browser cannot be downloaded.",
    503: "Too many pictures wait for an answer. Try again after the seconds in Retry-After.",
    507: "The disk is full.",
}
_ALWAYS = (401, 403, 421)
_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_NUMBER = {"type": "number", "minimum": 0, "maximum": 1}
_NOTHING: dict[str, Any] = {"type": "object"}


def document() -> dict[str, Any]:
    """The document."""
    place = [_query("class", _TEXT, "The picture's class."), _query("name", _TEXT, "The picture's name.")]
    picture, url = _body("*/*", {}), _body("application/json", _object({"url": _TEXT}))
    merge = {"type": "boolean", "default": False}
    renamed = _object({"name": _TEXT, "merge": merge}, optional=("merge",))
    moved = _object({"pictures": _list(_object({"class": _TEXT, "name": _TEXT})), "to": _nullable(_TEXT)})
    after = _query("after", _COUNT, "The version that is known; waits up to 20 s for another.", required=False)
    heat = _query("heat", {"enum": ["0", "1"]}, "1 for a heat map, too.", required=False)
    file_name = _query("name", _TEXT, "What the file is called; made safe, and free.", required=False)
    added, known = _ref("Added"), {"200": _answer("This class has the picture already.", _ref("Added"))}
    one = "/api/classes/{name}"
    paths = {
        "/api/state": _get("Everything that is shown", _ref("State"), [after], 422),
        "/api/classes": _post(
            "Add a class", _object({"name": _TEXT}), 404, 409, 413, 422, 507,
            body=_body("application/json", _object({"name": _TEXT})), status=201,
        ),
        f"{one}/rename": _post(
            "Rename a class, or merge it into another", _object({"name": _TEXT}), 404, 409, 413, 422, 507,
            body=_body("application/json", renamed), named=True,
        ),
        f"{one}/remove": _post("Move a class to the removed ones", _NOTHING, 404, 507, named=True),
        f"{one}/pictures": _post(
            "Add a picture", added, 404, 408, 413, 422, 507, body=picture, status=201, named=True,
            parameters=[file_name], more=known,
        ),
        f"{one}/urls": _post(
            "Add the picture at a URL", added, 404, 413, 422, 507, body=url, status=201, named=True, more=known
        ),
        "/api/move": _post(
            "Move pictures to another class, or, to null, to the removed ones", _NOTHING, 404, 413, 422, 507,
            body=_body("application/json", moved),
        ),
        "/api/undo": _post("Undo the last action", _object({"label": _TEXT}), 404, 409, 413, 507),
        "/api/train": _post("Train now", _NOTHING, 413, status=202),
        "/api/thumbnail": _get("A picture, 160 pixels at most", "image/jpeg", place, 404, 422),
        "/api/picture": _get("A picture, 1,024 pixels at most", "image/jpeg", place, 404, 422),
        "/api/predict": _post(
            "Classify a picture", _ref("Prediction"), 408, 409, 413, 422, 503, body=picture, parameters=[heat]
        ),
        "/api/model": _get("The model file", "application/octet-stream", [], 409),
        "/api/report": _get("The report, as a ZIP file", "application/zip", [], 404, 409, 422),
        "/api/web": _get("A folder for any web server, as a ZIP file", "application/zip", [], 409, 502),
        "/api/openapi.json": _get("This document", _NOTHING, []),
    }  # fmt: skip
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Thumbnet, taught on a page",
            "version": __version__,
            "description": "What the page of `thumbnet teach` asks. Every request needs the key that it printed.",
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}, "schemas": _schemas()},
    }


def _schemas() -> dict[str, Any]:
    share = _nullable(_object({"value": _NUMBER, "low": _NUMBER, "high": _NUMBER}))
    picture = _ref("Picture")
    shown = _object({"name": _TEXT, "key": _TEXT, "problem": _nullable(_TEXT)})
    suspect = {
        "oneOf": [
            _object({"picture": picture, "kind": {"const": "label"}, "to": _TEXT, "confidence": _NUMBER}),
            _object({"picture": picture, "kind": {"const": "copy"}, "of": picture}),
        ]
    }
    result = _object(
        {
            "fresh": {"type": "boolean", "description": "Whether it is of just the pictures that are shown."},
            "pictures": _COUNT,
            "seconds": {"type": "number"},
            "accuracy": share,
            "unknown_class": _nullable(_NUMBER),
            "classes": _list(_object({"name": _TEXT, "pictures": _COUNT, "accuracy": share})),
            "confusions": _list(_object({"from": _TEXT, "to": _TEXT, "count": _COUNT, "pictures": _list(picture)})),
            "suspects": _list(suspect),
            "next": _TEXT,
        }
    )
    status = {"enum": ["waiting", "running", "ready", "failed", "too few"]}
    return {
        "Error": _object({"error": _TEXT}),
        "Added": _object({"name": _TEXT, "key": _TEXT, "known": {"const": True}}, optional=("known",)),
        "Picture": _object({"class": _TEXT, "name": _TEXT, "key": _TEXT}),
        "Prediction": _object(
            {
                "label": _TEXT,
                "confidence": _NUMBER,
                "known": {"type": "boolean", "description": "False if the answer is unsure."},
                "sureness": _NUMBER,
                "top": _list(_object({"label": _TEXT, "confidence": _NUMBER})),
                "heat": _nullable({"type": "string", "description": "A PNG to lay over the picture, as a data URL."}),
            }
        ),
        "State": _object(
            {
                "version": _COUNT,
                "folder": _TEXT,
                "classes": _list(_object({"name": _TEXT, "pictures": _list(shown)})),
                "features": _object({"done": _COUNT, "total": _COUNT}),
                "training": _object({"status": status, "message": _TEXT}),
                "result": _nullable(result),
                "undo": _nullable(_object({"label": _TEXT})),
            }
        ),
    }


def _get(summary: str, gives: str | dict[str, Any], parameters: list[Any], *errors: int) -> dict[str, Any]:
    """An operation that gives JSON of a schema, or bytes of a type."""
    kind, schema = (gives, {}) if isinstance(gives, str) else ("application/json", gives)
    done = {"200": {"description": f"{summary}.", "content": {kind: {"schema": schema}}}}
    unchanged = {"304": {"description": "The browser's own is still right."}} if kind == "image/jpeg" else {}
    return {
        "get": {"summary": summary, "parameters": parameters, "responses": {**done, **unchanged, **_errors(errors)}}
    }


def _post(
    summary: str,
    gives: dict[str, Any],
    *errors: int,
    body: dict[str, Any] | None = None,
    status: int = 200,
    named: bool = False,
    parameters: list[Any] | None = None,
    more: dict[str, Any] | None = None,
) -> dict[str, Any]:
    responses = {str(status): _answer("Done.", gives), **(more or {}), **_errors((*errors, 408))}
    operation: dict[str, Any] = {"summary": summary, "parameters": list(parameters or []), "responses": responses}
    if named:
        operation["parameters"].append({"name": "name", "in": "path", "required": True, "schema": _TEXT})
    if body:
        operation["requestBody"] = body
    return {"post": operation}


def _errors(statuses: tuple[int, ...]) -> dict[str, Any]:
    return {str(status): _answer(_TEXTS[status], _ref("Error")) for status in sorted({*_ALWAYS, *statuses})}


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _body(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {kind: {"schema": schema}}}


def _query(name: str, schema: dict[str, Any], description: str, *, required: bool = True) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "description": description, "schema": schema}


def _object(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}
