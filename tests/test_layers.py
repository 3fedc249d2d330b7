"""The layers of pacskit: imports go downwards only, stand at module top and form no cycle."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "pacskit"
ROWS = (
    ("pacskit", "__main__"),
    ("cli", "widgets"),
    ("simulator",),
    ("station",),
    ("dimse", "web"),
    ("services", "peers", "viewer"),
    ("archive",),
    ("imaging",),
    ("settings", "events"),
    ("certificates",),
    ("errors", "system"),
)
ROW = {unit: number for number, row in enumerate(ROWS) for unit in row}
JUPYTER = (
    "ipywidgets",
    "IPython",
    "ipykernel",
    "anywidget",
    "matplotlib",
    "traitlets",
    "notebook",
    "nbformat",
    "nbclient",
)


def module_name(path: Path, package: Path) -> str:
    parts = ("pacskit", *path.relative_to(package).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def unit_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def imports(tree: ast.Module, module: str, is_package: bool, modules: set[str]) -> Iterator[tuple[str, int]]:
    """Full names of the imported modules and their lines; TYPE_CHECKING blocks count too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                kept = len(parts) - node.level + is_package
                base = ".".join([*parts[:kept], *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield (name if name in modules else base), node.lineno


def check(package: Path) -> list[str]:
    """One sentence for each import that breaks the order."""
    paths = {module_name(path, package): path for path in sorted(package.rglob("*.py"))}
    problems: list[str] = []
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        where = path.relative_to(package.parent)
        unit = unit_of(module)
        if unit not in ROW:
            problems.append(f"{where}: {unit} has no place in the layers")
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name, line in imports(tree, module, path.name == "__init__.py", set(paths)):
            top = name.split(".")[0]
            if (top in JUPYTER or top.startswith("jupyter")) and unit != "widgets":
                problems.append(f"{where}:{line}: {unit} imports {name}; only widgets may")
            if top != "pacskit":
                continue
            target = unit_of(name)
            graph.setdefault(module, set()).add(name)
            if target not in ROW:
                problems.append(f"{where}:{line}: {target} has no place in the layers")
            elif target != unit and ROW[target] < ROW[unit]:
                problems.append(f"{where}:{line}: {unit} imports {target} above it")
            elif target != unit and ROW[target] == ROW[unit] and unit != "__main__":
                problems.append(f"{where}:{line}: {unit} imports its stranger {target}")
        problems += [f"{where}:{line}: import inside a function" for line in inner_imports(tree)]
    problems += [
        f"{module} imports itself in a cycle"
        for module in sorted(graph)
        if module in reachable(module, graph)
    ]
    return problems


def reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    """All modules that `start` imports, directly or by way of others."""
    seen: set[str] = set()
    waiting = list(graph.get(start, ()))
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += graph.get(module, ())
    return seen


def inner_imports(tree: ast.Module) -> Iterator[int]:
    functions = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    lines = {
        node.lineno
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    yield from sorted(lines)


def test_imports_go_downwards() -> None:
    assert check(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "planted", "complaint"),
    [
        ("errors.py", "import pacskit.events", "errors imports events above it"),
        ("errors.py", "from . import events", "errors imports events above it"),
        ("events.py", "from pacskit.station import Station", "events imports station above it"),
        ("events.py", "from pacskit import Station", "events imports pacskit above it"),
        (
            "services/base.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..station import Station",
            "services imports station above it",
        ),
        ("peers/planted.py", "import pacskit.services.base", "peers imports its stranger services"),
        ("errors.py", "def late() -> None:\n    import json", "import inside a function"),
        ("cli/planted.py", "import IPython.display", "cli imports IPython.display; only widgets may"),
        ("station.py", "from matplotlib import pyplot", "station imports matplotlib; only widgets may"),
        ("novelty.py", "import json", "novelty has no place in the layers"),
        (
            "settings/planted.py",
            "from pacskit.settings import planted",
            "settings.planted imports itself in a cycle",
        ),
    ],
)
def test_a_planted_import_is_seen(tmp_path: Path, file: str, planted: str, complaint: str) -> None:
    copy = tmp_path / "pacskit"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    assert not [problem for problem in check(copy) if complaint in problem]
    with (copy / file).open("a", encoding="utf-8") as stream:
        stream.write(f"\n{planted}\n")
    assert [problem for problem in check(copy) if complaint in problem]
