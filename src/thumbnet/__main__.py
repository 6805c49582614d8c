"""`python -m thumbnet`."""

import sys

from thumbnet.cli import main

sys.exit(main())
