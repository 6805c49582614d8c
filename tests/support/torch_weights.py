"""Files in PyTorch's legacy weight format, made without PyTorch, harmless or not.

content = legacy({"weight": tensor(np.ones((2, 3), np.float32))})
"""

import io
import pickle
import struct
import sys
from collections import OrderedDict
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class FloatStorage:
    """PyTorch's name for float32 values."""


class LongStorage:
    """PyTorch's name for int64 values."""


class HalfStorage:
    """PyTorch's name for float16 values."""


def _rebuild_tensor_v2() -> None:
    """PyTorch's name for the function that makes a tensor."""


FUNCTIONS: dict[str, list[Any]] = {
    "torch._utils": [_rebuild_tensor_v2],
    "torch": [FloatStorage, LongStorage, HalfStorage],
}
for module, members in FUNCTIONS.items():
    for member in members:
        member.__module__ = module
KINDS = {"float32": FloatStorage, "int64": LongStorage, "float16": HalfStorage}


@dataclass(eq=False)
class Storage:
    """Values in a row, and what the file says of them."""

    values: NDArray[Any]
    key: Any = ""
    said: Any = None  # the count that the state dict names, if another
    written: int | None = None  # the count before the values, if another
    view: Any = None
    word: str = "storage"
    left_out: bool = False  # its values are not in the file

    @property
    def count(self) -> Any:
        return len(self.values) if self.said is None else self.said


@dataclass(eq=False)
class Tensor:
    """A part of a storage; every field is written as it is."""

    storage: Any
    offset: Any = 0
    size: Any = ()
    strides: Any = ()
    function: Any = field(default=_rebuild_tensor_v2)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, (self.storage, self.offset, self.size, self.strides, False, OrderedDict())


def tensor(values: Any, **said: Any) -> Tensor:
    """A tensor with its own storage, in the order that the array has in memory: a transposed one stays so."""
    array = np.asarray(values)
    memory_order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
    strides = tuple(stride // array.itemsize for stride in array.strides)
    return Tensor(Storage(array.transpose(memory_order).reshape(-1), **said), 0, array.shape, strides)


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=2)
        self.storages: list[Storage] = []

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, Storage):
            return None
        if obj not in self.storages:
            self.storages.append(obj)
            obj.key = obj.key or str(len(self.storages))
        return obj.word, KINDS[obj.values.dtype.name], obj.key, "cpu", obj.count, obj.view


def pickled(value: Any) -> tuple[bytes, list[Storage]]:
    """A pickle as PyTorch writes it, and the storages in it."""
    modules = {name: ModuleType(name) for name in FUNCTIONS}
    for name, members in FUNCTIONS.items():
        for member in members:
            setattr(modules[name], member.__name__, member)
    file = io.BytesIO()
    pickler = _Pickler(file)
    with mock.patch.dict(sys.modules, modules):
        pickler.dump(value)
    return file.getvalue(), pickler.storages


def legacy(state: Any, **changes: Any) -> bytes:
    """A whole file.

    Args:
        state: Tensors by their names, or anything else; bytes are taken as the pickle itself.
        changes: Other `magic`, `protocol`, `machine` or `keys`; bytes are taken as the pickle itself.
    """
    state, storages = (state, []) if isinstance(state, bytes) else pickled(state)
    storages = [storage for storage in storages if not storage.left_out]
    values = {
        "magic": MAGIC,
        "protocol": PROTOCOL,
        "machine": {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2}},
        "state": state,
        "keys": [storage.key for storage in storages],
        **changes,
    }
    content = b"".join(value if isinstance(value, bytes) else pickled(value)[0] for value in values.values())
    for storage in storages:
        count = len(storage.values) if storage.written is None else storage.written
        content += struct.pack("<q", count) + storage.values.tobytes()
    return content
