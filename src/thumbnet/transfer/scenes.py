"""Pairs of pictures of the same scene, even if they are cropped, turned, or taken a moment or a step apart.

Two pictures are candidates if their features are close, and closer than those of the pictures around them, because all
are close in a set of one kind. A candidate counts if small details (SIFT, Lowe 2004) of one picture are in the other
too, at the places where one shift, turn and zoom of the whole puts them. docs/check-data.md tells what this finds.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from thumbnet.data.check import Scene
from thumbnet.errors import SourceError
from thumbnet.pictures.decode import MAX_PIXELS, RGB, decode, pixels
from thumbnet.progress import progress
from thumbnet.semaphore import WeightedSemaphore
from thumbnet.transfer.features import Picture

NEIGHBOURS = 4  # of each picture; the last one tells how close pictures are that show other scenes
CLOSE = 0.6  # the least cosine of two pictures' features, less the mean of all
CLOSER = 0.75  # times as far apart as one of them and its last neighbour, at the most
PRODUCTS = 2**25  # cosines in memory at once
LEAST_SIDE = 64  # pixels; a smaller picture has too few details
SIDE = 320  # pixels of the longer side at which details are looked for
DETAILS = 500  # of a picture, the clearest
DISTINCT = 0.8  # times as different as the next detail like it, at the most
PLACE = 6.0  # pixels by which a detail may miss its place
MOST_ZOOM = 3.0
CELL = 8  # pixels; details that are closer together count once
ENOUGH = 20  # details in common; other scenes reach some 15
KEPT = 256  # pictures whose details are kept for their next pair


class _Details(NamedTuple):
    places: NDArray[np.float32]  # (n, 2), x and y in pixels
    looks: NDArray[np.float32]  # (n, 128)


def find(features: NDArray[np.float32], pictures: Sequence[Picture], *, mirrored: bool) -> list[Scene]:
    """The pairs of pictures that show the same scene. Shows a progress bar.

    Args:
        features: float32 `(N, D)`.
        pictures: What reads each of the N; one that cannot be read is in no pair.
        mirrored: Whether mirror images count, too.
    """
    decoding = WeightedSemaphore(MAX_PIXELS)  # many huge pictures at once would take more memory than there is

    @lru_cache(KEPT)
    def details(row: int, flipped: bool) -> _Details:
        content = pictures[row]()
        with decoding.take(pixels(content) if isinstance(content, bytes) else 0):
            image = decode(content, least=SIDE) if isinstance(content, bytes) else content
        return _details(image[:, ::-1] if flipped else image)

    def compare(pair: tuple[int, int]) -> Scene | None:
        first, second = pair
        for flipped in (False, True) if mirrored else (False,):
            try:
                count = _in_common(details(first, False), details(second, flipped))
            except SourceError:
                return None
            if count >= ENOUGH:
                return Scene(first, second, count, flipped)
        return None

    pairs = _candidates(features)
    found: list[Scene] = []
    # OpenCV works without Python's lock.
    with progress("comparing scenes", len(pairs), " pairs") as show, ThreadPoolExecutor() as pool:
        try:
            for done, scene in enumerate(pool.map(compare, pairs), 1):
                found += [scene] if scene else []
                show(done)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return found


def _candidates(features: NDArray[np.float32]) -> list[tuple[int, int]]:
    """The pairs of rows that are close, and closer than others."""
    rests = features - features.mean(axis=0)  # (N, D)
    rests /= np.maximum(np.linalg.norm(rests, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    # A small set has fewer neighbours; those that it lacks are as far away as can be.
    neighbours = np.zeros((len(rests), NEIGHBOURS), np.int64)
    cosines = np.full((len(rests), NEIGHBOURS), -1, np.float32)
    count = min(NEIGHBOURS, len(rests) - 1)
    step = max(1, PRODUCTS // len(rests))
    for start in range(0, len(rests) if count else 0, step):
        rows = np.arange(start, min(start + step, len(rests)))  # (n,)
        products = rests[rows] @ rests.T  # (n, N)
        products[np.arange(len(rows)), rows] = -2  # no picture is its own neighbour
        neighbours[rows, :count] = np.argpartition(products, -count, axis=1)[:, -count:]
        cosines[rows, :count] = np.take_along_axis(products, neighbours[rows, :count], axis=1)
    last = 1 - cosines.min(axis=1)  # (N,), distances
    near = CLOSER * np.minimum(last[:, None], last[neighbours])  # (N, NEIGHBOURS)
    first, place = np.nonzero((cosines > CLOSE) & (1 - cosines < near))
    second = neighbours[first, place]
    pairs = np.sort(np.stack([first, second], axis=1), axis=1)  # (pairs, 2)
    return [(int(one), int(other)) for one, other in np.unique(pairs, axis=0)]


def _details(image: RGB) -> _Details:
    height, width, _ = image.shape
    if min(height, width) < LEAST_SIDE:
        return _Details(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32))
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    points, looks = cv2.SIFT.create(DETAILS).detectAndCompute(grey, None)
    if looks is None:
        return _Details(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32))
    return _Details(np.array([point.pt for point in points], np.float32), np.asarray(looks, np.float32))


def _in_common(first: _Details, second: _Details) -> int:
    """How many details of the first picture are in the second, where one movement of the whole puts them."""
    if min(len(first.looks), len(second.looks)) < ENOUGH:
        return 0
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(first.looks, second.looks, k=2)
    clear = [best for best, other in pairs if best.distance < DISTINCT * other.distance]
    if len(clear) < ENOUGH:
        return 0
    places = first.places[[match.queryIdx for match in clear]]  # (n, 2)
    others = second.places[[match.trainIdx for match in clear]]  # (n, 2)
    movement, fits = cv2.estimateAffinePartial2D(places, others, method=cv2.RANSAC, ransacReprojThreshold=PLACE)
    if movement is None or not 1 / MOST_ZOOM < np.hypot(movement[0, 0], movement[1, 0]) < MOST_ZOOM:
        return 0
    fitting = fits[:, 0] > 0
    return min(len(np.unique(ends[fitting] // CELL, axis=0)) for ends in (places, others))
