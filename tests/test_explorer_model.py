"""A visit to a real, small model: what is decoded from a level down, and the Python lines, give the same image."""

import api_model
import numpy as np
import pytest

from hcflow_jax import api
from hcflow_jax.explorer import Drawn, Visit
from hcflow_jax.explorer.gallery import Gallery

pytestmark = pytest.mark.slow


def test_every_way_to_an_image_gives_the_same(tmp_path, monkeypatch):
    model = api_model.model()
    visit, names = Visit(model, "small.safetensors"), model.level_names
    visit.take(Gallery(model).picture("portrait-2"))
    visit.seed(names[-1], 5)
    visit.sigma(names[0], 0.5)
    visit.choose_second(Drawn(1))
    visit.lock(names[0])
    visit.blend(0.3)
    visit.image()
    visit.sigma(names[-1], 0.9)
    from_a_level_down = visit.image()
    whole = model.decode(visit.latents())[0]
    # Another program may round an 8-bit value the other way.
    assert np.abs(from_a_level_down.astype(int) - whole).max() <= 1
    assert (from_a_level_down != whole).mean() < 0.01
    blank = model.decode(model.zero(visit.latents(), names[2:]))[0]
    assert np.abs(visit.first_levels(2).astype(int) - blank).max() <= 1
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(api, "load", lambda where: {"small.safetensors": model}[where])
    exec(compile(visit.python(), "lines", "exec"), {})
    assert (tmp_path / "explorer.png").read_bytes() == visit.png()
