"""Flip and shift, on whole batches of uint8 pictures."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Images = NDArray[np.uint8]  # (N, S, S, 3)


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
