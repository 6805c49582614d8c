"""The networks, built for any number of classes and size. Each takes pixels as they are and gives probabilities."""

import keras
from keras import layers


def seed(size: int, classes: int, precision: str = "float32") -> keras.Model:
    """The README's CNN: 122,570 parameters for ten classes at 32 pixels.

    Args:
        size: Pixels a side, 18 or more: convolutions are unpadded, so the picture shrinks.
        classes: Number of classes.
        precision: A Keras dtype policy for the hidden layers. What goes in and what comes out is float32.

    Returns:
        uint8 `(N, size, size, 3)` → float32 `(N, classes)`, each row a softmax.
    """
    return keras.Sequential(
        [
            keras.Input((size, size, 3), dtype="uint8", name="images"),
            layers.Rescaling(1 / 255, dtype="float32"),
            layers.Conv2D(32, 3, activation="relu", dtype=precision),  # (N, 30, 30, 32)
            layers.MaxPooling2D(2, dtype=precision),  # (N, 15, 15, 32)
            layers.Conv2D(64, 3, activation="relu", dtype=precision),  # (N, 13, 13, 64)
            layers.MaxPooling2D(2, dtype=precision),  # (N, 6, 6, 64)
            layers.Conv2D(64, 3, activation="relu", dtype=precision),  # (N, 4, 4, 64)
            layers.Flatten(dtype=precision),  # (N, 1024)
            layers.Dense(64, activation="relu", dtype=precision),  # (N, 64)
            layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities"),
        ],
        name="seed",
    )
