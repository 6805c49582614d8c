"""The documents are true: their commands run, their generated pages are up to date, their links lead somewhere."""

import math
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.cifar10 import few_cifar10
from support.web import Web, ok

from thumbnet import export
from thumbnet.data.dataset import Dataset
from thumbnet.model.classifier import PRETRAINED, load
from thumbnet.training.recipes import RECIPES, Recipe

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "examples" / "README.md"]


def blocks(kind: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    """The commands of a block, without their comments."""
    return [line.removeprefix("$ ").partition("  #")[0] for line in block.splitlines() if line.startswith("$ ")]


def network() -> bytes:
    """A network as PyTorch exports them: float `(N, 3, 224, 224)` → `(N, 384)`."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["means"]),
        helper.make_node("Flatten", ["means"], ["colours"]),
        helper.make_node("MatMul", ["colours", "weights"], ["output"]),
    ]
    weights = numpy_helper.from_array(np.random.default_rng(0).normal(size=(3, 384)).astype(np.float32), "weights")
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 224, 224])
    made = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 384])
    graph = helper.make_graph(nodes, "network", [given], [made], [weights])
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    )


@pytest.fixture
def folder(tmp_path: Path, web: Web) -> Path:
    """A reader's folder: the clone's scripts and example, and pictures of their own."""
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
    (tmp_path / "network.onnx").write_bytes(network())
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
        if words[:2] == ["pip", "install"]:  # this Python has it already
            assert missing_extras(words[2:]) == []
            continue
        done = subprocess.run(
            quick(words), cwd=folder, env={**os.environ, **variables}, input=typed.get(words[-1], ""),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        finds = "check-data" in words  # because the reader's pictures are all the same
        assert done.returncode == (3 if finds else 0), done.stderr
        assert (done.stderr if "--output" in words else done.stdout).strip()


def missing_extras(requirements: list[str]) -> list[str]:
    """Those that the package does not define, of requirements such as `.[train,serve]`."""
    defined = re.findall(r"^([\w-]+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    asked = [extra for each in requirements for extra in each.removeprefix(".").strip("[]").split(",") if extra]
    return [extra for extra in asked if extra not in defined]


def test_a_wrong_extra_is_noticed() -> None:
    assert missing_extras([".", ".[train,nothing]"]) == ["nothing"]


def test_the_readmes_extras_are_there() -> None:
    installed = [shlex.split(line.removeprefix("$ "))[2:] for line in README.splitlines() if "pip install '" in line]
    assert installed
    assert [missing_extras(each) for each in installed] == [[] for _ in installed]


def quick(words: list[str]) -> list[str]:
    """The same command by this Python, with a training cut short."""
    if words[0] == "make":  # only what it would do: the tests themselves run it
        return ["make", "--dry-run", *words[1:]]
    start = [sys.executable, "-m", "thumbnet"] if words[0] == "thumbnet" else [sys.executable]
    if "--time" in words:
        words[words.index("--time") + 1] = "0.05"
    elif "train.py" in words:
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
        data = Dataset(noise, np.arange(64) % 10, original.classifier.info.names)
        with monkeypatch.context() as patched:
            patched.setattr(export, "load_parts", lambda *_, data=data, **__: [data, data])
            form.write(original, Path(f"model{form.ending}"))


@pytest.mark.filterwarnings("ignore:.*not the test pictures:thumbnet.errors.DataWarning")  # but noise
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


SETTINGS: dict[str, Callable[[Recipe], float]] = {  # by the row of docs/training.md
    "epochs": lambda recipe: recipe.epochs,
    "peak learning rate": lambda recipe: recipe.learning_rate,
    "warm-up, share of the training": lambda recipe: recipe.warmup,
    "weight decay": lambda recipe: recipe.weight_decay,
    "label smoothing": lambda recipe: recipe.label_smoothing,
    "moved by, pixels at 32": lambda recipe: recipe.shift,
    "enlarged or shrunk by up to": lambda recipe: round(math.exp(recipe.zoom), 2),
    "stretched by up to": lambda recipe: round(math.exp(recipe.stretch), 2),
    "share of the training at three quarters of the side": lambda recipe: recipe.small,
    "moving average, a step": lambda recipe: recipe.averaging,
    "held out": lambda recipe: recipe.validation,
}

NEUTRAL = {  # what a dash means there
    "enlarged or shrunk by up to": "1",
    "stretched by up to": "1",
    "share of the training at three quarters of the side": "0",
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_page_on_training_has_the_recipes_settings(setting: str) -> None:
    rows = [line.strip("| ").split(" | ") for line in (ROOT / "docs" / "training.md").read_text().splitlines()]
    assert [f"`{name}`" for name in RECIPES] in rows
    (written,) = [row[1:] for row in rows if row[0] == setting]
    for recipe, text in zip(RECIPES.values(), written, strict=True):
        assert float(Fraction(NEUTRAL[setting] if text == "–" else text)) == pytest.approx(SETTINGS[setting](recipe))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    dead = []
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def anchors(page: Path) -> list[str]:
    """A page's headings as GitHub makes links of them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_the_readme_is_a_screen_and_a_half() -> None:
    assert len(README.splitlines()) <= 150
    assert len(README.split()) <= 650


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_readme_links_every_page(page: Path) -> None:
    assert page == ROOT / "README.md" or f"]({page.relative_to(ROOT)})" in README
