"""What decides a training besides its recipe and its pictures: the checkpoint, the team and the model file keep it."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from thumbnet.errors import TrainingError
from thumbnet.training.precision import fastest
from thumbnet.training.recipes import Recipe

MOST_SEED = 2**32 - 1  # the largest that NumPy, scikit-learn and Keras all take


@dataclass(frozen=True)
class Settings:
    """What decides a training besides its recipe and its pictures.

    Raises:
        TrainingError: A value is out of its range.
    """

    seed: int = 0  # of the split, the first weights, the pictures' order and their augmentation; 0 to `MOST_SEED`
    minutes: float | None = None  # for the whole training, in place of the recipe's epochs
    patience: int | None = None  # stop after this many epochs in a row that were no better on the held-out pictures
    refit: bool = False  # train again, on the held-out pictures too
    mirror: bool = True  # a picture's mirror image keeps its class; the data must allow it as well
    precision: str = field(default_factory=fastest)  # the Keras dtype policy that the network is trained in

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MOST_SEED:
            raise TrainingError(f"expected a seed from 0 to {MOST_SEED}, got {self.seed}")
        if self.minutes is not None and not self.minutes > 0:
            raise TrainingError(f"expected minutes above 0, got {self.minutes}")
        if self.patience is not None and self.patience < 1:
            raise TrainingError(f"expected a patience of 1 epoch or more, got {self.patience}")

    def with_recipe(self, recipe: Recipe) -> dict[str, Any]:
        """All that decides a training of this recipe, by name, besides its pictures."""
        return {**recipe.as_dict(), **dataclasses.asdict(self)}
