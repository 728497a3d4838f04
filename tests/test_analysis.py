"""What models do, in numbers and pictures: with models of plain arithmetic, for which the answers are known."""

import dataclasses
import doctest
import json
import math
import re
from pathlib import Path
from typing import Any

import cli_fakes
import jax.numpy as jnp
import measured_run
import numpy as np
import pytest
import two_part_model

from hcflow_jax import api, models
from hcflow_jax.analysis import measured, midpoints, samples, variation, zeroing
from hcflow_jax.evaluation import extractors, protocols, real_features, sets
from hcflow_jax.evaluation.comparison import moments
from hcflow_jax.evaluation.frechet import frechet
from hcflow_jax.evaluation.moments import statistics

SIZE = two_part_model.SIZE
RED, REST = 0.03, 0.05  # std of the latents


class Halves(two_part_model.TwoParts):
    """ "red" is drawn in the left half only, and "rest" in the upper half only."""

    spaces = ("z", "doubled")

    def draw(self, key: Any, count: int, sigma: Any = 1.0) -> Any:
        z = super().draw(key, count, sigma)
        left = jnp.arange(SIZE)[None, None, :, None] < SIZE // 2
        upper = jnp.arange(SIZE)[None, :, None, None] < SIZE // 2
        return {"red": z["red"] * left * RED / 0.2, "rest": z["rest"] * upper * REST / 0.2}

    def to_space(self, params: Any, z: Any, space: str) -> Any:
        return {"red": jnp.square(z["red"])}

    def from_space(self, params: Any, y: Any, space: str) -> Any:
        return {"red": jnp.sqrt(y["red"])}


def _model(monkeypatch: pytest.MonkeyPatch, batch_size: int = 16) -> api.Model:
    monkeypatch.setattr(models, "build", lambda config: Halves())
    made = api.Model(two_part_model.config(), two_part_model.params())
    made.batch_size = batch_size
    return made


def _two(monkeypatch: pytest.MonkeyPatch) -> dict[str, api.Model]:
    """Two models that share their compiled programs."""
    first = _model(monkeypatch)
    return {"first": first, "second": first.with_params(two_part_model.params() | {"scale": np.float32(3)})}


def _expected(scale: float = 1.5) -> dict[str, np.ndarray]:
    """x's first channel is z_red, the others are (z_rest - 0.3 z_red) / scale."""
    left, upper = np.arange(SIZE)[None] < SIZE // 2, np.arange(SIZE)[:, None] < SIZE // 2
    red = RED * np.sqrt((1 + 2 * (0.3 / scale) ** 2) / 3)
    return {"red": 256 * red * left + 0 * upper, "rest": 256 * np.sqrt(2 / 3) * REST / scale * upper + 0 * left}


def test_a_level_varies_the_pixels_that_it_touches_by_its_std(monkeypatch):
    model, told = _model(monkeypatch, batch_size=64), []
    latents = model.draw(3, seed=1, sigma=0.5)
    found = variation.variation(model, latents, 32, seed=5, tell=lambda *news: told.append(news))
    np.testing.assert_array_equal(found.images, model.decode(latents))
    for name, expected in _expected().items():
        maps = found.maps[name]
        assert maps.shape == (3, SIZE, SIZE) and not maps[:, expected == 0].any()
        touched = maps[:, expected > 0]
        np.testing.assert_allclose(touched.mean(), expected.max(), rtol=0.03)
        assert 0.02 < touched.std() / expected.max() < 0.2  # an estimate from 32 draws
        assert found.mean_std()[name].value == pytest.approx(maps.mean(), rel=1e-6)
    assert told == [("variation", done, 6) for done in (2, 4, 5, 6)]
    # An image's map depends on its place alone, and on the seed.
    model.batch_size = 16
    again = variation.variation(model, latents, 32, seed=5)
    np.testing.assert_allclose(again.maps["red"], found.maps["red"], rtol=1e-4)
    moved = variation.variation(model, latents[1:], 32, seed=5)
    assert (np.abs(moved.maps["red"][0] - found.maps["red"][1])[:, :4] > 0.01).mean() > 0.9


def test_how_even_levels_are():
    one = np.full((4, 8, 8), 1.0)
    images = np.zeros((4, 8, 8, 3), np.uint8)

    def of(**maps: np.ndarray) -> variation.Variation:
        return variation.Variation(images, maps, 32, 0)

    even = of(a=one, b=one, c=one)
    assert even.ratio() == measured.Mean(1, 0) and even.evenness().value == pytest.approx(1)
    alone = of(a=one, b=0 * one)
    assert alone.ratio().value == math.inf and alone.evenness().value == pytest.approx(0)
    unequal = of(a=6 * one, b=3 * one, c=3 * one)
    assert unequal.ratio().value == pytest.approx(2)
    assert unequal.evenness().value == pytest.approx(1.5 * math.log(2) / math.log(3))
    assert math.isnan(of(a=one).evenness().value)
    for each in (even, alone, of(a=one)):
        json.dumps(each.as_dict(), allow_nan=False)
    assert alone.as_dict()["ratio_largest_to_smallest"]["value"] is None
    several = of(a=one * np.array([1.0, 2, 3, 4])[:, None, None], b=one)
    assert several.mean_std()["a"].standard_error == pytest.approx(np.std([1, 2, 3, 4], ddof=1) / 2)
    assert several.ratio().standard_error == pytest.approx(np.std([1, 2, 3, 4], ddof=1) / 2)  # of a mean, it is exact
    assert several.rows()[2] == {"image": 1, "level": "a", "mean_pixel_std": 2.0} and len(several.table()) == 5


def test_the_picture_of_maps_has_one_scale(tmp_path):
    images = two_part_model.images(2)
    low, high = (np.full((2, SIZE, SIZE), value) for value in (5.0, 10.0))
    found = {"one": variation.Variation(images, {"a": low, "b": high}, 32, 0)}
    found["other"] = variation.Variation(images, {"c": low}, 32, 0)
    sheet = variation.sheet(found, shown=1)
    from hcflow_jax import pictures

    for value, count in ((5.0, 2), (10.0, 1)):
        colour = pictures.coloured(np.full((1, 1, 1), value), 10)[0, 0, 0]
        squares = (sheet == colour).all(-1)
        assert squares[:, : -pictures.colour_bar(80, 1, "").shape[1]].sum() == count * 96**2


def test_values_that_are_not_finite_are_said(monkeypatch):
    model = _model(monkeypatch)
    latents = model.draw(1)
    with pytest.raises(ValueError, match="resamplings is 1: "):
        variation.variation(model, latents, 1)
    broken = model.with_params({"scale": np.float32(np.nan), "shift": np.float32(0)})
    with pytest.raises(ValueError, match="level red, resampled, makes images that are not finite"):
        variation.variation(broken, latents, 4)


def test_images_that_are_not_finite_are_left_out_and_counted(monkeypatch):
    model = _model(monkeypatch, batch_size=64)
    latents = model.draw(2, seed=1, sigma=0.5)
    decode_from, whole = model.decode_from, variation.variation(model, latents, 32, seed=5)

    def sometimes(coarse: Any, drawn: Any, **options: Any) -> Any:
        floats = np.array(decode_from(coarse, drawn, **options))
        floats[3, 0, 0, 0] = np.nan  # of the first image; one value is enough
        return floats

    monkeypatch.setattr(model, "decode_from", sometimes)
    found = variation.variation(model, latents, 32, seed=5)
    assert whole.left_out == {"red": 0, "rest": 0} and found.left_out == {"red": 1, "rest": 1}
    assert found.as_dict()["protocol"]["left_out"] == found.left_out
    assert "1 of 64 images are not finite" in "".join(found.table())
    for name in found.maps:
        np.testing.assert_array_equal(found.maps[name][1], whole.maps[name][1])
        np.testing.assert_allclose(found.maps[name][0], whole.maps[name][0], rtol=0.2, atol=1e-3)


def test_a_video_has_the_images_that_are_measured(monkeypatch):
    model = _model(monkeypatch, batch_size=8)
    latents = model.draw(2, seed=1, sigma=0.5)
    made = variation.resamplings(model, latents, 16, seed=5)
    maps = variation.variation(model, latents, 16, seed=5).maps
    for name, images in made.items():
        stds = np.sqrt(images.astype(float).var(1, ddof=1).mean(-1))
        np.testing.assert_allclose(stds, maps[name], atol=0.5)  # rounding
    shown = list(variation.frames(model.decode(latents), made))
    assert len(shown) == 16 and len({frame.shape for frame in shown}) == 1
    cell = made["rest"][1, 7].repeat(12, 0).repeat(12, 1)
    assert (shown[7][-98:-2, -96:] == cell).all()


def test_models_zero_the_same_images(monkeypatch):
    both = _two(monkeypatch)
    images, told = two_part_model.images(4), []
    found = zeroing.of_models(both, images, lambda *news: told.append(news))
    assert told == [("zeroing", 1, 2), ("zeroing", 2, 2)]
    for name, scale in (("first", 1.5), ("second", 3.0)):
        labels = [label for label, _ in found[name]]
        assert labels == ["z_rest = 0", "all = 0"]
        values = found[name][0][1].astype(float)
        np.testing.assert_array_equal(values[..., 0], images[..., 0])
        x = (images[..., :1] + 0.5) / 256 - 0.5
        np.testing.assert_allclose(values[..., 1:], np.floor(256 * (0.5 - 0.3 / scale * x)) + np.zeros(2), atol=1)
        assert (found[name][1][1] == 128).all()
    changes = zeroing.changes(images, found["first"])
    assert changes["all = 0"].value == pytest.approx(np.sqrt(((images - 128.0) ** 2).mean((1, 2, 3))).mean())
    assert zeroing.changes(images, [("same", images)])["same"] == measured.Mean(0, 0)
    sheet = zeroing.sheet(images, found)
    assert sheet.shape[0] > 2 * 3 * 96 and (sheet == images[0, 0, 0]).all(-1).any()
    fakes: Any = {name: cli_fakes.Model() for name in ("first", "second")}
    zeroing.of_models(fakes, images)
    assert all(fake.calls[0] == ("encode", 4) for fake in fakes.values())  # each by itself
    with pytest.raises(ValueError, match="one resolution for all; got none"):
        zeroing.of_models({}, images)


def test_models_draw_the_same_seeds(monkeypatch):
    both, told = _two(monkeypatch), []
    tell: Any = lambda *news: told.append(news)  # noqa: E731
    found = samples.draw(both, 5, seed=3, sigma=0.5, sigmas={"second": {"rest": 2.0}}, tell=tell)
    np.testing.assert_array_equal(found.images["first"], both["first"].sample(5, seed=3, sigma=0.5))
    np.testing.assert_array_equal(found.images["second"], both["second"].sample(5, seed=3, sigma={"rest": 2.0}))
    assert found.protocol["sigma"] == {"first": 0.5, "second": {"rest": 2.0}} and told[-1] == ("samples", 10, 10)
    assert json.loads(json.dumps(found.protocol))["count"] == 5
    chosen = samples.draw(both, seeds=[4, 9])
    np.testing.assert_array_equal(chosen.images["second"][1:], both["second"].sample(1, seed=9))
    assert chosen.labels == ["seed 4", "seed 9"] and chosen.protocol["sigma"]["first"] == 0.7
    for drawn, columns, high in ((found, 4, 4 * 96), (chosen, 1, 4 * 96)):
        sheet = samples.sheet(drawn, columns)
        assert high < sheet.shape[0] < high + 250
        large = drawn.images["second"][1].repeat(12, 0).repeat(12, 1)
        assert any(
            (sheet[y : y + 96, x : x + 96] == large).all()
            for y, x in np.argwhere((sheet[:-95, :-95] == large[0, 0]).all(-1)).tolist()
        )
    for bad in (dict(models={}), dict(sigmas={"third": 1.0}), dict(seeds=[])):
        with pytest.raises(ValueError, match="at least"):
            samples.draw(**{"models": both, **bad})


def test_midpoints_of_a_linear_model_are_means_of_images(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = _model(monkeypatch, batch_size=4)
    images, extractor = two_part_model.images(24), measured_run.EXTRACTOR
    source = sets.of_array("others", two_part_model.images(40)[24:])
    reals = real_features.real_side(source, protocols.PLAIN, model.config, extractor)
    told: list[Any] = []
    found = midpoints.of_images(
        model, images, reals, extractor, count=11, seed=2, batch_size=4, tell=lambda *news: told.append(news)
    )
    order = np.random.default_rng(2).permutation(24)[:11]
    ends = images[order].reshape(11, 2, SIZE // 2, 2, SIZE // 2, 3).mean((2, 4)).reshape(11, -1) * 0.1
    halves = (ends + np.roll(ends, -1, 0)) / 2
    assert found.ends == pytest.approx(frechet(moments(ends), reals.statistics), rel=1e-4)
    assert found.midpoints == pytest.approx(frechet(statistics([halves]), reals.statistics), rel=0.02)  # rounded
    assert (
        abs(found.midpoints / found.ends - 1) > 0.04 and found.floor_count == 8 and found.metric == "frechet_quarters"
    )
    assert told[-1] == ("ends and midpoints", 22, 22)
    assert json.loads(json.dumps(found.as_dict()))["protocol"]["count"] == 11 and len(found.table()) == 4
    samples = midpoints.of_samples(model, 11, reals, extractor, how="spherical", sigma=0.5)
    drawn = model.sample(11, sigma=0.5).reshape(11, 2, SIZE // 2, 2, SIZE // 2, 3).mean((2, 4)).reshape(11, -1) * 0.1
    assert samples.ends == pytest.approx(frechet(moments(drawn), reals.statistics), rel=1e-4)
    assert midpoints.of_samples(model, 11, reals, extractor).protocol["sigma"] == model.default_sigma == 0.7
    for change in ({"name": "other"}, {"resizing": "other"}, {"sha256": "other"}):
        with pytest.raises(ValueError, match="others has features with another .*, not other; make them"):
            midpoints.of_images(model, images, reals, dataclasses.replace(extractor, **change))


def test_a_blend_is_half_way_in_each_space(monkeypatch):
    model = _model(monkeypatch)
    latents = model.encode(two_part_model.images(3))
    a, b = latents[:2].replace(red=np.abs(latents["red"][:2])), latents[1:].replace(red=np.abs(latents["red"][1:]))
    line, squares = model.blend(a, b, 0.25), model.blend(a, b, 0.25, space="doubled")
    np.testing.assert_allclose(line["red"], 0.75 * a["red"] + 0.25 * b["red"], rtol=1e-5)
    np.testing.assert_allclose(squares["red"] ** 2, 0.75 * a["red"] ** 2 + 0.25 * b["red"] ** 2, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(squares["rest"], line["rest"])
    arc = model.blend(a, b, how="spherical")
    lengths = [np.linalg.norm(each["rest"].reshape(2, -1), axis=1) for each in (a, b, arc)]
    np.testing.assert_allclose(lengths[2], (lengths[0] + lengths[1]) / 2, rtol=1e-5)
    sheet = midpoints.sheet(model, latents, title="a line")
    assert sheet.shape[0] > 3 * 96 and sheet.shape[1] > 2 * 96
    for call, message in (
        (lambda: midpoints.sheet(model, latents[:1]), "at least two"),
        (lambda: model.blend(a, b, space="x"), "space is z or doubled, not 'x'"),
        (lambda: model.blend(a, b, how="cubic"), "not 'cubic'"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_numbers_are_written_as_csv(tmp_path):
    measured.save_csv(tmp_path / "a" / "b.csv", [{"x": 1, "y": "a,b"}, {"x": 2.5, "y": ""}])
    assert (tmp_path / "a" / "b.csv").read_text() == 'x,y\n1,"a,b"\n2.5,\n'
    for rows in ([], [{"x": 1}, {"y": 1}]):
        with pytest.raises(ValueError, match="no rows|different columns"):
            measured.save_csv(tmp_path / "c.csv", rows)
    assert not (tmp_path / "c.csv").exists()
    failed, tried = doctest.testmod(measured)
    assert tried and not failed


def test_the_programs_of_the_page_run(monkeypatch, tmp_path, capsys):
    text = (Path(__file__).parents[1] / "docs/analysis.md").read_text()
    model, images = _model(monkeypatch, batch_size=64), two_part_model.images(64)
    monkeypatch.setattr(api, "load", lambda name: model)
    monkeypatch.setattr(api, "held_out", lambda config, count: images[:count])
    monkeypatch.setattr(extractors, "load", lambda name: measured_run.EXTRACTOR)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    programs = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(programs) == 8
    for i, source in enumerate(programs):
        exec(compile(source, f"docs/analysis.md, program {i}", "exec"), names)
    made = {path.name for path in tmp_path.iterdir() if path.is_file()}
    sheets = ("variation", "zeroing", "samples", "chosen", "spectrum", "midpoints", "rows")
    assert made == {f"{name}.png" for name in sheets} | {"variation.csv", "mix.pdf"}
    said = capsys.readouterr().out
    assert "evenness" in said and "over reals" in said and "two halves of the reals, 16 each" in said
