"""The notebook about training runs from its first cell to its last, with small models in place of the presets."""

import os
import re
from pathlib import Path

import api_model
import nbformat
import pytest
from nbclient import NotebookClient
from test_notebook import ROOT, SMALL

NOTEBOOK = ROOT / "colabs" / "train_on_your_images.ipynb"

# What the test changes, so that the notebook takes a minute: the model, and the number of steps.
SMALLER = {
    "STEPS = 300": "STEPS = 60",
    "presets.config(PRESET).data.resolution": "16",
    "from hcflow_jax.config import presets\n\n\ndef": "import least_config\n\n\ndef",
    "presets.config({PRESET!r})": "least_config.get_config()",
    "checkpoint_every = 50": "checkpoint_every = 20",
    "sample_every = 100": "sample_every = 30",
}

# The last cell of the test's own: TensorBoard would outlive the notebook.
END = """
import os, signal
from tensorboard import manager
for each in manager.get_all():
    os.kill(each.pid, signal.SIGTERM)
"""


@pytest.mark.full
def test_training_runs_stops_resumes_and_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # TensorBoard notes there what runs
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for old, new in SMALLER.items():
        assert sum(old in cell.source for cell in code) == 1, old
        for cell in code:
            cell.source = cell.source.replace(old, new)
    small = SMALL.format(path=str(api_model.save(tmp_path / "small.safetensors")))
    notebook.cells.insert(0, nbformat.v4.new_code_cell(small))
    notebook.cells.append(nbformat.v4.new_code_cell(END))
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()

    def printed(words: str) -> str:
        found = [cell for cell in code if words in cell.source]
        assert len(found) == 1, words
        return "".join(o.text for o in found[0].outputs if o.output_type == "stream")

    assert "500 images of 16 pixels" in printed("prepare.main")
    stopped, resumed = printed("def train("), printed("train()")
    assert re.search(r"SIGINT: saved step 2\d; the same command resumes there", stopped)
    assert "step 30/60" in resumed and "step 10/60" not in resumed
    assert "changed 8-bit values: 0 of" in printed("api.held_out")
    assert (Path(tmp_path) / "my_training" / "my_model.safetensors").is_file()
