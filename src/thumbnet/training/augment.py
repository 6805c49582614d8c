"""Augmentation: another view of the same thing for each picture, on whole batches of uint8."""

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from thumbnet.training.recipes import Recipe

Images = NDArray[np.uint8]  # (N, S, S, 3)


def augment(recipe: Recipe, images: Images, mirrored: NDArray[np.bool_], rng: np.random.Generator) -> Images:
    """Apply all that the recipe asks for, in a camera's order: the scene, its place in the frame, focus, light.

    Args:
        recipe: What to change, and by how much.
        images: `(N, S, S, 3)`; the array itself stays as it is.
        mirrored: `(N,)`, the pictures to mirror.
        rng: Draws everything else.
    """
    images = flip(images, mirrored)
    most = round(recipe.shift * images.shape[1] / 32)  # the scene moves, by more pixels where there are more
    if recipe.zoom or recipe.stretch:
        images = warp(images, most, recipe.zoom, recipe.stretch, rng)
    elif most:
        images = shift(images, most, rng)
    if recipe.focus:
        images = focus(images, recipe.focus, rng)
    return light(images, recipe.light, rng) if recipe.light else images


def flip(images: Images, chosen: NDArray[np.bool_]) -> Images:
    """Mirror the chosen pictures left to right: `(N, S, S, 3)`, `(N,)` → `(N, S, S, 3)`."""
    flipped = images.copy()
    flipped[chosen] = images[chosen, :, ::-1]
    return flipped


def shift(images: Images, most: int, rng: np.random.Generator) -> Images:
    """Move each picture by up to `most` pixels either way, and mirror its border into the gap."""
    count, size = images.shape[:2]
    padded = np.pad(images, ((0, 0), (most, most), (most, most), (0, 0)), mode="reflect")  # (N, S+2m, S+2m, 3)
    windows = sliding_window_view(padded, (size, size), axis=(1, 2))  # (N, 2m+1, 2m+1, 3, S, S), no copy
    down, right = rng.integers(0, 2 * most + 1, (2, count))
    return np.ascontiguousarray(windows[np.arange(count), down, right].transpose(0, 2, 3, 1))  # (N, S, S, 3)


def warp(images: Images, most: int, zoom: float, stretch: float, rng: np.random.Generator) -> Images:
    """Give each picture another scale, shape and place in the frame, and mirror its border into the gaps.

    Args:
        images: `(N, S, S, 3)`.
        most: How many pixels a picture moves either way at most. An enlarged one also uses half of its extra room.
        zoom: The scale is between exp(-zoom) and exp(zoom), its logarithm uniform.
        stretch: The ratio of width to height changes by a factor between exp(-stretch) and exp(stretch), likewise.
        rng: Draws these.
    """
    count, size = images.shape[:2]
    middle = (size - 1) / 2
    scales = np.exp(rng.uniform(-zoom, zoom, (count, 1)) + rng.uniform(-stretch, stretch, (count, 1)) * [0.5, -0.5])
    room = most + np.maximum(scales - 1, 0) * size / 4  # (N, 2)
    moves = middle * (1 - scales) + room * rng.uniform(-1, 1, (count, 2))  # (N, 2), across and down
    warped = np.empty(images.shape, np.uint8)
    for image, (across, down), (right, below), out in zip(images, scales, moves, warped, strict=True):
        matrix = np.array([[across, 0, right], [0, down, below]])
        # Cubic: linear would leave every picture less sharp than those that the network will meet.
        cv2.warpAffine(image, matrix, (size, size), out, cv2.INTER_CUBIC, cv2.BORDER_REFLECT_101)
    return warped


def focus(images: Images, share: float, rng: np.random.Generator) -> Images:
    """Blur half of this share of the pictures and sharpen the other half, as lenses and resizing do."""
    changed = images.copy()
    for place in np.flatnonzero(rng.random(len(images)) < share):
        image = images[place]
        if rng.random() < 0.5:
            changed[place] = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.9))
        else:
            more = rng.uniform(0, 0.8)
            changed[place] = cv2.addWeighted(image, 1 + more, cv2.GaussianBlur(image, (0, 0), 1.0), -more, 0)
    return changed


def light(images: Images, most: float, rng: np.random.Generator) -> Images:
    """Change contrast by a factor between exp(-most) and exp(most), and each colour by up to a tenth of `most`."""
    count = len(images)
    contrast = np.exp(rng.uniform(-most, most, (count, 1, 1, 1))).astype(np.float32)
    cast = rng.uniform(-most, most, (count, 1, 1, 3)).astype(np.float32) * np.float32(255 / 10)
    means = images.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float32)  # (N, 1, 1, 1)
    changed: NDArray[np.float32] = np.rint((images - means) * contrast + (means + cast))  # (N, S, S, 3)
    return changed.clip(0, 255).astype(np.uint8)


def shrink(images: Images, size: int) -> Images:
    """Make pictures smaller by averaging areas: `(N, S, S, 3)` → `(N, size, size, 3)`."""
    return np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in images])
