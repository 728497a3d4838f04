"""Power spectra and lattices from first principles: what is known of noise, checkerboards and smooth pictures."""

import json

import numpy as np
import pytest
from PIL import Image

from hcflow_jax.analysis import spectrum
from hcflow_jax.analysis.lattice import Lattice
from hcflow_jax.analysis.spectrum import Spectrum

SIDE = 32


def _noise(count: int, std: float = 20, seed: int = 0, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(seed).normal(128, std, (count, side, side, 3)).round().clip(0, 255).astype(np.uint8)


def _fields(count: int, slope: float, seed: int = 0) -> np.ndarray:
    """Parts of large random fields whose power falls as r^-slope: they are not periodic, as pictures are not."""
    large = 3 * SIDE
    line = np.fft.fftfreq(large) * large
    radius = np.hypot(line[:, None], line)
    radius[0, 0] = np.inf
    white = np.random.default_rng(seed).normal(size=(count, 3, large, large))
    fields = np.fft.ifft2(np.fft.fft2(white) * radius ** (-slope / 2)).real[..., :SIDE, :SIDE]
    fields *= 35 / fields.std((2, 3), keepdims=True)
    return (
        (128 + fields - fields.mean((2, 3), keepdims=True))
        .round()
        .clip(0, 255)
        .astype(np.uint8)
        .transpose(0, 2, 3, 1)
    )


def _checkerboard(period: int) -> np.ndarray:
    y, x = np.indices((SIDE, SIDE)) // (period // 2)
    return np.where((y + x) % 2, 1, -1)[..., None]


def _values(found: Spectrum) -> dict[int, float]:
    return {period: each.value for period, each in found.lattice.items()}


def _error(found: Spectrum, period: int) -> float:
    error = found.lattice[period].standard_error
    assert error is not None
    return error


@pytest.mark.parametrize("window", spectrum.WINDOWS)
def test_the_sum_over_frequencies_is_the_windowed_variance(window):
    images = _fields(4, 2) if window == "hann" else _noise(4)
    line = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(SIDE) + 0.5) / SIDE) if window == "hann" else np.ones(SIDE)
    w, x = np.outer(line, line)[..., None], images.astype(float)
    mean = (w * x).sum((1, 2)) / w.sum()
    expected = ((w * (x - mean[:, None, None])) ** 2).sum((1, 2)).mean(-1) / (w**2).sum()
    np.testing.assert_allclose(spectrum.power(images, window).sum((1, 2)), expected, rtol=1e-10)
    found = spectrum.spectrum(images, window)
    assert (found.power * found.members).sum() == pytest.approx(expected.mean(), rel=1e-10)
    assert found.members.sum() == SIDE**2 and found.power[0] == pytest.approx(0, abs=1e-12)


def test_white_noise_is_flat_and_has_no_lattice():
    found = spectrum.spectrum(_noise(150))
    assert np.abs(found.relative[3:] - 1).max() < 0.07 and np.abs(found.decibel()[3:]).max() < 0.3
    errors = (found.relative - 1)[3:] / found.relative_error[3:]
    assert 0.5 < np.sqrt((errors**2).mean()) < 1.6  # the standard error says how far it is from 1
    for period, each in found.lattice.items():
        assert abs(each.value - 1) < 4 * _error(found, period) + 1 / (6 * 150)
        assert 0 < _error(found, period) < 0.1


def test_the_standard_error_is_the_spread_over_sets():
    sets = [spectrum.spectrum(_noise(24, seed=seed)) for seed in range(40)]
    for period in (2, 4, 8):
        spread = np.std([_values(found)[period] for found in sets], ddof=1)
        assert 0.6 < np.mean([_error(found, period) for found in sets]) / spread < 1.6


@pytest.mark.parametrize("images", [_noise(60, 8), _fields(60, 2)], ids=["noise", "pictures"])
@pytest.mark.parametrize("period", [2, 4, 8])
def test_a_checkerboard_raises_its_own_number_and_no_other(images, period):
    plain = spectrum.spectrum(images)
    changed = spectrum.spectrum((images.astype(int) + 4 * _checkerboard(period)).clip(0, 255).astype(np.uint8))
    before, after, beside = _values(plain), _values(changed), spectrum.against(changed, plain)
    for other in (2, 4, 8):
        if other == period:
            assert after[other] > before[other] + 7 * _error(changed, period)
            assert beside[other].value == pytest.approx(after[other] / before[other])
        else:
            assert after[other] == pytest.approx(before[other], rel=0.05)


def test_the_number_of_a_checkerboard_in_noise():
    """Hann's window gathers (2 R / 3)^2 frequencies' worth of noise at each of a pattern's own."""
    images = (_noise(200, 8).astype(int) + 4 * _checkerboard(2)).clip(0, 255).astype(np.uint8)
    expected = (3 + (2 * SIDE / 3) ** 2 * 4**2 / (8**2 + 1 / 12)) / 3  # at one of period 2's three frequencies
    assert _values(spectrum.spectrum(images))[2] == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("slope", [1, 2, 3])
def test_pictures_whose_power_falls_with_the_radius_have_no_lattice(slope):
    found = spectrum.spectrum(_fields(100, slope))
    assert np.diff(found.decibel()[1:17]).max() < 0.3  # it falls
    values = _values(found)
    assert abs(values[4] - 1) < 0.12 and abs(values[8] - 1) < 0.06 and 0.5 < values[2] < 1.1, values


def test_edges_along_the_sides_are_no_lattice():
    """All of their energy lies on the axes of the spectrum."""
    rng, y = np.random.default_rng(0), np.arange(SIDE)[:, None, None]
    cuts = rng.uniform(4, 28, (200, 1, 1, 1))
    edges = 128 + 60 * np.tanh(y[None] - cuts) + rng.normal(0, 1, (200, SIDE, SIDE, 3))
    found = spectrum.spectrum(edges.round().astype(np.uint8))
    assert all(value < 1.4 for value in _values(found).values()), found.lattice


def test_a_smooth_picture_has_no_lattice_and_an_even_one_no_power():
    y, x = np.indices((SIDE, SIDE)) / SIDE
    smooth = (128 + 60 * np.sin(3 * x + 2 * y) + 40 * y * x)[None, ..., None] * np.ones(3)
    found = spectrum.spectrum(smooth.round().astype(np.uint8))
    assert found.decibel()[1] > 20 and found.decibel()[8:].max() < -30
    assert all(value < 3 for value in _values(found).values())
    assert (
        all(each.standard_error is None for each in found.lattice.values()) and np.isnan(found.relative_error).all()
    )
    even = spectrum.spectrum(np.full((2, SIDE, SIDE, 3), 7, np.uint8))
    assert _values(even) == pytest.approx({2: 1, 4: 1, 8: 1}) and even.power.max() < 1e-20 and not even.relative.any()


def test_batches_change_nothing_and_are_told():
    images, told = _noise(20), []
    whole = spectrum.spectrum(images)
    parts = spectrum.spectrum(iter([images[:7], images[7:]]), count=20, tell=lambda *news: told.append(news))
    np.testing.assert_allclose(parts.relative, whole.relative)
    assert _values(parts) == pytest.approx(_values(whole)) and told == [("spectrum", 7, 20), ("spectrum", 20, 20)]


def test_lattices_that_fit():
    assert [Lattice(side).periods for side in (8, 16, 32, 36, 256)] == [(2,), (2, 4), (2, 4, 8), (2, 4), (2, 4, 8)]
    lattice = Lattice(64)
    assert {period: len(own) for period, own in lattice.members.items()} == {2: 3, 4: 12, 8: 48}
    np.testing.assert_allclose(lattice.weights.sum(1), 1)
    line = np.fft.fftfreq(64) * 64
    radius = np.hypot(line[:, None], line)
    radius[0, 0] = 1
    taken = np.log(lattice.take(radius[None]))[0]
    inside = radius[lattice._rows[:, 0], lattice._columns[:, 0]] < 24
    np.testing.assert_allclose((taken[:, 1:] * lattice.weights).sum(1)[inside], taken[inside, 0], atol=0.01)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 32, 32, 3)), "are float64"),
        (np.zeros((2, 32, 16, 3), np.uint8), r"uint8 \(2, 32, 16, 3\)"),
        (np.zeros((2, 7, 7, 3), np.uint8), "R even and at least 8"),
        ([], "there are none"),
        ([_noise(1), _noise(1, side=16)], "of 32 and of 16 pixels"),
    ],
)
def test_what_has_no_spectrum(images, message):
    with pytest.raises(ValueError, match=message):
        spectrum.spectrum(images)
    with pytest.raises(ValueError, match="hann or none, not 'flat'"):
        spectrum.spectrum(_noise(1), "flat")


def test_numbers_and_picture(tmp_path):
    spectra = {"reals": spectrum.spectrum(_noise(9)), "samples": spectrum.spectrum(_fields(9, 2))}
    plain = json.loads(json.dumps(spectra["samples"].as_dict(), allow_nan=False))
    assert plain["lattice"]["period_4"]["value"] == spectra["samples"].lattice[4].value
    rows = spectra["samples"].rows()
    assert len(rows) == 23 and rows[15]["cycles_per_pixel"] == 0.5
    lines = spectrum.table(spectra, "reals")
    assert len(lines) == 6 and lines[0].startswith("reals") and "over reals:" in lines[3]
    spectrum.picture(tmp_path / "radial.png", spectra)
    with Image.open(tmp_path / "radial.png") as picture:
        assert picture.size == (960, 600)
