"""What training does to pictures before it shows them, on whole batches of uint8: another view of the same thing."""

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from thumbnet.training.recipes import Recipe

Images = NDArray[np.uint8]  # (N, S, S, 3)


def augment(recipe: Recipe, images: Images, mirrored: NDArray[np.bool_], rng: np.random.Generator) -> Images:
    """All that the recipe asks for, as a camera does it: the scene, its place in the frame, focus, light.

    Args:
        recipe: Says what, and how much of it.
        images: `(N, S, S, 3)`. They stay as they are.
        mirrored: `(N,)`, the pictures to mirror.
        rng: Draws the rest.
    """
    images = flip(images, mirrored)
    most = round(recipe.shift * images.shape[1] / 32)  # a move is one of the scene, whatever pixels show it
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
    """Move each picture by up to `most` pixels either way, its own border mirrored into the gap."""
    count, size = images.shape[:2]
    padded = np.pad(images, ((0, 0), (most, most), (most, most), (0, 0)), mode="reflect")  # (N, S+2m, S+2m, 3)
    windows = sliding_window_view(padded, (size, size), axis=(1, 2))  # (N, 2m+1, 2m+1, 3, S, S), no copy
    down, right = rng.integers(0, 2 * most + 1, (2, count))
    return np.ascontiguousarray(windows[np.arange(count), down, right].transpose(0, 2, 3, 1))  # (N, S, S, 3)


def warp(images: Images, most: int, zoom: float, stretch: float, rng: np.random.Generator) -> Images:
    """Another scale, shape and place in the frame for each picture, its own border mirrored into the gaps.

    Args:
        images: `(N, S, S, 3)`.
        most: Pixels that a picture moves either way; an enlarged one also uses half of the room that this gives.
        zoom: It is enlarged by a factor between exp(-zoom) and exp(zoom), small and large equally often.
        stretch: Its width to height changes by a factor between exp(-stretch) and exp(stretch), likewise.
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
        # Cubic, as linear would leave every picture less sharp than those that the network will meet.
        cv2.warpAffine(image, matrix, (size, size), out, cv2.INTER_CUBIC, cv2.BORDER_REFLECT_101)
    return warped


def focus(images: Images, share: float, rng: np.random.Generator) -> Images:
    """Blur half of this share of the pictures and sharpen the other half: lenses and resizing differ in it."""
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
    """Make pictures smaller, by the averages of areas: `(N, S, S, 3)` → `(N, size, size, 3)`."""
    return np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in images])
