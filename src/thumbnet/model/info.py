"""ModelInfo ↔ the metadata of an ONNX file: what a model file says about itself."""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thumbnet.errors import ModelError
from thumbnet.pictures.framing import FRAMINGS, Framing
from thumbnet.text import CONTROL

PREFIX = "thumbnet."
FORMAT = 1
_IN_FILE = {"framing": "fit"}  # fields with another name in the file
KINDS: dict[str, tuple[type, ...]] = {  # the JSON types of each field, by its name in the file
    "names": (list,),
    "size": (int,),
    "fit": (str,),
    "threshold": (float, int),
    "temperature": (float, int),
    "mirror_average": (bool,),
    "recipe": (dict,),
    "data": (dict,),
    "scores": (dict,),
    "history": (list,),
    "origin": (dict,),
    "backbone": (dict,),
    "thumbnails": (str,),
    "version": (str,),
    "format": (int,),
}
REQUIRED = ("names", "size", "fit", "threshold", "temperature", "mirror_average")


@dataclass(frozen=True)
class ModelInfo:
    """What a model file holds besides its graph. In the file, each field is a JSON text under `thumbnet.<field>`.

    There, the framing is called `fit`, in the files of every version.
    """

    names: tuple[str, ...]  # the classes, in the order of the graph's output
    size: int  # pixels a side of the graph's input
    framing: Framing  # how a picture becomes the graph's square input
    threshold: float  # 0 to 1; an answer with less sureness is "unsure"
    temperature: float  # the graph divides the network's logits by it
    mirror_average: bool  # whether the graph averages the answers for a picture and its mirror image
    recipe: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)  # the training and test data: fingerprints, sizes, source
    scores: dict[str, float] = field(default_factory=dict)  # of this file on the test images
    history: list[dict[str, Any]] = field(default_factory=list)  # the learning curve: a row for each epoch
    origin: dict[str, Any] = field(default_factory=dict)  # if the file was made from another: how, and from which
    backbone: dict[str, Any] = field(default_factory=dict)  # the pretrained network that is part of it
    thumbnails: str = ""  # the bundled model that answers for pictures too small for this one
    version: str = ""  # of Thumbnet
    format: int = FORMAT

    def knows(self, sureness: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which answers are known and not "unsure": sureness `(N,)` → `(N,)`. Only this method decides it."""
        return sureness >= self.threshold

    def as_dict(self) -> dict[str, Any]:
        """All fields, under their names in the file."""
        return {_IN_FILE.get(name, name): value for name, value in dataclasses.asdict(self).items()}

    def to_metadata(self) -> dict[str, str]:
        """All fields as texts, for an ONNX file."""
        return {PREFIX + name: json.dumps(value, ensure_ascii=False) for name, value in self.as_dict().items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "ModelInfo":
        """Read what `to_metadata` wrote.

        Raises:
            ModelError: A field is missing, of a wrong type or out of range, or the format is newer.
        """
        if PREFIX + "format" not in metadata:
            raise ModelError("the file is ONNX but not a model file of Thumbnet. Make one with `thumbnet train`")
        try:
            fields = {key.removeprefix(PREFIX): json.loads(value)
                      for key, value in metadata.items() if key.startswith(PREFIX)}  # fmt: skip
            if fields["format"] != FORMAT:
                raise ModelError(
                    f"the model file has format {fields['format']!r:.40}, this Thumbnet reads {FORMAT}. Upgrade it"
                )
            known = {name: value for name, value in fields.items() if name in KINDS}
            _check_kinds(known)
            names = {written: name for name, written in _IN_FILE.items()}
            values = {names.get(written, written): value for written, value in known.items()}
            info = cls(**{**values, "names": tuple(known["names"])})
            info._check()
        except (ValueError, RecursionError) as error:
            raise ModelError(f"the model file's metadata is broken ({error}). Make or fetch it again") from error
        return info

    def _check(self) -> None:
        """Raise ValueError for a value that only a hostile or damaged file has."""
        if not self.names or not all(isinstance(name, str) and name for name in self.names):
            raise ValueError("names must be texts, one a class")
        if len(set(self.names)) != len(self.names) or any(map(CONTROL.search, self.names)):
            raise ValueError("names must differ and hold no control characters")
        if not 1 <= self.size <= 4096:
            raise ValueError(f"size must be 1 to 4096 pixels, got {self.size!r:.40}")
        if self.framing not in FRAMINGS:
            raise ValueError(f"fit must be one of {', '.join(FRAMINGS)}, got {self.framing!r:.40}")
        check_threshold(self.threshold)
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be above 0, got {self.temperature!r:.40}")
        if not all(isinstance(row, dict) for row in self.history):
            raise ValueError("history must be objects, one an epoch")


def check_threshold(threshold: float) -> None:
    """Raise ValueError unless this is a number from 0 to 1."""
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be 0 to 1, got {threshold!r:.40}")


def write_info(model: Any, info: ModelInfo) -> None:
    """Write `info` into an `onnx.ModelProto`, and remove its other metadata."""
    del model.metadata_props[:]
    for key, value in sorted(info.to_metadata().items()):
        model.metadata_props.add(key=key, value=value)


def with_info(content: bytes, info: ModelInfo) -> bytes:
    """The model file with other metadata, such as scores, which are known only once the file exists. Needs `onnx`."""
    import onnx

    model = onnx.load_from_string(content)
    write_info(model, info)
    return bytes(model.SerializeToString(deterministic=True))


def _check_kinds(fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        if type(value) not in KINDS[name]:  # not isinstance, for which True is a number
            raise ValueError(f"{name} is {value!r:.40}")
    if missing := [name for name in REQUIRED if name not in fields]:
        raise ValueError(f"{', '.join(missing)} missing")
