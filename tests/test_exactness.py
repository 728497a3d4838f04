"""The certificate of exactness: what is exact passes, and each fault fails for its own reason."""

import json
import types
from typing import Any

import api_model
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_family
import two_part_model
from jax.tree_util import Partial

from hcflow_jax import api, models
from hcflow_jax import config as schema
from hcflow_jax.config import registry
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation.exactness import certificate, definition_of_bits
from hcflow_jax.evaluation.jacobians import LogDets
from hcflow_jax.models.results import LevelMap

SIZE = two_part_model.SIZE


class Apart(two_part_model.TwoParts):
    """Two parts, which say what their levels' bijections are."""

    def level_maps(self, params, x):
        red, rest, area = x[..., :1], x[..., 1:], 2 * SIZE**2

        def forward(scale, shift, y):
            return y * scale + shift, jnp.full(len(y), area * jnp.log(scale))

        def inverse(scale, shift, z):
            return (z - shift) / scale, jnp.full(len(z), -area * jnp.log(scale))

        def same(y):
            return y, jnp.zeros(len(y))

        both = (Partial(way, params["scale"], params["shift"] * red) for way in (forward, inverse))
        return {"red": LevelMap(red, Partial(same), Partial(same)), "rest": LevelMap(rest, *both)}


class WrongLogDet(Apart):
    """Forgets a thousandth of a level's volume."""

    def encode(self, params, x):
        z, log_dets = super().encode(params, x)
        return z, log_dets | {"rest": log_dets["rest"] * 1.001}


class WrongInverse(Apart):
    """An inverse that states another volume than its forward."""

    def level_maps(self, params, x):
        maps = super().level_maps(params, x)
        inverse = maps["rest"].inverse
        return maps | {
            "rest": LevelMap(maps["rest"].y, maps["rest"].forward, Partial(lambda z: (z, inverse(z)[1] + 0.1)))
        }


class Lossy(Apart):
    """Decodes to 6 bits."""

    def decode_from(self, params, state, z, level):
        return jnp.floor(super().decode_from(params, state, z, level) * 64) / 64


class Broken(Apart):
    """Latents of one image are not finite."""

    def encode(self, params, x):
        z, log_dets = super().encode(params, x)
        return z, log_dets | {"rest": log_dets["rest"] / 0.0}


class NotFinite(Apart):
    """Latents of a level are not finite."""

    def encode(self, params, x):
        z, log_dets = super().encode(params, x)
        return z | {"rest": z["rest"] * jnp.nan}, log_dets


class Singular(Apart):
    """A mixing matrix has no inverse."""

    def flow_params(self, params):
        matrix = jnp.zeros((1, 2, 2)) * params["scale"]
        return {"rest": {"mixing": {"matrix": matrix, "inverse": 1 / matrix}}}


def of(kind, monkeypatch):
    monkeypatch.setattr(models, "build", lambda config: kind(), raising=False)
    return api.Model(two_part_model.config(), two_part_model.params())


def made(kind, monkeypatch, **options):
    found = certificate(of(kind, monkeypatch), two_part_model.images(3), **options)
    json.dumps(found.as_dict(), allow_nan=False)
    return found


def test_levels_and_the_whole_are_compared(monkeypatch):
    told = []
    found = made(Apart, monkeypatch, tell=lambda *news: told.append(news))
    assert found.passed and found.failures == () and str(found).startswith("exactness: passed\n")
    assert [(each.level, each.dims) for each in found.log_dets] == [("red", 64), ("rest", 128), ("whole", 192)]
    expected = 128 * np.log(1.5)
    for each in found.log_dets[1:]:
        assert each.jacobian == pytest.approx([expected] * 2, rel=1e-6) and len(each.stated) == 2
    assert found.log_dets[1].inverse == pytest.approx([-expected] * 2, rel=1e-6)
    assert found.log_dets[2].inverse is None
    assert found.held_out.images == 3 and found.strange.keys() == {"noise", "constant", "checkerboard", "text"}
    assert ("round trips", 3, 3) in told and ("Jacobian of level rest, image 2 of 2", 128, 128) in told
    assert found.conditions == {}


def test_a_model_that_does_not_name_its_levels_maps_is_compared_as_a_whole(monkeypatch):
    found = made(two_part_model.TwoParts, monkeypatch, jacobian_images=1)
    assert found.passed and [each.level for each in found.log_dets] == ["whole"]
    assert found.jacobian_images == 1 and found.log_dets[0].stated == pytest.approx([128 * np.log(1.5)], rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "failures"),
    [
        (
            WrongLogDet,
            [
                "the log-determinants of level rest differ by more than the limit",
                "the log-determinants of level whole differ by more than the limit",
            ],
        ),
        (WrongInverse, ["the log-determinants of level rest differ by more than the limit"]),
        (Lossy, ["8-bit values of the held-out images changed"]),
        (
            Broken,
            [
                "the log-determinants of level rest differ by more than the limit",
                "the log-determinants of level whole differ by more than the limit",
            ],
        ),
    ],
)
def test_what_is_not_exact_fails(monkeypatch, kind, failures):
    found = made(kind, monkeypatch, jacobian_images=1)
    assert not found.passed and found.as_dict()["passed"] is False
    assert len(found.failures) == len(failures)
    assert all(line.endswith(end) for line, end in zip(found.failures, failures, strict=True))
    assert str(found).startswith("exactness: FAILED\n  because ")


def test_latents_that_are_not_finite_fail(monkeypatch):
    found = made(NotFinite, monkeypatch, jacobian_images=1)
    assert found.failures[0] == "384 8-bit values of the held-out images changed"
    assert not found.held_out.finite and found.held_out.worst_error_text == "not finite"
    assert [trip.changed_values for trip in found.strange.values()] == [1024] * 4


def test_a_singular_mixing_has_no_condition_number(monkeypatch):
    found = made(Singular, monkeypatch, jacobian_images=1)
    assert found.conditions == {"rest": None} and "by level: rest not finite" in str(found)


def test_levels_of_too_many_dims_are_named_and_nothing_compared_does_not_pass(monkeypatch):
    found = made(Apart, monkeypatch, jacobian_dims=64, jacobian_images=1)
    assert found.passed and [each.jacobian is None for each in found.log_dets] == [False, True, True]
    assert found.log_dets[1].inverse_error == pytest.approx(0, abs=1e-4)
    (line,) = [line for line in str(found).splitlines() if line.startswith("  rest")]
    assert "too many dims" in line
    found = made(Apart, monkeypatch, jacobian_dims=63, jacobian_images=1)
    assert found.failures == ("no log-determinant was compared: no level has at most 63 dims",)


def test_the_limit_is_absolute_and_relative():
    def within(stated, jacobian, inverse=None):
        return LogDets("8", 4, (stated,), (jacobian,), inverse and (inverse,)).within

    assert within(0.0, 0.009) and not within(0.0, 0.011)
    assert within(-1000.0, -1000.1) and not within(-1000.0, -1000.12)
    assert within(1.0, 1.0, -1.009) and not within(1.0, 1.0, -1.011)
    assert not within(np.nan, 1.0) and not within(1.0, np.nan) and not within(np.inf, np.inf)


def test_images_come_in_arrays_of_any_length(monkeypatch):
    images = two_part_model.images(5)
    model = of(Apart, monkeypatch)
    parts = certificate(model, (images[a:b] for a, b in ((0, 1), (1, 4), (4, 5))), jacobian_images=2)
    whole = certificate(model, images, jacobian_images=2)
    assert parts.as_dict() == whole.as_dict()


def test_arguments_that_cannot_be_are_refused(monkeypatch):
    model = of(Apart, monkeypatch)
    with pytest.raises(InputError, match="jacobian_dims is 0: expected 1 or more"):
        certificate(model, two_part_model.images(2), jacobian_dims=0)
    with pytest.raises(InputError, match="there are no images"):
        certificate(model, [])
    with pytest.raises(InputError, match="images are float32: a round trip compares 8-bit values"):
        certificate(model, [np.zeros((1, SIZE, SIZE, 3), np.float32)])


def test_the_definition_of_bits_says_what_is_drawn():
    config = two_part_model.config()

    known: Any = types.SimpleNamespace(config=config, image_model=two_part_model.TwoParts())
    assert definition_of_bits(known) == (
        "bits/dim = -log2 p(x) / 192 + 8, where x = (v + u) / 256 - 0.5 + 0.005 e, v are the 192 8-bit values of an "
        "image, u is uniform in [0, 1), e is standard normal, p is the model's density; it is an upper bound: noise "
        "on the coarser levels is drawn, and its entropy is counted."
    )
    config.data.bits, config.data.noise_std = 5, 0.0
    known.image_model.likelihood = "exact"
    text = definition_of_bits(known)
    assert "+ 5, where x = (floor(v / 8) + u) / 32 - 0.5, v" in text and text.endswith("for the draw of u.")


@pytest.fixture
def toy():
    schema.register(toy_family.NAME, "toy_family")
    config = schema.default(family=toy_family.NAME)
    config.data.resolution = SIZE
    own = models.build(config)
    rng = np.random.default_rng(0)
    fresh = own.create(jax.random.key(0))
    params = jax.tree.map(lambda a: np.asarray(a) + 0.1 * rng.standard_normal(a.shape).astype(np.float32), fresh)
    yield api.Model(config, params)
    del registry._modules[toy_family.NAME]


@pytest.mark.full
def test_another_family_is_compared_as_a_whole(toy):
    images = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3)).astype(np.uint8)
    found = certificate(toy, images)
    assert found.passed, str(found)
    (whole,) = found.log_dets
    assert whole.level == "whole" and whole.dims == 192 and len(whole.jacobian or ()) == 2
    assert abs(whole.stated[0]) > 1 and found.conditions.keys() == {str(SIZE)}


@pytest.mark.full
def test_the_hierarchy_passes_level_by_level(monkeypatch):
    model = api_model.model()
    found = certificate(model, api_model.images(6), jacobian_dims=300)
    assert found.passed, str(found)
    compared = {each.level: each.error for each in found.log_dets}
    assert compared.keys() == set(model.level_names) == found.conditions.keys()
    assert compared["8"] is not None and compared["16"] is None
    assert all(each.inverse_error is not None for each in found.log_dets)
    assert all(abs(each.stated[0]) > 0.1 for each in found.log_dets)
    encode = model.encode

    def wrong(*args, **kwargs):
        z, log_dets = encode(*args, **kwargs)
        return z, log_dets | {"y1": log_dets["y1"] + 0.02 + 2e-4 * np.abs(log_dets["y1"])}

    monkeypatch.setattr(model, "encode", wrong, raising=False)
    found = certificate(model, api_model.images(6), jacobian_dims=20)
    assert found.failures == ("the log-determinants of level y1 differ by more than the limit",)
