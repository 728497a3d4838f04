"""docs/robustness.md and the tests agree: every row is held by a test, and every marked test has a row."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def _rows() -> list[str]:
    lines = (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8").splitlines()
    cells = [line.strip("|").split(" | ")[0].strip() for line in lines if line.startswith("| ")]
    return [cell for cell in cells if cell != "situation"]


def _marked() -> set[str]:
    """The texts of all `pytest.mark.situation("...")` in the tests."""
    found = set()
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.situation":
                assert isinstance(node.args[0], ast.Constant), f"{path}:{node.lineno}: the mark takes a literal text"
                found.add(node.args[0].value)
    return found


def test_every_row_is_there_once():
    rows = _rows()
    assert sorted(rows) == sorted(set(rows))


def test_a_test_holds_every_row_and_every_marked_test_has_a_row():
    assert set(_rows()) == _marked()
