"""Pictures that show the same: exact copies, and those that were re-encoded, resized, cropped, brightened or mirrored.

Every picture is compared with every other, in two stages, on copies of `SIDE` pixels a side:

1. Coarse: the `WAVES` × `WAVES` lowest frequencies of its grey (DCT), each times its frequency, since photographs have
   the less of a frequency the higher it is; all but the mean, scaled to length 1. The product of two pictures' vectors
   is their likeness, which changes neither with brightness nor with contrast. Matrix products of blocks: 60,000
   pictures are 1.8 billion pairs, twice for mirrored ones, in the memory of one block.
2. Fine, for pairs above `COARSE`: what is left without the soft shapes, divided by the contrast around each pixel, so
   that neither a ship's hull nor an empty sky decides by itself. The middle of one picture is looked for in the other
   at every place and at the `ZOOMS` (normalised cross-correlation). Pairs above `FINE` show the same; in a set whose
   pictures are alike by nature, such as handwritten digits, only those above a higher limit do, or none.

docs/check-data.md tells what the thresholds find and miss.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 32  # pixels
WAVES = 8
COARSE, FINE = 0.65, 0.72  # likeness, -1 to 1
MIDDLE = 24  # pixels a side of what is looked for
ZOOMS = (20, 22, 26, 28)  # pixels a side that become the middle, beside the middle itself
HOPELESS = 0.45  # a likeness without zoom with which no zoom is tried
MOST_MATCHES = 20  # the best ones of each picture that reach the second stage, so that no set can fill the memory
SAMPLE = 2000  # pairs that are drawn to see how alike the pictures of the set are by nature
LEAST = 50  # pictures; fewer do not tell
SPREADS = 8  # times as far above the middle of that sample as its lower 16 % are below it, at the least
BLOCK = 2048  # pictures a side of a square block of products
SOFT = 2.0  # pixels, the radius of shapes that do not count
PLAIN = 0.35  # contrast of a middle in which there is too little to be recognised by
FLOOR = 4.0  # levels of 255: contrast below it is the noise of an encoder


class Match(NamedTuple):
    """Two pictures that show the same: `first` is before `second`."""

    first: int
    second: int
    likeness: float  # above the limit, 1 at most
    mirrored: bool


class Found(NamedTuple):
    """What was found, and above which likeness."""

    matches: list[Match]  # the likest first
    limit: float  # `FINE`, or more if pictures look alike by nature; from 1 on, only exact copies count


def find(pictures: NDArray[np.uint8], *, mirrored: bool, show: Callable[[int], object] = lambda _: None) -> Found:
    """The pairs of `pictures` that show the same.

    Args:
        pictures: uint8 `(N, SIDE, SIDE, 3)`, no two of them equal.
        mirrored: Whether mirror images count, too.
        show: Called with how many pictures have been compared with all others, in the first stage.
    """
    grey = np.stack([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures])  # (N, SIDE, SIDE)
    limit = _limit(grey)
    if limit >= 1:
        return Found([], limit)
    pairs = list(_candidates(_coarse(grey), mirrored, show))
    details = {row: _detail(grey[row]) for row in {row for first, second, _ in pairs for row in (first, second)}}

    def match(pair: tuple[int, int, bool]) -> Match:
        first, second, flipped = pair
        other = np.ascontiguousarray(details[second][:, ::-1]) if flipped else details[second]
        return Match(first, second, _fine(details[first], other), flipped)

    with ThreadPoolExecutor() as pool:  # OpenCV works without Python's lock
        matches = [found for found in pool.map(match, pairs, chunksize=1000) if found.likeness > limit]
    best: dict[tuple[int, int], Match] = {}
    for found in matches:  # a symmetric picture matches both ways
        key = found.first, found.second
        best[key] = max(best.get(key, found), found, key=lambda one: one.likeness)
    return Found(sorted(best.values(), key=lambda found: -found.likeness), limit)


def _limit(grey: NDArray[np.uint8]) -> float:
    """What two pictures of this set have to reach: well above what two that are drawn from it do.

    Measured downwards from the middle, as copies among those drawn raise what is above it.
    """
    if len(grey) < LEAST:
        return FINE
    drawn = np.random.default_rng(0).integers(len(grey), size=(SAMPLE, 2))  # (SAMPLE, 2)
    alike = [_fine(_detail(grey[one]), _detail(grey[other])) for one, other in drawn.tolist() if one != other]
    low, middle = np.quantile(alike, [0.16, 0.5])
    return max(FINE, float(middle + SPREADS * (middle - low)))


def _coarse(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """`(N, SIDE, SIDE)` → `(N, WAVES² - 1)`, of length 1 or, of a plain picture, 0."""
    wave, place = np.ogrid[:WAVES, :SIDE]
    basis = np.cos(np.pi * wave * (2 * place + 1) / (2 * SIDE)).astype(np.float32)  # (WAVES, SIDE), the DCT's
    basis[0] /= np.sqrt(2)
    frequency = np.hypot(*np.ogrid[:WAVES, :WAVES]).astype(np.float32)
    spectrum = np.concatenate([basis @ block @ basis.T for block in _blocks(grey)]) * frequency  # (N, WAVES, WAVES)
    vectors = spectrum.reshape(len(grey), -1)[:, 1:]
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1), np.float32)


def _blocks(grey: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    return (grey[start : start + BLOCK].astype(np.float32) for start in range(0, len(grey), BLOCK))


def _candidates(
    vectors: NDArray[np.float32], mirrored: bool, show: Callable[[int], object]
) -> Iterator[tuple[int, int, bool]]:
    """The pairs above `COARSE`: first, second, and whether the second is mirrored."""
    # Mirroring left to right turns the sign of the odd frequencies across.
    sign = np.where(np.arange(WAVES * WAVES) % WAVES % 2, -1, 1)[1:].astype(np.float32)
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        for flipped in (False, True) if mirrored else (False,):
            rows = block * sign if flipped else block
            likest: list[NDArray[np.float64]] = []
            for other in range(start, len(vectors), BLOCK):
                products = rows @ vectors[other : other + BLOCK].T  # (BLOCK, BLOCK)
                near = np.flatnonzero(products > COARSE)
                first, second = np.divmod(near, products.shape[1])
                later = second + other > first + start
                likest.append(np.stack([first, second + other, products.ravel()[near]], axis=1)[later])
            for one, another in _best(np.concatenate(likest)):
                yield one + start, another, flipped
        show(start + len(block))


def _best(found: NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """Of `(n, 3)` rows first, second, likeness: the pairs, `MOST_MATCHES` a first one at most."""
    found = found[np.lexsort((-found[:, 2], found[:, 0]))]
    starts = np.searchsorted(found[:, 0], found[:, 0])  # where each one's first begins
    for first, second, _ in found[np.arange(len(found)) - starts < MOST_MATCHES].tolist():
        yield int(first), int(second)


def _detail(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """`(SIDE, SIDE)` without its soft shapes, at the same contrast everywhere."""
    picture = grey.astype(np.float32)
    sharp = picture - cv2.GaussianBlur(picture, (0, 0), SOFT)
    contrast = np.sqrt(cv2.GaussianBlur(np.square(sharp), (0, 0), SOFT))
    return np.asarray(sharp / (contrast + FLOOR), np.float32)


def _fine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """How like the middle of `first` is to the likest part of `second`: -1 to 1."""
    likeness = _found(first, second, MIDDLE)
    if likeness < HOPELESS:
        return likeness
    return max(likeness, *(_found(first, second, side) for side in ZOOMS))


def _found(first: NDArray[np.float32], second: NDArray[np.float32], side: int) -> float:
    edge = (SIDE - side) // 2
    middle = first[edge : edge + side, edge : edge + side]  # (side, side)
    if side != MIDDLE:
        how = cv2.INTER_AREA if side > MIDDLE else cv2.INTER_LINEAR
        middle = np.asarray(cv2.resize(middle, (MIDDLE, MIDDLE), interpolation=how), np.float32)
    if middle.std() < PLAIN:
        return 0.0
    return float(cv2.minMaxLoc(cv2.matchTemplate(second, middle, cv2.TM_CCOEFF_NORMED))[1])
