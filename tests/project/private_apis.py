"""Find the uses of dependencies' private APIs, which docs/internals.md has to list."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from tests.harness.our_apps import ROOT, our_apps, sources

PRIVATE = re.compile(r"_[a-z]\w*", re.IGNORECASE)
# Django documents these names, although they begin with an underscore or are assigned to something imported.
DOCUMENTED = {"_meta", "_state", "_base_manager", "_default_manager", "login_form"}


def product_files() -> list[Path]:
    """Return the Python files of the apps, gunicorn's configuration and the scripts of CI."""
    return [*(file for app in our_apps() for file in sources(app)), *ROOT.glob("*.conf.py"), *ROOT.glob(".ci/*.py")]


def private_names(code: str) -> set[str]:
    """Return the private names that the code reads, sets or imports, except for those that it defines itself.

    A name that begins with one underscore is private. A class may use its own names: `self._name` or `cls._name`.
    """
    tree = ast.parse(code)
    return (
        set(_used_names(tree)) - DOCUMENTED - set(_defined_names(tree))
        | set(_imported_names(tree))
        | set(_assigned_names(tree))
    )


def _used_names(tree: ast.AST) -> Iterator[str]:
    return (node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and PRIVATE.fullmatch(node.attr))


def _defined_names(tree: ast.AST) -> Iterator[str]:
    """Yield the private methods and attributes of a file's classes, except for methods that it calls on `super()`."""
    called_on_super = {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "super()"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name not in called_on_super:
            yield node.name
        elif _is_set(node) and ast.unparse(node.value) in ("self", "cls"):
            yield node.attr


def _imported_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [part for alias in node.names for part in alias.name.split(".")]
            modules = (getattr(node, "module", None) or "").split(".")
            yield from (name for name in (*names, *modules) if PRIVATE.fullmatch(name))


def _assigned_names(tree: ast.AST) -> Iterator[str]:
    """Yield the names that the code assigns on imported objects: `module.name = …`."""
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and not _is_ours(node)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if _is_set(node) and ast.unparse(node).split(".")[0] in imported and node.attr not in DOCUMENTED:
            yield node.attr


def _is_set(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)


def _is_ours(node: ast.Import | ast.ImportFrom) -> bool:
    return (getattr(node, "module", None) or "").split(".")[0] in our_apps()


def overridden_methods(file: Path) -> set[str]:
    """Return the private methods of a dependency's classes that the classes in this file override."""
    if not file.is_relative_to(ROOT) or file.name == "gunicorn.conf.py" or ".ci" in file.parts:
        return set()
    written = {
        (node.name, item.name)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
        for item in node.body
        if isinstance(item, ast.FunctionDef) and PRIVATE.fullmatch(item.name)
    }
    if not written:  # import no module without need: importing countonme.wsgi changes the process
        return set()
    module = import_module(".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    return {
        name
        for class_name, name in written
        for base in getattr(module, class_name, object).__mro__[1:]
        if name in vars(base) and base.__module__.split(".")[0] not in our_apps()
    }
