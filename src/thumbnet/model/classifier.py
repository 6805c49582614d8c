"""A model file in use: pictures → predictions, through ONNX Runtime alone."""

import contextlib
import dataclasses
import io
import os
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
BUNDLED = ("cifar10-best", "cifar10-seed")  # the best first
DIGITS = 6  # of a confidence and a sureness, where they are written down
BATCH = 256  # squares a run of the network; more gain nothing and take memory


@dataclass(frozen=True)
class Guess:
    """A class and how probable it is, 0 to 1."""

    label: str
    confidence: float


@dataclass(frozen=True)
class Prediction:
    """The answer for one picture."""

    source: str  # what was asked: a path, a URL, or what stands for bytes and arrays
    top: tuple[Guess, ...]  # the most probable classes, the best first
    known: bool  # whether it is sure enough; if not, the answer is "unsure"
    sureness: float  # what decides that, 0 to 1: see `Asked`

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.top[0].label

    @property
    def confidence(self) -> float:
        """Its probability, 0 to 1."""
        return self.top[0].confidence

    def as_dict(self) -> dict[str, Any]:
        """As it stands in JSON, numbers rounded to six digits."""
        return {
            "source": self.source,
            "label": self.label,
            "confidence": round(self.confidence, DIGITS),
            "known": self.known,
            "sureness": round(self.sureness, DIGITS),
            "top": [{"label": guess.label, "confidence": round(guess.confidence, DIGITS)} for guess in self.top],
        }


class Asked(NamedTuple):
    """What a network says of N pictures."""

    probabilities: NDArray[np.float32]  # (N, C), each row adding up to one
    sureness: NDArray[np.float32]  # (N,), 0 to 1: the confidence, less where training had nothing like the picture


def load(
    model: str | Path | None = None, *, threads: int = 0, views: bool = False, threshold: float | None = None
) -> "Classifier":
    """The classifier in a model file.

    Args:
        model: A bundled model's name (`BUNDLED`) or a file's path; nothing means the best bundled one.
        threads: That the network computes with; 0 for one a core.
        views: Look at large pictures twice, at their middle more closely: tells better what is foreign, and is slower.
        threshold: In place of the file's: an answer with less sureness is "unsure". 0 to 1.

    Raises:
        ModelError: No such file or name, or no model file of Thumbnet.
        ValueError: `threshold` is out of its range.
    """
    if threshold is not None:
        check_threshold(threshold)  # here, as below a ValueError is the name's
    with _opened(model) as file:
        # ONNX Runtime opens it once more, which saves a copy in memory; by its descriptor, so that it gets what was
        # checked, whatever the name leads to meanwhile. What has none such, a pipe or another system, is read here.
        opened = Path(f"/proc/self/fd/{file.fileno()}")
        return Classifier(opened if opened.is_file() else file.read(), threads, views, threshold)


def load_with_content(model: str | Path | None = None) -> tuple["Classifier", bytes]:
    """The classifier in a model file, and the file's bytes: just those that were loaded, as a pipe gives them once.

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
    """The SHA-256 of a model file, named as for `load`. None for a pipe, which gives its content only once."""
    from thumbnet import files  # hashlib and tempfile are not for every start

    path = find(model)
    return files.sha256(path) if path.is_file() else None


def find(model: str | Path | None = None) -> Path:
    """Where a model file is, named as for `load`."""
    return _located(model)[1]


class Classifier:
    """A loaded model file. `info` is what the file says of itself.

    It can be pickled and copied, with the whole model file in the pickle: then the file it came of is read once more.
    """

    def __init__(
        self,
        model: bytes | bytearray | memoryview | str | os.PathLike[str],
        threads: int = 0,
        views: bool = False,
        threshold: float | None = None,
    ) -> None:
        """Load a model file, from its bytes or its path. It holds no code: only its network is run.

        `threads`, `views` and `threshold` are as for `load`.

        Raises:
            ModelError: No model file of Thumbnet, or one whose graph and metadata disagree.
            OSError: The path cannot be read; `load` tells that in words.
            ValueError: `threshold` is out of its range.
        """
        self._model: bytes | tuple[Path, FileState]
        loaded = bytes(model) if isinstance(model, bytes | bytearray | memoryview) else Path(model)
        with io.BytesIO(loaded) if isinstance(loaded, bytes) else loaded.open("rb") as file:
            refuse_external_data(file)
            self._model = loaded if isinstance(loaded, bytes) else (Path(os.path.realpath(loaded)), _state(file))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # what goes wrong comes back as an exception
        options.add_session_config_entry("session.load_model_format", "ONNX")  # never ORT's own format, from its bytes
        # Threads that wait for work by spinning would take the cores from those that decode pictures.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                loaded, options, providers=["CPUExecutionProvider"],
                enable_fallback=False,  # which prints, and tries the same once more
            )  # fmt: skip
            metadata = self._session.get_modelmeta().custom_metadata_map
            signature = _signature(self._session.get_inputs()), _signature(self._session.get_outputs())
        except Exception as error:  # ONNX Runtime's own classes have no common base but this
            raise ModelError("not a model file, or a broken one. Make or fetch it again") from error
        self.info = ModelInfo.from_metadata(metadata)
        if threshold is not None:
            check_threshold(threshold)
            self.info = dataclasses.replace(self.info, threshold=float(threshold))
        self.views = views
        self._threads = threads
        self.has_sureness = "sureness" in signature[1]  # of its own
        size, classes = self.info.size, len(self.info.names)
        taken, given = f"images uint8 (N, {size}, {size}, 3)", f"probabilities float (N, {classes})"
        if signature not in ((taken, given), (taken, f"{given}, sureness float (N)")):
            raise ModelError(
                f"expected a graph that takes {taken} and gives {given}, as the metadata says, "
                f"got {signature[0]!r:.200} and {signature[1]!r:.200}. Make or fetch it again"
            )

    def __reduce__(self) -> tuple[type["Classifier"], tuple[bytes, int, bool, float]]:
        """How `pickle` and `copy` make it anew.

        Raises:
            ModelError: The file it came of is not as it was, so that the copy would be another model.
        """
        return type(self), (self._content(), self._threads, self.views, self.info.threshold)

    def _content(self) -> bytes:
        """The model file, which is not kept in memory."""
        if isinstance(self._model, bytes):
            return self._model
        path, state = self._model
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            if _state(file) == state:
                return file.read()
        raise ModelError(f"{path} has changed since it was loaded, so the model cannot be copied. Load it again")

    def probabilities(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How probable each class is: uint8 `(N, S, S, 3)` RGB → float32 `(N, C)`. Raises what `ask` raises."""
        return self.ask(squares).probabilities

    def ask(self, squares: NDArray[np.uint8]) -> Asked:
        """What the network says of pictures, uint8 `(N, S, S, 3)` RGB. Without a sureness of its own: the confidence.

        Raises:
            ModelError: The network of a stranger's file fails, or gives what cannot be probabilities.
        """
        runs = [self._run(squares[start : start + BATCH]) for start in range(0, len(squares), BATCH)]
        if not runs:
            return Asked(np.zeros((0, len(self.info.names)), np.float32), np.zeros(0, np.float32))
        return Asked(*map(np.concatenate, zip(*runs, strict=True)))

    def _run(self, squares: NDArray[np.uint8]) -> Asked:
        # An even number, the last one twice if need be: ONNX Runtime computes an odd one by other kernels. So, the same
        # picture has the same row to the last digit, however many come at once.
        asked = np.concatenate([squares, squares[-1:]]) if len(squares) % 2 else squares
        try:
            given: list[NDArray[np.float32]] = self._session.run(None, {"images": asked})
        except Exception as error:  # as in __init__
            raise ModelError("the model file's network fails. Make or fetch it again") from error
        shapes = [(len(asked), len(self.info.names)), (len(asked),)][: len(given)]
        rows = [each[: len(squares)] for each in given]
        # Asked so that a NaN is refused too. A softmax may be above one by a rounding.
        if [each.shape for each in given] != shapes or not all(((each >= 0) & (each <= 1.001)).all() for each in rows):
            raise ModelError("the model file's network gives numbers that are no probabilities. Make or fetch it again")
        return Asked(rows[0], rows[1] if rows[1:] else rows[0].max(axis=1))

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is an iterable of such, too
        self, source: Source, *, top_k: int = 3
    ) -> Prediction: ...
    @overload
    def predict(self, source: Iterable[Source], *, top_k: int = 3) -> list[Prediction]: ...
    def predict(self, source: Source | Iterable[Source], *, top_k: int = 3) -> Prediction | list[Prediction]:
        """Classify one picture, or many in one go.

        Args:
            source: A path, a URL, a picture file's bytes, a file opened in binary mode, an RGB array, uint8
                `(H, W, 3)`, or a `PIL.Image.Image`; or several of these, in any iterable or as an array `(N, H, W, 3)`.
            top_k: How many of the most probable classes to name, 1 or more.

        Returns:
            A `Prediction`; for several a list, in their order.

        Raises:
            FetchError: A URL could not be read.
            ImageError: Bytes that are no picture, or an array that is none.
            SourceError: A file could not be read, or something is no source.
            ModelError: The network of a stranger's file fails, or gives what cannot be probabilities.
        """
        one = _is_one(source)
        sources: list[Any] = [source] if one else list(source)  # type: ignore[arg-type]
        predictions = self.describe([_name(each) for each in sources], list(map(self.squares, sources)), top_k)
        return predictions[0] if one else predictions

    def square(self, source: Source, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
        """What the network sees of a picture: uint8 `(S, S, 3)`, RGB. Raises what `predict` raises.

        `max_pixels` is as for `decode`.
        """
        return resize(self._picture(source, max_pixels), self.info.size, self.info.framing)

    def squares(self, source: Source, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
        """All that it sees of one: `square`, and with `views` its middle too, `(V, S, S, 3)`. Raises the same."""
        if not self.views:
            return self.square(source, max_pixels=max_pixels)[None]
        return framing.views(self._picture(source, max_pixels), self.info.size, self.info.framing)

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
        """Classify what `squares` made: names, and uint8 `(V, S, S, 3)` for each → a prediction each."""
        if not squares:
            return []
        asked = self.ask(np.concatenate(squares))
        return self.answers(sources, together(asked, [len(views) for views in squares]), top_k)

    def answers(self, sources: Sequence[str], asked: Asked, top_k: int = 3) -> list[Prediction]:
        """Put into words what `ask` gave: a prediction for each name."""
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
            )
            for source, row, sureness, sure, order in zip(sources, *asked, known, best, strict=True)
        ]


def together(asked: Asked, counts: Sequence[int]) -> Asked:
    """What the views of each picture say together.

    The surer of its answer a view is, the more it counts: another may show the object only in part, or lost in its
    surroundings. A picture is known as its views are on average, or the luckier one would make anything known.

    Args:
        asked: What `Classifier.ask` gave for all views.
        counts: How many of them each picture has, 1 or more.
    """
    if len(counts) == len(asked.sureness):  # one view each, as always without `views`
        return asked
    starts = np.cumsum([0, *counts[:-1]])
    voices = np.maximum(asked.sureness, np.float32(1e-6))  # (V,), never all zero
    # A view alone has exactly one, so that its picture's answer is the same whatever comes with it.
    shares = voices / np.repeat(np.add.reduceat(voices, starts), counts)
    probabilities = np.add.reduceat(shares[:, None] * asked.probabilities, starts)  # (V, C) → (N, C)
    sureness = np.add.reduceat(asked.sureness, starts) / counts
    return Asked(probabilities, sureness.astype(np.float32))


def _located(model: str | Path | None) -> tuple[str, Path]:
    """A model's name, as messages have it, and its path."""
    name = BUNDLED[0] if model is None else str(model)
    return name, PRETRAINED / f"{name}.onnx" if name in BUNDLED else Path(name)


def _state(file: IO[bytes]) -> FileState:
    """What changes with a file's content: device, inode, bytes, and the time of its last change in nanoseconds."""
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _signature(nodes: Sequence[Any]) -> str:
    """What a graph takes or gives, as text: `images uint8 (N, 32, 32, 3)`, N for a length that is free."""
    shapes = [", ".join(str(length) if isinstance(length, int) else "N" for length in node.shape) for node in nodes]
    kinds = [node.type.removeprefix("tensor(").removesuffix(")") for node in nodes]
    return ", ".join(f"{node.name} {kind} ({shape})" for node, kind, shape in zip(nodes, kinds, shapes, strict=True))


def _is_one(source: object) -> bool:
    """Whether it is meant as one source, be it a wrong one, and not as several."""
    if isinstance(source, np.ndarray):
        return source.ndim != 4 and source.dtype.kind not in "OSU"  # these hold sources
    if isinstance(source, str | os.PathLike) or hasattr(source, "read") or not isinstance(source, Iterable):
        return True
    try:
        memoryview(source)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


def _name(source: Source) -> str:
    """A source as its prediction names it."""
    if isinstance(source, str):
        return without_password(source)
    return os.fsdecode(source) if isinstance(source, os.PathLike) else f"<{type(source).__name__}>"
