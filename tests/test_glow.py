"""Glow through `ImageModel`: its density against a full Jacobian, its levels, and the layers of its networks."""

from typing import Any

import glow_cases as cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glow_cases import NO_KEYS, least

from hcflow_jax import models, parameters
from hcflow_jax.errors import InputError
from hcflow_jax.models.glow import nets
from hcflow_jax.nets.layers import Execution

LEVELS = ("2", "4", "8")  # of the affine case, 16 pixels


def images(resolution: int, count: int = 3) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform(-0.5, 0.5, (count, resolution, resolution, 3)).astype(np.float32)


def perturbed(config: Any) -> tuple[models.ImageModel, Any]:
    """A config's model, with parameters away from where they start."""
    model, rng = models.build(config), np.random.default_rng(1)
    params = model.create(jax.random.key(0))

    def moved(path: Any, leaf: np.ndarray) -> np.ndarray:
        fixed = path[-1].key in ("order", "sign")
        return leaf if fixed else leaf + rng.normal(size=leaf.shape, scale=0.1).astype(np.float32)

    return model, jax.tree_util.tree_map_with_path(moved, params)


@pytest.mark.parametrize(
    "choices",
    [dict(coupling="affine"), dict(coupling="additive", mixing="lu", variant="openai")],
    ids=["affine", "additive-lu-openai"],
)
def test_the_density_is_that_of_the_full_jacobian(choices: dict[str, str]) -> None:
    """48 dimensions: bits/dim is -log2 N(eps) - log2|det d eps / d x|, and the round trip is exact."""
    config = least(4, levels=2, steps=2, **choices)
    model, params = perturbed(config)
    x = images(4)

    def flat_latents(x: Any) -> Any:
        z, _ = model.encode(params, x[None])
        return jnp.concatenate([jnp.ravel(each) for each in z.values()])

    @jax.jit
    def everything(x: Any) -> Any:
        eps, jacobian = jax.vmap(flat_latents)(x), jax.vmap(jax.jacrev(flat_latents))(x)
        z, log_dets = model.encode(params, x)
        return (
            eps,
            jacobian.reshape(len(x), 48, 48),
            log_dets,
            model.objective(params, x, NO_KEYS),
            model.decode(params, z),
        )

    eps, jacobian, log_dets, objective, again = everything(x)
    log_det = np.linalg.slogdet(np.asarray(jacobian, np.float64)).logabsdet
    np.testing.assert_allclose(sum(log_dets.values()), log_det, rtol=1e-4, atol=1e-3)
    log_normal = -0.5 * np.sum(np.square(eps, dtype=np.float64), 1) - 24 * np.log(2 * np.pi)
    np.testing.assert_allclose(objective.bits_per_dim, 8 - (log_normal + log_det) / (48 * np.log(2)), rtol=1e-5)
    np.testing.assert_allclose(again, x, atol=1e-5)


@pytest.fixture(scope="module")
def model() -> Any:
    return cases.model("affine")


@pytest.fixture(scope="module")
def params() -> Any:
    return cases.params("affine")


@pytest.fixture(scope="module")
def z(model: Any, params: Any) -> Any:
    return jax.jit(model.encode)(params, cases.x("affine"))[0]


def test_glow_describes_itself(model: Any, z: Any) -> None:
    assert isinstance(model, models.ImageModel)
    assert model.level_names == model.scaled_levels == LEVELS
    assert model.latent_shapes == {"2": (2, 2, 48), "4": (4, 4, 12), "8": (8, 8, 6)}
    assert {name: latent.shape[1:] for name, latent in z.items()} == model.latent_shapes
    assert (model.batch_unit, model.likelihood, model.frozen_group) == (1, "exact", None)
    assert model.spaces == ("z",)
    assert models.build(least(32, levels=3)).level_names == ("4", "8", "16")


def test_decoding_from_any_level_is_decoding(model: Any, params: Any, z: Any) -> None:
    """With the finer latents alone, and the coarser levels as they were."""

    @jax.jit
    def from_every_level(params: Any, z: Any) -> Any:
        made = []
        for place, level in enumerate(LEVELS):
            coarse, fine = ({name: z[name] for name in names} for names in (LEVELS[:place], LEVELS[place:]))
            made.append(model.decode_from(params, model.decode_coarse(params, coarse, level), fine, level))
        return made

    for made in from_every_level(model.prepare(params), z):
        np.testing.assert_allclose(made, cases.x("affine"), atol=2e-5)


def test_a_levels_map_has_the_log_determinant_that_encode_states(model: Any, params: Any) -> None:
    """It maps all that reaches the level, the latent first; and its inverse undoes it."""

    @jax.jit
    def everything(params: Any, x: Any) -> Any:
        maps = model.level_maps(params, x)
        there = {n: each.forward(each.y) for n, each in maps.items()}
        back = {n: each.inverse(there[n][0]) for n, each in maps.items()}
        return {n: each.y for n, each in maps.items()}, there, back, model.encode(params, x)

    y, there, back, (z, log_dets) = everything(params, cases.x("affine"))
    assert {n: each[0].size for n, each in y.items()} == {"2": 192, "4": 384, "8": 768}
    for level in LEVELS:
        latent = there[level][0][..., : z[level].shape[-1]]
        np.testing.assert_allclose(latent, z[level], atol=1e-5)
        np.testing.assert_allclose(there[level][1], log_dets[level], rtol=1e-5)
        np.testing.assert_allclose(back[level][0], y[level], atol=1e-4)
        np.testing.assert_allclose(back[level][1], -log_dets[level], rtol=1e-4)


def test_what_the_model_does_not_have_is_refused(model: Any, params: Any, z: Any) -> None:
    with pytest.raises(KeyError, match="no level '16'; there are 2, 4, 8"):
        model.decode_coarse(params, z, "16")
    with pytest.raises(InputError, match="sigma: no level '16'; there are 2, 4, 8"):
        model.draw(jax.random.key(0), 1, {"16": 0.5})
    with pytest.raises(InputError, match="no space 'y_top'; there are z"):
        model.to_space(params, z, "y_top")
    with pytest.raises(InputError, match=r"x has shape \(3, 8, 8, 3\); the model expects \('batch', 16, 16, 3\)"):
        model.encode(params, images(8))


def test_sigma_scales_every_level(model: Any) -> None:
    whole, half = (model.draw(jax.random.key(3), 2, sigma) for sigma in (1.0, 0.5))
    other = model.draw(jax.random.key(3), 2, {"4": 0.0})
    for name in LEVELS:
        np.testing.assert_allclose(half[name], 0.5 * whole[name], rtol=1e-6)
        np.testing.assert_array_equal(other[name], 0 * whole[name] if name == "4" else whole[name])
    assert np.std(np.concatenate([np.ravel(each) for each in whole.values()])) == pytest.approx(1, abs=0.05)


def test_the_score_is_the_slope_of_the_whole_density(model: Any, params: Any) -> None:
    x = cases.x("affine")
    direction = np.random.default_rng(2).normal(size=x.shape).astype(np.float32)
    dims = x[0].size

    def log_density(steps: Any) -> Any:
        moved = x + steps[:, None, None, None] * direction
        return jnp.sum(-model.objective(params, moved, NO_KEYS).bits_per_dim) * dims * np.log(2)

    expected = jax.jit(jax.grad(log_density))(jnp.zeros(len(x)))
    score = jax.jit(model.finest_score)(params, x, {})
    np.testing.assert_allclose(np.sum(score * direction, (1, 2, 3)), expected, rtol=1e-4)


def test_the_watch_sees_effective_scales() -> None:
    """exp(s) of the actnorms as they act, a third of which OpenAI's variant stores; and the mixings' matrices."""
    model, params = perturbed(least(8, variant="openai"))
    ready = model.flow_params(model.prepare(params))
    assert list(ready) == ["2", "4"]
    steps = ready["4"]["steps"]
    np.testing.assert_allclose(steps["actnorm"]["scale"], 3 * params["flows"]["4"]["steps"]["actnorm"]["scale"])
    assert {"matrix", "inverse"} <= steps["mixing"].keys()


@pytest.mark.parametrize("variant", ["pytorch", "openai"])
def test_the_first_images_make_every_activation_standard(variant: str) -> None:
    """Of the actnorms between steps and of those in the networks: seen through a second calibration, which moves
    nothing, and through what leaves the first actnorm."""
    config = least(8, steps=2, variant=variant)
    model = models.build(config)
    x = images(8, 16)
    once = jax.jit(model.calibrate)(model.create(jax.random.key(0)), x, NO_KEYS)
    twice = jax.jit(model.calibrate)(once, x, NO_KEYS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), once, twice)
    first = jax.tree.map(lambda leaf: leaf[0], once["flows"]["4"]["steps"]["actnorm"])
    h = np.asarray(nhwc_squeeze(x))
    stored = 3 if variant == "openai" else 1
    z = (h - first["bias"]) * np.exp(-stored * first["scale"])
    np.testing.assert_allclose(z.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(z.std((0, 1, 2)), 1, atol=1e-4)
    net = once["flows"]["4"]["steps"]["coupling"]
    assert np.abs(net["hidden_0"]["b"]).max() > 0 and np.abs(net["hidden_1"]["logs"]).max() > 0


def nhwc_squeeze(x: np.ndarray) -> np.ndarray:
    """The squeeze as the definition has it: channel c at (2i + a, 2j + b) goes to 4c + 2a + b at (i, j)."""
    made = np.zeros((len(x), x.shape[1] // 2, x.shape[2] // 2, 4 * x.shape[3]), x.dtype)
    for c in range(x.shape[3]):
        for a in range(2):
            for b in range(2):
                made[..., 4 * c + 2 * a + b] = x[:, a::2, b::2, c]
    return made


# Layers


@pytest.mark.parametrize("conv", ["xla", "shifted"])
@pytest.mark.parametrize("indicator", [False, True])
def test_a_layer_is_the_convolution_of_its_definition(indicator: bool, conv: str) -> None:
    """The padding is zeros, and with an indicator a channel that is 1 there and 0 in the image."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 4, 2)).astype(np.float32)
    layer: Any = nets.Layer(5, 3, 3.0, indicator=indicator, execution=Execution(conv=conv))
    start = parameters.unbox(layer.init(jax.random.key(0), x)["params"])
    own = {name: rng.normal(size=leaf.shape, scale=0.3).astype(np.float32) for name, leaf in start.items()}
    assert own["w"].shape == (3, 3, 2 + indicator, 5)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    if indicator:
        edge = np.pad(np.zeros((2, 3, 4, 1)), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=1)
        padded = np.concatenate([padded, edge], -1)
    expected = np.zeros((2, 3, 4, 5))
    for i in range(3):
        for j in range(3):
            expected += padded[:, i : i + 3, j : j + 4] @ own["w"][i, j]
    expected = (expected + own["b"]) * np.exp(3 * own["logs"])
    np.testing.assert_allclose(layer.apply({"params": own}, x), expected, rtol=1e-4, atol=1e-5)


def test_openais_top_prior_sees_the_padding() -> None:
    """It is a convolution of zeros: what is left are the bias, and the weights that see the indicator channel."""
    rng = np.random.default_rng(0)
    x = np.zeros((2, 2, 3, 2), np.float32)
    net: Any = nets.TopPrior(indicator=True)
    start = net.init(jax.random.key(0), x)["params"]
    own = {name: rng.normal(size=leaf.shape, scale=0.3).astype(np.float32) for name, leaf in start.items()}
    edge = np.pad(np.zeros((2, 3)), 1, constant_values=1)
    y = sum(edge[i : i + 2, j : j + 3, None] * own["w"][i, j] for i in range(3) for j in range(3)) + own["b"]
    y = np.broadcast_to(y * np.exp(3 * own["logs"]), (2, 2, 3, 4))
    logs, mean = net.apply({"params": own}, x)
    np.testing.assert_allclose(mean, y[..., :2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logs, y[..., 2:], rtol=1e-4, atol=1e-5)
