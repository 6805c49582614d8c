"""What is in TensorBoard's event files."""

from pathlib import Path
from typing import Any

Curves = dict[tuple[str, str], Any]  # by run and tag, pairs of step and value


def logged(folder: Path) -> Curves:
    """All that is in the files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    found: Curves = {}
    for run in sorted(path.name for path in folder.iterdir()):
        # Without its purge, which hides that a step comes twice.
        read = EventAccumulator(str(folder / run), {"tensors": 0}, purge_orphaned_data=False).Reload()
        for tag in read.Tags()["tensors"]:
            assert read.SummaryMetadata(tag).plugin_data.plugin_name == "scalars"
            points = [(event.step, float(make_ndarray(event.tensor_proto))) for event in read.Tensors(tag)]
            found[run, tag] = points
    return found
