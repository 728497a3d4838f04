"""The notebook runs from its first cell to its last, with a small model in place of the bundled one."""

from pathlib import Path

import api_model
import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "colabs" / "quickstart.ipynb"

pytestmark = pytest.mark.full

# The first cell of the test's own: what `api.load()` finds.
SMALL = """
from pathlib import Path
from hcflow_jax import box
box.weights = lambda name: Path({path!r})
"""


def test_the_quickstart_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    small = SMALL.format(path=str(api_model.save(tmp_path / "small.safetensors")))
    notebook.cells.insert(0, nbformat.v4.new_code_cell(small))
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    client.execute()
    outputs = [str(cell.outputs) for cell in code]
    assert "pip" not in outputs[0]  # nothing is installed where the package is
    assert "images of 16 pixels, levels prior, y1, 8, 16" in outputs[1]
    assert "changed 8-bit values: 0 of 6144" in outputs[3]
    assert all("image/png" in shown for shown in outputs[2:])
