"""The modules of the package import each other in one direction: the order in which loopmod/README.md names them.

All imports count, wherever they stand in a file, and what the C core imports counts too. Those inside a function are
listed with a reason. Reads the files; only the names that C asks for are looked up in the module itself.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "loopmod"
CORE = "_loopmod"
TEXTS = {
    path.relative_to(PACKAGE).with_suffix("").as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(PACKAGE.rglob("*.py"))
}
NAMES = {*TEXTS, CORE}
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").rglob("*.c")))

# Imports inside functions, by (module, imported), each with what would be wrong with it at the top of the file.
LATER = {
    ("__main__", "info"): "a program would find modules imported that only `info` needs",
    ("_support", "joined"): "loops that join no writes do not pay for it",
    ("choice", "children"): "what no word asks for is not imported",
    ("choice", "notice"): "what no word asks for is not imported",
    ("choice", "stand_in"): "who does not answer for uvloop does not pay for it",
    ("pytest_plugin", "__init__"): "a run without the option does not load the extension",
    ("pytest_plugin", "choice"): "a run without the option does not load the extension",
    ("startup/sitecustomize", "children"): "the child may have no loopmod, or need another way to it",
    ("startup/sitecustomize", "choice"): "the child may have no loopmod, or need another way to it",
}


def imported_by(statement: ast.stmt) -> Iterator[str]:
    """The modules of the package that one statement imports; a name of the package itself counts as `__init__`."""
    if isinstance(statement, ast.Import):
        paths = [alias.name for alias in statement.names]
    elif isinstance(statement, ast.ImportFrom):
        base = "loopmod" if statement.level else ""
        module = ".".join(filter(None, (base, statement.module)))
        paths = [f"{module}.{alias.name}" if module == "loopmod" else module for alias in statement.names]
    else:
        return
    for path in paths:
        top, _, rest = path.partition(".")
        if top == "loopmod":
            name = rest.replace(".", "/")
            yield name if name in NAMES else "__init__"


def imports(text: str, later: bool) -> set[str]:
    """What a module imports of the package: when it is imported itself, or later, inside a function."""
    found: set[str] = set()

    def visit(node: ast.AST, is_inside: bool) -> None:
        if isinstance(node, ast.stmt) and is_inside == later:
            found.update(imported_by(node))
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, is_inside or is_function)

    visit(ast.parse(text), False)
    return found


def imported_by_core(source: str) -> set[str]:
    return set(re.findall(r'\blm_state_import\(\s*"loopmod\.(\w+)"', source))


def all_imports() -> dict[str, set[str]]:
    found = {name: imports(text, False) | imports(text, True) for name, text in TEXTS.items()}
    return found | {CORE: imported_by_core(SOURCES)}


def named_in_order(text: str) -> list[str]:
    """The modules that a map names in its lists, in their order."""
    listed = "\n".join(re.findall(r"^- .*?:", text, re.MULTILINE))
    return [name.removesuffix(".pyi").removesuffix(".py") for name in re.findall(r"`([\w/]+\.pyi?)`", listed)]


def order_errors(found: dict[str, set[str]], order: list[str]) -> list[str]:
    """Imports of what does not come before in the order."""
    return [
        f"{name} imports {other}, which does not come before it"
        for place, name in enumerate(order)
        for other in sorted(found[name])
        if other not in order[:place]
    ]


# --- the rules -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "later", "found"),
    [
        ("import os, socket", False, set()),
        ("from . import _loopmod, resolver", False, {"_loopmod", "resolver"}),
        ("from . import __version__", False, {"__init__"}),
        ("from .loop import Loop", False, {"loop"}),
        ("from .loop import Loop", True, set()),
        ("import loopmod", False, {"__init__"}),
        ("import loopmod.loop as own", False, {"loop"}),
        ("from loopmod import choice, run", False, {"choice", "__init__"}),
        ("from loopmod.tls import TlsMixin", False, {"tls"}),
        ("if TYPE_CHECKING:\n    from .loop import Loop", False, {"loop"}),
        ("class A:\n    from .loop import Loop", False, {"loop"}),
        ("def f():\n    from .loop import Loop", False, set()),
        ("def f():\n    from .loop import Loop", True, {"loop"}),
        ("class A:\n    async def f(self):\n        if 1:\n            from . import info", True, {"info"}),
    ],
)
def test_import_rule(line, later, found):
    assert imports(line, later) == found


def test_order_rule():
    order = named_in_order("# `none.py`\n- `a.py`, `b/c.py`: as in `z.py`\n- `d.pyi`: text\n")
    assert order == ["a", "b/c", "d"]
    assert order_errors({"a": set(), "b/c": {"a"}, "d": {"a", "b/c"}}, order) == []
    circle = {"a": {"d"}, "b/c": {"a"}, "d": {"b/c"}}
    assert order_errors(circle, order) == ["a imports d, which does not come before it"]
    assert order_errors({"a": {"a"}, "b/c": set(), "d": set()}, order) != []


# --- the package -----------------------------------------------------------------------------------------


def test_the_map_names_every_module_once():
    named = named_in_order((PACKAGE / "README.md").read_text(encoding="utf-8"))
    assert sorted(named) == sorted(NAMES)


def test_each_module_relies_on_those_before_it():
    found = all_imports()
    assert found[CORE] == {"_support"} and found["__init__"] >= {"loop", "patched"}
    assert order_errors(found, named_in_order((PACKAGE / "README.md").read_text(encoding="utf-8"))) == []


def test_imports_inside_functions_have_a_reason():
    later = {(name, other) for name, text in TEXTS.items() for other in imports(text, True)}
    assert later == set(LATER)


def test_the_core_finds_what_it_asks_for():
    """By the names in the C source: each is there, and nothing is there that nobody asks for."""
    support = importlib.import_module("loopmod._support")
    asked = set(re.findall(r'\blm_state_support\(\s*[^,;]+,\s*"(\w+)"', SOURCES))
    asked |= set(re.findall(r'\blm_state_import\(\s*"loopmod\._support",\s*"(\w+)"', SOURCES)) - {"__dict__"}
    assert len(asked) > 20
    assert [name for name in sorted(asked) if not hasattr(support, name)] == []
    body = ast.parse(TEXTS["_support"]).body
    defined = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    defined |= {node.targets[0].id for node in body if isinstance(node, ast.Assign)}
    helpers = {name for name in defined if len(re.findall(rf"\b{name}\b", TEXTS["_support"])) > 1}
    assert defined - helpers - asked == set()
