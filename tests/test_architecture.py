"""Which module imports which: no cycles, no room imports a higher one, and importing has no effect."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
PAGE = ROOT / "docs" / "architecture.md"
# The rooms from the lowest to the highest, where the page is not there to say it.
ORDER = [
    "_version", "errors", "text", "files", "progress", "html", "process", "pictures", "sources", "model", "prediction",
    "data", "evaluation", "transfer", "training", "recipe", "export", "server", "teach", "cli", "__main__",
]  # fmt: skip
KERAS = {"keras", "tensorflow", "jax"}
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
}


def rooms(page: str) -> list[str]:
    """The rooms that a page's table under "The rooms" lists in its first column; those inside another are left out."""
    section = page.partition("\n## The rooms\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `([a-z_]+)/?[a-z_/]*` \|", section, re.MULTILINE)
    return list(dict.fromkeys(listed))


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def imports(tree: ast.AST) -> Iterator[str]:
    """The modules that a module's code names, functions' imports too; not those for type checkers alone.

    `from a import b` gives `a.b`, which may be a name in `a`.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not followed here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for other in node.orelse:
                yield from imports(ast.Module([other], []))
        else:
            yield from imports(node)


def home(name: str) -> str:
    """The module that a name is in, or the package of another project."""
    while name not in MODULES and "." in name:
        name = name.rpartition(".")[0]
    return name


def above(graph: dict[str, set[str]], order: list[str]) -> list[str]:
    """The imports of a room that is placed higher than the importer's."""
    places = {name: place for place, name in enumerate(order)}
    return [
        f"{module} imports {other}"
        for module, others in graph.items()
        for other in sorted(others)
        if "." in module and "." in other and places[room(module)] < places[room(other)]
    ]


EVERY = {
    module: {home(name) for name in imports(ast.parse(path.read_text(encoding="utf-8")))}
    for module, path in MODULES.items()
}
# What is imported with a module, and not first in its functions.
AT_ONCE = {
    module: {
        home(name)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imports(ast.Module([node], []))
    }
    for module, path in MODULES.items()
}
GRAPH = {module: others & MODULES.keys() for module, others in EVERY.items()}


@pytest.fixture(scope="module")
def order() -> list[str]:
    return rooms(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else ORDER


def test_the_graph_is_read_from_the_code() -> None:
    code = (
        "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import e\nelse:\n    import f\n"
        "def g():\n    if h:\n        from i.j import k, l\n"
    )
    assert list(imports(ast.parse(code))) == ["a.b", "c.d", "f", "i.j.k", "i.j.l"]
    assert home("thumbnet.text.printable") == "thumbnet.text"
    assert home("numpy.typing.NDArray") == "numpy"
    assert {"thumbnet.errors", "thumbnet.model.info"} <= GRAPH["thumbnet.model.classifier"]


def test_the_rooms_are_read_from_the_page() -> None:
    table = "| room | b |\n|---|---|\n| `_low` | c `d` |\n| `mid/` | e |\n| `mid/in/` | f |\n"
    page = f"# A\n\n| `no/` | g |\n\n## The rooms\n\nText.\n\n{table}\n## Other\n\n| `no/` | g |\n"
    assert rooms(page) == ["_low", "mid"]


def test_a_higher_room_is_seen() -> None:
    graph = {"thumbnet.a.b": {"thumbnet.c"}, "thumbnet.c": {"thumbnet.a.b", "thumbnet"}}
    assert above(graph, ["a", "c"]) == ["thumbnet.a.b imports thumbnet.c"]
    assert above(graph, ["c", "a"]) == ["thumbnet.c imports thumbnet.a.b"]


def test_every_module_has_a_room(order: list[str]) -> None:
    assert {room(module) for module in MODULES} - {"thumbnet"} <= set(order)


def test_no_room_imports_a_higher_one(order: list[str]) -> None:
    assert above(GRAPH, order) == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_the_server_and_the_exports_do_without_each_other() -> None:
    siblings = {"export", "server"}
    between = [
        (module, other)
        for module, others in GRAPH.items()
        for other in others
        if {room(module), room(other)} == siblings
    ]
    assert between == []


def test_only_training_and_one_export_import_keras() -> None:
    importers = {module for module, others in EVERY.items() if others & KERAS}
    allowed = {module for module in MODULES if room(module) == "training"} | {"thumbnet.export.keras"}
    assert importers - allowed == set()
    assert "thumbnet.export.keras" in importers


def test_only_the_command_line_imports_the_root() -> None:
    assert {room(module) for module, others in GRAPH.items() if "thumbnet" in others} == {"cli"}


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize("training", [False, True], ids=["base", "training"])
def test_importing_has_no_effect(training: bool) -> None:
    # What other packages do when they are imported is theirs, so they are imported first.
    if training:
        pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")
    by_keras = {module for module in MODULES if room(module) == "training"} | {"thumbnet.export.keras"}
    base = MODULES.keys() - by_keras
    names = sorted(by_keras if training else base)
    others = {other for name in base | set(names) for other in AT_ONCE[name]} - MODULES.keys() | {"ray"}
    code = f"""if True:
        import importlib, json, os, sys

        def load(name):
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:  # of an extra
                if error.name.startswith("thumbnet"):
                    raise

        def state():
            places = {{}}
            for number in os.listdir("/proc/self/fd"):
                try:
                    places[number] = os.readlink("/proc/self/fd/" + number)
                except FileNotFoundError:  # that of the listing itself
                    pass
            return dict(os.environ), places, (sys.stdout, sys.stderr), os.getcwd()

        for name in {sorted(others)!r}:
            load(name)
        effects = []
        for name in {names!r}:
            before = state()
            load(name)
            effects += [f"{{name}}: {{old}} → {{new}}" for old, new in zip(before, state()) if old != new]
        print(json.dumps([effects, [name for name in {names!r} if name in sys.modules]]))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    effects, loaded = json.loads(done.stdout.splitlines()[-1])
    assert effects == []
    # Packages of extras may be missing, and with them what imports them at once.
    assert {name for name in names if training or room(name) not in ("server", "teach")} <= set(loaded)
