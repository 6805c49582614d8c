"""What is taken away of a model besides its file: the report, and the folder for the browser, as ZIP files."""

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from thumbnet.data.collection import Place
from thumbnet.data.dataset import Dataset, check_memory
from thumbnet.evaluation.judge import Judgement, measure_speed
from thumbnet.evaluation.page import write
from thumbnet.export import export
from thumbnet.pictures.framing import square
from thumbnet.teach.work import Model, Work


def report(work: Work, model: Model) -> bytes:
    """The report on a model that is as fresh as the folder.

    Raises:
        DataError: The pictures do not fit into memory, or one has gone meanwhile.
        SourceError: One cannot be read any more.
    """
    info = model.classifier.info
    check_memory(len(model.pictures), info.size)
    images = np.stack(
        [square(work.content(Place(each.label, each.name)), info.size, info.framing) for each in model.pictures]
    )  # (N, S, S, 3)
    dataset = Dataset(images, model.answers.labels, info.names, framing=info.framing)
    name = work.folder.name or "model"
    judged = Judgement(
        name, name, model.classifier, dataset, model.answers, measure_speed(model.classifier, images),
        note=f"measured by cross-validation on all {len(images):,} pictures: each is answered by a head that has not "
        "learnt from it",
        cross_validated=True,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "report", judged, spoil=False)
        return _packed(Path(folder) / "report", f"{name}-report")


def web(work: Work, model: Model) -> bytes:
    """A folder for any web server, as `thumbnet export --format web` makes it.

    Raises:
        ExportError: ONNX Runtime Web cannot be downloaded.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.content)
        export(path, "web", Path(folder) / "web")
        return _packed(Path(folder) / "web", f"{work.folder.name or 'model'}-web")


def _packed(folder: Path, name: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, Path(name) / path.relative_to(folder))
    return packed.getvalue()
