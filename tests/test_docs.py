"""The documents say what is so: their commands run, their pages are up to date, their links lead somewhere."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.cifar10 import few_cifar10
from support.web import Web, ok

from thumbnet import export
from thumbnet.data.dataset import Dataset, Splits
from thumbnet.model.classifier import PRETRAINED, load

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(kind: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    """What is typed, without the remarks."""
    return [line.removeprefix("$ ").partition("  #")[0] for line in block.splitlines() if line.startswith("$ ")]


@pytest.fixture
def folder(tmp_path: Path, web: Web) -> Path:
    """Where a reader may stand: a folder with the clone's scripts and example, and pictures of their own."""
    for name in ("Makefile", "pyproject.toml", "train.py", "predict.py", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    picture = (ROOT / "examples" / "cat.png").read_bytes()
    (tmp_path / "cat.png").write_bytes(picture)
    (tmp_path / "model.onnx").write_bytes((PRETRAINED / "cifar10-seed.onnx").read_bytes())
    for split in ("train", "test"):
        for name in ("cats", "others"):
            (tmp_path / "pictures" / split / name).mkdir(parents=True)
            for index in range(20):
                (tmp_path / "pictures" / split / name / f"{index}.png").write_bytes(picture)
    (tmp_path / "photos").symlink_to(ROOT / "examples")
    web.pages["/cat.png"] = ok(picture)
    return tmp_path


@pytest.mark.parametrize("block", blocks("console"))
def test_the_commands_of_the_readme_run_one_after_the_other(
    block: str, folder: Path, web: Web, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")
    variables = {"THUMBNET_CIFAR10": str(few_cifar10(tmp_path_factory.mktemp("cifar10"))[0])}
    typed = {"predict.py": web.url("/cat.png") + "\n"}
    for command in commands(block):
        words = shlex.split(command.replace("https://example.org/", web.url("/")))
        done = subprocess.run(
            quick(words), cwd=folder, env={**os.environ, **variables}, input=typed.get(words[-1], ""),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        finds = "check-data" in words  # for the reader's pictures are all the same
        assert done.returncode == (3 if finds else 0), done.stderr
        assert (done.stderr if "--output" in words else done.stdout).strip()


def quick(words: list[str]) -> list[str]:
    """The same command by this Python, and trained for a moment only."""
    if words[0] == "make":  # what it would do; that it does it is shown by running the tests
        return ["make", "--dry-run", *words[1:]]
    start = [sys.executable, "-m", "thumbnet"] if words[0] == "thumbnet" else [sys.executable]
    if "--time" in words:
        words[words.index("--time") + 1] = "0.05"
    elif "train" in words or "train.py" in words:
        words.append("--epochs=1")
    return start + words[1:]


def test_the_readmes_output_of_make_run_is_what_it_prints() -> None:
    command, printed = re.search(r"^\$ (make run)\n(.*?)^```", README, re.MULTILINE | re.DOTALL).groups()  # type: ignore[union-attr]
    assert command == "make run"
    recipe = re.search(r"^run:.*\n\t\$\(BIN\)/(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    words = [sys.executable, "-m", *shlex.split(recipe.group(1))]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    shown = [line for line in printed.splitlines() if not line.startswith(".venv/bin/")]
    assert shown == done.stdout.splitlines()


def make_exports(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a block reads of the reader's exports of model.onnx, without the comparison, which needs CIFAR-10."""
    wanted = [form for form in export.FORMATS.values() if f'"model{form.ending}' in block]
    for form in wanted:
        if form.extra in ("train", "litert"):
            pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")
        if form.extra == "litert":
            pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed: pip install -e '.[litert]'")
        original = export.Original("model", Path("model.onnx").read_bytes(), load("model.onnx"), "")
        noise = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), np.uint8)
        data = Dataset(noise, np.zeros(64, np.int64), original.classifier.info.names)
        with monkeypatch.context() as patched:
            patched.setattr(export, "load_data", lambda *_, data=data, **__: Splits(data, data))
            form.write(original, Path(f"model{form.ending}"))


@pytest.mark.parametrize("block", [block for page in PAGES for block in blocks("python", page.read_text())])
def test_a_python_example_runs(block: str, folder: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    if "thumbnet.train" in block:
        pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")
    make_exports(block, monkeypatch)
    block = block.replace("https://example.org/", web.url("/")).replace("minutes=10", "minutes=0.05")
    exec(compile(block, "README.md", "exec"), {})


def test_the_page_of_commands_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    made = runpy.run_path(str(ROOT / "docs" / "commands.py"))["page"]()
    assert made == (ROOT / "docs" / "commands.md").read_text(), "run: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_is_one_page() -> None:
    assert len(README.splitlines()) <= 150
