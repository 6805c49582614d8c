"""Recipes: how a network is trained. Each is one frozen value; its docstring gives command, accuracy and time."""

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, for any data. `Settings` holds what else decides a training.

    The learning rate rises linearly from zero to `learning_rate` over the `warmup` share of the training and falls
    linearly to zero over the rest, so this schedule fits any number of epochs or minutes.
    """

    name: str
    network: str  # a function of `networks`
    epochs: int
    batch_size: int
    optimizer: Literal["adam", "muon"]
    learning_rate: float  # at the peak
    momentum: float  # of the gradients; variables that Muon leaves to Adam have Adam's usual 0.9
    beta_2: float  # of Adam, the momentum of the squared gradients
    warmup: float  # share of the training, 0 to 1
    weight_decay: float  # decoupled (Loshchilov & Hutter 2019), multiplied by the learning rate at each step
    label_smoothing: float  # share of each label that is spread over all classes, 0 to 1
    flip: bool  # every picture is mirrored in every other epoch (Jordan 2024), if the data allows mirroring
    shift: int  # pixels either way for a picture with 32 a side; in proportion for others
    zoom: float  # the logarithm of the largest factor that a picture is enlarged or shrunk by
    stretch: float  # likewise for the ratio of width to height
    focus: float  # share of the pictures that are blurred or sharpened, 0 to 1
    light: float  # the logarithm of the largest change of contrast, and ten times the largest of a colour
    small: float  # share of the training on pictures shrunk to three quarters of a side, 0 to 1
    whiten: bool  # the first convolution starts as the training images' whitening filters
    hand_on: bool  # the other convolutions start by handing on their input
    averaging: float  # momentum, a step, of the weights' moving average, which ships; 0 to 1
    mirror_average: bool  # the model file averages the answers for a picture and its mirror image, if the data allows
    validation: float  # share of the training images that is held out to choose the epoch and to calibrate

    def as_dict(self) -> dict[str, Any]:
        """All fields by name, as the model file keeps them."""
        return asdict(self)


SEED = Recipe(
    name="seed",
    network="seed",
    epochs=20,
    batch_size=256,
    optimizer="adam",
    learning_rate=8e-3,
    momentum=0.9,
    beta_2=0.99,
    warmup=0.2,
    weight_decay=0.2,
    label_smoothing=0.05,
    flip=True,
    shift=2,
    zoom=0,
    stretch=0,
    focus=0,
    light=0,
    small=0,
    whiten=True,
    hand_on=False,
    averaging=0.99,
    mirror_average=True,
    validation=0.05,
)
"""The small CNN that this project started from: `thumbnet train --recipe seed`.

81.1 % of CIFAR-10's test images right from one view, 82.5 % with the mirror average, median of three trainings; 91 s
on two cores of an AMD EPYC (Zen 5) in bfloat16, on images recompressed to JPEG (docs/training.md).
"""

FAST = Recipe(
    name="fast",
    network="vgg",
    epochs=9,
    batch_size=256,
    optimizer="muon",
    learning_rate=1.2e-2,
    momentum=0.85,
    beta_2=0.99,
    warmup=0.15,
    weight_decay=0.2,
    label_smoothing=0.1,
    flip=True,
    shift=2,
    zoom=0.12,
    stretch=0.1,
    focus=0,
    light=0,
    small=0.5,
    whiten=True,
    hand_on=True,
    averaging=0.99,
    mirror_average=True,
    validation=0.04,
)
"""The network of `best` in minutes: `thumbnet train --recipe fast`.

90.4 % of CIFAR-10's test images right with the mirror average, 90.5 % from six views, on images recompressed to JPEG;
the mean of three trainings of 394 s on two cores of an AMD EPYC (Zen 5) in bfloat16 (docs/training.md).
"""

BEST = Recipe(
    name="best",
    network="vgg",
    epochs=34,
    batch_size=256,
    optimizer="muon",
    learning_rate=8e-3,
    momentum=0.95,
    beta_2=0.99,
    warmup=0.1,
    weight_decay=0.1,
    label_smoothing=0.1,
    flip=True,
    shift=3,
    zoom=0.25,
    stretch=0.2,
    focus=0.4,
    light=0.2,
    small=0.25,
    whiten=True,
    hand_on=True,
    averaging=0.995,
    mirror_average=True,
    validation=0.04,
)
"""For accuracy, and for pictures that were not taken like the training images: `thumbnet train --recipe best`.

It made the bundled `cifar10-best`: 92.04 % of CIFAR-10's test images right with the mirror average, 92.2 % from six
views, on images recompressed to JPEG, in 64 to 75 minutes on two cores of an AMD EPYC (Zen 4); two other random seeds
gave 91.82 and 92.11 %, 92.0 and 92.3 % (docs/training.md).
"""

TUNE = Recipe(
    name="tune",
    network="lite0_rest",
    epochs=8,
    batch_size=32,
    optimizer="adam",
    learning_rate=1e-4,
    momentum=0.9,
    beta_2=0.99,
    warmup=0.1,
    weight_decay=0.05,
    label_smoothing=0.1,
    flip=True,
    shift=2,
    zoom=0.3,
    stretch=0.2,
    focus=0,
    light=0.2,
    small=0,
    whiten=False,
    hand_on=False,
    averaging=0.98,
    mirror_average=False,
    validation=0.2,
)
"""Most of a backbone, from the probe on: `thumbnet train --recipe tune` (docs/training.md)."""

RECIPES = {recipe.name: recipe for recipe in (SEED, FAST, BEST)}
