"""Sheets and curves: sizes, places and files."""

import itertools
import os
import sys

import numpy as np
import pytest
from PIL import Image

from hcflow_jax import pictures
from hcflow_jax.errors import InputError


def _images(count: int, size: int = 4) -> np.ndarray:
    return np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, size, size, 3), np.uint8)


def test_grid_places_images_row_by_row():
    sheet = pictures.grid(_images(5), 3)
    assert sheet.shape == (8, 12, 3) and sheet.dtype == np.uint8
    assert [int(sheet[0, x, 0]) for x in (0, 4, 8)] == [0, 1, 2]
    assert [int(sheet[4, x, 0]) for x in (0, 4, 8)] == [3, 4, 255]  # a place without an image is white


def test_grid_scales_whole_pixels_and_leaves_gaps():
    image = np.random.default_rng(0).integers(0, 255, (1, 4, 4, 3), np.uint8)
    sheet = pictures.grid(np.concatenate([image, image]), 2, scale=3, gap=2)
    assert sheet.shape == (12, 26, 3)
    np.testing.assert_array_equal(sheet[::3, :12:3], image[0])
    assert (sheet[:, 12:14] == 255).all()


@pytest.mark.parametrize("bad", [np.zeros((2, 4, 4, 3)), np.zeros((4, 4, 3), np.uint8), _images(0)])
def test_grid_refuses_what_is_no_image(bad):
    with pytest.raises(ValueError, match="expected uint8 images"):
        pictures.grid(bad, 2)


def test_rows_have_labels_at_their_left():
    sheet = pictures.rows([_images(3, 32), _images(2, 32)], ["original", "z_8 = 0"], scale=2, gap=2)
    margin = sheet.shape[1] - (3 * 66 - 2)
    assert sheet.shape[0] == 2 * 66 - 2 and margin > 40
    assert (sheet[:64, margin : margin + 64] == 0).all()
    for top in (0, 66):
        assert (sheet[top : top + 64, :margin] < 128).any()  # ink
    with pytest.raises(ValueError, match="2 rows of images for 1 labels"):
        pictures.rows([_images(1), _images(1)], ["one"])


def test_saved_picture_is_the_array(tmp_path):
    sheet = pictures.grid(_images(4), 2)
    path = tmp_path / "a" / "b" / "sheet.png"
    for _ in range(2):  # a second one replaces the first
        pictures.save_png(path, sheet)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), sheet)
    assert [p.name for p in path.parent.iterdir()] == ["sheet.png"]
    with pytest.raises(ValueError, match="expected uint8"):
        pictures.save_png(path, sheet / 255)


def test_curve(tmp_path):
    path = tmp_path / "curves" / "loss.png"
    xs = np.arange(100)
    series = {"train": (xs, 8 * np.exp(-xs / 30)), "held-out": ([0, 50, 99], [8.0, float("nan"), 1.0])}
    pictures.curve(path, series, "Loss", "step", "bits/dim")
    image = np.asarray(Image.open(path).convert("RGB"))
    assert image.shape == (600, 960, 3)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20


def test_points_are_not_joined(tmp_path):
    series = {"line": ([0, 1], [0.0, 0.0]), "held out": ([0, 99], [8.0, 1.0])}
    orange = {}
    for points in ((), ("held out",)):
        pictures.curve(tmp_path / "a.png", series, "Loss", "step", "bits/dim", points=points)
        image = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
        near = np.abs(image - np.array([0xE6, 0x9F, 0x00])).max(-1) < 24
        orange[points] = near[:, 300:700].sum()  # between the two
    assert orange["held out",] == 0 < orange[()]


def test_lines_differ_when_no_colour_is_left(tmp_path):
    """The first and the eighth line have the same colour. The eighth is dashed."""
    blue = []
    for shown in (0, 7):
        series = {str(i): (np.arange(40), np.full(40, 1.0 if i == shown else np.nan)) for i in range(8)}
        pictures.curve(tmp_path / "a.png", series, "Loss", "step", "bits/dim")
        image = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
        blue.append((np.abs(image - np.array([0x00, 0x72, 0xB2])).max(-1) < 24)[:, 300:600].sum())
    assert 0.4 * blue[0] < blue[1] < 0.9 * blue[0]


def test_curve_without_matplotlib_names_the_extra(tmp_path, monkeypatch):
    for module in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'hcflow_jax\[pictures\]'"):
        pictures.curve(tmp_path / "a.png", {"a": ([0], [0])}, "", "", "")


def test_a_picture_is_written_line_by_line(tmp_path):
    rng = np.random.default_rng(0)
    y, x = np.indices((40, 50))
    parts = [rng.integers(0, 256, (40, 50, 3)), (x * 5 % 256)[..., None] + rng.integers(0, 2, (40, 50, 3))]
    parts += [(y * 6 % 256)[..., None] + 3 * rng.integers(0, 60, (50, 3)), ((x + y) * 2)[..., None] + np.zeros(3)]
    whole = np.concatenate(parts).astype(np.uint8)  # lines for which each of PNG's filters is the best
    cuts = [0, 1, 3, 70, 71, 160]
    pictures.stream_png(tmp_path / "a.png", 50, 160, (whole[i:j] for i, j in itertools.pairwise(cuts)), "of a test")
    with Image.open(tmp_path / "a.png") as picture:
        np.testing.assert_array_equal(np.array(picture), whole)
    assert pictures.text_of(tmp_path / "a.png") == "of a test"
    for height, blocks in ((161, [whole]), (160, [whole[:, :49]]), (160, [whole.astype(np.int32)])):
        with pytest.raises(ValueError, match="b.png"):
            pictures.stream_png(tmp_path / "b.png", 50, height, iter(blocks))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_sheets_as_files_are_the_sheets(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (11, 8, 8, 3)).astype(np.uint8)
    for columns in (1, 3, 4, 11, 20):
        pictures.save_grid(tmp_path / "a.png", iter([images[:5], images[5:6], images[6:]]), 11, columns, 3)
        with Image.open(tmp_path / "a.png") as picture:
            np.testing.assert_array_equal(np.array(picture), pictures.grid(images, columns, 3))
    rows, labels = [images[:4], images[4:8], images[8:]], ["original", "decoded", "other"]
    pictures.save_rows(tmp_path / "b.png", iter(rows), labels, (4, 8), 5)
    with Image.open(tmp_path / "b.png") as picture:
        np.testing.assert_array_equal(np.array(picture), pictures.rows(rows, labels, 5))
    with pytest.raises(ValueError, match="at least one image"):
        pictures.save_grid(tmp_path / "c.png", iter([]), 0, 3)
    for wrong, message in ((rows[:2], "are 2 rows of images, but 3"), ([*rows, rows[0]], "more rows of images than")):
        with pytest.raises(InputError, match=message):
            pictures.save_rows(tmp_path / "c.png", iter(wrong), labels, (4, 8), 5)
    assert not (tmp_path / "c.png").exists()


def test_what_has_no_text(tmp_path):
    pictures.save_png(tmp_path / "a.png", pictures.grid(_images(1), 1))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "b.png").write_bytes(b"damage")
    assert [pictures.text_of(tmp_path / name) for name in ("a.png", "b.png", "pipe", "absent", ".")] == [None] * 5
    pictures.save_png(tmp_path / "a.png", pictures.grid(_images(1), 1), "a text")
    assert pictures.text_of(tmp_path / "a.png") == "a text"
