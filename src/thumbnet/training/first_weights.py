"""First weights (initialisation) that know the data: whitening filters, and convolutions that hand on what they get."""

import keras
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

SAMPLES = 5000  # pictures of 32 pixels a side whose patches, 500,000 or more, give the filters
NOTHING = 1e-8  # a smaller variance, such as that of grey pictures' colours, is rounding, and must not be enlarged
FLOOR = 5e-4  # added to each variance, so that directions with little but noise stay small (Jordan 2024)


def whiten(model: keras.Model, images: NDArray[np.uint8]) -> None:
    """Set the first convolution to the main directions of the images' patches, scaled to variance one.

    Neighbouring pixels are nearly the same, so a network that starts from random filters first has to learn to look at
    differences. (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU", has whitening as a fixed first layer.
    Here it is only the start, and the layer is trained like all others.)

    Half of the filters are the directions with the most variance. The other half are their negatives, since ReLU lets
    only one sign through. A filter for which no direction is left keeps its random start.

    Args:
        model: Its first convolution sees pixels divided by 255.
        images: The training images, `(N, S, S, 3)`.
    """
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    kernel, *biases = layer.get_weights()  # (k, k, 3, F), and (F,) where no normalization centres the output
    side, filters = kernel.shape[0], kernel.shape[3]
    some = max(1, SAMPLES * 32**2 // images.shape[1] ** 2)  # larger pictures have more patches, and these take memory
    pixels = images[:: max(1, len(images) // some)] / np.float32(255)
    windows = sliding_window_view(pixels, (side, side), axis=(1, 2))[:, ::side, ::side]  # (n, y, x, 3, k, k)
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, side * side * 3)  # (P, k·k·3)
    variances, directions = np.linalg.eigh(np.cov(patches, rowvar=False))  # least first; a direction a column
    count = min(filters // 2, int((variances > NOTHING).sum()))
    scaled = (directions / np.sqrt(np.maximum(variances, 0) + FLOOR))[:, ::-1][:, :count]  # (k·k·3, count)
    both = np.concatenate([scaled, -scaled], axis=1)  # (k·k·3, 2·count)
    kernel[..., : 2 * count] = both.reshape(side, side, 3, -1)
    for bias in biases:
        bias[: 2 * count] = -patches.mean(axis=0) @ both
    layer.set_weights([kernel, *biases])


def hand_on(model: keras.Model) -> None:
    """Let every convolution but the first start by handing on its input, in as many channels as that has.

    The other filters keep their random start. So the first layer's whitened picture reaches the last one, and the
    network learns from there (Zagoruyko & Komodakis 2017, "DiracNets"; only as a start: Jordan 2024).

    Args:
        model: All its convolutions but the first have odd sides.
    """
    for layer in [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)][1:]:
        kernel, *rest = layer.get_weights()  # (k, k, I, O)
        channels, middle = np.arange(min(kernel.shape[2:])), len(kernel) // 2
        kernel[..., channels] = 0
        kernel[middle, middle, channels, channels] = 1
        layer.set_weights([kernel, *rest])
