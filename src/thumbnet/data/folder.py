"""Pictures in a folder or a ZIP file, a subfolder for each class → `Dataset`."""

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from thumbnet.data.dataset import Dataset, Splits, as_splits, check_memory, named_once, settle_names
from thumbnet.data.store import Store, open_store
from thumbnet.errors import DataError, DataWarning, SourceError
from thumbnet.pictures import kinds
from thumbnet.pictures.decode import MAX_PIXELS, pixels
from thumbnet.pictures.framing import Framing, square
from thumbnet.pictures.kinds import meant_as_picture
from thumbnet.progress import progress
from thumbnet.semaphore import WeightedSemaphore
from thumbnet.text import first_few, natural_key

UNREADABLE_SHARE = 0.1  # of the pictures; more than that is no accident
HEAD = 32  # bytes that tell a picture's kind
Role: TypeAlias = Literal["train", "test", "validation"]
_SPLIT = re.compile(  # train, Training, train_set, test-images, valid, seg_test
    r"(?:seg[ _.-])?(?:(?P<train>train(?:ing)?|trn)|(?P<test>test(?:ing)?|tst)"
    r"|(?P<validation>val(?:id(?:ation|ate)?)?|dev(?:el(?:opment)?)?|eval(?:uation)?|hold[ _.-]?out))"
    r"(?:[ _.-]?(?:set|split|data(?:set)?|images?|imgs?|pictures?|photos?))*"
)


class Tree(NamedTuple):
    """Labelled files. Any of them may turn out to be no picture."""

    store: Store
    names: tuple[str, ...]
    parts: list[list[tuple[int, str]]]  # places in `names`, and files: training and test, or one that is not split

    @property
    def files(self) -> list[str]:
        """The files of all parts, N."""
        return [file for part in self.parts for _, file in part]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Their labels, `(N,)`."""
        return np.array([label for part in self.parts for label, _ in part], np.int64)


def role_of(name: str) -> Role | None:
    """Which split a folder, a table or a value in it names, in the forms that people use; None for other names."""
    found = _SPLIT.fullmatch(name.strip().casefold())
    return found.lastgroup if found else None  # type: ignore[return-value]  # the groups have the roles' names


def read_folder(root: Path, size: int = 32, *, framing: Framing = "stretch", seed: int = 0) -> Splits:
    """A folder of pictures with a subfolder for each class, in natural order; pictures may lie deeper in these.

    Args:
        root: A folder or a ZIP file. It has the classes in `train/` and in `test/` or `val/` (in any form that
            `role_of` knows), or has them itself and is split. Hidden files are no part of it.
        size: Pixels a side.
        framing: What happens to pictures that are not square, see `pictures.framing.resize`.
        seed: Decides the split, where the folder has none.

    Raises:
        DataError: What `read_tree` and `read_parts` raise, or a class has too few pictures to split it.
        MissingExtraError: The folder has to be split and scikit-learn is not installed.
    """
    return as_splits(root, read_parts(read_tree(open_store(root)), size, framing), seed)


def read_tree(store: Store, known: Sequence[str] | None = None) -> Tree:
    """List the files of each class, without decoding them.

    Args:
        store: Where they lie.
        known: A model's class names, see `dataset.settle_names`.

    Raises:
        DataError: Fewer than two classes, an empty one, pictures outside of them, folders that may be classes or
            splits, or a class that is not `known`.
    """
    parts = _split_folders(store)
    trees = [_classes_in(store, part) for part in parts]
    if parts == [""]:
        _refuse_unknown_splits(store, trees[0])
    # By name over both splits: a class that one of them lacks does not move the others' labels.
    found = {PurePosixPath(folder).name for classes in trees for folder in classes}
    names, places = settle_names(found, known)
    if len(found) < (1 if known else 2):
        raise DataError(
            f"{store.where}: expected a subfolder for each class, at least two, got {first_few(names)}. "
            "(A train/ counts as a split if test/ or val/ is beside it.)"
        )
    return Tree(store, names, [_in_order(classes, places) for classes in trees])


def read_parts(tree: Tree, size: int, framing: Framing) -> list[Dataset]:
    """Read the pictures of a tree: training and test, or one part that is not split.

    Raises:
        DataError: Too many pictures for memory, more than a tenth of them unreadable, or all of a class. (Fewer are
            left out, with a `DataWarning`.)
    """
    files, labels = tree.files, tree.labels
    check_memory(len(files), size)
    images, problems = _read_all(files, tree.store, size, framing)
    every = Dataset(images, labels, tree.names, framing=framing)
    return [every.take(rows) for rows in readable_parts(tree, problems)]


def readable_parts(tree: Tree, problems: Sequence[str]) -> list[NDArray[np.int64]]:
    """The rows of each part that can be read, once the others are known to be few. Warns about these.

    Args:
        tree: N files.
        problems: Why each of them cannot be read; empty where it can.

    Raises:
        DataError: More than a tenth of the files cannot be read, or all training pictures of a class.
    """
    listed = [
        f"{tree.store.where}/{file}: {problem}" for file, problem in zip(tree.files, problems, strict=True) if problem
    ]
    if listed:
        report = f"{tree.store.where}: {len(listed)} of {len(problems)} pictures cannot be read: {first_few(listed)}"
        if len(listed) > UNREADABLE_SHARE * len(problems):
            raise DataError(f"{report}. That is more than {UNREADABLE_SHARE:.0%}: mend or delete them")
        warnings.warn(f"{report}. They are left out", DataWarning, stacklevel=3)
    readable = np.array([not problem for problem in problems], np.bool_)  # (N,)
    is_first = np.arange(len(problems)) < len(tree.parts[0])  # (N,)
    lost = set(tree.labels[is_first].tolist()) - set(tree.labels[is_first & readable].tolist())
    if lost:  # nothing would learn them, and they could still be answered
        raise DataError(
            f"{tree.store.where}: classes of which no picture can be read: "
            f"{first_few(tree.names[label] for label in sorted(lost))}. Mend or delete them: {first_few(listed)}"
        )
    return [np.flatnonzero(readable & rows) for rows in (is_first, ~is_first)[: len(tree.parts)]]


def _split_folders(store: Store) -> list[str]:
    """Name the training and the test folder; or the root, if one is missing: then `train` is a class like others."""
    roles: dict[Role, list[str]] = {"train": [], "test": [], "validation": []}
    subfolders = [name for name in store.folders if "/" not in name]
    for name in subfolders:
        if role := role_of(name):
            roles[role].append(name)
    chosen = [roles["train"], roles["test"] or roles["validation"]]
    if not all(chosen):
        return [""]
    if several := next((names for names in chosen if len(names) > 1), None):
        raise DataError(
            f"{store.where}: expected one folder for each split, got {first_few(several)}. Keep one of them"
        )
    _refuse_loose(store, "")
    train, test = (names[0] for names in chosen)
    if unused := set(subfolders) - {train, test}:
        listed = first_few(f"{name}/" for name in sorted(unused))
        report = f"{store.where}: {train}/ and {test}/ are read; left unused: {listed}"
        warnings.warn(report, DataWarning, stacklevel=4)
    return [train, test]


def _classes_in(store: Store, part: str) -> dict[str, list[str]]:
    """List the folder of each class in a split's folder, or in the root, and the pictures in it."""
    _refuse_loose(store, part)
    start = f"{part}/" if part else ""
    inside = [name for name in store.folders if name.startswith(start)]
    classes: dict[str, list[str]] = {name: [] for name in inside if "/" not in name[len(start) :]}
    others: Counter[str] = Counter()
    for file in store.files:
        folder, _, rest = file[len(start) :].partition("/")
        if not file.startswith(start) or not rest:
            continue
        if _is_picture(store, file):
            classes[start + folder].append(file)
        else:
            others[PurePosixPath(file).suffix.lower() or "without an ending"] += 1
    where = f"{store.where}/{part}" if part else f"{store.where}"
    if others:
        listed = first_few(f"{ending} ({count:,})" for ending, count in others.most_common())
        report = f"{where}: these files are no pictures and are left out: {listed}"
        warnings.warn(report, DataWarning, stacklevel=4)
    if empty := [name[len(start) :] for name, files in classes.items() if not files]:
        raise DataError(f"{where}: classes without a picture: {first_few(sorted(empty))}. Fill or delete these folders")
    return classes


def _is_picture(store: Store, file: str) -> bool:
    """Whether a file's name or its first bytes are those of a picture.

    The name of a TIFF has to say so: a camera's raw file begins as one, and lies beside its JPEG.
    """
    if meant_as_picture(file):
        return True
    try:
        found = kinds.kind(store.read(file, HEAD))
    except SourceError:
        return False
    return bool(found) and (found != "TIFF" or not PurePosixPath(file).suffix)


def _refuse_loose(store: Store, part: str) -> None:
    """Reject pictures beside the classes, as they have no class. Notes and tables may be there."""
    for file in store.files:
        if file.rpartition("/")[0] == part and meant_as_picture(file):
            raise DataError(
                f"{store.where}/{file}: a picture outside of the classes. Move it into the subfolder of its class, or "
                "write a table labels.csv with the columns file and label"
            )


def _refuse_unknown_splits(store: Store, classes: dict[str, list[str]]) -> None:
    """Reject folders that all have the same subfolders: these are the classes, or the splits of each class.

    If one of them is named like a split, another one may have more subfolders than the shared ones, and it is no class
    if it holds nothing but subfolders.
    """
    below: dict[str, set[str]] = {name: set() for name in classes}
    for folder in store.folders:
        top, _, rest = folder.partition("/")
        if rest and "/" not in rest:
            below[top].add(named_once(rest))
    shared = set[str].intersection(*below.values()) if len(below) > 1 else set()
    loose = any(file.count("/") == 1 for files in classes.values() for file in files)
    alike = all(names == shared for names in below.values()) or any(map(role_of, classes))
    if len(shared) > 1 and alike and not loose:
        listed = first_few(sorted(shared, key=natural_key))
        raise DataError(
            f"{store.where}: each of {first_few(sorted(classes, key=natural_key))} has the same subfolders, {listed}, "
            "so it is not clear which are the classes. Expected train/ and test/ (or val/), each with a subfolder for "
            "each class; or a subfolder for each class, without these in it"
        )
    direct = {file.partition("/")[0] for files in classes.values() for file in files if file.count("/") == 1}
    for name in classes:
        if len(classes) > 1 and role_of(name) and len(below[name]) > 1 and name not in direct:
            raise DataError(
                f"{store.where}: expected pictures in {name}/ or a second split beside it, got the subfolders "
                f"{first_few(sorted(below[name], key=natural_key))}. If these are the classes, name "
                f"{store.where}/{name} as the data. If it is a class itself, put its pictures directly into it"
            )


def _in_order(classes: dict[str, list[str]], places: dict[str, int]) -> list[tuple[int, str]]:
    """A split's files with their labels: by their names across all classes, then by class.

    This gives CIFAR-10 in a folder the official order, and so the official fingerprint, if each file is named after its
    picture's place in the official archive.
    """
    found = [
        (places[PurePosixPath(folder).name], file, file[len(folder) + 1 :])
        for folder, files in classes.items()
        for file in files
    ]
    found.sort(key=lambda entry: (natural_key(entry[2]), entry[0]))
    return [(label, file) for label, file, _ in found]


def _read_all(files: Sequence[str], store: Store, size: int, framing: Framing) -> tuple[NDArray[np.uint8], list[str]]:
    """Read every file's pixels, `(N, size, size, 3)`, and say why it cannot be read, or nothing: `N` texts."""
    images = np.empty((len(files), size, size, 3), np.uint8)
    semaphore = WeightedSemaphore(MAX_PIXELS)  # many huge pictures at once would take more memory than there is

    def read(row: int) -> str:
        """Read `files[row]` into its row. Returns why it cannot be read, or nothing."""
        try:
            content = store.read(files[row])
            with semaphore.take(pixels(content)):
                images[row] = square(content, size, framing)
        except SourceError as error:
            return str(error)
        return ""

    problems: list[str] = []
    # OpenCV decodes without Python's lock.
    with progress("reading pictures", len(files), " pictures") as show, ThreadPoolExecutor() as pool:
        for problem in pool.map(read, range(len(files))):
            problems.append(problem)
            show(len(problems))
    return images, problems
