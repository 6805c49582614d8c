"""What the commands share: exit codes, and what goes to standard error."""

import sys

DONE, FAILED, SOME_FAILED, INTERRUPTED = 0, 1, 3, 130  # 2, wrong usage, is argparse's


def say(message: str) -> None:
    """A line on standard error, where all goes that is no result."""
    print(message, file=sys.stderr)
