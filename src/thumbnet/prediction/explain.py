"""Which part of a picture decided: parts of what the network sees are hidden, and its answers tell what was missed.

    square → MASKS copies, each with another half hidden → MODEL FILE → log-odds of the answer → regression → heat

The masks are those of RISE (Petsiuk et al. 2018, https://arxiv.org/abs/1806.07421), each with its complement. RISE
averages them by their answers; here a linear regression tells them apart, which prefers smooth maps (the mean of a
Gaussian process). It takes far fewer masks for a better map: docs/explain.md has the figures. Any model file can be
explained, as the network is only asked.
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

MASKS = 256  # times that the network is asked
GRID = 32  # cells a side of the map, whatever the network's size
SPOT = 4  # cells a side of what a mask hides or shows as one
SMOOTH = 2.0  # cells over which the map changes
NOISE = 0.3  # variance of the log-odds that is no part's own doing, as a share of what the masks explain
MOST_SURE = 1 - 1e-6  # of a probability in log-odds: beyond it, float32 is too coarse
FLAT = 0.01  # log-odds; a picture that moves them less has no part that decides

LONGEST, SHORTEST = 640, 320  # pixels of a drawn picture's longer side
OPACITY = 0.85  # where the heat is 1
DIMMED = 0.35  # the light left where the network sees nothing


def heat(classifier: Classifier, square: RGB) -> NDArray[np.float32]:
    """How much each part speaks for the answer, which is the most probable class.

    Hidden parts get the square's mean colour. The same square always gives the same map.

    Args:
        classifier: Whose answer it is.
        square: What it sees, uint8 `(S, S, 3)`, as `Classifier.square` makes it.

    Returns:
        float32 `(S, S)`, -1 to 1: above 0 what raises the class's log-odds, below 0 what lowers them, as a share of the
        strongest part. All 0 where no part matters.

    Raises:
        ModelError: The network of a stranger's file fails, or gives what cannot be probabilities.
    """
    size = len(square)
    answer = classifier.probabilities(square[None])[0].argmax()
    masks, solver = _design()
    asked = [classifier.probabilities(_masked(square, block))[:, answer] for block in np.split(masks, MASKS // 32)]
    sure = np.clip(np.concatenate(asked).astype(np.float64), 1 - MOST_SURE, MOST_SURE)  # (MASKS,)
    odds = np.log(sure / (1 - sure))
    if np.ptp(odds) < FLAT:
        return np.zeros((size, size), np.float32)
    evidence = (solver @ (odds - odds.mean())).reshape(GRID, GRID)
    of_pixels = _resized(evidence.astype(np.float32), size, size)
    return np.asarray(of_pixels / np.abs(of_pixels).max(), np.float32)


def overlay(picture: RGB, heat: NDArray[np.float32], framing: Framing) -> RGB:
    """What spoke for the answer, in colour over the grey picture: yellow most, then red and violet.

    Args:
        picture: The original, uint8 `(H, W, 3)`.
        heat: Of its square, float32 `(S, S)`. What is below 0 stays grey.
        framing: How the square was made of it. What the network did not see is dark.

    Returns:
        uint8 `(h, w, 3)`, RGB, in the picture's shape; the longer side has `SHORTEST` to `LONGEST` pixels.
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
        levels = np.rint(strength * 255).astype(np.uint8)
        # Plasma: its lightness rises evenly, also for the colour-blind, and none of it is grey.
        colour = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_PLASMA), cv2.COLOR_BGR2RGB)
        opacity = OPACITY * strength
        drawn[inside] = grey[inside] * (1 - opacity) + colour * opacity
    return np.rint(drawn).astype(np.uint8)


def drawn(classifier: Classifier, picture: RGB) -> RGB:
    """`heat` of a picture's answer laid over it: uint8 `(H, W, 3)` → `(h, w, 3)`, RGB. Raises what `heat` raises."""
    return overlay(picture, heat(classifier, classifier.square(picture)), classifier.info.framing)


def make_folder(folder: Path) -> None:
    """Make the folder for the maps, if need be.

    Raises:
        ThumbnetError: There is something else, or it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise ThumbnetError(f"{folder}: expected a folder for the maps, or a place for one: {reason}") from error
    check_output(folder / file_name(1, ""))


def write_map(model: Classifier, folder: Path, number: int, source: str, picture: RGB) -> None:
    """Put a picture's map into `folder`, as a PNG.

    Args:
        model: Whose answer it explains.
        folder: As `make_folder` left it.
        number: Of the source among all, which begins the file's name.
        source: As its row names it.
        picture: uint8 `(H, W, 3)`, RGB.

    Raises:
        ModelError: The network of a stranger's file fails, or gives what cannot be probabilities.
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
    """A PNG's name, unique by its number and harmless whatever the source is called: `000001-cat.png`."""
    path = re.sub("[?#].*", "", source, flags=re.DOTALL) if is_url(source) else source
    last = "" if is_data(source) else re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    stem = last.rpartition(".")[0] or last
    words = re.findall(r"\w+", stem)  # letters and digits of any language
    return "-".join([f"{number:06}", *filter(None, ["-".join(words)[:32].strip("-")])]) + ".png"


def _masked(square: RGB, masks: NDArray[np.float32]) -> NDArray[np.uint8]:
    """`square` under masks `(M, GRID, GRID)`, where 1 shows and 0 hides → `(M, S, S, 3)`."""
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
    """The masks `(MASKS, GRID, GRID)`, and what makes the evidence of their log-odds, `(GRID · GRID, MASKS)`."""
    random = np.random.default_rng(0)
    masks = np.stack([each for _ in range(MASKS // 2) for each in _pair(random)])
    # The mean of a Gaussian process's linear weights (Rasmussen and Williams 2006, section 2.1).
    inputs = masks.astype(np.float64) - masks.mean(axis=0)  # (MASKS, GRID, GRID)
    place = np.arange(GRID)
    near = np.exp(-((place[:, None] - place) ** 2) / (2 * SMOOTH**2))  # (GRID, GRID), the prior along each axis
    smooth = (near @ inputs @ near).reshape(MASKS, -1)  # (MASKS, GRID · GRID)
    gram = smooth @ inputs.reshape(MASKS, -1).T  # (MASKS, MASKS)
    gram += NOISE * np.trace(gram) / MASKS * np.eye(MASKS)
    return masks, np.linalg.solve(gram, smooth).T


def _pair(random: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A mask of soft spots that lie anywhere, and its complement: `(GRID, GRID)` each, 0 to 1."""
    spots = GRID // SPOT + 1
    large = _resized((random.random((spots, spots)) < 0.5).astype(np.float32), spots * SPOT, spots * SPOT)
    top, left = random.integers(0, SPOT, 2)
    mask = large[top : top + GRID, left : left + GRID]
    return mask, 1 - mask
