"""Where a training's files go: each is named after the model file, so that two models in one folder share none."""

import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras

from thumbnet.errors import TrainingError
from thumbnet.evaluation.trained import check_model
from thumbnet.files import check_output, write_atomically

MARK = b"written by Thumbnet"  # the comment of our `.keras` archives; Keras itself writes none


@dataclass(frozen=True)
class Places:
    """The files of a training."""

    model: Path  # such as `mine.onnx`

    @property
    def network(self) -> Path:
        """The network for further training: `mine.keras`."""
        return self.model.with_suffix(".keras")

    @property
    def table(self) -> Path:
        """A row an epoch, for people and spreadsheets: `mine.results.csv`."""
        return self.model.with_suffix(".results.csv")

    @property
    def checkpoints(self) -> tuple[Path, Path]:
        """The state after each epoch, until all has ended: of the training, and of the second one on all pictures."""
        name = self.model.name
        return self.model.with_name(f"{name}.checkpoint"), self.model.with_name(f"{name}.refit.checkpoint")

    def check(self, *, network: bool = True) -> None:
        """Make the folder, and reject what cannot be written or is not ours, before the work.

        Args:
            network: Whether the Keras file will be written, too.

        Raises:
            TrainingError: The name does not end in `.onnx`, or the Keras file's is taken by a file of another program.
            ThumbnetError: A file cannot be written: a folder or a device is in its place, it is not allowed to, or the
                disk is full.
        """
        check_model(self.model)
        for path in (*([self.network] if network else []), self.table, *self.checkpoints):
            check_output(path)
        if network and self.network.exists() and not _is_ours(self.network):
            raise TrainingError(
                f"{self.network} would be replaced, and was not written by this version of Thumbnet. "
                "Move it, or give --output another name"
            )

    def start_over(self, say: Callable[[str], None]) -> None:
        """Warn where a new training replaces the checkpoint of a broken one."""
        first, second = self.checkpoints
        if first.exists() or second.exists():
            say(f"Starting over. {first.name} is of a training that did not end: --resume would continue it")
            second.unlink(missing_ok=True)  # or a later --resume would take it for one of this training

    def write(self, network: keras.Model, content: bytes) -> None:
        """Write the Keras file and the model file, each in one step."""
        with tempfile.TemporaryDirectory(prefix=".thumbnet-", dir=self.model.parent) as folder:
            made = Path(folder) / "network.keras"  # Keras writes only to a path that ends so
            network.save(made)
            with zipfile.ZipFile(made, "a") as archive:
                archive.comment = MARK
            for path, written in ((self.network, made.read_bytes()), (self.model, content)):
                with write_atomically(path) as file:
                    file.write(written)

    def forget(self) -> None:
        """Delete the checkpoints."""
        for path in self.checkpoints:
            path.unlink(missing_ok=True)


def _is_ours(path: Path) -> bool:
    """Whether a Keras file is a training's of Thumbnet, as it left it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment == MARK
    except (OSError, zipfile.BadZipFile):
        return False
