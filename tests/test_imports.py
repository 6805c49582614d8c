"""What is imported when, each time in a fresh process, and what can be imported from `thumbnet`."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.imports import BASE, CLUSTER_ONLY, NETWORK, TRAINING_ONLY, imported, modules
from support.models import png, write

import thumbnet


def test_imports_are_seen() -> None:
    assert {"numpy", "thumbnet"} <= imported("-c", "import numpy, thumbnet")


@pytest.mark.parametrize(
    "arguments",
    [("-c", "import thumbnet"), ("-m", "thumbnet", "--help"), ("-m", "thumbnet", "predict", "--help")],
    ids=" ".join,
)
def test_next_to_nothing_is_imported(arguments: tuple[str, ...]) -> None:
    assert not imported(*arguments) & (TRAINING_ONLY | CLUSTER_ONLY | BASE)


def test_the_formats_import_nothing_of_the_training() -> None:
    assert not imported("-c", "import thumbnet.export") & TRAINING_ONLY


def test_predict_imports_nothing_of_the_training(tmp_path: Path) -> None:
    model = write(tmp_path / "model.onnx")
    (tmp_path / "cat.png").write_bytes(png("red"))
    packages = imported("-m", "thumbnet", "predict", "--model", str(model), str(tmp_path / "cat.png"))
    assert packages >= BASE
    assert not packages & (TRAINING_ONLY | CLUSTER_ONLY)


def test_predict_of_a_file_imports_nothing_of_the_network(tmp_path: Path) -> None:
    model = write(tmp_path / "model.onnx")
    (tmp_path / "cat.png").write_bytes(png("red"))
    loaded = modules("-m", "thumbnet", "predict", "--model", str(model), str(tmp_path / "cat.png"))
    assert "thumbnet.sources.urls" in loaded
    assert not loaded & NETWORK


def test_all_is_exactly_this() -> None:
    assert thumbnet.__all__ == [
        "Classifier",
        "DataError",
        "DataWarning",
        "Dataset",
        "ExportError",
        "FetchError",
        "ImageError",
        "MissingExtraError",
        "ModelError",
        "Prediction",
        "SourceError",
        "ThumbnetError",
        "TrainingError",
        "load",
        "train",
    ]


@pytest.mark.parametrize("name", thumbnet.__all__)
def test_every_name_can_be_had(name: str) -> None:
    value = getattr(thumbnet, name)
    assert value.__name__ == name
    assert value.__module__.startswith("thumbnet.")
    assert name in dir(thumbnet)


def test_unknown_name_is_told() -> None:
    with pytest.raises(AttributeError, match="module 'thumbnet' has no attribute 'nothing'"):
        _ = thumbnet.nothing


@pytest.mark.parametrize("missing", ["keras", "tensorflow"])
def test_training_without_its_packages_names_the_command(missing: str) -> None:
    code = f"""if True:
        import sys
        class Nowhere:
            def find_spec(self, name, path=None, target=None):
                if name == {missing!r}:
                    raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        sys.meta_path.insert(0, Nowhere())
        from thumbnet.cli import main
        sys.exit(main(["train"]))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: training needs {missing}, which is not installed. Add it: pip install 'thumbnet[train]'\n"
    )


def test_module_of_ours_that_is_missing_is_no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(thumbnet._HOMES, "train", "thumbnet.nothing")
    with pytest.raises(ModuleNotFoundError, match=r"thumbnet\.nothing"):
        _ = thumbnet.train
