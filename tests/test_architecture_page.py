"""docs/architecture.md and CONTRIBUTING.md name every module, and nothing that is not there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "thumbnet"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FILES = sorted(
    path.relative_to(SOURCE)
    for ending in ("*.py", "*.js", "*.css", "*.html")
    for path in SOURCE.rglob(ending)
    if path.name != "__init__.py"
)
PACKAGES = sorted(path.parent.relative_to(SOURCE) for path in SOURCE.rglob("__init__.py"))[1:]


def table(heading: str, page: str = PAGE) -> list[list[str]]:
    """The rows of the table below a heading, without its head."""
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return rows[2:]


ROOMS = {row[0].strip("`"): row[1] for row in table("The rooms")}


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_every_package_is_a_room(package: Path) -> None:
    assert f"{package}/" in ROOMS


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_module_is_in_its_room(file: Path) -> None:
    name = file.stem if file.suffix == ".py" else file.name
    if file.parent != Path():
        assert name in names(ROOMS[f"{file.parent}/"])
    elif file.suffix == ".py":
        assert name in ROOMS
    else:
        assert name in names(PAGE)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_holds_nothing_that_is_not_there(room: str) -> None:
    place = SOURCE / room if room.endswith("/") else SOURCE / f"{room}.py"
    assert place.exists()
    for name in names(ROOMS[room]):
        if re.fullmatch(r"[a-z0-9_]+", name) and room.endswith("/"):
            assert (place / f"{name}.py").exists(), name
        elif re.fullmatch(r"[a-z0-9_]+\.\w+", name):
            assert (SOURCE / room if room.endswith("/") else SOURCE).joinpath(name).exists(), name


def test_many_questions_are_answered() -> None:
    assert len(table("Where do I change …?")) >= 15


@pytest.mark.parametrize(("question", "places"), table("Where do I change …?"))
def test_a_question_leads_to_a_place_that_is_there(question: str, places: str) -> None:
    for place in places.split("; "):
        path, *inside = names(place)
        text = (SOURCE / path).read_text(encoding="utf-8")
        for name in inside:
            assert re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text), (question, path, name)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/lessons.md", "docs/architecture.md"])
def test_named_paths_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = [name for name in names(text) if re.fullmatch(r"[\w./-]+/[\w.-]*\w\.(py|md|js|css|html|json)", name)]
    assert [path for path in paths if not (ROOT / path).exists() and not (SOURCE / path).exists()] == []


@pytest.mark.parametrize("program", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.name)
def test_a_benchmark_imports_modules_that_are_there(program: Path) -> None:
    """Those in its scripts for other processes too, which no type check sees."""
    for name in re.findall(r"(?:from|import) thumbnet\.([\w.]+)", program.read_text(encoding="utf-8")):
        place = SOURCE / name.replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").exists(), name
