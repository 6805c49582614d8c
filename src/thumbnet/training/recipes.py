"""How a network is trained: one frozen value per recipe, its docstring saying what it gives."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

Precision: TypeAlias = Literal["auto", "float32", "mixed_bfloat16"]


@dataclass(frozen=True)
class Recipe:
    """All that decides a training besides the data and the random seed.

    The learning rate rises linearly from zero to `learning_rate` over the `warmup` share of the training and falls
    linearly to zero over the rest, so that its course fits any number of epochs or minutes.
    """

    name: str
    network: str  # a function of `networks`
    epochs: int
    batch_size: int
    learning_rate: float  # of Adam, at the peak
    warmup: float  # share of the training, 0 to 1
    weight_decay: float  # decoupled (Loshchilov & Hutter 2019), times the learning rate a step
    label_smoothing: float  # share of each label spread over all classes, 0 to 1
    flip: bool  # every picture mirrored in every other epoch (Jordan 2024), where the data allows mirroring
    shift: int  # pixels either way
    averaging: float  # momentum a step of the weights' moving average, which is the network that ships; 0 to 1
    mirror_average: bool  # the model file averages a picture's answer with its mirror image's, where the data allows
    validation: float  # share of the training images that is held out to choose the best epoch and to calibrate
    precision: Precision = "auto"  # auto: bfloat16 where the processor has it, else float32
    deterministic: bool = True  # the same seed on the same machine gives the same model, bit for bit

    def as_dict(self) -> dict[str, Any]:
        """All fields by name, as the model file keeps them."""
        return asdict(self)


SEED = Recipe(
    name="seed",
    network="seed",
    epochs=20,
    batch_size=256,
    learning_rate=4e-3,
    warmup=0.2,
    weight_decay=0.01,
    label_smoothing=0.05,
    flip=True,
    shift=2,
    averaging=0.99,
    mirror_average=True,
    validation=0.1,
)

RECIPES = {recipe.name: recipe for recipe in (SEED,)}
