"""Several views of each picture, run through the front of a backbone once, and kept on disk for all epochs."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thumbnet.errors import DataError
from thumbnet.files import cache_folder
from thumbnet.pictures.decode import RGB
from thumbnet.progress import progress
from thumbnet.training.augment import augment
from thumbnet.training.recipes import Recipe
from thumbnet.transfer.halves import Front

MOST = 8  # views of a picture
ALL = 16_000  # views of all pictures, at most; a picture has two or more


@dataclass(frozen=True, eq=False)
class Views:
    """Labelled pictures in V views each; the first is the picture itself. The loop takes it in place of a `Dataset`."""

    values: NDArray[np.float16]  # (M, V, L), rows of a backbone's front, on disk
    rows: NDArray[np.int64]  # (N,), the pictures among the M
    labels: NDArray[np.int64]  # (N,)
    names: tuple[str, ...]
    size: int  # pixels a side of the squares that the front saw
    mark: str  # differs for other pictures, front or views
    mirrored: bool = False  # some views are mirrored already

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> "Views":
        """The pictures in these `rows`, in their order."""
        mark = f"{self.mark} {rows.tolist()}"
        return replace(self, rows=self.rows[rows], labels=self.labels[rows], mark=mark)

    def fingerprint(self) -> str:
        """What a checkpoint recognises the pictures by."""
        return self.mark

    def plain(self, rows: slice) -> NDArray[np.float16]:
        """The pictures themselves: `(n, L)`."""
        return np.asarray(self.values[self.rows[rows], 0])

    def drawn(self, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float16]:
        """One view, drawn at random, of each of these pictures: `(n,)` → `(n, L)`."""
        return np.asarray(self.values[self.rows[rows], rng.integers(0, self.values.shape[1], len(rows))])


def views_folder() -> Path:
    """The folder that takes the views, made if it is not there.

    Raises:
        DataError: It cannot be made or written to.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise DataError(
            f"{folder}: expected a folder that takes views: {error.strerror or error}. Set THUMBNET_HOME to another one"
        ) from error
    return folder


def look(
    recipe: Recipe,
    squares: Sequence[Callable[[], RGB]],
    labels: NDArray[np.int64],
    names: tuple[str, ...],
    front: Front,
    *,
    mirror: bool,
    seed: int,
    mark: str,
) -> Views:
    """Make the views. Shows a progress bar. The file they are in has no name, so nothing is left of it at the end.

    Args:
        recipe: How the views differ from the pictures.
        squares: What reads each picture as the front's square, `(S, S, 3)`.
        labels: `(N,)`.
        names: The classes.
        front: What sees them.
        mirror: Whether a picture's mirror image keeps its class.
        seed: Decides the views.
        mark: What the pictures are recognised by.

    Raises:
        DataError: The disk is full, or the cache folder cannot be made or written to.
    """
    count = min(MOST, max(2, ALL // len(squares)))
    folder = views_folder()
    size = 0
    try:
        with (
            tempfile.TemporaryFile(dir=folder) as file,
            progress("views", len(squares), " pictures") as show,
        ):
            for place, views in enumerate(_views(recipe, squares, count, mirror=mirror and recipe.flip, seed=seed)):
                file.write(np.ascontiguousarray(front.rows(views)).data)  # (V, L)
                size = views.shape[1]  # (V, S, S, 3)
                show(place + 1)
            file.flush()
            values = np.memmap(file, np.float16, "r", shape=(len(squares), count, front.width))  # outlives the file
    except OSError as error:
        bytes_needed = len(squares) * count * front.width * 2
        raise DataError(
            f"{folder}: expected room for {bytes_needed / 2**30:.1f} GiB of views: {error.strerror or error}. "
            "Free some, or set THUMBNET_HOME to a folder on another disk"
        ) from error
    return Views(values, np.arange(len(squares)), labels, names, size, f"{mark} {count} views, seed {seed}")


def _views(
    recipe: Recipe, squares: Sequence[Callable[[], RGB]], count: int, *, mirror: bool, seed: int
) -> Iterator[NDArray[np.uint8]]:
    """The views of each picture, `(V, S, S, 3)`; others are made while one is used."""

    def one(place: int) -> NDArray[np.uint8]:
        rng = np.random.default_rng((seed, place))
        again = np.repeat(squares[place]()[None], count - 1, axis=0)  # (V - 1, S, S, 3)
        mirrored = (rng.random(count - 1) < 0.5) & mirror
        return np.concatenate([again[:1], augment(recipe, again, mirrored, rng)])

    with ThreadPoolExecutor(2) as pool:
        ahead = 4  # pictures
        for start in range(0, len(squares), ahead):
            yield from pool.map(one, range(start, min(start + ahead, len(squares))))
