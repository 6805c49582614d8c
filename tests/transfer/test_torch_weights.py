"""PyTorch's legacy weight files → arrays; whatever else a file holds, nothing of it is run."""

import contextlib
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.torch_weights import FloatStorage, Storage, Tensor, legacy, pickled, tensor

from thumbnet.errors import ModelError
from thumbnet.transfer import torch_weights
from thumbnet.transfer.torch_weights import read_weights


def numbers(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def state() -> "OrderedDict[str, Tensor]":
    """A network's, with all that a real file has: transposed tensors, a counter and the modules' versions."""
    tensors = OrderedDict(
        {
            "conv.weight": tensor(numbers(3, 3, 2, 4).transpose(3, 2, 0, 1)),
            "conv.bias": tensor(numbers(4)),
            "norm.num_batches_tracked": tensor(np.int64(7)),
        }
    )
    tensors._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]  # PyTorch does so
    return tensors


def refused(content: bytes) -> str:
    """The message that a file is refused with, one line."""
    with pytest.raises(ModelError) as caught:
        read_weights(content)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 200
    assert message.endswith("Fetch the file again")
    return message


def test_a_file_is_read() -> None:
    weights = read_weights(legacy(state()))
    assert list(weights) == ["conv.weight", "conv.bias", "norm.num_batches_tracked"]
    np.testing.assert_array_equal(weights["conv.weight"], numbers(3, 3, 2, 4).transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(weights["conv.bias"], numbers(4))
    assert weights["norm.num_batches_tracked"].shape == ()
    assert weights["norm.num_batches_tracked"] == 7
    for weight in weights.values():
        assert weight.dtype == np.float32
        assert weight.flags.c_contiguous
        assert weight.flags.writeable


def test_tensors_may_share_a_storage() -> None:
    values = numbers(12)
    storage = Storage(values)
    tensors = {
        "row": Tensor(storage, 8, (4,), (1,)),
        "column": Tensor(storage, 1, (3,), (4,)),
        "corner": Tensor(storage, 0, (2, 2), (1, 4)),
    }
    weights = read_weights(legacy(tensors))
    np.testing.assert_array_equal(weights["row"], values[8:])
    np.testing.assert_array_equal(weights["column"], values[[1, 5, 9]])
    np.testing.assert_array_equal(weights["corner"], values[[[0, 4], [1, 5]]])


def test_no_tensors_are_no_weights() -> None:
    assert read_weights(legacy(OrderedDict())) == {}


# --- damaged files ---


def test_a_cut_file_is_refused_wherever_it_ends() -> None:
    content = legacy(state())
    for length in range(len(content)):
        assert "legacy weight format" in refused(content[:length])


def test_a_longer_file_is_refused() -> None:
    assert "legacy weight format" in refused(legacy(state()) + b"\0")


@pytest.mark.parametrize("content", [b"PK\3\4" + bytes(100), b"\x80\2", b"#!/bin/sh\n", bytes(1000), b"\xff" * 1000])
def test_another_format_is_refused(content: bytes) -> None:
    assert "legacy weight format" in refused(content)


@pytest.mark.parametrize(
    "changes",
    [
        {"magic": 1},
        {"protocol": 1002},
        {"machine": {"little_endian": False}},
        {"machine": {}},
        {"machine": 5},
        {"keys": []},
        {"keys": ["1"]},
        {"keys": ["1", "1", "2", "3"]},
        {"keys": "123"},
        {"keys": [1, 2, 3]},
        {"keys": None},
    ],
    ids=repr,
)
def test_another_beginning_is_refused(changes: dict[str, Any]) -> None:
    assert "legacy weight format" in refused(legacy(state(), **changes))


@pytest.mark.parametrize("value", [5, "text", None, [1], {"a": 1}, {"a": {"b": 1}}], ids=repr)
def test_anything_but_tensors_by_names_is_refused(value: Any) -> None:
    assert "expected a state dict" in refused(legacy(value))


def test_damaged_bytes_give_weights_or_the_error() -> None:
    content = legacy(state())
    rng = np.random.default_rng(0)
    read = 0
    for _ in range(3000):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] = rng.integers(256)
        with contextlib.suppress(ModelError):
            read += len(read_weights(bytes(damaged))) > 0
    assert 0 < read < 3000


# --- tensors that are not in their storage ---


@pytest.mark.parametrize(
    ("offset", "size", "strides"),
    [
        (1, (12,), (1,)),
        (0, (13,), (1,)),
        (12, (), ()),
        (0, (3, 4), (4, 2)),
        (0, (2, 2, 2), (1, 1, 10)),
        (0, (2,), (12,)),
        (0, (0,), (1,)),
        (2**40, (1,), (1,)),
        (2**70, (1,), (1,)),
        (0, (2**70,), (1,)),
        (0, (2,), (2**70,)),
        (0, (1,), (2**70,)),
        (0, (2**31, 2**31), (2**31, 1)),
        (-1, (1,), (1,)),
        (11, (2,), (-1,)),
        (0, (-1,), (1,)),
        (0, (-1, -1), (1, 1)),
        (0, (2,), ()),
        (0, (), (1,)),
        (0, (1,) * 9, (1,) * 9),
        (0, (2.0,), (1,)),
        (0, (True,), (1,)),
        (False, (2,), (1,)),
        (0, [2], (1,)),
        (0, 2, (1,)),
        (0, "2", (1,)),
        (None, (2,), (1,)),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(offset: Any, size: Any, strides: Any) -> None:
    within = Tensor(Storage(numbers(12)), 1, (11,), (1,))
    content = legacy({"a": within})
    assert read_weights(content)["a"].shape == (11,)
    within.offset, within.size, within.strides = offset, size, strides
    assert "legacy weight format" in refused(legacy({"a": within}))


def test_a_tensor_larger_than_the_file_is_refused() -> None:
    huge = Tensor(Storage(numbers(1)), 0, (2**20, 2**20), (0, 0))  # the same value again and again: inside, but 4 TiB
    assert "legacy weight format" in refused(legacy({"a": huge}))


def test_many_tensors_of_the_same_values_are_refused() -> None:
    storage = Storage(numbers(1000))
    same = {str(number): Tensor(storage, 0, (1000,), (1,)) for number in range(1000)}
    assert "legacy weight format" in refused(legacy(same))


@pytest.mark.parametrize(
    "storage",
    [
        Storage(numbers(4), written=5),
        Storage(numbers(4), written=3),
        Storage(numbers(4), written=-1),
        Storage(numbers(4), said=-1, written=-1),
        Storage(numbers(4), said=2**62, written=2**62),
        Storage(numbers(4), said=2**63 - 1, written=2**63 - 1),
        Storage(numbers(4), said=2**70),
        Storage(numbers(4), said="4"),
        Storage(numbers(4), said=True),
        Storage(numbers(4), view=("1", 0, 4)),
        Storage(numbers(4), word="module"),
        Storage(numbers(4), key=5),
        Storage(numbers(0), said=0),
    ],
    ids=lambda storage: f"{storage.said} {storage.written} {storage.view} {storage.word} {storage.key}",
)
def test_a_storage_that_does_not_fit_is_refused(storage: Storage) -> None:
    assert "legacy weight format" in refused(legacy({"a": Tensor(storage, 0, (4,), (1,))}))


def test_a_storage_of_two_kinds_is_refused() -> None:
    floats, whole = Storage(numbers(2), key="1"), Storage(np.ones(1, np.int64), key="1", left_out=True)
    tensors = {"a": Tensor(whole, 0, (1,), (1,)), "b": Tensor(floats, 0, (2,), (1,))}
    assert "legacy weight format" in refused(legacy(tensors))


def test_an_object_in_place_of_a_storage_is_refused() -> None:
    assert "legacy weight format" in refused(legacy({"a": Tensor("1", 0, (), ())}))


@pytest.mark.parametrize("function", [FloatStorage, OrderedDict])
def test_a_tensor_is_made_by_its_function_only(function: Any) -> None:
    whole = tensor(numbers(2, 3))
    whole.function = function
    assert "legacy weight format" in refused(legacy({"a": whole}))


def test_other_kinds_of_values_are_refused_by_name() -> None:
    assert "'torch HalfStorage'" in refused(legacy({"a": tensor(np.ones(2, np.float16))}))


# --- pickles that would do something ---


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("part", ["magic", "protocol", "machine", "state", "keys"])
def test_no_pickle_is_run(tmp_path: Path, part: str) -> None:
    trace = tmp_path / "trace"
    hostile = pickled(Calls(os.mkdir, str(trace)))[0]
    pickle.loads(hostile)
    trace.rmdir()  # so it does something, if it is run
    content = legacy(**{"state": state(), part: hostile})
    assert f"asks for '{os.mkdir.__module__} mkdir'" in refused(content)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (b"\x80\2cos\nsystem\n.", "'os system'"),
        (b"\x80\2cbuiltins\neval\n.", "'builtins eval'"),
        (b"\x80\2ctorch._utils\n_rebuild_tensor_v2.__globals__\n.", "'torch._utils _rebuild_tensor_v2.__globals__'"),
        (b"\x80\2c" + b"a" * 5000 + b"\n\x1b[31m\n.", "'aaaa"),
    ],
)
def test_other_names_are_refused(code: bytes, found: str) -> None:
    message = refused(legacy(code))
    assert f"got a file that asks for {found}" in message
    assert message.isprintable()


@pytest.mark.parametrize(
    "code",
    [
        b"(S'true'\nios\nsystem\n.",  # STRING, INST
        b"(X\4\0\0\0trueios\nsystem\n.",  # INST
        b"\x80\4\x8c\2os\x8c\6system\x93.",  # SHORT_BINUNICODE, STACK_GLOBAL
        b"\x80\2X\2\0\0\0osX\6\0\0\0system\x93.",  # STACK_GLOBAL
        b"\x80\2ccollections\nOrderedDict\n)\x81.",  # NEWOBJ
        b"\x80\2(ccollections\nOrderedDict\no.",  # OBJ
        b"\x80\2\x82\1.",  # EXT1
        b"\x80\2P1\n.",  # PERSID
        b"\x80\5\x97.",  # NEXT_BUFFER
        b"\x80\2\x8b\1\0\0\0\1.",  # LONG4
        b"I5\n.",  # INT
        b"Nd.",  # DICT
        b"N2.",  # DUP
        b"\xff.",
    ],
)
def test_other_operations_are_refused(code: bytes) -> None:
    assert "legacy weight format" in refused(legacy(code))


@pytest.mark.parametrize(
    "code",
    [
        b"ccollections\nOrderedDict\n(X\1\0\0\0atR.",  # OrderedDict("a")
        b"ctorch\nFloatStorage\n)R.",  # FloatStorage()
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.",  # without arguments
        b"X\1\0\0\0a)R.",  # a text is called
        b"R.",
        b"ccollections\nOrderedDict\nR.",
        b"\x85.",
        b".",
        b"t.",
        b"e.",
        b"(e.",
        b"}(K\1e.",  # items appended to a dictionary
        b")(K\1e.",  # and to a tuple
        b"](K\1K\1u.",  # items set in a list
        b"}(K\1u.",  # a name without a value
        b"}K\1s.",
        b"}K\1K\1s.",  # a number as a name
        b"h\1.",
        b"q\1.",
        b"b.",
        b"Q.",
        b"(X\7\0\0\0storagetQ.",
        b"(X\7\0\0\0storageX\1\0\0\0fX\1\0\0\0aNK\1NtQ.",  # a text as the kind of values
        b"(X\7\0\0\0storageccollections\nOrderedDict\nX\1\0\0\0aNK\1NtQ.",
        b"(X\6\0\0\0moduleNX\1\0\0\0aNK\1NtQ.",
        b"X\xff\xff\xff\xffa.",
        b"X\1\0\0\0\xff.",
        b"\x8a\xff\1.",
        b"J\1.",
    ],
)
def test_pickles_that_make_no_sense_are_refused(code: bytes) -> None:
    assert refused(legacy(b"\x80\2" + code))


# --- pickles that would take all memory or time ---


def test_nested_values_as_names_are_refused_at_once() -> None:
    deep = b")" + b"\x85" * 200_000  # ((((…)))): its hash overflows C's stack
    wide = b")" + b"q\0h\0\x86" * 200  # (a, a), and a is (b, b) …: its hash takes 2²⁰⁰ steps
    for key in (deep, wide):
        for code in (b"}" + key + b"Ns.", b"}(" + key + b"Nu."):
            assert "legacy weight format" in refused(legacy(b"\x80\2" + code))


@pytest.mark.parametrize("place", ["magic", "protocol", "machine", "state", "keys"])
@pytest.mark.parametrize("depth", [200, 20_000])
def test_nested_values_in_any_place_are_refused_at_once(place: str, depth: int) -> None:
    nested = b")" + (b"q\0h\0\x86" if depth == 200 else b"\x85") * depth
    twice = b"\x80\2](" + nested + nested + b"e." if depth == 200 else b"\x80\2](" + nested + b"e."
    for code in (twice, b"\x80\2" + nested + b"."):
        assert refused(legacy(**{"state": state(), place: code}))


def test_nested_values_as_arguments_are_refused_at_once() -> None:
    nested = b")" + b"q\0h\0\x86" * 200
    for code in (b"ccollections\nOrderedDict\n" + nested + b"R.", nested + nested + b"R.", nested + b"Q."):
        assert "legacy weight format" in refused(legacy(b"\x80\2" + code))


def test_a_nested_key_of_a_storage_is_refused_at_once() -> None:
    key: Any = ()
    for _ in range(200):
        key = (key, key)
    nested = Tensor(Storage(numbers(2), key=key), 0, (2,), (1,))
    assert "legacy weight format" in refused(legacy({"a": nested}, keys=["1"]))


def test_a_large_index_takes_no_memory() -> None:
    code = b"\x80\2}r\xff\xff\xff\xffj\xff\xff\xff\xff."  # `pickle` would first make room for 2³² values
    assert read_weights(legacy(code)) == {}


def test_a_long_pickle_is_refused() -> None:
    longest = torch_weights.LONGEST_PICKLE
    assert len(read_weights(legacy(state(), machine=padded(longest)))) == 3
    assert "legacy weight format" in refused(legacy(state(), machine=padded(longest + 1)))


def padded(length: int) -> bytes:
    """A pickle of so many bytes, of the facts about the machine."""
    code = pickled({"little_endian": True, "more": "a" * 300})[0]
    return pickled({"little_endian": True, "more": "a" * (300 + length - len(code))})[0]
