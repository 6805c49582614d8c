"""model_file: what is written is read, and what a hostile file says is refused."""

import io
import json
import math
from typing import Any

import onnx
import pytest
from support.models import content, graph, info

from thumbnet.errors import ModelError
from thumbnet.model.graph import BLOCK, METADATA_PROPS, refuse_external_data
from thumbnet.model.info import KINDS, ModelInfo, write_info

FULL = info(
    names=("Füße", "猫", "a,b", "family 👨\u200d👩\u200d👧"),
    recipe={"name": "seed", "epochs": 20, "minutes": None},
    data={"train": "abc", "train_images": 50_000},
    scores={"accuracy": 0.75, "unknown_class": 0.5},
    history=[{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": None}],
    origin={"format": "int8"},
    backbone={"name": "lite0", "licence": "Apache-2.0", "origin": "PyPI", "sha256": "0" * 64},
    version="0.1.0",
)
FIELDS = list(info().as_dict())
REQUIRED = ["names", "size", "fit", "threshold", "temperature", "mirror_average", "format"]


def read(**texts: str) -> ModelInfo:
    """A model file's information, where these fields hold other texts."""
    return ModelInfo.from_metadata({**info().to_metadata(), **{f"thumbnet.{key}": text for key, text in texts.items()}})


def test_what_is_written_is_read() -> None:
    assert ModelInfo.from_metadata(FULL.to_metadata()) == FULL


def test_it_goes_through_a_file() -> None:
    model = onnx.load_from_string(content(names=FULL.names))
    assert ModelInfo.from_metadata({entry.key: entry.value for entry in model.metadata_props}).names == FULL.names


def test_writing_replaces_what_was_there() -> None:
    model = graph()
    write_info(model, FULL)
    write_info(model, info())
    assert {entry.key: entry.value for entry in model.metadata_props} == info().to_metadata()
    assert len(model.metadata_props) == len(FIELDS)


def test_every_field_has_its_kinds() -> None:
    assert list(KINDS) == FIELDS


def test_others_metadata_are_passed_over() -> None:
    assert ModelInfo.from_metadata({**FULL.to_metadata(), "author": "{", "thumbnet.later": "1"}) == FULL


@pytest.mark.parametrize("field", sorted(set(FIELDS) - set(REQUIRED)))
def test_field_with_a_default_may_be_missing(field: str) -> None:
    metadata = info().to_metadata()
    del metadata[f"thumbnet.{field}"]
    assert ModelInfo.from_metadata(metadata) == info()


@pytest.mark.parametrize("field", REQUIRED)
def test_other_field_may_not_be_missing(field: str) -> None:
    metadata = info().to_metadata()
    del metadata[f"thumbnet.{field}"]
    with pytest.raises(ModelError, match="not a model file of Thumbnet" if field == "format" else f"{field} missing"):
        ModelInfo.from_metadata(metadata)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "NaN",
        "[[1]]",
        "1e999",
        "9" * 400,
        "9" * 5000,
        "[" * 200_000,
        '{"a":' * 200_000,
        '"\\u001b"',
        "-1",
    ],
    ids=lambda text: text[:8],
)
def test_hostile_text_is_refused(field: str, text: str) -> None:
    if (field, text) in {("temperature", "9" * 400), ("version", '"\\u001b"'), ("thumbnails", '"\\u001b"')}:
        assert read(**{field: text})  # of the right kind, and used for nothing, or checked by the classifier
        return
    with pytest.raises(ModelError) as caught:
        read(**{field: text})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("names", "abc"),
        ("names", {"a": 0, "b": 1}),
        ("names", []),
        ("names", ["a", 1]),
        ("names", ["a", None]),
        ("names", ["a", ""]),
        ("names", ["a", "a"]),
        ("names", ["a", "b\x1b[31m"]),
        ("names", ["a", "b\nc"]),
        ("names", ["a", "b\x9b"]),
        ("names", ["a", "b\ud800"]),
        ("size", True),
        ("size", 4.0),
        ("size", "4"),
        ("size", 0),
        ("size", 4097),
        ("fit", "squeeze"),
        ("fit", ["crop"]),
        ("threshold", True),
        ("threshold", "0.5"),
        ("threshold", 1.1),
        ("threshold", -0.1),
        ("temperature", 0),
        ("temperature", True),
        ("temperature", "1"),
        ("temperature", math.inf),
        ("temperature", math.nan),
        ("mirror_average", 1),
        ("mirror_average", "no"),
        ("recipe", []),
        ("data", "x"),
        ("scores", [0.5]),
        ("history", {}),
        ("history", [{}, 0.5]),
        ("origin", "int8"),
        ("version", 1),
    ],
)
def test_wrong_value_is_named(field: str, value: Any) -> None:
    with pytest.raises(ModelError, match=field):
        read(**{field: json.dumps(value)})


@pytest.mark.parametrize("number", [0, 1, 0.5])
def test_whole_numbers_are_numbers(number: float) -> None:
    assert read(threshold=json.dumps(number)).threshold == number


@pytest.mark.parametrize(("text", "shown"), [("2", "2"), ("0", "0"), ('"1"', "'1'"), ("null", "None")])
def test_other_format_is_refused_before_all_else(text: str, shown: str) -> None:
    with pytest.raises(ModelError, match=f"format {shown}, this Thumbnet reads 1. Upgrade"):
        read(format=text, names="5")


def message(number: int, payload: bytes) -> bytes:
    """A field of a protobuf that is a text or a message; its length may have up to four bytes."""
    length = len(payload)
    sizes = [length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14 & 0x7F | 0x80, length >> 21]
    return bytes([number << 3 | 2, *sizes]) + payload


@pytest.mark.parametrize("place", [0, 1, *range(BLOCK - 9, BLOCK + 2), 2 * BLOCK - 4, 3 * BLOCK - 8])
def test_name_of_a_file_is_found_wherever_it_stands(place: int) -> None:
    weights = bytearray(3 * BLOCK)
    refuse_external_data(io.BytesIO(message(7, bytes(weights))))
    weights[place : place + 8] = b"location"
    with pytest.raises(ModelError, match="weights are in other files"):
        refuse_external_data(io.BytesIO(message(1, b"x" * 9) + message(7, bytes(weights))))
    refuse_external_data(io.BytesIO(message(METADATA_PROPS, bytes(weights)) + message(7, b"x" * 9)))


@pytest.mark.parametrize("content", [b"\x0a", b"\x0a\x80", b"\x08", b"\x80" * 11 + b"\0\0", b"\x09" + bytes(8)])
def test_bytes_that_are_no_protobuf_are_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match="not a model file, or a broken one"):
        refuse_external_data(io.BytesIO(content))
