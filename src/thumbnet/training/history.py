"""Learning curves, an epoch a row: the table beside the model, and logs for TensorBoard."""

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from thumbnet.errors import MissingExtraError, TrainingError
from thumbnet.files import check_output, write_atomically

COLUMNS = ("epoch", "loss", "training", "validation", "seconds")
# The folders and the curves of `keras.callbacks.TensorBoard`, and the column of each curve.
LOGGED = {
    "train": {"epoch_loss": "loss", "epoch_accuracy": "training", "epoch_learning_rate": "learning_rate"},
    "validation": {"epoch_loss": "validation_loss", "epoch_accuracy": "validation"},
}
OURS = ".thumbnet"  # the end of our event files' names

History = list[dict[str, float]]  # a row an epoch
Write: TypeAlias = Callable[[History], None]  # takes all epochs so far, after each


def writer(table: Path, logs: Path | None, *, resume: bool) -> Write:
    """A function that writes the epochs to a table, and as TensorBoard's curves if a folder is named for them.

    Args:
        table: The table's file.
        logs: The folder for the curves.
        resume: Whether the curves of an earlier run are continued, or begun again.

    Raises:
        What `refuse_foreign_table` and `Logs` raise.
    """
    refuse_foreign_table(table)
    curves = None if logs is None else Logs(logs, resume=resume)

    def write(history: History) -> None:
        write_table(table, history)
        if curves:
            curves.write(history)

    return write


def write_table(path: Path, history: History) -> None:
    """Write all epochs so far, a row each. Without held-out pictures, `validation` is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    with write_atomically(path) as file:
        file.write(text.getvalue().encode())


def refuse_foreign_table(path: Path) -> None:
    """Reject a table whose place is taken by a file of another program.

    Raises:
        TrainingError: There is such a file.
    """
    header = ",".join(COLUMNS).encode()
    if path.exists() and not path.read_bytes().startswith(header):
        raise TrainingError(f"{path} is not of a training of Thumbnet. Move it, or give --output another name")


class Logs:
    """Curves for TensorBoard, in the layout of `keras.callbacks.TensorBoard`: the first epoch is step 0.

    That callback itself would not do: it writes through TensorFlow and does not know what an earlier run has written.
    """

    def __init__(self, folder: Path, *, resume: bool) -> None:
        """Make the folder. Nothing is written or deleted yet.

        Args:
            folder: Gets `train/` and `validation/`.
            resume: Whether to continue the curves that a training left there, or to begin again.

        Raises:
            MissingExtraError: TensorBoard is not installed.
            TrainingError: The folder is a file, or has logs of another program, with which TensorBoard would draw ours
                as one zigzag.
            ThumbnetError: The folder cannot be made or written to.
        """
        try:
            import tensorboard.summary.writer.record_writer  # noqa: F401  # only to see whether it is there
        except ImportError as error:
            raise MissingExtraError("--logs", "tensorboard", "logs") from error
        if folder.exists() and not folder.is_dir():
            raise TrainingError(f"{folder}: expected a folder for --logs, got a file. Name another")
        check_output(folder / "train" / "events")
        foreign = (path for run in LOGGED for path in sorted((folder / run).glob("*tfevents*")) if path.suffix != OURS)
        if path := next(foreign, None):
            raise TrainingError(f"{path} is not of a training of Thumbnet. Move it, or give --logs another folder")
        self._folder, self._resume = folder, resume
        self._begun: dict[str, tuple[Path, int]] = {}  # of each run, the file to write to and the points that are there

    def write(self, history: History) -> None:
        """Add the epochs that are not there yet."""
        for run, tags in LOGGED.items():
            path, done = self._begun.get(run) or self._begin(self._folder / run)
            if missing := [row for row in history[done:] if row.keys() & tags.values()]:
                _append(path, [{tag: row[key] for tag, key in tags.items() if key in row} for row in missing], done)
            self._begun[run] = path, len(history)

    def _begin(self, folder: Path) -> tuple[Path, int]:
        """A new file, because the end of an old one may be torn, and the number of points in the old ones."""
        old = sorted(folder.glob(f"*tfevents*{OURS}"))
        done = max((_points(path) for path in old), default=0) if self._resume else 0
        for path in [] if self._resume else old:
            path.unlink()
        return folder / f"events.out.tfevents.{time.time():017.6f}{OURS}", done


def _append(path: Path, points: History, first: int) -> None:
    """Add `points` to an event file, the first of them as step number `first`.

    Each is one record: a kill leaves all of it, or nothing that can be read.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb
    from tensorboard.summary.writer.record_writer import RecordWriter

    now = time.time()
    events = [] if path.exists() else [Event(wall_time=now, file_version="brain.Event:2")]
    for step, point in enumerate(points, first):
        values = [scalar_pb(tag, value).value[0] for tag, value in point.items()]
        events.append(Event(wall_time=now, step=step, summary=Summary(value=values)))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())


def _points(path: Path) -> int:
    """The step after the last one that can be read in an event file."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    events = LegacyEventFileLoader(str(path)).Load()
    return max((event.step + 1 for event in events if event.HasField("summary")), default=0)
