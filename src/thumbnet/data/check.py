"""Find what is wrong with a data set: broken files, copies, leaks into the test split, uneven classes, wrong labels.

The pictures that can be read become `Pictures`, and these become `Findings`. Nothing is changed: a person decides.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from thumbnet.data.duplicates import FINE, SIDE, Match, find
from thumbnet.data.folder import Tree
from thumbnet.data.load import BUILT_IN, load_parts, located, read_labelled
from thumbnet.data.npz import is_npz
from thumbnet.data.store import Store
from thumbnet.errors import DataError, MissingExtraError, SourceError
from thumbnet.pictures import kinds
from thumbnet.pictures.decode import MAX_PIXELS, decode
from thumbnet.pictures.decode import pixels as claimed_pixels
from thumbnet.pictures.framing import resize
from thumbnet.pictures.kinds import SUFFIXES
from thumbnet.progress import progress
from thumbnet.semaphore import WeightedSemaphore
from thumbnet.text import first_few, printable

LEAST_SIDE = 32  # pixels: what the networks take; a smaller picture is enlarged
MOST_ASPECT = 3  # longer to shorter side; training squeezes a picture into a square
MOST_UNEVEN = 3  # pictures of the largest class for one of the smallest
LISTED = 10  # findings of a kind in the text; the page has more


class Note(NamedTuple):
    """Something about one file, or about a class."""

    where: str
    what: str


class Copy(NamedTuple):
    """A picture that repeats another one. In a leak, `row` is the test picture and `of` the training picture."""

    row: int
    of: int
    likeness: float  # `duplicates.FINE` to 1; 0 if they were found by their features alone
    mirrored: bool
    exact: bool  # the same pixels at full size
    relabelled: bool  # the two have different labels
    details: int = 0  # in common, if they were found by their features alone


class Suspect(NamedTuple):
    """A label that may be wrong."""

    row: int
    label: int  # the likelier one
    given: float  # the probability of its own label, 0 to 1
    other: float  # the probability of the likelier one


@dataclass(frozen=True, eq=False)
class Pictures:
    """The pictures of a data source that could be read, in its order, training pictures first."""

    source: str
    names: tuple[str, ...]
    images: NDArray[np.uint8]  # (N, S, S, 3) RGB, stretched to a square
    labels: NDArray[np.int64]  # (N,), places in `names`
    is_test: NDArray[np.bool_]  # (N,); all False if the source is not split
    keys: list[bytes]  # equal for two pictures only if all their pixels are equal
    mirrored: bool = True  # mirror images show the same
    store: Store | None = None  # where the files are, if these were files
    files: list[str] = field(default_factory=list)  # each picture's, in `store`
    unreadable: list[Note] = field(default_factory=list)
    misnamed: list[Note] = field(default_factory=list)
    odd: list[Note] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, row: int) -> str:
        """Where a person finds the picture: its file, or its split and its place there."""
        if self.store is not None:
            return printable(self.files[row])
        return f"test {row - int((~self.is_test).sum())}" if self.is_test[row] else f"train {row}"

    def name(self, row: int) -> str:
        """The picture's class."""
        return printable(self.names[int(self.labels[row])])


class Scene(NamedTuple):
    """Two pictures of the same scene, `first` before `second`."""

    first: int
    second: int
    details: int  # that both have
    mirrored: bool


class Judged(NamedTuple):
    """What a judge makes of N pictures of C classes."""

    probabilities: NDArray[np.float64]  # (N, C), by a classifier that has not learnt from the picture
    known: NDArray[np.bool_]  # (N,), whether that classifier has learnt the picture's class from others
    scenes: list[Scene]


Judge: TypeAlias = Callable[[Pictures], Judged]


@dataclass(frozen=True, eq=False)
class Findings:
    """The findings, each kind with the worst first."""

    pictures: Pictures
    leaks: list[Copy]  # one for each test picture that is in the training split
    duplicates: list[Copy]  # one for each picture that repeats an earlier one of its split
    limit: float  # the likeness above which pictures count as copies
    uneven: list[Note]
    suspects: list[Suspect] | None  # None if the labels were not checked
    unjudged: list[str] = field(default_factory=list)  # classes with labels that could not be judged

    @property
    def count(self) -> int:
        """All findings."""
        seen = self.pictures
        files = len(seen.unreadable) + len(seen.misnamed) + len(seen.odd)
        return files + len(self.leaks) + len(self.duplicates) + len(self.uneven) + len(self.suspects or [])


class Section(NamedTuple):
    """A kind of findings, for a person."""

    title: str  # with the count
    advice: str
    lines: list[str]
    rows: list[tuple[int, ...]]  # the pictures of each line; empty if the lines are about files or classes


def check(data: str, *, judge: Judge | None = None) -> Findings:
    """Look for what is wrong with a data set.

    Args:
        data: `cifar10`, `digits`, a folder or a ZIP file of pictures, a table of labels, or an `.npz` file.
        judge: Judges the labels and finds more copies, as `transfer.labels.judge` does. Without it, neither is done.

    Raises:
        DataError: `data` cannot be used at all.
        MissingExtraError: cleanlab or scikit-learn is needed and not installed.
    """
    if judge:
        _require_cleanlab()
    pictures = read(data)
    judged = judge(pictures) if judge else None
    leaks, copies, limit = _copies(pictures, judged.scenes if judged else [])
    uneven = _uneven(pictures)
    if judged is None:
        return Findings(pictures, leaks, copies, limit, uneven, None)
    unjudged = [pictures.names[label] for label in np.unique(pictures.labels[~judged.known])]
    return Findings(pictures, leaks, copies, limit, uneven, suspects(pictures, judged), unjudged)


# --- reading ---


def read(data: str) -> Pictures:
    """Read all pictures of a data source. Those that cannot be read are noted, however many they are.

    Raises:
        DataError: `data` is no data source, or none of its pictures can be read.
        MissingExtraError: scikit-learn is needed and not installed.
    """
    if data not in BUILT_IN and not is_npz(path := located(data)):
        return _of_files(data, read_labelled(path))
    parts = load_parts(data, SIDE)
    pixels = np.concatenate([part.images for part in parts])  # (N, SIDE, SIDE, 3)
    is_test = np.arange(len(pixels)) >= len(parts[0])
    labels = np.concatenate([part.labels for part in parts])
    keys = [_key(image) for image in pixels]
    return Pictures(data, parts[0].names, pixels, labels, is_test, keys, parts[0].mirrored)


class _Seen(NamedTuple):
    """A file that could be read."""

    square: NDArray[np.uint8]  # (SIDE, SIDE, 3)
    key: bytes
    width: int
    height: int
    kind: str


def _of_files(data: str, tree: Tree) -> Pictures:
    store = tree.store
    entries = [(file, label, part > 0) for part, files in enumerate(tree.parts) for label, file in files]
    unreadable: list[Note] = []
    misnamed: list[Note] = []
    odd: list[Note] = []
    kept: list[tuple[_Seen, str, int, bool]] = []
    see = partial(_see, store, WeightedSemaphore(MAX_PIXELS))
    with progress("reading pictures", len(entries), " pictures") as show, ThreadPoolExecutor() as pool:
        for place, seen in enumerate(pool.map(see, [file for file, _, _ in entries])):
            file, label, is_test = entries[place]
            if isinstance(seen, str):
                unreadable.append(Note(printable(file), seen))
            else:
                kept.append((seen, file, label, is_test))
                misnamed += [Note(printable(file), what) for what in _misnamed(seen, file)]
                odd += [Note(printable(file), what) for what in _odd(seen)]
            show(place + 1)
    if not kept:
        reason = ": ".join(unreadable[0])
        raise DataError(f"{store.where}: none of {len(entries)} files is a picture that can be read. {reason}")
    seen_all, files, labels, tests = zip(*kept, strict=True)
    pixels = np.stack([seen.square for seen in seen_all])  # (N, SIDE, SIDE, 3)
    return Pictures(
        data, tree.names, pixels, np.array(labels, np.int64), np.array(tests, np.bool_),
        [seen.key for seen in seen_all], store=store, files=list(files),
        unreadable=unreadable, misnamed=misnamed, odd=odd,
    )  # fmt: skip


def _see(store: Store, semaphore: WeightedSemaphore, file: str) -> _Seen | str:
    """What is in a file, or why it cannot be read."""
    try:
        content = store.read(file)
        with semaphore.take(claimed_pixels(content)):
            image = decode(content)
    except SourceError as error:
        return str(error)
    height, width, _ = image.shape
    return _Seen(resize(image, SIDE, "stretch"), _key(image), width, height, kinds.kind(content))


def _key(image: NDArray[np.uint8]) -> bytes:
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()


def _misnamed(seen: _Seen, file: str) -> Iterator[str]:
    suffix = PurePosixPath(file).suffix.lower()
    if suffix and suffix not in SUFFIXES[seen.kind]:
        yield f"this is {seen.kind}, not {printable(suffix)}"


def _odd(seen: _Seen) -> Iterator[str]:
    size = f"{seen.width} × {seen.height} pixels"
    if min(seen.width, seen.height) < LEAST_SIDE:
        yield f"{size}: smaller than {LEAST_SIDE}, so it will be enlarged"
    if max(seen.width, seen.height) > MOST_ASPECT * min(seen.width, seen.height):
        yield f"{size}: longer than {MOST_ASPECT} to 1, so it will be squeezed into a square"


# --- copies ---


def _copies(pictures: Pictures, scenes: list[Scene]) -> tuple[list[Copy], list[Copy], float]:
    """Leaks, duplicates within a split, and the likeness from which pictures count as copies."""
    pairs: list[Copy] = []
    first: dict[bytes, int] = {}
    first_of_split: dict[tuple[bytes, bool], int] = {}
    for row, (key, is_test) in enumerate(zip(pictures.keys, pictures.is_test.tolist(), strict=True)):
        earlier = {first.setdefault(key, row), first_of_split.setdefault((key, is_test), row)} - {row}
        pairs += [_copy_of(pictures, row, of) for of in earlier]
    distinct = np.array(list(first.values()), np.int64)
    with progress("comparing pictures", len(distinct), " pictures") as show:
        matches, limit = find(pictures.images[distinct], mirrored=pictures.mirrored, show=show)
        for match in matches:
            row, of = int(distinct[match.second]), int(distinct[match.first])
            pairs.append(_copy_of(pictures, row, of, match))
    for scene in scenes:
        changed = bool(pictures.labels[scene.first] != pictures.labels[scene.second])
        pairs.append(Copy(scene.second, scene.first, 0.0, scene.mirrored, False, changed, scene.details))
    return _worst(pictures, pairs, across=True), _worst(pictures, pairs, across=False), limit


def _copy_of(pictures: Pictures, row: int, of: int, match: Match | None = None) -> Copy:
    """An exact copy, or one that was found by its likeness."""
    likeness, mirrored = (1.0, False) if match is None else (match.likeness, match.mirrored)
    return Copy(row, of, likeness, mirrored, match is None, bool(pictures.labels[of] != pictures.labels[row]))


def _worst(pictures: Pictures, pairs: list[Copy], *, across: bool) -> list[Copy]:
    """Find each later picture's most similar earlier one in the other split, or in its own; other labels first.

    Pictures of one scene may well be of two classes, so they come after copies.
    """
    best: dict[int, Copy] = {}
    for copy in pairs:
        if (pictures.is_test[copy.of] != pictures.is_test[copy.row]) == across:
            best[copy.row] = max(best.get(copy.row, copy), copy, key=lambda one: (one.exact, one.likeness, one.details))

    def place(copy: Copy) -> tuple[bool, bool, bool, float, int, int]:
        return copy.details > 0, not copy.relabelled, not copy.exact, -copy.likeness, -copy.details, copy.row

    return sorted(best.values(), key=place)


# --- classes and labels ---


def _uneven(pictures: Pictures) -> list[Note]:
    """Classes with far fewer training pictures than the largest, the smallest first."""
    counts = np.bincount(pictures.labels[~pictures.is_test], minlength=len(pictures.names))  # (C,)
    names = [printable(name) for name in pictures.names]
    largest, most = names[int(counts.argmax())], counts.max()
    return [
        Note(names[label], f"{counts[label]:,} training pictures; {largest} has {most:,}")
        for label in np.argsort(counts, kind="stable")
        if counts[label] * MOST_UNEVEN < most
    ]


def suspects(pictures: Pictures, judged: Judged) -> list[Suspect]:
    """The labels that are most likely wrong, the likeliest first.

    Confident learning finds them from the labels and the judge's probabilities (Northcutt, Jiang and Chuang, Confident
    Learning, 2021); cleanlab implements it.

    Raises:
        MissingExtraError: cleanlab is not installed.
    """
    _require_cleanlab()
    from cleanlab.filter import find_label_issues

    known = np.flatnonzero(judged.known)  # (n,)
    labels, probabilities = pictures.labels[known], judged.probabilities[known]  # (n,), (n, C)
    if len(np.unique(labels)) < 2:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with few pictures, which `Findings` tells
        found = find_label_issues(
            labels, probabilities, return_indices_ranked_by="normalized_margin", filter_by="both", n_jobs=1
        )
    likeliest = probabilities.argmax(axis=1)  # (n,)
    return [
        Suspect(
            int(known[row]),
            int(likeliest[row]),
            float(probabilities[row, labels[row]]),
            float(probabilities[row].max()),
        )
        for row in found.tolist()
    ]


def _require_cleanlab() -> None:
    """Before anything takes long.

    Raises:
        MissingExtraError: cleanlab is not installed.
    """
    try:
        import cleanlab.filter  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError("looking for wrong labels", "cleanlab", "check") from error


# --- for a person ---


def sections(found: Findings) -> list[Section]:
    """The kinds that have findings, the worst first."""
    seen = found.pictures
    suspects = found.suspects or []
    every = [
        _notes("Files that cannot be read", "Training leaves them out. Mend or delete them.", seen.unreadable),
        Section(
            f"Test pictures that are also in the training split: {len(found.leaks):,}",
            "A score on them measures memory. Remove them from one of the splits.",
            [_copy(seen, copy) for copy in found.leaks],
            [(copy.row, copy.of) for copy in found.leaks],
        ),
        Section(
            f"Pictures that repeat another one: {len(found.duplicates):,}",
            "If the labels differ, one of them is wrong, or the picture is no copy. "
            "Keep what repeats in one split, or remove it, or the score will measure memory.",
            [_copy(seen, copy) for copy in found.duplicates],
            [(copy.row, copy.of) for copy in found.duplicates],
        ),
        Section(
            f"Labels that may be wrong: {len(suspects):,}",
            "Classifiers that have not seen these pictures disagree with their labels. Look before you change one.",
            [_suspect(seen, suspect) for suspect in suspects],
            [(suspect.row,) for suspect in suspects],
        ),
        _notes(
            "Files with the suffix of another format", "Other programs may reject them. Rename them.", seen.misnamed
        ),
        _notes("Pictures of an odd size", "Crop or replace them if that matters.", seen.odd),
        _notes(
            f"Classes with less than 1/{MOST_UNEVEN} of the largest one's pictures",
            "The network will miss them more often. Add pictures.",
            found.uneven,
        ),
    ]
    return [section for section in every if section.lines]


def summary(found: Findings) -> str:
    """One line: what was checked, and how much was found."""
    seen, tests = found.pictures, int(found.pictures.is_test.sum())
    split = f", {len(seen) - tests:,} to train on and {tests:,} to test" if tests else ", not split"
    counted = f"findings: {found.count:,}" if found.count else "nothing found"
    return f"{printable(seen.source)}: {len(seen):,} pictures of {len(seen.names)} classes{split}; {counted}"


def caution(found: Findings) -> str:
    """What could not be checked, or nothing."""
    told = []
    if found.limit > FINE:
        which = f"copies that are at least {found.limit:.2f} alike" if found.limit < 1 else "exact copies"
        told.append(f"The pictures of this set look alike by nature, so only {which} are found.")
    if found.unjudged:
        classes = first_few(printable(name) for name in found.unjudged)
        told.append(f"Classes with labels that could not be judged, for want of other pictures: {classes}.")
    return " ".join(told)


def text(found: Findings) -> str:
    """For a terminal: what was checked, then each kind of findings with its count and the `LISTED` worst ones."""
    lines = [summary(found), *([caution(found)] if caution(found) else [])]
    for section in sections(found):
        lines += ["", section.title, *(f"  {line}" for line in section.lines[:LISTED])]
        if (more := len(section.lines) - LISTED) > 0:
            lines.append(f"  … and {more:,} more")
    return "\n".join(lines)


def _notes(title: str, advice: str, notes: list[Note]) -> Section:
    return Section(f"{title}: {len(notes):,}", advice, [f"{where}: {what}" for where, what in notes], [])


def _copy(seen: Pictures, copy: Copy) -> str:
    like = f"the same scene, {copy.details} details in common" if copy.details else f"{copy.likeness:.2f} alike"
    how = "the same pixels" if copy.exact else like + ", mirrored" * copy.mirrored
    labels = f"; labelled {seen.name(copy.row)} and {seen.name(copy.of)}" if copy.relabelled else ""
    return f"{seen.where(copy.row)} – {seen.where(copy.of)}: {how}{labels}"


def _suspect(seen: Pictures, suspect: Suspect) -> str:
    return (
        f"{seen.where(suspect.row)}: labelled {seen.name(suspect.row)} ({suspect.given:.0%}), "
        f"looks like {printable(seen.names[suspect.label])} ({suspect.other:.0%})"
    )
