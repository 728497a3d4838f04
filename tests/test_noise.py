"""The noise of the y's, what it costs, and the groups its scale is taken over, in tiny models."""

import functools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from golden_data import assert_close
from ml_collections import ConfigDict

from benchmarks import step_programs
from hcflow_jax import config as schema
from hcflow_jax.models.hierarchy import Hierarchy, build, noise
from hcflow_jax.models.hierarchy.objective import Objective, mean_loss, objective

SIZE = 8


def small_config(size: int = SIZE, **level_8: float) -> ConfigDict:
    """Of one level of 8 pixels, or of two."""
    config = schema.default()
    row: dict[str, Any] = dict(steps=("channel",), hidden=4, condition=4, encoder=4, decoder=4)
    noisy: dict[str, Any] = {**dict(flow_noise=0.1, decoder_noise=0.2), **level_8}
    rows = {8: schema.level(channels=3, skip=2, **row, **noisy)}
    if size > 8:
        rows = {size: schema.level(channels=3, **row), **rows}
    config.model.levels = schema.levels(rows)
    top = config.model.top
    top.dims, top.style_width, top.style_layers, top.base_masked = 8, 4, 1, (0, 2)
    top.prior.hidden = top.y1.hidden = top.y1.condition = 4
    top.prior.steps = top.y1.steps = 1
    config.data.resolution = size
    return config


@pytest.fixture(scope="module")
def model() -> Hierarchy:
    return build.build(small_config())


def _params(model: Hierarchy, away: float) -> Any:
    """Parameters that are so far away from where they start."""
    rng = np.random.default_rng(1)
    fresh = model.create(jax.random.key(0))
    return jax.tree.map(lambda p: p + away * rng.normal(size=p.shape).astype(np.float32), fresh)


@pytest.fixture(scope="module")
def params(model: Hierarchy) -> Any:
    return _params(model, 0.1)


@pytest.fixture(scope="module")
def calm(model: Hierarchy) -> Any:
    """Parameters with small gradients, whose differences float32 can tell."""
    return _params(model, 0.01)


@pytest.fixture(scope="module")
def x() -> Any:
    """Images in two groups of quite different spread."""
    rng = np.random.default_rng(0)
    spread = np.repeat([0.05, 0.2], 4)[:, None, None, None]
    return (spread * rng.normal(size=(8, SIZE, SIZE, 3))).astype(np.float32)


@pytest.fixture(scope="module")
def eps(model: Hierarchy) -> noise.Noise:
    return draw(model, jax.random.split(jax.random.key(2), 8))


@pytest.fixture(scope="module")
def gradients() -> Any:
    """(stop_gradient, loss) -> a function like `of_one_group`, of a model with these fields.

    Its last argument says what the gradients are of: so much of the mean loss, and so much of the mean bound.
    """

    @functools.cache
    def of_model(stop_gradient: bool, loss: str) -> Any:
        config = small_config()
        config.model.stop_gradient, config.model.loss = stop_gradient, loss
        model = build.build(config)

        def share(params: Any, x: Any, eps: noise.Noise, of: Any) -> tuple[jax.Array, Objective]:
            result = objective(model, params, x, eps)
            return of[0] * jnp.mean(result.loss) + of[1] * jnp.mean(result.bits_per_dim), result

        run = jax.jit(jax.value_and_grad(share, (0, 1, 2), has_aux=True))

        def call(params: Any, x: Any, eps: noise.Noise, of: Any = (1.0, 0.0)) -> tuple[Objective, Any]:
            (_, result), gradients = run(params, x, eps, of)
            return result, gradients

        return call

    return of_model


@pytest.fixture(scope="module")
def of_one_group(gradients: Any) -> Any:
    """(params, x, noise) -> objective and the mean loss's gradients to all three, for 4 images."""
    return gradients(True, "weighted")


@pytest.mark.slow
def test_a_batch_is_its_groups(model: Hierarchy, params: Any, x: Any, eps: noise.Noise, of_one_group: Any) -> None:
    whole = jax.jit(lambda params, x, eps: objective(model, params, x, eps))(params, x, eps)
    halves = [
        of_one_group(params, x[cut], jax.tree.map(lambda e, cut=cut: e[cut], eps))[0]
        for cut in (slice(4), slice(4, 8))
    ]
    joined = jax.tree.map(lambda *each: np.concatenate(each), *halves)
    jax.tree.map(lambda a, b: assert_close(a, b, relative=2e-5, absolute=1e-5), whole, joined)
    for n in model.noisy_names:
        sigma = whole.parts[n].sigma
        assert (sigma[:4] == sigma[0]).all() and (sigma[4:] == sigma[4]).all() and sigma[0] != sigma[4]
    assert not whole.parts[str(SIZE)].sigma.any() and not whole.parts[str(SIZE)].entropy.any()


def test_a_batch_that_is_no_multiple_of_the_group_is_refused(
    model: Hierarchy, params: Any, x: Any, eps: noise.Noise
) -> None:
    six = jax.tree.map(lambda e: e[:6], eps)
    with pytest.raises(ValueError, match=r"6 .*model\.statistics_group=4"):
        jax.eval_shape(lambda p: objective(model, p, jnp.asarray(x[:6]), six), params)


def test_identical_images_give_finite_gradients(params: Any, x: Any, eps: noise.Noise, of_one_group: Any) -> None:
    same = np.repeat(x[:1], 4, 0)
    _, gradients = of_one_group(params, same, jax.tree.map(lambda e: e[:4], eps))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_what_learns_from_what(params: Any, x: Any, eps: noise.Noise, of_one_group: Any) -> None:
    """Flows' inputs are stop-gradiented, so no gradient reaches their noise; the decoders' noise gets one."""
    four = jax.tree.map(lambda e: e[:4], eps)
    _, (of_params, of_x, of_noise) = of_one_group(params, x[:4], four)
    assert all(not leaf.any() for leaf in jax.tree.leaves(of_noise["flow"]))
    assert all(np.abs(leaf).max() > 1e-6 for leaf in jax.tree.leaves(of_noise["decoder"]))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((of_params, of_x)))
    assert np.abs(of_params["encoder"]["from_8"]["conv_in"]["w"]).max() > 1e-6


def test_without_flow_noise_there_is_no_density(x: Any, eps: noise.Noise, params: Any) -> None:
    config = small_config()
    config.model.top.prior.flow_noise = config.model.top.y1.flow_noise = 0.0
    model = build.build(config)
    assert model.likelihood == "undefined"
    four = jax.tree.map(lambda e: e[:4], eps)
    result = jax.jit(lambda p: objective(model, p, x[:4], four))(params)
    assert np.isnan(result.bits_per_dim).all()
    assert np.isfinite(result.loss).all()
    assert all(not part.entropy.any() for part in result.parts.values())


def test_one_level_without_flow_noise_is_enough_to_lose_the_density() -> None:
    assert build.build(small_config(16)).likelihood == "bound"
    assert build.build(small_config(16, flow_noise=0.0)).likelihood == "undefined"
    assert build.build(small_config(16, decoder_noise=0.0)).likelihood == "bound"


def test_the_defaults_are_the_papers(model: Hierarchy) -> None:
    assert (model.stop_gradient, model.loss) == (True, "weighted")


@pytest.mark.full  # compiles
def test_the_encoder_learns_through_the_flows_only_without_the_stop(
    gradients: Any, calm: Any, x: Any, eps: noise.Noise
) -> None:
    four = jax.tree.map(lambda e: e[:4], eps)
    (with_stop, found), (without, more) = (gradients(stop, "weighted")(calm, x[:4], four) for stop in (True, False))
    np.testing.assert_allclose(without.loss, with_stop.loss, rtol=1e-5)
    assert all(not leaf.any() for leaf in jax.tree.leaves(found[2]["flow"]))
    assert all(np.abs(leaf).max() > 1e-6 for leaf in jax.tree.leaves(more[2]["flow"]))
    apart = _norms(_difference(more[0], found[0]))
    assert apart["encoder"] > 5e-3 * _norms(found[0])["encoder"] and apart["flows"] < 1e-4 * _norms(found[0])["flows"]


@pytest.mark.full  # compiles
def test_only_the_loss_that_is_the_bound_has_the_bounds_gradient(
    gradients: Any, calm: Any, x: Any, eps: noise.Noise
) -> None:
    four = jax.tree.map(lambda e: e[:4], eps)
    made = {}
    for stop, loss in ((True, "weighted"), (False, "weighted"), (False, "bound")):
        run = gradients(stop, loss)
        result, (of_loss, *_) = run(calm, x[:4], four)
        _, (of_bound, *_) = run(calm, x[:4], four, (0.0, 1.0))
        made[stop, loss] = (result, of_loss, of_bound)
    result, of_loss, of_bound = made[False, "bound"]
    np.testing.assert_allclose(result.loss, result.bits_per_dim - 8, rtol=1e-5)
    np.testing.assert_allclose(result.bits_per_dim, made[True, "weighted"][0].bits_per_dim, rtol=1e-5)
    norms = _norms(of_bound)
    assert all(norm < 1e-5 * norms[name] for name, norm in _norms(_difference(of_loss, of_bound)).items())
    weighted, bound = (optax.tree.norm(made[True, "weighted"][i]["flows"]["y1"]) for i in (1, 2))
    np.testing.assert_allclose(weighted, bound * (3 * SIZE**2) / 512, rtol=1e-4)  # 1/512 is the weight of y_1
    # The entropies depend on the encoder alone.
    apart = _norms(_difference(of_bound, made[False, "weighted"][2]))
    assert apart["encoder"] > 5e-3 * norms["encoder"]
    assert all(apart[name] < 1e-5 * norms[name] for name in ("flows", "decoder"))


def test_a_training_step_computes_the_gradient_of_each_level_at_once(model: Hierarchy) -> None:
    config = small_config()
    config.train.batch_size, config.execution.preset = 4, "cpu"  # no other barriers
    function, *arguments = step_programs.prepare(config, "step")
    assert str(function.trace(*arguments).jaxpr).count("optimization_barrier") == len(model.levels)


@pytest.mark.full  # compiles
@pytest.mark.parametrize(("stop", "loss"), [(True, "weighted"), (False, "bound")])
def test_the_loss_of_training_is_the_mean_and_has_its_gradients(
    stop: bool, loss: str, gradients: Any, calm: Any, x: Any, eps: noise.Noise
) -> None:
    four = jax.tree.map(lambda e: e[:4], eps)
    expected, of_all = gradients(stop, loss)(calm, x[:4], four)
    config = small_config()
    config.model.stop_gradient, config.model.loss = stop, loss
    run = jax.jit(jax.value_and_grad(partial(mean_loss, build.build(config)), (0, 1, 2), has_aux=True))
    (value, result), own = run(calm, x[:4], four)
    np.testing.assert_allclose(value, jnp.mean(expected.loss), rtol=1e-5)
    jax.tree.map(lambda a, b: assert_close(a, b, relative=2e-5, absolute=1e-5), result, expected)
    assert optax.tree.norm(_difference(own, of_all)) < 1e-5 * optax.tree.norm(of_all)


def _norms(gradient: Any) -> dict[str, float]:
    return {name: float(optax.tree.norm(gradient[name])) for name in ("encoder", "decoder", "flows")}


def _difference(a: Any, b: Any) -> Any:
    return jax.tree.map(lambda a, b: a - b, a, b)


def draw(model: Hierarchy, keys: Any) -> noise.Noise:
    return jax.jit(partial(noise.draw, model))(keys)
