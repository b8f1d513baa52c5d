"""Which code decides an answer, so that answers of changed code are not mixed with older ones."""

import ast
from pathlib import Path
from types import ModuleType

from training.common.stages import digest


def code_digest(*modules: ModuleType, without: str = "") -> str:
    """SHA-256 of what the modules' code says, packages with all that is in them; comments and docstrings do not count.

    `without`: name of a package among them that is left out.
    """
    return digest([_meaning(path.read_text("utf-8")) for path in _files(modules, without)])


def _files(modules: tuple[ModuleType, ...], without: str) -> list[Path]:
    files: list[Path] = []
    for module in modules:
        assert module.__file__ is not None
        path = Path(module.__file__)
        files += sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
    return [path for path in files if not without or without not in path.parts]


def _meaning(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [each for each in body if not _is_text(each)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
