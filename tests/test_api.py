"""The model for use: latents, samples, edits, the bound, and what will not do."""

import doctest
import importlib
from typing import Any

import jax
import numpy as np
import pytest
from api_model import config, images, model, params

from hcflow_jax import api, checkpoint, models
from hcflow_jax.api import latents as points
from hcflow_jax.errors import InputError

HALF: Any = 0.5
LEVELS = ("prior", "y1", "8", "16")


@pytest.fixture(scope="module")
def six():
    shown = images(6)
    return shown, model().encode(shown)


def test_latents_are_named_coarse_to_fine_and_stay_so_through_jit(six):
    _, z = six
    assert z.names == LEVELS == model().level_names
    assert [z[n].shape for n in LEVELS] == [(6, 4), (6, 12), (6, 8, 8, 4), (6, 16, 16, 3)]
    doubled = jax.jit(lambda tree: jax.tree.map(lambda a: 2 * a, tree))(z)
    assert doubled.names == LEVELS
    np.testing.assert_array_equal(doubled["8"], 2 * z["8"])
    names = [jax.tree_util.keystr(path, simple=True) for path, _ in jax.tree_util.tree_leaves_with_path(z)]
    assert names == list(LEVELS)


def test_some_of_the_latents(six):
    _, z = six
    assert len(z[2:5]) == 3 and len(z[-1]) == 1 and len(list(z)) == 6
    np.testing.assert_array_equal(z[-1]["y1"], z["y1"][5:])
    np.testing.assert_array_equal(api.concatenate([z[:2], z[2:]])["16"], z["16"])
    with pytest.raises(KeyError, match="no level '4'; there are prior, y1, 8, 16"):
        z["4"]


def test_decoding_undoes_encoding_for_bytes_and_for_floats(six):
    shown, z = six
    np.testing.assert_array_equal(model().decode(z), shown)
    floats = (shown.astype(np.float32) + 0.5) / 256
    np.testing.assert_allclose(model().decode(z, as_float=True), floats, atol=1e-4)
    # The programs for bytes and for floats differ: the compiler fuses the conversion of bytes with what follows. Then
    # sums round otherwise. So the bound is 8 float32 steps of the largest latent (51).
    scale = np.abs(z["8"]).max()
    np.testing.assert_allclose(model().encode(floats)["8"], z["8"], rtol=0, atol=8 * np.finfo("f4").eps * scale)


def test_an_image_is_the_same_alone_as_among_others(six):
    shown, z = six
    np.testing.assert_allclose(model().encode(shown[3])["16"], z["16"][3:4], atol=1e-4)


def test_log_dets_are_those_of_the_model(six):
    shown, _ = six
    _, log_dets = model().encode(shown, log_dets=True)
    x = (shown.astype(np.float32) + 0.5) / 256 - 0.5
    _, expected = jax.jit(models.build(config()).encode)(params(), x)
    assert tuple(log_dets) == LEVELS
    for name in LEVELS:
        np.testing.assert_allclose(log_dets[name], expected[name], rtol=1e-5, atol=1e-3)


def test_samples_depend_on_seed_and_number_alone():
    four = model().sample(4, seed=5)
    assert four.dtype == np.uint8 and four.shape == (4, 16, 16, 3)
    np.testing.assert_array_equal(model().sample(2, seed=5, first=2), four[2:])
    assert (model().sample(4, seed=6) != four).any()
    np.testing.assert_array_equal(model().decode(model().draw(4, seed=5)), four)


def test_sigma_is_for_the_levels_above_the_top_or_by_name():
    drawn = {key: model().draw(4, sigma=sigma) for key, sigma in (("one", 1.0), ("half", 0.5), ("named", {"8": 0.0}))}
    np.testing.assert_array_equal(drawn["half"]["prior"], drawn["one"]["prior"])
    np.testing.assert_allclose(drawn["half"]["16"], drawn["one"]["16"] / 2, rtol=1e-6)
    assert not drawn["named"]["8"].any()
    np.testing.assert_array_equal(drawn["named"]["16"], drawn["one"]["16"])


@pytest.mark.slow
def test_bfloat16_samples_are_close_and_not_the_same():
    low = api.Model(config(), params(), dtype="bfloat16")
    z = model().draw(4, sigma=0.3)
    exact, rounded = model().decode(z, as_float=True), low.decode(z, as_float=True, dtype="bfloat16")
    difference = np.abs(exact - rounded) / exact.std()
    assert 0 < np.median(difference) < 0.01
    np.testing.assert_array_equal(low.decode(z), model().decode(z))


@pytest.mark.parametrize("how", ["linear", "spherical"])
@pytest.mark.parametrize("space", ["z", "y_top"])
def test_an_interpolation_goes_from_one_image_to_the_other(six, how, space):
    shown, z = six
    how_and_where: Any = dict(how=how, space=space)
    way = model().interpolate(z[0], z[1], 5, **how_and_where)
    assert way.shape == (5, 16, 16, 3)
    assert np.abs(way[[0, -1]].astype(int) - shown[:2]).max() <= 1
    assert (way[2] != way[0]).any() and (way[2] != way[4]).any()
    middles = model().decode(model().blend(z[[2, 0]], z[[3, 1]], **how_and_where))  # of two pairs at once
    assert np.abs(middles[1].astype(int) - way[2]).max() <= 1


def test_the_ways_differ(six):
    _, z = six
    choices: Any = (("linear", "z"), ("spherical", "z"), ("linear", "y_top"))
    ways = [model().interpolate(z[0], z[1], 5, how, space)[2] for how, space in choices]
    assert (ways[0] != ways[1]).any() and (ways[0] != ways[2]).any()


def test_an_arc_keeps_its_length_and_a_line_is_where_there_is_no_arc():
    a, b = np.array([3.0, 0.0]), np.array([0.0, 3.0])
    arc = points.between(a, b, np.linspace(0, 1, 7), "spherical")
    np.testing.assert_allclose(np.linalg.norm(arc, axis=1), 3, rtol=1e-6)
    np.testing.assert_allclose(arc[3], 3 / np.sqrt([2, 2]), rtol=1e-6)
    np.testing.assert_allclose(points.between(a, 2 * a, np.array([0.5]), "spherical"), [[4.5, 0]])
    np.testing.assert_allclose(points.between(a, 0 * a, np.array([0.5]), "spherical"), [[1.5, 0]])


def test_levels_are_resampled_and_zeroed(six):
    _, z = six
    drawn = model().resample(z, ["8", "y1"], seed=3, sigma=0.5)
    np.testing.assert_array_equal(drawn["8"], model().draw(6, 3, 0.5)["8"])
    assert (drawn["y1"] != z["y1"]).any()
    np.testing.assert_array_equal(drawn["16"], z["16"])
    zeroed = model().zero(z, "16")
    assert not zeroed["16"].any() and (zeroed["8"] == z["8"]).all() and z["16"].any()


def test_a_batch_after_the_other_is_the_same_as_all_at_once(six):
    shown, z = six
    parts = list(model().encode_batches(shown))
    assert [len(part) for part in parts] == [4, 2]
    np.testing.assert_allclose(api.concatenate(parts)["8"], z["8"], atol=1e-5)
    np.testing.assert_array_equal(np.concatenate(list(model().decode_batches(iter(parts)))), shown)
    samples = list(model().sample_batches(6, seed=5))
    assert [len(part) for part in samples] == [4, 2]
    np.testing.assert_array_equal(np.concatenate(samples), model().sample(6, seed=5))


def test_samples_that_are_not_finite_are_counted(six):
    broken = model().with_params(jax.tree.map(lambda a: np.full_like(a, np.nan), model().params))
    with pytest.warns(RuntimeWarning, match="6 of 6 images have values that are not finite"):
        assert not broken.sample(6, seed=5).any()
    drawn = model().sample_batches(6, seed=5)
    assert len(list(drawn)) == 2 and (drawn.drawn, drawn.not_finite, drawn.note) == (6, 0, "")


@pytest.mark.slow
def test_progress_is_told(six):
    shown, z = six
    calls = {
        "encode": lambda told: model().encode(shown, progress=told),
        "decode": lambda told: model().decode(z, progress=told),
        "sample": lambda told: model().sample(6, progress=told),
        "interpolate": lambda told: model().interpolate(z[0], z[1], 6, progress=told),
        "bits_per_dim": lambda told: model().bits_per_dim(shown, progress=told),
    }
    for name, call in calls.items():
        told = []
        call(lambda done, total: told.append((done, total)))  # noqa: B023
        assert told == ([(4, 8), (8, 8)] if name == "bits_per_dim" else [(4, 6), (6, 6)]), name


def test_decoding_goes_on_from_the_coarser_levels(six):
    shown, z = six
    coarse = model().decode_coarse(api.Latents({n: z[n] for n in LEVELS[:3]}), "16")
    finer = api.Latents({"16": z["16"]})
    assert len(coarse) == 6
    np.testing.assert_array_equal(model().decode_from(coarse, finer), shown)
    with pytest.raises(InputError, match="coarse is of 6 images and latents of 2"):
        model().decode_from(coarse, finer[:2])


def test_variations_share_the_coarser_levels(six):
    _, z = six
    varied = model().vary(z[0], "16", 3, seed=2, sigma=0.5)
    drawn = model().draw(3, seed=2, sigma=0.5)
    kept = {n: np.repeat(z[n][:1], 3, 0) for n in LEVELS[:3]}
    expected = model().decode(drawn.replace(**kept))
    assert np.abs(varied.astype(int) - expected).max() <= 1 and (varied == expected).mean() > 0.99
    with pytest.raises(InputError, match="give those of one"):
        model().vary(z[:2], "16", 3)


@pytest.mark.slow
def test_the_bound_is_shared_out_by_level_and_counts_left_over_images():
    shown = images(6)
    bits = model().bits_per_dim(shown)
    assert tuple(bits) == ("total", *LEVELS)
    np.testing.assert_allclose(sum(bits[n] for n in LEVELS) + 8, bits["total"], rtol=1e-5)
    eight = model().bits_per_dim(images(8))
    np.testing.assert_allclose(bits["total"][:4], eight["total"][:4], rtol=1e-5)
    assert bits["total"].shape == (6,)
    floats = (shown.astype(np.float32) + 0.5) / 256
    np.testing.assert_allclose(model().bits_per_dim(floats)["total"], bits["total"], rtol=1e-6)


@pytest.mark.slow
def test_the_bound_of_fewer_images_takes_the_stored_statistics(monkeypatch, tmp_path):
    shown = images(8)
    alone = api.Model(config(), params())
    alone.batch_size = 4
    monkeypatch.setattr(alone, "_programs", model()._programs)
    with pytest.raises(InputError, match="call measure_statistics"):
        alone.bits_per_dim(shown[:3])
    assert alone.bits_per_dim(shown).statistics == "own groups"

    statistics = alone.measure_statistics(shown)
    x = (shown.astype(np.float32) + 0.5) / 256 - 0.5
    built = models.build(config())
    expected = jax.jit(built.batch_statistics)(params(), x)
    assert set(statistics) == {"prior", "y1", "8"}
    for name, value in expected.items():
        assert statistics[name] == pytest.approx(float(value), rel=0.05)  # dequantised here, bin centres there

    few = alone.bits_per_dim(shown[:3])
    assert few.statistics == "stored" and tuple(few) == ("total", *LEVELS)
    two = alone.bits_per_dim(shown[:2])
    np.testing.assert_allclose(two["total"], few["total"][:2], rtol=1e-5)
    np.testing.assert_allclose(sum(few[n] for n in LEVELS) + 8, few["total"], rtol=1e-5)
    own = alone.bits_per_dim(shown, statistics="own")["total"]
    stored = alone.bits_per_dim(shown, statistics="stored")["total"]
    assert (np.abs(own - stored) > 0).any() and np.abs(own - stored).max() < 0.5

    checkpoint.save_file(tmp_path / "a.safetensors", params(), config(), {"statistics": statistics})
    assert api.load(tmp_path / "a.safetensors").statistics == statistics


def _encode(value, dtype, shape=(1, 16, 16, 3)):
    return lambda: model().encode(np.full(shape, value, dtype))


BAD = {
    "another resolution": (_encode(0, np.uint8, (2, 8, 8, 3)), "the model expects .n, 16, 16, 3."),
    "no images": (_encode(0, np.uint8, (0, 16, 16, 3)), "shape"),
    "integers": (_encode(0, np.int64), "int64; the model expects uint8"),
    "floats beyond 1": (_encode(255, np.float32), r"in \[0, 1\], but these lie in \[255, 255\]"),
    "not a number": (_encode(np.nan, np.float32), "nan"),
    "a level that is not there": (lambda: model().decode_coarse(model().draw(1), "32"), "no level '32'"),
    "a missing coarser level": (
        lambda: model().decode_coarse(api.Latents({"8": np.zeros((1, 8, 8, 4))}), "8"),
        "expects prior, y1",
    ),
    "other statistics": (lambda: model().bits_per_dim(images(4), "mean"), "not 'mean'"),  # type: ignore[arg-type]
    "no whole group": (lambda: model().measure_statistics(images(3)), "need at least 4"),
    "no samples": (lambda: model().sample(0), "at least one image"),
    "a level of another model": (lambda: model().sample(1, sigma={"32": 1.0}), "no level '32'"),
    "a negative sigma": (lambda: model().sample(1, sigma=-1.0), "sigma is -1.0"),
    "a negative seed": (lambda: model().sample(1, seed=-1), "seed is -1"),
    "a seed that is no whole number": (lambda: model().sample(1, seed=HALF), "seed is 0.5: expected a whole number"),
    "a number of images that is no whole number": (lambda: model().draw(HALF), "n is 0.5"),
    "one image": (lambda: model().interpolate(model().draw(1), model().draw(1), 1), "two ends"),
    "two for one": (lambda: model().interpolate(model().draw(2), model().draw(1), 3), "one image each"),
    "blend of two with one": (lambda: model().blend(model().draw(2), model().draw(1)), "2 images and b of 1"),
    "blend beyond the end": (lambda: model().blend(*[model().draw(1)] * 2, weight=1.5), "weight is 1.5"),
    "another way": (lambda: model().interpolate(*[model().draw(1)] * 2, 3, how="cubic"), "not 'cubic'"),  # type: ignore[arg-type]
    "another space": (lambda: model().interpolate(*[model().draw(1)] * 2, 3, space="x"), "not 'x'"),  # type: ignore[arg-type]
    "fewer than a group": (lambda: model().bits_per_dim(images(3), "own"), "at least 4 images"),
    "latents of another model": (lambda: model().decode(api.Latents({"8": np.zeros((1, 8, 8, 4))})), "levels 8; the"),
    "another arithmetic": (lambda: api.Model(config(), params(), dtype="float16"), "not 'float16'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_will_not_do_is_said(case):
    call, message = BAD[case]
    with pytest.raises(InputError, match=message):
        call()


def test_latents_of_a_wrong_shape_are_named():
    z = model().draw(2)
    with pytest.raises(ValueError, match="level 8 have shape"):
        model().decode(z.replace(**{"8": z["8"][:1]}))


@pytest.mark.parametrize("name", ["loading", "coder", pytest.param("model", marks=pytest.mark.slow)])
def test_the_examples_of_the_docstrings_run(name, monkeypatch):
    monkeypatch.setattr(api, "load", lambda *_: model())
    monkeypatch.setattr(model(), "statistics", {"prior": 0.5, "y1": 0.5, "8": 0.5})
    module = importlib.import_module(f"hcflow_jax.api.{name}")
    failed, tried = doctest.testmod(module, extraglobs={"api": api})
    assert tried > 1 and failed == 0


def test_methods_have_an_example():
    methods = {name for c in api.Model.__mro__ for name, v in vars(c).items() if callable(v) and name[0] != "_"}
    without = {name for name in methods if ">>> " not in (getattr(api.Model, name).__doc__ or "")}
    # decode_from's shows the first, the second writes a file, and the third is called by what measures the bound.
    assert without == {"decode_coarse", "export_sampler", "batch_bound"}
