"""PyTorch's legacy weight files → arrays, without PyTorch and without unpickling.

Such a file is a row of pickles (a magic number, a protocol number, facts about the machine, the tensors by name, the
storages' keys) and then, for each storage, its number of values as int64 and the values.

A pickle is a program that may call any function of any module. Here it is never run: `_value` knows the few operations
that such a file consists of, and gives what they describe. A name in a pickle stays a text that is compared with
`NAMES`. Nothing is imported or looked up by it, and nothing called.
"""

import io
import math
import pickle  # only for the names of its operations
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thumbnet.errors import ModelError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
ORDERED_DICT, TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
STORAGES = {"torch FloatStorage": "<f4", "torch LongStorage": "<i8"}  # and the type of their values
NAMES = {ORDERED_DICT, TENSOR, *STORAGES}
LONGEST_PICKLE = 2**18  # bytes; EfficientNet-Lite0's longest has 42,349
MOST_AXES = 8
_LEAST_BYTES = 4  # of a value
_CONSTANTS = {pickle.NONE: None, pickle.NEWTRUE: True, pickle.NEWFALSE: False}
_NUMBERS = {
    pickle.BININT: "<i", pickle.BININT1: "B", pickle.BININT2: "<H",
    pickle.BINPUT: "B", pickle.LONG_BINPUT: "<I", pickle.BINGET: "B", pickle.LONG_BINGET: "<I",
}  # fmt: skip
_TUPLES = {pickle.TUPLE1: 1, pickle.TUPLE2: 2, pickle.TUPLE3: 3}
_BROKEN = (struct.error, ValueError, LookupError, TypeError, OverflowError)  # raised by reading what is cut or damaged
_EXPECTED = "expected a state dict of float32 and int64 tensors"
_AGAIN = "Fetch the file again"


@dataclass(frozen=True)
class _Name:
    """What a pickle would import."""

    text: str  # module and name, with a space between them


@dataclass(frozen=True)
class _Storage:
    key: str
    kind: str  # the type of its values, as NumPy calls it
    count: int


@dataclass(frozen=True)
class _Tensor:
    """A part of a storage. Offset and strides are numbers of values."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    strides: tuple[int, ...]


def read_weights(content: bytes) -> dict[str, NDArray[np.float32]]:
    """The tensors of a state dict by their names. Whole numbers, such as counts of batches, become float32 too.

    Args:
        content: A file that `torch.save` wrote before PyTorch 1.6, or later in its legacy format.

    Raises:
        ModelError: The file is of another format, cut or damaged, or holds anything but a state dict of float32 and
            int64 tensors.
    """
    try:
        return _tensors(content)
    except _BROKEN as error:
        raise ModelError(f"expected PyTorch's legacy weight format, got other or damaged bytes. {_AGAIN}") from error


def _tensors(content: bytes) -> dict[str, NDArray[np.float32]]:
    values, at = [], 0
    for _ in range(5):
        value, length = _value(content[at : at + LONGEST_PICKLE])
        values.append(value)
        at += length
    magic, protocol, machine, tensors, keys = values
    if magic != MAGIC or protocol != PROTOCOL or machine["little_endian"] is not True:
        raise ValueError("another format")
    if not isinstance(tensors, dict) or not all(isinstance(value, _Tensor) for value in tensors.values()):
        raise ModelError(f"{_EXPECTED}, got something else in its place. {_AGAIN}")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise TypeError("not a list of texts")
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    if any(tensor.storage != storages[tensor.storage.key] for tensor in tensors.values()):
        raise ValueError("a storage of two kinds")
    stored: dict[str, NDArray[Any]] = {}
    for key in keys:
        stored[key], at = _stored(content, at, storages[key])
    if at != len(content):
        raise ValueError("something follows the last storage")
    if sum(math.prod(tensor.size) for tensor in tensors.values()) * _LEAST_BYTES > len(content):
        raise ValueError("many tensors of the same values")  # would take any amount of memory
    return {name: _array(tensor, stored[tensor.storage.key]) for name, tensor in tensors.items()}


# --- pickles ---


def _value(data: bytes) -> tuple[Any, int]:
    """What a pickle at the beginning of `data` describes, and how many bytes it has.

    Nested values are not hashed or compared: a few hundred bytes can nest so that it takes forever, or overflows C's
    stack. So the keys of dictionaries are texts only. The memo is a dictionary, as its largest index may be 2³².
    """
    stack: list[Any] = []
    below: list[list[Any]] = []  # the stacks that were left at each mark
    memo: dict[int, Any] = {}
    file = io.BytesIO(data)
    while operation := file.read(1):
        match operation:
            case pickle.PROTO:
                _number(file, "B")
            case pickle.NONE | pickle.NEWTRUE | pickle.NEWFALSE:
                stack.append(_CONSTANTS[operation])
            case pickle.BININT | pickle.BININT1 | pickle.BININT2:
                stack.append(_number(file, _NUMBERS[operation]))
            case pickle.LONG1:
                stack.append(int.from_bytes(file.read(_number(file, "B")), "little", signed=True))
            case pickle.BINUNICODE:
                stack.append(file.read(_number(file, "<I")).decode())
            case pickle.GLOBAL:
                stack.append(_name(file))
            case pickle.MARK:
                below.append(stack)
                stack = []
            case pickle.EMPTY_TUPLE:
                stack.append(())
            case pickle.TUPLE1 | pickle.TUPLE2 | pickle.TUPLE3:
                stack.append(_popped(stack, _TUPLES[operation]))
            case pickle.TUPLE:
                items, stack = tuple(stack), below.pop()
                stack.append(items)
            case pickle.EMPTY_LIST:
                stack.append([])
            case pickle.APPEND:
                items = _popped(stack, 1)
                _append(stack[-1], items)
            case pickle.APPENDS:
                items, stack = tuple(stack), below.pop()
                _append(stack[-1], items)
            case pickle.EMPTY_DICT:
                stack.append({})
            case pickle.SETITEM:
                items = _popped(stack, 2)
                _set(stack[-1], items)
            case pickle.SETITEMS:
                items, stack = tuple(stack), below.pop()
                _set(stack[-1], items)
            case pickle.BINPUT | pickle.LONG_BINPUT:
                memo[_number(file, _NUMBERS[operation])] = stack[-1]
            case pickle.BINGET | pickle.LONG_BINGET:
                stack.append(memo[_number(file, _NUMBERS[operation])])
            case pickle.BINPERSID:
                stack.append(_storage(stack.pop()))
            case pickle.REDUCE:
                function, arguments = _popped(stack, 2)
                stack.append(_made(function, arguments))
            case pickle.BUILD:
                stack.pop()  # attributes of the dictionary below, such as the modules' versions
            case pickle.STOP:
                return stack.pop(), file.tell()
            case _:
                raise ValueError("an operation that no state dict needs")
    raise ValueError("no end")


def _number(file: io.BytesIO, kind: str) -> int:
    """The next whole number of a file; `struct` names its kind."""
    (number,) = struct.unpack(kind, file.read(struct.calcsize(kind)))
    return int(number)


def _name(file: io.BytesIO) -> _Name:
    module, name = file.readline(), file.readline()
    if not name.endswith(b"\n"):
        raise ValueError("cut")
    text = (module[:-1] + b" " + name[:-1]).decode()
    if text not in NAMES:
        raise ModelError(f"{_EXPECTED}, got a file that asks for {text!r:.60}. {_AGAIN}")
    return _Name(text)


def _popped(stack: list[Any], count: int) -> tuple[Any, ...]:
    """The last `count` values, or fewer if there are no more, taken from the stack."""
    values = tuple(stack[-count:])
    del stack[-count:]
    return values


def _append(values: Any, items: tuple[Any, ...]) -> None:
    if not isinstance(values, list):
        raise TypeError("not a list")
    values.extend(items)


def _set(dictionary: Any, items: tuple[Any, ...]) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(dictionary, dict) or not isinstance(key, str):
            raise TypeError("not texts in a dictionary")
        dictionary[key] = value


def _made(function: Any, arguments: Any) -> dict[str, Any] | _Tensor:
    """What PyTorch would have called, as a description: an `OrderedDict` without content, or a tensor."""
    if function == _Name(ORDERED_DICT) and arguments == ():
        return {}
    if function != _Name(TENSOR):
        raise TypeError("not a function")
    storage, offset, size, strides, _, _ = arguments  # the others serve training
    if not isinstance(storage, _Storage) or not all(map(_are_counts, ((offset,), size, strides))):
        raise TypeError("not a tensor")
    return _Tensor(storage, offset, size, strides)


def _storage(persistent: Any) -> _Storage:
    word, name, key, _, count, view = persistent  # what is left out is the device
    if word != "storage" or not isinstance(name, _Name) or not isinstance(key, str) or view is not None:
        raise TypeError("not a storage")
    if not _are_counts((count,)):
        raise TypeError("not a storage")
    return _Storage(key, STORAGES[name.text], count)


def _are_counts(numbers: Any) -> bool:
    """Whether this is a tuple of whole numbers from 0, one for each of a possible tensor's axes."""
    if not isinstance(numbers, tuple) or len(numbers) > MOST_AXES:
        return False
    return all(type(number) is int and number >= 0 for number in numbers)


# --- arrays ---


def _stored(content: bytes, at: int, storage: _Storage) -> tuple[NDArray[Any], int]:
    """A storage's values `(count,)` at a place of the file, and where they end."""
    (count,) = struct.unpack_from("<q", content, at)
    if count != storage.count:
        raise ValueError("other numbers of values")
    values = np.frombuffer(content, storage.kind, count, at + 8)  # raises a ValueError if the file ends before
    return values, at + 8 + values.nbytes


def _array(tensor: _Tensor, values: NDArray[Any]) -> NDArray[np.float32]:
    """A copy of a tensor, in C's order. Most are stored transposed, so the strides matter.

    NumPy would read past a storage's end: `as_strided` checks nothing.
    """
    last = tensor.offset + sum((length - 1) * step for length, step in zip(tensor.size, tensor.strides, strict=True))
    if 0 in tensor.size or last >= values.size:
        raise ValueError("a tensor that is not inside its storage")
    strides = [step * values.itemsize for step in tensor.strides]
    whole = np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.size, strides, writeable=False)
    return whole.astype(np.float32, order="C")
