"""Heat maps: which parts of what the network sees decided.

A file that was trained by a backbone gives the evidence of each place; its mean and a constant are the logits. One run
of the network is enough. For any other file, parts of the square are hidden, and the answers tell which ones decided:

    square → MASKS copies, each with another half hidden → MODEL FILE → log-odds of the answer → regression → heat

The masks are those of RISE (Petsiuk et al. 2018, https://arxiv.org/abs/1806.07421), each with its complement. RISE
averages them, weighted by the answers. This module fits a linear regression that prefers smooth maps (the mean of a
Gaussian process), which needs far fewer masks for a better map: docs/explain.md has the figures. It works for any model
file, as it uses nothing but the answers of the network.
"""

import functools
import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from thumbnet.errors import ThumbnetError
from thumbnet.files import check_output, write_atomically
from thumbnet.model.classifier import Classifier
from thumbnet.pictures.decode import RGB
from thumbnet.pictures.framing import Framing, region
from thumbnet.sources.urls import is_data, is_url

MASKS = 256  # how often the network is asked
GRID = 32  # cells per side of the map, whatever the size of the network's input
SPOT = 4  # cells per side of a spot, which a mask hides or shows as a whole
SMOOTH = 2.0  # cells over which the map changes
NOISE = 0.3  # variance of the log-odds that no single part causes, as a share of what the masks explain
MOST_SURE = 1 - 1e-6  # the largest probability for log-odds; above it, float32 is too coarse
FLAT = 0.01  # log-odds; if the masks move them less, or the places differ less, no part decides

LONGEST, SHORTEST = 640, 320  # pixels of the longer side of a drawn map
OPACITY = 0.85  # of the colour where the heat is 1
DIMMED = 0.35  # brightness where the network sees nothing


def heat(classifier: Classifier, square: RGB, answer: int | None = None) -> NDArray[np.float32]:
    """Measure how much each part supports an answer.

    The same square always gives the same map.

    Args:
        classifier: The classifier whose answer is explained.
        square: What it sees, uint8 `(S, S, 3)`, as `Classifier.square` makes it.
        answer: A class's place among the names; without it, the most probable class.

    Returns:
        float32 `(S, S)`, -1 to 1, relative to the strongest part. Parts above 0 raise the log-odds of the class, and
        parts below 0 lower them. All are 0 if no part matters.

    Raises:
        ModelError: The network of the model file fails, or its output is not probabilities.
    """
    classifier = classifier.for_squares(len(square))
    evidence = (_given if classifier.has_heat else _inferred)(classifier, square, answer)
    of_pixels = _resized(evidence.astype(np.float32), len(square), len(square))
    strongest = np.abs(of_pixels).max()
    return np.asarray(of_pixels / strongest, np.float32) if strongest else of_pixels


def _given(classifier: Classifier, square: RGB, answer: int | None) -> NDArray[np.float64]:
    """The log-odds that each place gives the answer against the other classes, `(h, w)`: by the file's own evidence.

    It is what the log-odds would be if the whole square were like this place. The other classes count as they are
    probable. For a class that is not the most probable one, no place might be above 0, so the mean is. If the places
    hardly differ, all are 0.
    """
    probabilities, places = classifier.evidence(square)  # (C,), (h, w, C)
    sure = np.maximum(probabilities, np.finfo(np.float32).tiny).astype(np.float64)
    best = int(sure.argmax())
    answer = best if answer is None else answer
    weights = -sure  # (C,), of the logits in the log-odds
    weights[answer] = 0
    weights /= np.abs(weights).sum() or 1
    weights[answer] = 1
    found = places @ weights  # (h, w), without the constants that are in the logits
    if np.ptp(found) < FLAT:
        return np.zeros(found.shape)
    return np.asarray(found - found.mean() + (np.log(sure) @ weights if answer == best else 0))


def _inferred(classifier: Classifier, square: RGB, answer: int | None) -> NDArray[np.float64]:
    """How much each cell adds to the log-odds of the answer, `(GRID, GRID)`: by hiding parts in the mean colour.

    If the masks hardly move the log-odds, all are 0.
    """
    if answer is None:
        answer = int(classifier.probabilities(square[None])[0].argmax())
    masks, solver = _design()
    asked = [classifier.probabilities(_masked(square, block))[:, answer] for block in np.split(masks, MASKS // 32)]
    sure = np.clip(np.concatenate(asked).astype(np.float64), 1 - MOST_SURE, MOST_SURE)  # (MASKS,)
    odds = np.log(sure / (1 - sure))
    if np.ptp(odds) < FLAT:
        return np.zeros((GRID, GRID))
    return np.asarray((solver @ (odds - odds.mean())).reshape(GRID, GRID))


def overlay(picture: RGB, heat: NDArray[np.float32], framing: Framing) -> RGB:
    """Draw the parts that support the answer in colour over the grey picture: yellow for most, then orange, violet.

    Args:
        picture: The original, uint8 `(H, W, 3)`.
        heat: The map of its square, float32 `(S, S)`. Parts below 0 stay grey.
        framing: How the square was made from the picture. Parts that the network did not see are dark.

    Returns:
        uint8 `(h, w, 3)`, RGB, in the picture's proportions; the longer side has `SHORTEST` to `LONGEST` pixels.
    """
    height, width, _ = picture.shape
    scale = np.clip(max(height, width), SHORTEST, LONGEST) / max(height, width)
    shape = max(1, round(height * scale)), max(1, round(width * scale))
    shown = cv2.resize(picture, shape[::-1], interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    grey = cv2.cvtColor(shown, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)  # (h, w, 1)
    top, left, bottom, right = (round(edge * scale) for edge in region(height, width, len(heat), framing))
    drawn = np.repeat(grey * DIMMED, 3, axis=2)  # (h, w, 3)
    if bottom > top and right > left:
        inside = slice(top, bottom), slice(left, right)
        strength = np.clip(_resized(heat, bottom - top, right - left), 0, 1)[..., None]  # (·, ·, 1)
        opacity = OPACITY * strength
        drawn[inside] = grey[inside] * (1 - opacity) + _coloured(strength) * opacity
    return np.rint(drawn).astype(np.uint8)


def layer(heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map, float32 `(S, S)`, as a layer over its square: uint8 `(S, S, 4)`, RGBA, clear where it is 0 or less."""
    strength = np.clip(heat, 0, 1)[..., None]  # (S, S, 1)
    alpha = np.rint(OPACITY * strength * 255).astype(np.uint8)
    return np.concatenate([_coloured(strength), alpha], axis=2)


def _coloured(strength: NDArray[np.float32]) -> RGB:
    """`(h, w, 1)`, 0 to 1 → `(h, w, 3)`. Plasma gets lighter evenly, also for the colour-blind, and is never grey."""
    levels = np.rint(strength * 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_PLASMA), cv2.COLOR_BGR2RGB), np.uint8)


def drawn(classifier: Classifier, picture: RGB) -> RGB:
    """Lay `heat` over its picture: uint8 `(H, W, 3)` → `(h, w, 3)`, RGB. Raises what `heat` raises."""
    square = classifier.square(picture)
    return overlay(picture, heat(classifier, square), classifier.for_squares(len(square)).info.framing)


def make_folder(folder: Path) -> None:
    """Create the folder for the maps if necessary, and check that it can be written to.

    Raises:
        ThumbnetError: It is not a folder, or it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise ThumbnetError(f"{folder}: expected a folder for the maps, or a place for one: {reason}") from error
    check_output(folder / file_name(1, ""))


def write_map(model: Classifier, folder: Path, number: int, source: str, picture: RGB) -> None:
    """Write the map of a picture into `folder`, as a PNG.

    Args:
        model: The classifier whose answer is explained.
        folder: The folder that `make_folder` has created.
        number: The place of the source among all, which begins the name of the file.
        source: The name of the source in its row.
        picture: uint8 `(H, W, 3)`, RGB.

    Raises:
        ModelError: The network of the model file fails, or its output is not probabilities.
        ThumbnetError: The PNG cannot be written.
    """
    path = folder / file_name(number, source)
    _, data = cv2.imencode(".png", cv2.cvtColor(drawn(model, picture), cv2.COLOR_RGB2BGR))
    try:
        with write_atomically(path) as file:
            file.write(data.tobytes())
    except OSError as error:
        raise ThumbnetError(f"cannot write the map {path}: {error.strerror or error}") from error


def file_name(number: int, source: str) -> str:
    """Name a PNG, such as `000001-cat.png`: unique by its number, and harmless whatever the name of the source."""
    path = re.sub("[?#].*", "", source, flags=re.DOTALL) if is_url(source) else source
    last = "" if is_data(source) else re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    stem = last.rpartition(".")[0] or last
    words = re.findall(r"\w+", stem)  # letters and digits of any language
    return "-".join([f"{number:06}", *filter(None, ["-".join(words)[:32].strip("-")])]) + ".png"


def _masked(square: RGB, masks: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay masks `(M, GRID, GRID)` over `square`, where 1 shows and 0 hides → `(M, S, S, 3)`."""
    size = len(square)
    mean = square.mean(axis=(0, 1), dtype=np.float32)  # (3,)
    shown = (_resized(mask, size, size)[..., None] for mask in masks)  # each (S, S, 1)
    return np.stack([np.rint(mean + (square - mean) * each).astype(np.uint8) for each in shown])


def _resized(cells: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    shrinks = height < cells.shape[0] or width < cells.shape[1]
    resized = cv2.resize(cells, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.float32)


@functools.cache
def _design() -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Make the masks `(MASKS, GRID, GRID)`, and the matrix from log-odds to evidence, `(GRID · GRID, MASKS)`."""
    random = np.random.default_rng(0)
    masks = np.stack([each for _ in range(MASKS // 2) for each in _pair(random)])
    # The mean of the linear weights of a Gaussian process (Rasmussen and Williams 2006, section 2.1).
    inputs = masks.astype(np.float64) - masks.mean(axis=0)  # (MASKS, GRID, GRID)
    place = np.arange(GRID)
    near = np.exp(-((place[:, None] - place) ** 2) / (2 * SMOOTH**2))  # (GRID, GRID), the prior along one axis
    smooth = (near @ inputs @ near).reshape(MASKS, -1)  # (MASKS, GRID · GRID)
    gram = smooth @ inputs.reshape(MASKS, -1).T  # (MASKS, MASKS)
    gram += NOISE * np.trace(gram) / MASKS * np.eye(MASKS)
    return masks, np.linalg.solve(gram, smooth).T


def _pair(random: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Make a mask of soft spots at a random offset, and its complement: `(GRID, GRID)` each, 0 to 1."""
    spots = GRID // SPOT + 1
    large = _resized((random.random((spots, spots)) < 0.5).astype(np.float32), spots * SPOT, spots * SPOT)
    top, left = random.integers(0, SPOT, 2)
    mask = large[top : top + GRID, left : left + GRID]
    return mask, 1 - mask
