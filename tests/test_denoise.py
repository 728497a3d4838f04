"""Samples that are denoised: against plain autodiff, by the API, the command, the exported file and what measures."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import api_model
import cli_fakes
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_family
from jaxtyping import Array

from hcflow_jax import api, models
from hcflow_jax import config as schema
from hcflow_jax.config import registry
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import measure, metrics
from hcflow_jax.evaluation.extractors import Extractor

SIZE = 8
STD = 0.1  # so that the step moves pixels by some of the 256 levels


def to_uint8(x: Any) -> np.ndarray:
    return np.clip(np.floor(256 * (np.asarray(x) + 0.5)), 0, 255).astype(np.uint8)


def nearly(found: np.ndarray, expected: np.ndarray) -> None:
    """Other programs round otherwise."""
    assert found.dtype == expected.dtype == np.uint8
    assert np.abs(found.astype(int) - expected).max() <= 1 and (found == expected).mean() > 0.98


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """The family is known to this file's tests alone."""
    schema.register(toy_family.NAME, "toy_family")
    yield
    del registry._modules[toy_family.NAME]


@functools.cache
def toy(noise_std: float = STD) -> api.Model:
    """One flow over the pixels: its score is that of all of log p(x)."""
    config = schema.default(family=toy_family.NAME)
    config.data.update(dict(resolution=SIZE, noise_std=noise_std))
    config.sample.sigma = 0.5
    rng = np.random.default_rng(0)
    fresh = models.build(config).create(jax.random.key(0))
    params = jax.tree.map(lambda a: np.asarray(a) + 0.05 * rng.standard_normal(a.shape).astype(np.float32), fresh)
    made = api.Model(config, params)
    made.batch_size = 4
    return made


def hierarchy() -> api.Model:
    config = api_model.config().copy_and_resolve_references()
    config.data.noise_std = STD
    made = api.Model(config, api_model.params())
    made.batch_size = 4
    return made


def test_a_sample_takes_one_step_up_its_density() -> None:
    model, flow = toy(), toy().image_model

    def log_density(x: Array) -> Array:
        z, log_dets = flow.encode(model.params, x)
        return -0.5 * jnp.sum(jnp.square(z["8"])) + jnp.sum(log_dets["8"])  # at standard deviation 1, not sigma

    x = model.decode(model.draw(4, seed=5, sigma=0.5), as_float=True) - 0.5
    expected = x + STD**2 * jax.jit(jax.grad(log_density))(x)
    assert np.abs(expected - x).max() > 2 / 256
    found = model.sample(4, seed=5, sigma=0.5, denoise=True)
    nearly(found, to_uint8(expected))
    np.testing.assert_array_equal(model.sample(2, seed=5, sigma=0.5, first=2, denoise=True), found[2:])
    batches = list(model.sample_batches(6, seed=5, sigma=0.5, denoise=True))
    assert [len(batch) for batch in batches] == [4, 2]
    np.testing.assert_array_equal(batches[0], found)


def test_nothing_is_denoised_unless_it_is_asked_for() -> None:
    model = toy()
    plain, denoised = model.sample(4, seed=5), model.sample(4, seed=5, denoise=True)
    np.testing.assert_array_equal(plain, model.decode(model.draw(4, seed=5)))
    assert (plain != denoised).mean() > 0.1


@pytest.mark.full  # compiles
def test_the_coarser_levels_are_held_fixed() -> None:
    model = hierarchy()
    image_model: Any = model.image_model
    finest = image_model.levels[-1]

    @jax.jit
    def plain(params: Any, z: Any) -> Any:
        y, _ = image_model.generate(params, z)
        cond = image_model.conditions(params, y)[finest.name]  # not of the features of x
        x = y[finest.name] / 4

        def log_density(x: Array) -> Array:
            latent, log_det = finest.flow.forward(params["flows"][finest.name], 4 * x, cond)
            return -0.5 * jnp.sum(jnp.square(latent / finest.prior_std)) + jnp.sum(log_det)

        return x, x + STD**2 * jax.grad(log_density)(x)

    x, expected = plain(model.params, model.draw(4, seed=5, sigma=0.3).as_dict())
    assert np.abs(expected - x).max() > 2 / 256
    nearly(model.sample(4, seed=5, sigma=0.3, denoise=True), to_uint8(expected))
    nearly(model.sample(4, seed=5, sigma=0.3), to_uint8(x))


def test_the_files_sampler_denoises(tmp_path: Path) -> None:
    model = toy()
    model.export_sampler(tmp_path / "sampler", n=3, denoise=True)
    sampler = jax.export.deserialize(bytearray((tmp_path / "sampler").read_bytes()))
    images = sampler.call(jnp.uint32(5), jnp.uint32(2), jnp.array([0.5], jnp.float32))
    nearly(np.asarray(images), model.sample(3, seed=5, sigma=0.5, first=2, denoise=True))
    assert (np.asarray(images) != model.sample(3, seed=5, sigma=0.5, first=2)).mean() > 0.1


def test_without_noise_there_is_none_to_remove(tmp_path: Path) -> None:
    model, refused = toy(0.0), "^denoise: data.noise_std is 0, "
    for call in (
        lambda: model.sample(1, denoise=True),
        lambda: model.sample_batches(1, denoise=True),
        lambda: model.export_sampler(tmp_path / "sampler", denoise=True),
        lambda: measure.measure(model, Images(), ("bits", "nearest"), measured(True), extractor=lambda: EXTRACTOR),
    ):
        with pytest.raises(InputError, match=refused):
            call()
    assert not (tmp_path / "sampler").exists()
    config = model.config.copy_and_resolve_references()
    config.eval.denoise = True
    with pytest.raises(schema.ConfigError, match=r"^eval\.denoise must be False where data\.noise_std is 0"):
        measure.wanted(config)


def mean_colours(weights: Any, images: Any) -> Any:
    return weights["scale"] * jnp.mean(images.astype(jnp.float32), (1, 2))


EXTRACTOR = Extractor("colours", 3, mean_colours, {"scale": np.float32(0.1)}, "none", "0123456789abcdef0123")


class Images:
    """Random images; those of different seeds have none in common."""

    name = identity = "random images"

    def __init__(self, seed: int = 0):
        self.seed = seed

    def __len__(self) -> int:
        return 12

    def __getitem__(self, i: Any) -> np.ndarray:
        return np.random.default_rng((self.seed, int(i))).integers(0, 256, (SIZE, SIZE, 3), np.uint8)


def measured(denoise: bool | None) -> metrics.Options:
    return metrics.Options(denoise=denoise)


def test_what_measures_takes_denoised_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = toy(), []
    real = api.Model.sample_batches
    monkeypatch.setattr(
        api.Model, "sample_batches", lambda self, *given: asked.append(given[4]) or real(self, *given)
    )
    found = {
        denoise: metrics.distances(
            model, Images(), ("frechet",), measured(denoise), EXTRACTOR, tell=lambda *given: None
        )
        for denoise in (None, True)
    }
    near = metrics.nearest(model, Images(), Images(1), measured(True), EXTRACTOR, tell=lambda *given: None)
    assert asked == [False, True, True] and near.values["protocol"]["denoised"]
    for denoise, outcome in found.items():
        assert outcome.values["protocol"]["generated"]["denoised"] is bool(denoise)
        assert any("seed 0, denoised; " in line for line in outcome.lines) is bool(denoise)
    assert found[None].values["frechet_colours"] != found[True].values["frechet_colours"]


def test_the_config_says_whether_what_measures_denoises() -> None:
    config = toy().config.copy_and_resolve_references()
    assert not config.eval.denoise and measured(None).denoise_of(toy()) is False
    config.eval.denoise = True
    model = api.Model(config, {})
    assert measured(None).denoise_of(model) is True and measured(False).denoise_of(model) is False
    assert measure.wanted(config)[1].denoise_of(model) is True


@pytest.fixture
def hcflow(tmp_path: Path, capsys: Any, monkeypatch: Any) -> Any:
    yield from cli_fakes.running(tmp_path, capsys, monkeypatch)


@pytest.mark.parametrize("denoise", [False, True])
def test_the_command_samples_so(hcflow: Any, denoise: bool) -> None:
    status, out, err = hcflow("sample", "--count", 2, *["--denoise"] * denoise)
    assert (status, out, err) == (0, ["samples.png: 2 images of 8 pixels"], [])
    assert hcflow.model.calls[0] == ("denoise", denoise)


def test_the_command_says_in_one_line_that_there_is_no_noise(hcflow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "load", lambda *_, **__: toy(0.0))
    status, out, err = hcflow("sample", "--denoise", "--out", "a.png", "--npz", "a.npz")
    assert (status, out) == (2, []) and len(err) == 1 and "denoise: data.noise_std is 0" in err[0]
    assert list(Path().iterdir()) == []


def test_the_command_measures_so(hcflow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from hcflow_jax.evaluation import extractors, measured_set

    monkeypatch.setattr(api, "load", lambda *_, **__: toy())
    monkeypatch.setattr(extractors, "load", lambda *_: EXTRACTOR)
    monkeypatch.setattr(measured_set, "open_data", lambda *_: Images())
    for given, denoised in (((), False), (("--denoise",), True), (("--no-denoise",), False)):
        status, *_ = hcflow("evaluate", "--metrics", "fid", "--json", "out.json", *given)
        protocol = json.loads(Path("out.json").read_text())["distances"]["protocol"]
        assert status == 0 and protocol["generated"]["denoised"] is denoised
