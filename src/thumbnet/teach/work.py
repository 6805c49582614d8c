"""The state of one folder that is taught: its pictures, their features in the background, and the newest model.

One thread looks at the folder, computes features and trains, in turns. Requests add and move pictures meanwhile.
"""

import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from thumbnet.data.collection import KEPT, Collection, Entry, MissingError, Place, Stamp, are_splits
from thumbnet.data.dataset import check_names, named_once, streamed_fingerprint
from thumbnet.errors import DataError, SourceError, ThumbnetError, TrainingError
from thumbnet.evaluation.scores import Answers
from thumbnet.files import exclusive, write_atomically
from thumbnet.model.classifier import Classifier
from thumbnet.sources.read import MAX_BYTES
from thumbnet.teach.thumbnails import SIDE, Thumbnails
from thumbnet.text import natural_key, printable
from thumbnet.transfer import review
from thumbnet.transfer.backbone import Backbone
from thumbnet.transfer.features import Picture, extract, frame
from thumbnet.transfer.make import Part, Samples, make

MODEL = "model.onnx"
LOOK = 1.0  # seconds between two looks at the folder, at the least
PAUSE = 1.0  # seconds without a change after which a training starts
SLICE = 0.3  # seconds of reading new files after which they are shown
CHUNK = 32  # pictures whose features are computed before the folder is looked at again
COUNTED = 0.3  # seconds between two counts that are told
LEAST = 2  # pictures of a class that counts
SAMPLES = 8  # pictures on which the model file is compared with what it was made of
PIXELS = 64_000_000  # of a picture that is added; a bomb claims more
CHANGED = "it changes while it is read"  # no problem of the picture: it is looked at again
Status: TypeAlias = Literal["waiting", "running", "ready", "failed", "too few"]
T = TypeVar("T")
log = logging.getLogger("thumbnet.server.teach")


class Shown(NamedTuple):
    """A picture as it is shown: where it is, and what is in it."""

    label: str
    name: str
    key: str  # SHA-256 of its bytes, in hexadecimal

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return {"class": self.label, "name": self.name, "key": self.key}


class _Seen(NamedTuple):
    """What is kept of a picture."""

    square_key: bytes
    features: NDArray[np.float32]  # (D,)
    small: NDArray[np.uint8]  # (review.SIDE, review.SIDE, 3)


@dataclass(frozen=True, eq=False)
class Model:
    """A model file, and what it was learnt from."""

    content: bytes
    classifier: Classifier
    answers: Answers
    pictures: tuple[Shown, ...]  # N, in the answers' order
    review: review.Review
    seconds: float


class Work:
    """One folder. Its methods may be called by any thread."""

    def __init__(self, folder: Path, backbone: Backbone) -> None:
        """Look at the folder for the first time.

        Raises:
            DataError: It is no folder, or it holds splits and no classes.
            OSError: It cannot be read.
        """
        if not folder.is_dir():
            raise DataError(f"{folder}: expected a folder, got {'a file' if folder.exists() else 'nothing there'}")
        self.folder, self.backbone = folder.absolute(), backbone
        self.ended = False
        self.thumbnails = Thumbnails(self.folder / KEPT / "thumbnails")
        self._collection = Collection(self.folder)
        self._lock = threading.RLock()  # of the collection and of all that is shown
        self._wake = threading.Event()
        self._version = int(time.time())  # not that of an earlier run, which a page may still know
        self._keys: dict[Stamp, str] = {}
        self._problems: dict[str, str] = {}  # by key
        self._unread: set[Stamp] = set()  # of files that may be readable later, though they do not change
        self._seen: dict[str, _Seen] = {}  # by key
        self._counted = 0.0
        self._looked = -LOOK  # when the folder was looked at
        self._look = LOOK  # seconds until the next look at the folder; a large one is looked at less often
        self._done = 0  # pictures of the running chunk
        self._model: Model | None = None
        self._status: Status = "waiting"
        self._message = ""
        self._failed: tuple[tuple[Shown, ...], str] | None = None  # the pictures with which it failed, and why
        self._changed = -PAUSE  # when the pictures changed
        self._latest: tuple[Shown, ...] = ()  # the pictures as they were then
        self._asked = False  # for a training at once
        self._collection.list()
        if are_splits(self._collection.classes):
            raise DataError(
                f"{folder}: expected a subfolder for each class, got splits: "
                f"{', '.join(map(printable, self._collection.classes))}. Name the one to learn from"
            )
        self._thread = threading.Thread(target=self._run, name="teach", daemon=True)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Work in the background until the block ends.

        Raises:
            ThumbnetError: Another process works on this folder, or it cannot be written to.
        """
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(exclusive(self.folder / KEPT / "lock"))
            except OSError as error:
                raise ThumbnetError(f"{self.folder}: cannot be written to: {error.strerror or error}") from error
            except ThumbnetError as error:
                raise ThumbnetError(f"{self.folder}: another `thumbnet teach` works on it. Use its page") from error
            self._thread.start()
            try:
                yield
            finally:
                self.end()
                self._thread.join()

    def end(self) -> None:
        """Let the background's work and all waiting requests end."""
        self.ended = True
        self._wake.set()

    # --- what is shown ---

    @property
    def version(self) -> int:
        """Another one after every change of `state`."""
        return self._version

    def state(self) -> dict[str, Any]:
        """All that the page shows, for JSON."""
        with self._lock:
            shown = self._shown()
            classes = {name: [] for name in self._collection.classes}  # type: dict[str, list[dict[str, Any]]]
            keys: set[str] = set()
            for label, name, key in shown:
                keys.add(key)
                problem = self._problems.get(key)
                classes[label].append({"name": name, "key": key, "problem": problem})
            done = sum(key in self._seen or key in self._problems for key in keys)
            return {
                "version": self._version,
                "folder": printable(self.folder.name or str(self.folder)),
                "classes": [{"name": name, "pictures": pictures} for name, pictures in classes.items()],
                "features": {"done": min(done + self._done, len(keys)), "total": len(keys)},
                "training": {"status": self._status, "message": self._message},
                "result": self._result(),
                "undo": {"label": self._collection.last} if self._collection.last else None,
            }

    def _result(self) -> dict[str, Any] | None:
        model = self._model
        if model is None:
            return None
        found, pictures = model.review, [picture.as_dict() for picture in model.pictures]
        names = [each.name for each in found.classes]
        labels = [
            {"picture": pictures[each.row], "kind": "label", "to": names[each.label], "confidence": each.confidence}
            for each in found.labels
        ]
        copies = [{"picture": pictures[each.row], "kind": "copy", "of": pictures[each.of]} for each in found.copies]
        return {
            "fresh": model.pictures == self._good(),
            "pictures": len(pictures),
            "seconds": round(model.seconds, 2),
            "accuracy": found.accuracy and found.accuracy._asdict(),
            "unknown_class": found.unknown_class,
            "classes": [
                {"name": each.name, "pictures": each.pictures, "accuracy": each.accuracy and each.accuracy._asdict()}
                for each in found.classes
            ],
            "confusions": [
                {
                    "from": names[each.truth],
                    "to": names[each.answer],
                    "count": each.times,
                    "pictures": [pictures[row] for row in each.rows],
                }
                for each in found.confusions
            ],
            "suspects": labels + copies,
            "next": found.next,
        }

    def _shown(self) -> list[Shown]:
        """All pictures whose content is known, in their order."""
        return [
            Shown(label, name, self._keys[entry.stamp])
            for label, entries in self._collection.classes.items()
            for name, entry in entries.items()
            if entry.stamp in self._keys
        ]

    def _good(self) -> tuple[Shown, ...]:
        """Those of them that can be learnt from, as far as is known."""
        return tuple(each for each in self._shown() if each.key not in self._problems)

    def _tell(self) -> None:
        self._version += 1

    # --- actions of requests ---

    def change(self, act: Callable[[Collection], T]) -> T:
        """Change the folder. Raises what `act` raises, which is one of `Collection`'s actions."""
        with self._lock:
            try:
                return act(self._collection)
            finally:
                self._tell()
                self._wake.set()

    def add(self, label: str, name: str, content: bytes) -> tuple[Shown, bool]:
        """Add a picture to a class, and say whether its content was there already.

        Raises:
            ImageError: It cannot be read, or its header claims too many pixels. Nothing is written.
            MissingError: There is no such class.
            OSError: It cannot be written.
        """
        key = hashlib.sha256(content).hexdigest()
        image = self.thumbnails.decoded(content, SIDE, PIXELS)
        with self._lock:
            for known, entry in self._collection.classes.get(label, {}).items():
                if self._keys.get(entry.stamp) == key:
                    return Shown(label, known, key), True
            stored = self._collection.add(label, name, content)
            if written := self._collection.classes[label].get(stored):
                self._keys[written.stamp] = key
            self._tell()
            self._wake.set()
        self.thumbnails.keep(key, image)
        return Shown(label, stored, key), False

    def train(self) -> None:
        """Train now, even if nothing has changed."""
        self._asked = True
        self._wake.set()

    def entry(self, place: Place) -> tuple[Entry, str]:
        """A picture and its key. Raises MissingError if there is none."""
        with self._lock:
            entry = self._collection.entry(place)
            return entry, self._keys.get(entry.stamp, "")

    def content(self, place: Place) -> bytes:
        """A picture's bytes.

        Raises:
            MissingError: There is none.
            SourceError: It cannot be read.
        """
        return self._collection.read(self.entry(place)[0])

    @property
    def model(self) -> Model | None:
        """The newest one."""
        return self._model

    def fresh(self) -> Model:
        """The model of just the pictures that are shown.

        Raises:
            TrainingError: There is none yet.
        """
        with self._lock:
            model = self._model
            if model is None or model.pictures != self._good():
                raise TrainingError("there is no model of just these pictures yet. Wait until the training is done")
            return model

    # --- the background ---

    def _run(self) -> None:
        while not self.ended:
            try:
                busy = self._step()
            except Exception as error:
                self._fail(error)
                busy = False
            if not busy:
                self._wake.wait(self._look)
                self._wake.clear()

    def _fail(self, error: Exception) -> None:
        """Tell why, and leave the same pictures alone until somebody asks."""
        message = str(error) or type(error).__name__
        foreseen = isinstance(error, ThumbnetError | OSError | MemoryError)
        if not foreseen and (self._status, self._message) != ("failed", message):
            log.error("the work in the background failed", exc_info=error)
        self._failed = self._latest, message
        self._asked = False
        self._say("failed", message)

    def _step(self) -> bool:
        """Do the next piece of work. Gives whether there is more to do at once."""
        start = time.monotonic()
        try:
            if start - self._looked >= self._look:
                with self._lock:
                    if self._collection.list():
                        self._tell()
                self._read_again()
                self._looked = time.monotonic()
                self._look = max(LOOK, 20 * (self._looked - start))
        except OSError as error:
            self._say("failed", f"the folder cannot be read: {error.strerror or error}")
            return False
        if self._read_new():
            return True
        with self._lock:
            good = self._good()
            if good != self._latest:
                self._latest, self._changed = good, time.monotonic()
        if not self._asked and self._failed and good == self._failed[0]:
            self._say("failed", self._failed[1])
            return False
        places = {key: Place(label, name) for label, name, key in good if key not in self._seen}
        if places:
            self._say("waiting", "")
            return self._see(dict(list(places.items())[:CHUNK]))
        return self._consider(good)

    def _read_again(self) -> None:
        """Let files be read as new ones that can be read by now: after a change of a name, a permission or a folder."""
        with self._lock:
            tried = [
                entry
                for entry in self._collection.entries()
                if entry.stamp in self._unread and not entry.problem and entry.stamp.bytes <= MAX_BYTES
            ]
        for entry in tried:
            with contextlib.suppress(SourceError):
                self._collection.read(entry)
                with self._lock:
                    self._unread.discard(entry.stamp)
                    self._keys.pop(entry.stamp, None)

    def _read_new(self) -> bool:
        """Find the content of new files. Gives whether there are more."""
        with self._lock:
            new = [entry for entry in self._collection.entries() if entry.stamp not in self._keys]
        end, read = time.monotonic() + SLICE, 0
        for entry in new:
            if time.monotonic() > end or self.ended:
                break
            problem = ""
            try:
                key = hashlib.sha256(self._collection.read(entry)).hexdigest()
            except SourceError as error:
                problem = str(error)
                key = hashlib.sha256(f"{entry.path}\n{problem}".encode("utf-8", "surrogateescape")).hexdigest()
            with self._lock:
                self._keys[entry.stamp] = key
                if problem:
                    self._problems[key] = problem
                    self._unread.add(entry.stamp)
            read += 1
        if read:
            self._tell()
        return read < len(new)

    def _see(self, places: dict[str, Place]) -> bool:
        """Compute the features of some pictures, by their keys. Gives whether anything was found of them."""
        keys = list(places)
        readers = [self._reader(key, place) for key, place in places.items()]
        smalls: dict[str, NDArray[np.uint8]] = {}
        nothing = np.zeros((review.SIDE, review.SIDE, 3), np.uint8)  # like no other picture

        def small(key: str) -> None:
            with contextlib.suppress(SourceError, MissingError):
                smalls[key] = self.thumbnails.square(key, partial(self.content, places[key]), review.SIDE)

        def show(done: int) -> None:
            if self.ended:
                raise _EndedError
            self._done = done
            if time.monotonic() - self._counted > COUNTED:
                self._counted = time.monotonic()
                self._tell()

        try:
            found = extract(readers, self.backbone, names=["/".join(place) for place in places.values()], show=show)
            with ThreadPoolExecutor() as pool:
                list(pool.map(small, keys))
        except _EndedError:
            return False
        finally:
            self._done = 0
        with self._lock:
            for row, key in enumerate(keys):
                if not (problem := found.problems[row]):
                    self._seen[key] = _Seen(found.keys[row], found.values[row], smalls.get(key, nothing))
                elif problem != CHANGED:
                    self._problems[key] = problem
            changed = {key for key, problem in zip(keys, found.problems, strict=True) if problem == CHANGED}
            self._keys = {stamp: key for stamp, key in self._keys.items() if key not in changed}  # to be read again
            self._tell()
        return len(changed) < len(keys)

    def _reader(self, key: str, place: Place) -> Picture:
        def read() -> bytes:
            try:
                content = self.content(place)
            except MissingError:
                raise SourceError(CHANGED) from None
            if hashlib.sha256(content).hexdigest() != key:
                raise SourceError(CHANGED)
            return content

        return read

    def _consider(self, good: tuple[Shown, ...]) -> bool:
        """Train if it is time to. Gives whether there is more to do at once."""
        if missing := self._missing(good):
            with self._lock:
                self._model = None
            self._say("too few", missing)
            return False
        if not self._asked and self._model and good == self._model.pictures:
            self._say("ready", "")
            return False
        left = PAUSE - (time.monotonic() - self._changed)
        if left > 0 and not self._asked:
            self._say("waiting", "")
            self._wake.wait(min(left, PAUSE))
            self._wake.clear()
            return True
        self._asked = False
        self._say("running", "")
        with threadpool_limits(1, user_api="blas"):  # on a machine in use, BLAS's threads wait long for each other
            model = self._learn(good)
        with self._lock:
            self._model, self._failed = model, None
            listed = set(self._keys.values()) & {each.key for each in self._shown()}
            self._seen = {key: seen for key, seen in self._seen.items() if key in listed}
        self._say("ready", "")
        return False

    def _missing(self, good: Sequence[Shown]) -> str:
        """What is missing to train; nothing if nothing is."""
        with self._lock:
            counts = dict.fromkeys(self._collection.classes, 0)
        for each in good:
            counts[each.label] = counts.get(each.label, 0) + 1
        if len(counts) < 2:
            return "Add at least two classes, and show pictures of each." if not counts else "Add a second class."
        enough = sum(count >= LEAST for count in counts.values())
        if enough < 2:
            lacking = next(label for label, count in counts.items() if count < LEAST)
            return f"Show at least {LEAST} pictures of {'each class' if not enough else printable(lacking)}."
        return ""

    def _learn(self, pictures: tuple[Shown, ...]) -> Model:
        """Train.

        Raises:
            ThumbnetError: It fails, or the model file cannot be written.
        """
        start = time.monotonic()
        folders = sorted({each.label for each in pictures}, key=lambda label: natural_key(named_once(label)))
        names = tuple(map(named_once, folders))
        check_names(names)
        seen = [self._seen[each.key] for each in pictures]
        labels = np.array([folders.index(each.label) for each in pictures], np.int64)  # (N,)
        features = np.stack([each.features for each in seen])  # (N, D)
        rows = np.arange(len(pictures))[:: max(1, len(pictures) // SAMPLES)][:SAMPLES]
        squares = np.stack([self._framed(pictures[row]) for row in rows])  # (n, S, S, 3)
        mark = streamed_fingerprint(names, [each.square_key for each in seen], labels)
        made = make(
            self.backbone, names, Part(features, labels), None, Samples(squares, features[rows]),
            data={"source": str(self.folder), "seed": None, "train": mark, "train_images": len(pictures)},
        )  # fmt: skip
        copies = review.find_copies(np.stack([each.small for each in seen]), [each.key for each in pictures])
        found = review.review(made.answers, names, labels, copies, made.info.scores.get("unknown_class"))
        if made.answers is None:
            raise TrainingError(f"expected {LEAST} pictures of a class or more")
        try:
            with write_atomically(self.folder / KEPT / MODEL) as file:
                file.write(made.content)
        except OSError as error:
            kept = printable(str(self.folder / KEPT))
            raise TrainingError(f"the model cannot be written to {kept}: {error.strerror or error}") from error
        classifier = Classifier(made.content)
        return Model(made.content, classifier, made.answers, pictures, found, time.monotonic() - start)

    def _framed(self, picture: Shown) -> NDArray[np.uint8]:
        try:
            return frame(self._reader(picture.key, Place(picture.label, picture.name))(), self.backbone)
        except SourceError as error:
            raise TrainingError(f"{printable(picture.label)}/{printable(picture.name)}: {error}") from error

    def _say(self, status: Status, message: str) -> None:
        with self._lock:
            if (status, message) != (self._status, self._message):
                self._status, self._message = status, message
                self._tell()


class _EndedError(Exception):
    """The work is to end now."""
