"""What the explorer shows, made again by its Python lines and by its command."""

import explorer_fakes as fakes
import numpy as np
import pytest
from PIL import Image
from test_explorer_visit import png

from hcflow_jax import api
from hcflow_jax.cli import command
from hcflow_jax.explorer import Drawn, Visit
from hcflow_jax.explorer.gallery import Gallery


@pytest.fixture
def visit():
    return Visit(fakes.Model(), "portraits")  # pyright: ignore[reportArgumentType]


def plain(visit: Visit) -> None:
    visit.take(Drawn(3))


def uploaded(visit: Visit) -> None:
    visit.take(visit.read(png(), "a.png"))


def from_the_package(visit: Visit) -> None:
    visit.take(Gallery(visit.model).picture("scene-2"))
    visit.sigma("8", 0.35)


def of_all_kinds(visit: Visit) -> None:
    uploaded(visit)
    visit.seed("8", 4)
    visit.sigma("8", 1.1)
    visit.sigma("4", 0.6)
    visit.zero("y1")


def blended(visit: Visit) -> None:
    visit.take(Drawn(3))
    visit.sigma("8", 0.2)
    visit.choose_second(Drawn(3))
    visit.blend(0.4)


def blended_and_locked(visit: Visit) -> None:
    of_all_kinds(visit)
    visit.choose_second(visit.read(png(seed=1), "b.png"))
    visit.lock("4")
    visit.lock("y1")
    visit.blend(0.7, "linear")


def at_zero(visit: Visit) -> None:
    for name in fakes.LEVELS:
        visit.zero(name)


STATES = (plain, uploaded, from_the_package, of_all_kinds, blended, blended_and_locked, at_zero)


@pytest.mark.parametrize("made", STATES)
def test_the_python_lines_make_the_same_file(visit, made, tmp_path, monkeypatch):
    made(visit)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "b.png").write_bytes(png(seed=1))
    monkeypatch.setattr(api, "load", lambda where: {"portraits": fakes.Model()}[where])
    exec(compile(visit.python(), "lines", "exec"), {})
    assert (tmp_path / "explorer.png").read_bytes() == visit.png()


@pytest.mark.parametrize("made", STATES)
def test_the_command_makes_the_same_image(visit, made, tmp_path, monkeypatch):
    made(visit)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(api, "load", lambda where, dtype: {"portraits": fakes.Model()}[where])
    (tmp_path / "explorer.npz").write_bytes(visit.npz())
    words = visit.command().split()
    assert words[0] == "hcflow" and words[1] == ("sample" if made is plain else "decode")
    assert command.main(words[1:]) == 0
    (written,) = [path for path in tmp_path.rglob("*.png")]
    with Image.open(written) as image:
        np.testing.assert_array_equal(np.asarray(image), visit.image())


def test_the_lines_name_a_model_of_ones_own():
    model = fakes.Model()
    visit = Visit(model, "/runs/my model")  # pyright: ignore[reportArgumentType]
    assert "api.load('/runs/my model')" in visit.python()
    assert "--checkpoint '/runs/my model' " in visit.command()
