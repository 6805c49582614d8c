"""Train the CNN on CIFAR-10 and save it here as model.onnx, and as model.keras beside it."""

import sys

from thumbnet.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", "--recipe", "seed", *sys.argv[1:]]))
