"""Ask for the URL of an image and print its class, by the model that train.py saved here, or else by cifar10-seed."""

import sys
from pathlib import Path

from thumbnet.cli import main

if __name__ == "__main__":
    model = "model.onnx" if Path("model.onnx").exists() else "cifar10-seed"
    print(f"Model: {model}", file=sys.stderr)
    sys.exit(main(["predict", "--model", model, *sys.argv[1:]]))
