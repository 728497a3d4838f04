"""Which models the study's sheets show, and whose weights are kept."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.study import sheets


@pytest.fixture
def weights(tmp_path: Any, monkeypatch: Any) -> Any:
    """The folder of kept weights; loading a model gives its place."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(sheets, "WEIGHTS", folder)
    monkeypatch.setattr(sheets.api, "load", lambda place: place)
    return folder


def test_kept_weights_come_first_and_then_each_models_first_seed(weights: Any, tmp_path: Any) -> None:
    for run in ("portraits_b-1", "portraits_b-2"):
        (weights / f"{run}.safetensors").touch()
    for run in ("portraits_a-1", "portraits_a-2", "portraits_b-0", "portraits_d-0"):
        (tmp_path / run).mkdir()
    for run in ("portraits_a-1", "portraits_a-2", "portraits_b-0"):
        (tmp_path / run / "samples.npz").touch()
    found = sheets._models(tmp_path, "portraits", "abd")
    assert found == {"a": tmp_path / "portraits_a-1", "b": weights / "portraits_b-1.safetensors"}


def test_models_on_a_sheet_have_the_same_training_seed_where_there_is_one(weights: Any, tmp_path: Any) -> None:
    (weights / "portraits_a-1.safetensors").touch()
    for run in ("portraits_a-2", "portraits_glow-0", "portraits_glow-2"):
        (tmp_path / run).mkdir()
        (tmp_path / run / "samples.npz").touch()
    found = sheets._models(tmp_path, "portraits", ("a", "glow"))
    assert found == {"a": tmp_path / "portraits_a-2", "glow": tmp_path / "portraits_glow-2"}


def test_the_weights_of_figure_8_are_kept_in_half_precision(weights: Any, monkeypatch: Any) -> None:
    saved = []
    monkeypatch.setattr(sheets.checkpoint, "save_file", lambda path, *rest: saved.append((path.stem, rest[-1])))
    model: Any = SimpleNamespace(params={}, config=SimpleNamespace(train=SimpleNamespace(num_steps=3)))
    for run in ("portraits_a-1", "portraits_c-0", "portraits_glow-0", "landscapes_a-0"):
        sheets.keep(run, model)
    assert saved == [("portraits_a-1", np.float16)]
