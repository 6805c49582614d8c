"""Try changes of a recipe, each on the same held-out training images; the test images stay out of it.

    python benchmarks/variants.py [--recipe seed] [--epochs 12] [--seeds 1] weight_decay=0.3 learning_rate=0.004,shift=1

Each argument is one variant: fields of `Recipe` to change, joined by commas. The recipe as it is comes first.
Accuracy is that of the weights that would ship on 5,000 of CIFAR-10's training images, from one view of each.
What comes out belongs into docs/experiments.md, failures too.
"""

import argparse
import ast
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from thumbnet.data.cifar10 import read_cifar10
from thumbnet.data.dataset import hold_out
from thumbnet.training.loop import fit
from thumbnet.training.recipes import RECIPES
from thumbnet.training.settings import Settings

HELD_OUT = 0.1  # of the training images


def changes(text: str) -> dict[str, Any]:
    """`a=1,b=2` → the fields to change."""
    return {name: ast.literal_eval(value) for name, _, value in (part.partition("=") for part in text.split(","))}


def main() -> None:
    """Train each variant and print a row of a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", type=changes, help="field=value[,field=value …]")
    parser.add_argument("--recipe", choices=RECIPES, default="seed", help="what is changed (seed)")
    parser.add_argument("--epochs", type=int, default=12, help="of each training (12)")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each variant (1)")
    arguments = parser.parse_args()
    rest, held_out = hold_out(read_cifar10().train, HELD_OUT, seed=0)
    print("| change | held-out accuracy | seconds |\n|---|---|---|")
    for variant in [{}, *arguments.variants]:
        recipe = dataclasses.replace(RECIPES[arguments.recipe], epochs=arguments.epochs, **variant)
        for seed in range(arguments.seeds):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "checkpoint"
                state = fit(recipe, rest, held_out, Settings(seed), checkpoint_path=path).state
            named = ", ".join(f"{name} {value}" for name, value in variant.items()) or "none"
            print(f"| {named} | {state.scores[state.kept_epoch - 1]:.1%} | {state.seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
