"""The names of files in a workdir are written in one module."""

import ast
from pathlib import Path

import hcflow_jax
from hcflow_jax import layout

PACKAGE = Path(hcflow_jax.__file__).parent
NAMES = {value for name, value in vars(layout).items() if name.isupper()}


def _written(tree):
    """The names of the layout that a module writes itself: FOLDER / "name", or a text that is the name of a file."""
    joined = (n.right for n in ast.walk(tree) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Div))
    texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and "." in str(n.value)}
    return NAMES & (texts | {n.value for n in joined if isinstance(n, ast.Constant)})


def test_only_the_layout_has_the_names_of_a_workdirs_files():
    found = {}
    for file in PACKAGE.rglob("*.py"):
        if file.name != "layout.py" and (names := _written(ast.parse(file.read_text()))):
            found[str(file.relative_to(PACKAGE))] = names
    assert not found
    assert _written(ast.parse('a / "checkpoints"')) and _written(ast.parse('f("history.jsonl")'))
    assert len(NAMES) == len([name for name in vars(layout) if name.isupper()]) == 16
