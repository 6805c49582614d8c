"""How a training went, epoch by epoch, for those who look at it: `results.csv`."""

import csv
import io
from pathlib import Path

from thumbnet.errors import TrainingError
from thumbnet.files import write_atomically

TABLE = "results.csv"
COLUMNS = ("epoch", "loss", "training", "validation", "seconds")


def write_table(path: Path, history: list[dict[str, float]]) -> None:
    """Write all epochs so far, a row each; without held-out pictures, `validation` is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    with write_atomically(path) as file:
        file.write(text.getvalue().encode())


def refuse_foreign_table(path: Path) -> None:
    """Refuse to write over what another program calls so, too.

    Raises:
        TrainingError: There is such a file, and it is not of a training of Thumbnet.
    """
    header = ",".join(COLUMNS).encode()
    if path.is_dir() or (path.exists() and not path.read_bytes().startswith(header)):
        raise TrainingError(f"{path} is not of a training of Thumbnet. Move it, or give --output another folder")
