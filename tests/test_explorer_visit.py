"""A visit of the explorer: its operations, undo and redo, what is decoded, what is downloaded."""

import io
import struct
import zlib

import explorer_fakes as fakes
import numpy as np
import pytest
from PIL import Image

from hcflow_jax import api, pictures
from hcflow_jax.data import DataError
from hcflow_jax.errors import InputError
from hcflow_jax.explorer import Drawn, Visit, bundled
from hcflow_jax.explorer.visit import MOST_BYTES


@pytest.fixture
def visit():
    return Visit(fakes.Model(), "portraits")  # pyright: ignore[reportArgumentType]


def png(width: int = fakes.SIZE, height: int = fakes.SIZE, seed: int = 0) -> bytes:
    file = io.BytesIO()
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def decoded(visit: Visit, **by_level: np.ndarray) -> np.ndarray:
    return visit.model.decode(api.Latents(by_level))[0]


def drawn(visit: Visit, seed: int, **sigma: float) -> api.Latents:
    return visit.model.draw(1, seed, {"prior": 1, "y1": 1, "4": 0.7, "8": 0.7} | sigma)


def test_it_begins_with_a_sample_of_the_models_own_sigma(visit):
    np.testing.assert_array_equal(visit.image(), visit.model.sample(1, 0, 0.7)[0])
    tuned = fakes.Model()
    tuned.sigma = {"prior": 0.9, "8": 0.4}
    visit = Visit(tuned, "portraits")  # pyright: ignore[reportArgumentType]
    assert [level.part.sigma for level in visit.state.levels] == [0.9, 1.0, 1.0, 0.4]


def test_only_the_changed_level_and_finer_ones_are_decoded(visit):
    visit.image()
    for count in range(4):
        visit.first_levels(count)
    visit.model.calls.clear()
    for value in (0.1, 0.2, 0.3):
        visit.sigma("8", value)
        visit.image()
    assert [call for call in visit.model.calls if call[0] != "draw"] == [("from", "8")] * 3
    visit.model.calls.clear()
    visit.sigma("4", 0.5)
    changed = visit.image()
    assert [call for call in visit.model.calls if call[0] != "draw"] == [("from", "4")]
    np.testing.assert_array_equal(changed, visit.model.decode(visit.latents())[0])
    visit.model.calls.clear()
    visit.first_levels(2)  # it does not depend on what was changed
    visit.undo()
    visit.image()
    assert visit.model.calls == []
    visit.sigma("4", 0.9)
    visit.image()
    visit.sigma("8", 1.0)  # what was kept for it has the other level 4
    np.testing.assert_array_equal(visit.image(), visit.model.decode(visit.latents())[0])


def test_finer_levels_are_left_out_one_after_the_other(visit):
    z = visit.latents()
    for count in range(4):
        expected = visit.model.decode(visit.model.zero(z, fakes.LEVELS[count:]))[0]
        np.testing.assert_array_equal(visit.first_levels(count), expected)


def test_controls_of_a_level(visit):
    visit.take(visit.read(png(), "a.png"))
    z = visit.latents()
    visit.sigma("8", 0.5)
    np.testing.assert_array_equal(visit.latents()["8"], 0.5 * z["8"])
    visit.zero("8")
    assert not visit.latents()["8"].any()
    visit.zero("8", False)
    np.testing.assert_array_equal(visit.latents()["8"], 0.5 * z["8"])
    visit.seed("8", 5)  # a level that was a picture's is drawn with the model's own sigma
    np.testing.assert_array_equal(visit.latents()["8"], drawn(visit, 5)["8"])
    visit.sigma("8", 1.25)
    visit.seed("8", 6)
    np.testing.assert_array_equal(visit.latents()["8"], drawn(visit, 6, **{"8": 1.25})["8"])
    for name in fakes.LEVELS[:-1]:
        np.testing.assert_array_equal(visit.latents()[name], z[name])


def test_a_locked_level_keeps_its_latent(visit):
    before = visit.latents()
    visit.lock("4")
    visit.choose_second(Drawn(9))
    operations = (
        lambda: visit.take(Drawn(3)),
        lambda: visit.take(visit.read(png(), "a.png")),
        lambda: visit.blend(0.5),
    )
    for operation in operations:
        operation()
        np.testing.assert_array_equal(visit.latents()["4"], before["4"])
        assert (visit.latents()["8"] != before["8"]).any()
    for refused in (
        lambda: visit.sigma("4", 0.1),
        lambda: visit.seed("4", 1),
        lambda: visit.zero("4"),
        lambda: visit.copy("4"),
    ):
        with pytest.raises(InputError, match="level 4 is locked: unlock it"):
            refused()
    for name in fakes.LEVELS:
        visit.lock(name)
    with pytest.raises(InputError, match="all levels are locked"):
        visit.take(Drawn(1))
    visit.lock("4", False)
    visit.sigma("4", 0.1)


def test_copy_and_blend(visit):
    for refused in (lambda: visit.copy("8"), lambda: visit.blend(0.5)):
        with pytest.raises(InputError, match="choose a second image first"):
            refused()
    first, second = visit.latents(), visit.read(png(), "b.png")
    visit.choose_second(second)
    np.testing.assert_array_equal(visit.latents()["8"], first["8"])
    visit.blend(0.25)
    middle = visit.model.blend(first, second.latents, 0.25, "spherical")
    for name in fakes.LEVELS:
        np.testing.assert_array_equal(visit.latents()[name], middle[name])
    visit.blend(0.25, "linear")
    np.testing.assert_allclose(visit.latents()["4"], 0.75 * first["4"] + 0.25 * second.latents["4"], atol=1e-6)
    visit.blend(0.0)
    visit.copy("8")
    np.testing.assert_array_equal(visit.latents()["8"], second.latents["8"])
    visit.choose_second(Drawn(4))
    np.testing.assert_array_equal(visit.latents()["8"], second.latents["8"])


def test_undo_and_redo(visit):
    states = [visit.state]
    for change in (lambda: visit.take(Drawn(7)), lambda: visit.zero("8"), lambda: visit.lock("4")):
        change()
        states.append(visit.state)
    for expected in reversed(states[:-1]):
        visit.undo()
        assert visit.state == expected
    assert not visit.can_undo and visit.can_redo
    visit.undo()
    for expected in states[1:]:
        visit.redo()
        assert visit.state == expected
    visit.undo()
    visit.sigma("8", 0.3)
    assert not visit.can_redo
    visit.sigma("8", 0.3)  # no change is no step
    visit.undo()
    assert visit.state == states[2]


def test_a_drag_is_one_step(visit):
    start = visit.state
    for value in (0.1, 0.2, 0.3):
        visit.sigma("8", value)
    visit.settle()
    dragged = visit.state
    visit.sigma("8", 0.4)
    visit.sigma("4", 0.4)
    visit.undo()
    visit.undo()
    assert visit.state == dragged
    visit.undo()
    assert visit.state == start


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda visit: visit.sigma("16", 1), "no level '16'; there are prior, y1, 4, 8"),
        (lambda visit: visit.sigma("8", -0.1), "sigma is -0.1: expected a number from 0 to 1.5"),
        (lambda visit: visit.sigma("8", float("nan")), "sigma is nan"),
        (lambda visit: visit.take(Drawn(-1)), "seed is -1: expected a whole number, 0 to 4294967295"),
        (lambda visit: visit.seed("8", 2**32), "seed is 4294967296"),
        (lambda visit: visit.seed("8", 0.5), "seed is 0.5"),
    ],
)
def test_what_is_not_allowed_is_named_and_changes_nothing(visit, operation, message):
    before = visit.state
    with pytest.raises(InputError, match=message):
        operation(visit)
    assert visit.state == before and not visit.can_undo


def test_blend_refuses_other_weights(visit):
    visit.choose_second(Drawn(1))
    with pytest.raises(InputError, match="weight is 1.5: expected a number from 0 to 1"):
        visit.blend(1.5)
    with pytest.raises(InputError, match="how is linear or spherical, not 'cubic'"):
        visit.blend(0.5, "cubic")


def bomb() -> bytes:
    """A PNG that says it has 10^10 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    content = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no picture", "a.png: cannot be read as a picture"),
        (b"", "a.png: is empty"),
        (png()[:-30], "a.png: cannot be read as a picture"),
        (bytes(MOST_BYTES + 2**20), "a.png: 21 MB; give a picture of at most 20 MB"),
        (bomb(), "a.png: too large"),
    ],
    ids=("text", "empty", "cut off", "large", "bomb"),
)
def test_an_upload_that_cannot_be_used_gets_one_line(visit, data, message):
    with pytest.raises(DataError, match=message) as caught:
        visit.read(data, "../up/a.png")
    assert "\n" not in str(caught.value)


def test_an_upload_is_cropped_and_says_so(visit):
    picture = visit.read(png(12, 8), "wide.png")
    assert picture.image.shape == (1, 8, 8, 3)
    assert picture.notes == ("cropped to the square at its centre and resized to 8 pixels",)
    assert visit.read(png(), "a.png").notes == ()
    assert visit.bits(picture)["total"] == 12


def test_the_pictures_in_the_package(tmp_path):
    for name in bundled.NAMES:
        assert bundled.load(name, 32).shape == (1, 32, 32, 3)
    with Image.open(bundled.path("portrait-0", 32)) as image:
        np.testing.assert_array_equal(np.asarray(image), bundled.load("portrait-0", 32)[0])
    assert bundled.load("scene-0", 16).shape == (1, 16, 16, 3)
    assert bundled.ordered("landscape")[0] == "scene-0" and set(bundled.ordered("x")) == set(bundled.NAMES)
    assert sum(file.stat().st_size for file in bundled.path("scene-0", 32).parent.iterdir()) < 100_000
    with pytest.raises(InputError, match="no picture 'cat' comes with the package"):
        bundled.load("cat", 32)


def test_the_downloaded_png_is_the_writers(visit, tmp_path):
    pictures.save_png(tmp_path / "a.png", visit.image())
    assert (tmp_path / "a.png").read_bytes() == visit.png()
