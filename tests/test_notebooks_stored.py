"""The notebooks as they are stored: run in order from top to bottom, without errors, with what each cell shows."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "colabs").glob("*.ipynb"))
SHOWING = {"print", "display", "subplots"}  # calls that always show something
SOMETIMES = (ast.If, ast.While, ast.Try, ast.Match, ast.FunctionDef, ast.ClassDef)  # what is inside may not run
LARGEST = 1_000_000  # bytes of a notebook


def always(statements: list[ast.stmt]) -> Iterator[ast.AST]:
    """What runs whenever the statements do: neither branches nor the insides of functions and classes."""
    for statement in statements:
        if isinstance(statement, ast.For | ast.With):
            yield from always(statement.body)
        elif not isinstance(statement, SOMETIMES):
            yield from ast.walk(statement)


def calls(statements: list[ast.stmt], names: set[str]) -> bool:
    """Whether the statements surely call a function of one of these names."""
    called = [node.func for node in always(statements) if isinstance(node, ast.Call)]
    return bool(names & {f.id if isinstance(f, ast.Name) else getattr(f, "attr", "") for f in called})


def silent(sources: list[str], shown: list[bool]) -> list[str]:
    """The cells that show something when they run, by their code, and have nothing stored.

    Args:
      sources: the code of the cells. A function that a cell defines shows something if its body does.
      shown: whether a cell has a stored output.
    """
    names, found = set(SHOWING), []
    for source, has_output in zip(sources, shown, strict=True):
        body = ast.parse(re.sub(r"^(\s*)[%!].*", r"\1pass", source, flags=re.M)).body
        names |= {each.name for each in body if isinstance(each, ast.FunctionDef) and calls(each.body, names)}
        last = body[-1] if body else None
        value = isinstance(last, ast.Expr) and not isinstance(last.value, ast.Call | ast.Constant)
        if (value or calls(body, names)) and not has_output:
            found.append(source)
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_as_it_ran(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run it again, from the top"
    assert not [o.ename for cell in code for o in cell.outputs if o.output_type == "error"]
    assert silent([cell.source for cell in code], [bool(cell.outputs) for cell in code]) == []
    assert any(o.get("data", {}).get("image/png") for cell in code for o in cell.outputs), "it has no pictures"
    assert path.stat().st_size < LARGEST


def test_what_shows_something_is_known():
    helper = "def show(x):\n    print(x)\n\n\ndef quiet(x):\n    if x:\n        print(x)"
    cells = [helper, "show(1)", "quiet(1)", "x = 1\nx", "x = 2", "if x:\n    print(x)", "for i in x:\n    show(i)"]
    assert silent(cells, [False] * len(cells)) == [cells[1], cells[3], cells[6]]
    assert silent(cells, [True] * len(cells)) == []
    assert silent(["%pip install x\nif x:\n    !ls\nfigure, axes = plt.subplots()"], [False])
