"""Where the real CIFAR-10 images are, and where what is prepared of them goes."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
PREPARE = ROOT.parent / "shared" / "data" / "prepare.py"
# Before any test points HOME elsewhere.
CACHE = Path(os.environ.get("THUMBNET_TEST_CACHE", Path.home() / ".cache" / "thumbnet-tests"))
