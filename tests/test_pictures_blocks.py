"""Sheets of blocks, and maps of numbers as colours."""

import doctest
import importlib
import sys

import numpy as np
import pytest

from hcflow_jax import pictures
from hcflow_jax.pictures import Block


def _noise(count: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, (count, size, size, 3)).astype(np.uint8)


def _places(sheet: np.ndarray, image: np.ndarray) -> list[tuple[int, int]]:
    """Where a picture lies on a sheet, exactly."""
    side = len(image)
    starts = np.argwhere((sheet[: len(sheet) - side + 1, : sheet.shape[1] - side + 1] == image[0, 0]).all(-1))
    return [(y, x) for y, x in starts.tolist() if (sheet[y : y + side, x : x + side] == image).all()]


def test_blocks_have_exact_pixels_in_aligned_columns_and_ink_above_and_beside():
    small, large = _noise(4, 8), _noise(2, 16, 1)
    parts = [
        Block("first", [("a", small[:2]), ("longer label", small[2:])], ("one", "two\nlines"), 6),
        Block("second, with a title that is wider than all of its rows and their labels are", [("b", large)], (), 3),
    ]
    sheet = pictures.blocks(parts)
    found = [_places(sheet, image.repeat(6, 0).repeat(6, 1)) for image in small]
    found += [_places(sheet, image.repeat(3, 0).repeat(3, 1)) for image in large]
    assert all(len(places) == 1 for places in found)
    (y0, x0), (y1, x1), (y2, x2), _, (y4, x4), (_, x5) = [places[0] for places in found]
    assert y0 == y1 and y2 == y0 + 48 + 2 and x0 == x2 == x4 and x1 == x5 == x0 + 48 + 2 and y4 > y2 + 48
    ink = sheet.min(-1) < 128
    assert ink[y0 - 40 : y0, x0 : x0 + 48].any() and ink[y0 - 40 : y0, x1 : x1 + 48].any()  # headings
    assert ink[y0 : y0 + 48, :x0].any() and ink[y2 : y2 + 48, :x0].any() and ink[y4 : y4 + 48, :x0].any()  # labels
    assert ink[y2 + 50 : y4 - 4].any() and not ink[:, -2:].any()  # a title, whole
    for bad in ([], [Block("empty", [])]):
        with pytest.raises(ValueError, match="at least one"):
            pictures.blocks(bad)


def test_sheets_beside_each_other():
    left, right = _noise(1, 8)[0], _noise(1, 12, 1)[0]
    sheet = pictures.beside([left, right], gap=3)
    assert sheet.shape == (12, 23, 3) and (sheet[8:, :8] == 255).all() and (sheet[:, 8:11] == 255).all()
    assert (sheet[:8, :8] == left).all() and (sheet[:, 11:] == right).all()


def test_colours_rise_evenly_in_lightness_and_the_bar_shows_them():
    ramp = np.arange(256.0).reshape(1, 16, 16)
    colours = pictures.coloured(ramp, 255)[0].reshape(-1, 3)
    light = colours @ [0.2126, 0.7152, 0.0722]
    assert light[0] < 2 and light[-1] > 240 and (np.diff(light) > -0.5).all()
    np.testing.assert_array_equal(pictures.coloured(4 * ramp, 255)[0, 4:], colours[-1] * np.ones((12, 16, 3)))
    bar = pictures.colour_bar(200, 12.5, "8-bit levels")
    column = bar[:, 30].astype(int)
    inside = column[15:185]
    assert np.abs(inside[0] - colours[-1]).max() < 25 and np.abs(inside[-1] - colours[0]).max() < 25
    assert (bar[:, 45:].min(-1) < 128).any()  # numbers
    tip = pictures.colour_bar(200, 12.5, "8-bit levels", clipped=True)
    assert tip.shape == bar.shape and (tip != bar).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pictures.coloured(np.zeros((1, 4, 4)), 0), "top is 0"),
        (lambda: pictures.coloured(np.full((1, 4, 4), np.nan), 1), "finite"),
        (lambda: pictures.coloured(np.zeros((1, 4, 4)), 1, "beige"), "no colour map 'beige'"),
        (lambda: pictures.colour_bar(20, 1, ""), "at least 80 pixels"),
    ],
)
def test_what_cannot_be_coloured(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_colours_without_matplotlib_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'hcflow_jax\[pictures\]'"):
        pictures.coloured(np.zeros((1, 4, 4)), 1)


def test_examples():
    failed, tried = doctest.testmod(importlib.import_module("hcflow_jax.pictures.blocks"))
    assert tried and not failed
