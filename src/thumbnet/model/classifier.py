"""A loaded model file: pictures → predictions, with ONNX Runtime only."""

import contextlib
import dataclasses
import io
import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias, overload

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from thumbnet.errors import ImageError, ModelError
from thumbnet.model.graph import refuse_external_data
from thumbnet.model.info import ModelInfo, check_threshold
from thumbnet.pictures import framing
from thumbnet.pictures.decode import MAX_PIXELS, RGB, decode
from thumbnet.pictures.framing import resize
from thumbnet.pictures.pillow import Pillow, from_pillow
from thumbnet.sources import read
from thumbnet.sources.urls import without_password

Source: TypeAlias = read.Source | NDArray[np.uint8] | Pillow
FileState: TypeAlias = tuple[int, int, int, int]
PRETRAINED = Path(__file__).parent / "pretrained"
BUNDLED = ("cifar10-photo", "cifar10-best", "cifar10-seed")  # the best first
THUMBNAIL = 64  # pixels; a picture with a shorter side is for `ModelInfo.thumbnails`
DIGITS = 6  # of a confidence and a sureness, in JSON and tables
BATCH = 256  # squares of up to 32 pixels a side in a run of the network; more take memory and gain nothing


@dataclass(frozen=True)
class Guess:
    """A class and its probability, 0 to 1."""

    label: str
    confidence: float


@dataclass(frozen=True)
class Prediction:
    """The answer for one picture."""

    source: str  # the path or URL, or the type's name for bytes, files and arrays, such as `<bytes>`
    top: tuple[Guess, ...]  # the most probable classes, the most probable first
    known: bool  # whether the sureness reaches the threshold; if not, the answer is "unsure"
    sureness: float  # 0 to 1; see `Asked`
    network: str = ""  # the bundled model that answered instead, as the picture is a thumbnail

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.top[0].label

    @property
    def confidence(self) -> float:
        """Its probability, 0 to 1."""
        return self.top[0].confidence

    def as_dict(self) -> dict[str, Any]:
        """The prediction for JSON, with numbers rounded to six digits."""
        return {
            "source": self.source,
            "label": self.label,
            "confidence": round(self.confidence, DIGITS),
            "known": self.known,
            "sureness": round(self.sureness, DIGITS),
            **({"network": self.network} if self.network else {}),
            "top": [{"label": guess.label, "confidence": round(guess.confidence, DIGITS)} for guess in self.top],
        }


class Asked(NamedTuple):
    """A network's outputs for N pictures."""

    probabilities: NDArray[np.float32]  # (N, C), each row adding up to one
    # (N,), 0 to 1: the confidence, or less if no training picture was similar; the field calls it an OOD score.
    sureness: NDArray[np.float32]


class Evidence(NamedTuple):
    """What each place of one picture says for each class: `places` averaged, and a constant, are the logits."""

    probabilities: NDArray[np.float32]  # (C,)
    places: NDArray[np.float32]  # (h, w, C)


def batch_size(size: int) -> int:
    """How many squares of `size` pixels a side a network should get in one run: even, 2 to `BATCH`.

    More take memory. Of large squares, more are also slower, as their maps fit into no cache: at 288 pixels, a run of
    two takes 2 % more of a core for each than a run of one, and a run of twelve 30 % more.
    """
    return min(BATCH, max(2, BATCH * 32**2 // size**2 // 2 * 2))


def load(
    model: str | Path | None = None, *, threads: int = 0, views: bool = False, threshold: float | None = None
) -> "Classifier":
    """Load a model file.

    Args:
        model: A bundled model's name (`BUNDLED`) or a file's path. The default is the best bundled model.
        threads: How many the network computes with; 0 means one for each core.
        views: Look at large pictures twice, the second time closer, at their middle. This is slower, and recognises
            better what is foreign to the model.
        threshold: Replaces the file's threshold: an answer with less sureness is "unsure". 0 to 1.

    Raises:
        ModelError: There is no such file or name, or the file is not a model file of Thumbnet.
        ValueError: `threshold` is out of range.
    """
    if threshold is not None:
        check_threshold(threshold)  # first, since `_opened` takes a ValueError for a bad file name
    with _opened(model) as file:
        # ONNX Runtime opens the file again, which saves a copy in memory. It opens the descriptor, so that it gets the
        # checked file even if the name now leads elsewhere. A pipe, and any file on another system, is read here.
        opened = Path(f"/proc/self/fd/{file.fileno()}")
        return Classifier(opened if opened.is_file() else file.read(), threads, views, threshold)


def load_with_content(model: str | Path | None = None) -> tuple["Classifier", bytes]:
    """Load a model file, and return its bytes, too: those that were loaded, since a pipe gives them only once.

    Raises:
        ModelError: As `load` raises it.
    """
    with _opened(model) as file:
        content = file.read()
        return Classifier(content), content


@contextlib.contextmanager
def _opened(model: str | Path | None) -> Iterator[IO[bytes]]:
    """A model file, open. An error inside the block becomes a ModelError with the file's name."""
    name, path = _located(model)
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise ModelError(
            f"no model file at {name}. Expected a file made by `thumbnet train`, or one of: {', '.join(BUNDLED)}"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise ModelError(f"cannot read the model file {name}: {getattr(error, 'strerror', None) or error}") from error
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error


def fingerprint(model: str | Path | None = None) -> str | None:
    """The SHA-256 of a model file, named as for `load`; None for a pipe, which gives its content only once."""
    from thumbnet import files  # imports hashlib and tempfile, which a start does not need

    path = find(model)
    return files.sha256(path) if path.is_file() else None


def find(model: str | Path | None = None) -> Path:
    """Where a model file is, named as for `load`."""
    return _located(model)[1]


class Classifier:
    """A loaded model file. Its `info` describes it.

    If that names a bundled model for thumbnails, pictures whose shorter side is under `THUMBNAIL` pixels are answered
    by it. It is loaded at the first of them, with the same threads, views and threshold.

    A classifier can be pickled and copied. The pickle holds the whole model file, which is read again for it; a file
    that has changed since it was loaded is rejected.
    """

    def __init__(
        self,
        model: bytes | bytearray | memoryview | str | os.PathLike[str],
        threads: int = 0,
        views: bool = False,
        threshold: float | None = None,
    ) -> None:
        """Load a model file from its bytes or its path. Only its network is run; it holds no other code.

        `threads`, `views` and `threshold` are as for `load`.

        Raises:
            ModelError: This is not a model file of Thumbnet, its graph and metadata disagree, or it names a model for
                thumbnails that is none of `BUNDLED`.
            OSError: The path cannot be read; `load` turns that into a ModelError.
            ValueError: `threshold` is out of range.
        """
        self._model: bytes | tuple[Path, FileState]
        loaded = bytes(model) if isinstance(model, bytes | bytearray | memoryview) else Path(model)
        with io.BytesIO(loaded) if isinstance(loaded, bytes) else loaded.open("rb") as file:
            refuse_external_data(file)
            self._model = loaded if isinstance(loaded, bytes) else (Path(os.path.realpath(loaded)), _state(file))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # errors are raised, so nothing need be logged
        options.add_session_config_entry("session.load_model_format", "ONNX")  # never ONNX Runtime's own format
        # Spinning threads would take cores from the threads that decode pictures.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                loaded, options, providers=["CPUExecutionProvider"],
                enable_fallback=False,  # it would print, and try the same again
            )  # fmt: skip
            metadata = self._session.get_modelmeta().custom_metadata_map
            signature = _signature(self._session.get_inputs()), _signature(self._session.get_outputs())
        except Exception as error:  # the only base class of ONNX Runtime's exceptions
            raise ModelError("not a model file, or a broken one. Make or fetch it again") from error
        self.info = ModelInfo.from_metadata(metadata)
        if self.info.thumbnails not in ("", *BUNDLED):
            raise ModelError(
                f"expected a model for thumbnails among {', '.join(BUNDLED)}, got {self.info.thumbnails!r:.80}. "
                "Make or fetch the file again, or upgrade Thumbnet"
            )
        if threshold is not None:
            check_threshold(threshold)
            self.info = dataclasses.replace(self.info, threshold=float(threshold))
        self.views = views
        self._threads, self._threshold = threads, threshold
        self._network = ""  # its name in its predictions, if it answers for the thumbnails of another
        self._for_thumbnails: Classifier | None = None
        self._loading = threading.Lock()
        size, classes = self.info.size, len(self.info.names)
        inputs = f"images uint8 (N, {size}, {size}, 3)"
        probabilities, heat = rf"probabilities float \(N, {classes}\)", rf"heat float \(N, \w+, \w+, {classes}\)"
        given = re.fullmatch(
            rf"{probabilities}(, sureness float \(N\)(, features float \(N, ([1-9]\d*)\)(, {heat})?)?)?", signature[1]
        )
        if signature[0] != inputs or not given:
            raise ModelError(
                f"expected a graph that takes {inputs} and gives probabilities float (N, {classes}), then perhaps "
                f"sureness float (N), features float (N, D), heat float (N, h, w, {classes}), as the metadata says, "
                f"got {signature[0]!r:.200} and {signature[1]!r:.200}. Make or fetch it again"
            )
        self._shapes: dict[str, tuple[int | None, ...]] = {  # of the outputs for one picture; None is any length
            "probabilities": (classes,),
            **({"sureness": ()} if given[1] else {}),
            **({"features": (int(given[3]),)} if given[2] else {}),
            **({"heat": (None, None, classes)} if given[4] else {}),
        }

    @property
    def has_sureness(self) -> bool:
        """Whether the file has a sureness of its own; see `Asked`."""
        return "sureness" in self._shapes

    @property
    def has_features(self) -> bool:
        """Whether the file gives `features`."""
        return "features" in self._shapes

    @property
    def has_heat(self) -> bool:
        """Whether the file gives `evidence`."""
        return "heat" in self._shapes

    @property
    def for_thumbnails(self) -> "Classifier":
        """The classifier for pictures whose shorter side is under `THUMBNAIL` pixels: another, or this one.

        Raises:
            ModelError: The bundled model that the file names does not fit it.
        """
        if not self.info.thumbnails:
            return self
        with self._loading:
            if self._for_thumbnails is None:
                self._for_thumbnails = self._loaded_for_thumbnails()
            return self._for_thumbnails

    def _loaded_for_thumbnails(self) -> "Classifier":
        name = self.info.thumbnails
        found = load(name, threads=self._threads, views=self.views, threshold=self._threshold)
        # The sizes tell whose the squares are.
        if found.info.names != self.info.names or found.info.size >= self.info.size or found.info.thumbnails:
            raise ModelError(
                f"expected a model for thumbnails with the same classes and a smaller input, got {name}. Make or fetch "
                "the file again"
            )
        found._network = name
        return found

    def for_squares(self, size: int) -> "Classifier":
        """The classifier that answers for squares of `size` pixels a side: that for thumbnails, or this one."""
        return self if size == self.info.size else self.for_thumbnails

    def __reduce__(self) -> tuple[type["Classifier"], tuple[bytes, int, bool, float | None]]:
        """How `pickle` and `copy` build the copy.

        Raises:
            ModelError: The model file has changed, so the copy would be another model.
        """
        return type(self), (self._content(), self._threads, self.views, self._threshold)

    def _content(self) -> bytes:
        """The model file's bytes; those of a path are not kept in memory."""
        if isinstance(self._model, bytes):
            return self._model
        path, state = self._model
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            if _state(file) == state:
                return file.read()
        raise ModelError(f"{path} has changed since it was loaded, so the model cannot be copied. Load it again")

    def probabilities(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Each class's probability: uint8 `(N, S, S, 3)`, RGB → float32 `(N, C)`. Raises what `ask` raises."""
        return self.ask(squares).probabilities

    def ask(self, squares: NDArray[np.uint8]) -> Asked:
        """The network's outputs for squares, uint8 `(N, S, S, 3)`, RGB. Their size decides whose: see `for_squares`.

        If the network has no output for the sureness, the confidence takes its place.

        Raises:
            ModelError: The network fails, or its outputs cannot be probabilities. Thumbnet writes no such file.
        """
        network = self.for_squares(squares.shape[1])
        if network is not self:
            return network.ask(squares)
        probabilities, *own = self._outputs(["probabilities", *(["sureness"] if self.has_sureness else [])], squares)
        # A NaN fails this, too. Rounding may lift a softmax above one.
        if not all(((each >= 0) & (each <= 1.001)).all() for each in (probabilities, *own)):
            raise ModelError("the model file's network gives numbers that are no probabilities. Make or fetch it again")
        return Asked(probabilities, own[0] if own else probabilities.max(axis=1, initial=0))

    def features(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the network makes of squares before it decides: uint8 `(N, S, S, 3)`, RGB → float32 `(N, D)`.

        Raises:
            ModelError: The model file gives none (see `has_features`), or its network fails.
        """
        if not self.has_features:
            raise ModelError("the model file gives no features. Expected one that was trained by a backbone")
        [found] = self._outputs(["features"], squares)
        if not np.isfinite(found).all():
            raise ModelError("the model file's network gives features that are no numbers. Make or fetch it again")
        return found

    def evidence(self, square: NDArray[np.uint8]) -> Evidence:
        """What each place of a square, uint8 `(S, S, 3)`, RGB, says for each class.

        Raises:
            ModelError: The model file does not give it (see `has_heat`), or its network fails.
        """
        if not self.has_heat:
            raise ModelError("the model file gives no evidence of places. Expected one that was trained by a backbone")
        probabilities, places = self._outputs(["probabilities", "heat"], square[None])
        if not (places.size and np.isfinite(probabilities).all() and np.isfinite(places).all()):
            raise ModelError("the model file's network gives evidence that is no numbers. Make or fetch it again")
        return Evidence(probabilities[0], places[0])

    def _outputs(self, names: list[str], squares: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Some outputs of the network for any number of squares, uint8 `(N, S, S, 3)`.

        Raises:
            ModelError: The network fails, or gives other shapes than the file says.
        """
        batch = batch_size(self.info.size)
        runs = [self._run(names, squares[start : start + batch]) for start in range(0, len(squares), batch)]
        if not runs:
            return [np.zeros((0, *(length or 0 for length in self._shapes[name])), np.float32) for name in names]
        return [np.concatenate(rows) for rows in zip(*runs, strict=True)]

    def _run(self, names: list[str], squares: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        # An odd batch gets its last square twice, because ONNX Runtime computes odd batches by other kernels. So, a
        # picture's row is the same to the last digit, whatever the size of the batch. In files with features it is
        # anyway (docs/model-file.md), and their squares are large.
        doubled = len(squares) % 2 == 1 and not self.has_features
        batch = np.concatenate([squares, squares[-1:]]) if doubled else squares
        try:
            outputs: list[NDArray[np.float32]] = self._session.run(names, {"images": batch})
        except Exception as error:  # as in __init__
            raise ModelError("the model file's network fails. Make or fetch it again") from error
        for name, output in zip(names, outputs, strict=True):
            shape = len(batch), *self._shapes[name]
            if len(shape) != output.ndim or any(
                length not in (None, found) for length, found in zip(shape, output.shape, strict=True)
            ):
                raise ModelError(
                    f"the model file's network gives {name} {output.shape}, which it does not declare. Fetch it again"
                )
        return [each[: len(squares)] for each in outputs]

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is an iterable of sources, too
        self, source: Source, *, top_k: int = 3
    ) -> Prediction: ...
    @overload
    def predict(self, source: Iterable[Source], *, top_k: int = 3) -> list[Prediction]: ...
    def predict(self, source: Source | Iterable[Source], *, top_k: int = 3) -> Prediction | list[Prediction]:
        """Classify one picture, or many in one go.

        Args:
            source: A path, a URL, a picture file's bytes, a file opened in binary mode, an RGB array, uint8
                `(H, W, 3)`, or a `PIL.Image.Image`; or several of these, in any iterable or as an array `(N, H, W, 3)`.
            top_k: How many of the most probable classes to list, 1 or more.

        Returns:
            A `Prediction`, or a list of them in the order of the sources.

        Raises:
            FetchError: A URL could not be read.
            ImageError: Some bytes or an array are not a picture.
            SourceError: A file could not be read, or an object is not a source.
            ModelError: As `ask` raises it.
            ValueError: `top_k` is less than 1.
        """
        one = _is_one(source)
        sources: list[Any] = [source] if one else list(source)  # type: ignore[arg-type]
        predictions = self.describe([_name(each) for each in sources], list(map(self.squares, sources)), top_k)
        return predictions[0] if one else predictions

    def square(self, source: Source, *, max_pixels: int = MAX_PIXELS, thumbnails: bool = True) -> NDArray[np.uint8]:
        """The square that the network sees: uint8 `(S, S, 3)`, RGB. Raises what `predict` raises.

        Args:
            source: One source, as for `predict`.
            max_pixels: The most pixels that the picture may have.
            thumbnails: Whether a thumbnail is for its own network, if there is one, or for this file's.
        """
        picture = self._picture(source, max_pixels)
        info = self._info_for(picture, thumbnails)
        return resize(picture, info.size, info.framing)

    def squares(self, source: Source, *, max_pixels: int = MAX_PIXELS, thumbnails: bool = True) -> NDArray[np.uint8]:
        """All squares that it sees: `square`, and with `views` the middle, too: `(V, S, S, 3)`. Raises the same."""
        if not self.views:
            return self.square(source, max_pixels=max_pixels, thumbnails=thumbnails)[None]
        picture = self._picture(source, max_pixels)
        info = self._info_for(picture, thumbnails)
        return framing.views(picture, info.size, info.framing)

    def _info_for(self, picture: RGB, thumbnails: bool) -> ModelInfo:
        """What the model file says whose network sees a picture."""
        return (self.for_thumbnails if thumbnails and min(picture.shape[:2]) < THUMBNAIL else self).info

    def _picture(self, source: Source, max_pixels: int) -> RGB:
        if hasattr(source, "getexif"):
            return from_pillow(source, max_pixels)  # type: ignore[arg-type]
        picture = source if isinstance(source, np.ndarray) else decode(read.read(source), self.info.size, max_pixels)
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
            raise ImageError(
                f"expected an RGB array, uint8 (H, W, 3), got {picture.dtype} {picture.shape}. Convert it first"
            )
        return picture

    def describe(
        self, sources: Sequence[str], squares: Sequence[NDArray[np.uint8]], top_k: int = 3
    ) -> list[Prediction]:
        """Classify the results of `squares`: names, and uint8 `(V, S, S, 3)` for each → a prediction for each."""
        rows: dict[int, Prediction] = {}
        for size, places in by_size(squares).items():
            asked = self.ask(np.concatenate([squares[place] for place in places]))
            asked = together(asked, [len(squares[place]) for place in places])
            found = self.for_squares(size).answers([sources[place] for place in places], asked, top_k)
            rows.update(zip(places, found, strict=True))
        return [rows[place] for place in range(len(squares))]

    def answers(self, sources: Sequence[str], asked: Asked, top_k: int = 3) -> list[Prediction]:
        """Turn the outputs of this file's own network into a prediction for each name."""
        if top_k < 1:
            raise ValueError(f"top_k must be 1 or more, got {top_k}")
        known = self.info.knows(asked.sureness)
        best = np.argsort(-asked.probabilities, axis=1, kind="stable")[:, :top_k]  # (N, K)
        return [
            Prediction(
                source,
                tuple(Guess(self.info.names[index], float(row[index])) for index in order),
                known=bool(sure),
                sureness=float(sureness),
                network=self._network,
            )
            for source, row, sureness, sure, order in zip(sources, *asked, known, best, strict=True)
        ]


def by_size(squares: Sequence[NDArray[np.uint8]]) -> dict[int, list[int]]:
    """The places of those results of `Classifier.squares` that one network answers, by the size of their squares."""
    places: dict[int, list[int]] = {}
    for place, views in enumerate(squares):
        places.setdefault(views.shape[1], []).append(place)
    return places


def together(asked: Asked, counts: Sequence[int]) -> Asked:
    """Combine the views of each picture into one row.

    A view counts the more, the surer it is: another may show the object only in part, or lost in its surroundings. The
    sureness is the average of the views', since the luckier view would make anything known.

    Args:
        asked: The outputs of `Classifier.ask` for all views.
        counts: How many views each picture has, 1 or more.
    """
    if len(counts) == len(asked.sureness):  # one view each, as always without `views`
        return asked
    starts = np.cumsum([0, *counts[:-1]])
    voices = np.maximum(asked.sureness, np.float32(1e-6))  # (V,), never all zero
    # The share of a single view is exactly one, so its picture's answer does not depend on its neighbours.
    shares = voices / np.repeat(np.add.reduceat(voices, starts), counts)
    probabilities = np.add.reduceat(shares[:, None] * asked.probabilities, starts)  # (V, C) → (N, C)
    sureness = np.add.reduceat(asked.sureness, starts) / counts
    return Asked(probabilities, sureness.astype(np.float32))


def _located(model: str | Path | None) -> tuple[str, Path]:
    """A model's name for messages, and its path."""
    name = BUNDLED[0] if model is None else str(model)
    return name, PRETRAINED / f"{name}.onnx" if name in BUNDLED else Path(name)


def _state(file: IO[bytes]) -> FileState:
    """What changes when a file is changed or replaced: device, inode, bytes, and time of change in nanoseconds."""
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _signature(nodes: Sequence[Any]) -> str:
    """A graph's inputs or outputs as text: `images uint8 (N, 32, 32, 3)`, with N for a free length."""
    shapes = [", ".join(str(length) if isinstance(length, int) else "N" for length in node.shape) for node in nodes]
    kinds = [node.type.removeprefix("tensor(").removesuffix(")") for node in nodes]
    return ", ".join(f"{node.name} {kind} ({shape})" for node, kind, shape in zip(nodes, kinds, shapes, strict=True))


def _is_one(source: object) -> bool:
    """Whether this is meant as one source, even a wrong one, and not as several."""
    if isinstance(source, np.ndarray):
        return source.ndim == 0 or (source.ndim != 4 and source.dtype.kind not in "OSU")  # arrays of these hold sources
    if isinstance(source, str | os.PathLike) or hasattr(source, "read") or not isinstance(source, Iterable):
        return True
    try:
        memoryview(source)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


def _name(source: Source) -> str:
    """A source's name in its prediction."""
    if isinstance(source, str):
        return without_password(source)
    return os.fsdecode(source) if isinstance(source, os.PathLike) else f"<{type(source).__name__}>"
