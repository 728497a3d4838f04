"""The notebooks run from their first cell to their last, with a small model in place of the bundled one."""

import re
from pathlib import Path
from typing import Any

import api_model
import nbformat
import pytest
from nbclient import NotebookClient

from hcflow_jax import checkpoint

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
    small = SMALL.format(
        path=str(api_model.save(tmp_path / "small.safetensors", statistics={"prior": 0.5, "y1": 0.5, "8": 0.5}))
    )
    notebook.cells.insert(0, nbformat.v4.new_code_cell(small))
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    client.execute()
    outputs = [str(cell.outputs) for cell in code]
    assert "pip" not in outputs[0]  # nothing is installed where the package is
    assert "images of 16 pixels, levels prior, y1, 8, 16" in outputs[1]
    assert all("changed 8-bit values: 0 of 3840" in shown for shown in outputs[3:5])
    assert all("image/png" in shown for shown in [*outputs[2:4], *outputs[5:]])


def run(name: str, folder: Path, weights: Path, smaller: dict[str, str]) -> list[Any]:
    """Runs a notebook of `colabs/` with a model of the test; returns its code cells.

    The cell that installs the package is left out: it has tests of its own.

    Args:
      name: of the notebook.
      folder: where it runs.
      weights: the model that is found as the bundled one.
      smaller: code in the notebook, once, and what takes its place.
    """
    notebook = nbformat.read(ROOT / "colabs" / f"{name}.ipynb", as_version=4)
    install, *code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    install.source = SMALL.format(path=str(weights))
    for old, new in smaller.items():
        (cell,) = [cell for cell in code if old in cell.source]
        cell.source = cell.source.replace(old, new)
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    return code


def printed(cell: Any) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def test_flows_from_scratch_learn_and_are_invertible(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    smaller = {
        '"points": 500, "images": 300, "glow": 200': '"points": 60, "images": 12, "glow": 12',
        "IMAGES = 640": "IMAGES = 80",
        "flows.Repeat(step, 3, unroll=True)": "flows.Repeat(step, 1)",
        # The test's model is not trained: it draws noise. The first flow learns images of one colour instead.
        "jnp.split(jnp.asarray(images),": "jnp.split(jnp.asarray(images[:, :1, :1]).repeat(8, 1).repeat(8, 2),",
    }
    code = run(
        "flows_from_scratch",
        tmp_path,
        api_model.save(tmp_path / "small.safetensors", statistics={"prior": 0.5, "y1": 0.5, "8": 0.5}),
        smaller,
    )
    said = "".join(map(printed, code))
    before, after = map(float, re.findall(r"nats a point: (\S+) before training, (\S+) at the end", said)[0])
    assert after < before - 0.2
    errors = re.findall(r"(?:went to z and back|log-determinants|from the Jacobian's): +(\S+)", said)
    assert len(errors) == 3 and max(map(float, errors)) < 1e-3
    assert float(re.findall(r"integral of the density: +(\S+)", said)[0]) == pytest.approx(1, abs=0.02)
    bits = re.findall(r"bits/dim of held-out images: (\S+) before training, (\S+) after it", said)
    assert len(bits) == 2 and all(float(after) < float(before) - 0.05 for before, after in bits)
    assert said.count("changed 8-bit values: 0 of 3072") == 2  # 16 held-out images: of the flow, and of Glow
    assert sum("image/png" in str(cell.outputs) for cell in code) == 6


def test_the_figures_are_made(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    config = api_model.config().copy_and_resolve_references()
    with config.unlocked():
        config.data.update(dict(path=str(tmp_path / "drawn"), train_images=1000, eval_images=64))
    weights = tmp_path / "small.safetensors"
    checkpoint.save_file(weights, api_model.params(), config, {"step": 7})
    folder = tmp_path / "colabs"
    folder.mkdir()
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    code = run("reproduce_figures", folder, weights, {"TRAINING_IMAGES = 5000": "TRAINING_IMAGES = 50"})
    said = "".join(map(printed, code))
    assert "error: " not in said
    figures = ("1", "2", "3", "4", "5", "6", "7", "7_bits", "9", "12")
    made = {f"figure_{figure}.png" for figure in figures} | {"interpolate.png", "walk.png", "mix.png"}
    assert {path.name for path in (folder / "figures").glob("*.png")} == made
    assert sum(str(cell.outputs).count("'image/png'") for cell in code) == len(made)
    assert "nearest of 50 training images" in said
    assert "largest / smallest" in said and "model,image,level" in said
