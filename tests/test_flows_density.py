"""Flows as densities: they integrate to one, their samples have the density they say, the docs' programs run."""

import re
from pathlib import Path
from typing import Any

import bijectors
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hcflow_jax import flows
from hcflow_jax.errors import InputError

ROOT = Path(__file__).resolve().parents[1]


def _flow(cond: bool) -> tuple[flows.Flow, Any, Any]:
    step = flows.chain(mix=flows.Mixing(), net=flows.Coupling(bijectors.Normed(), flows.ChannelSplit()))
    flow = flows.Flow(flows.Repeat(step, 2), flows.StandardNormal((2,)))
    rng = np.random.default_rng(0)
    x: Any = rng.normal(size=(64, 2)).astype(np.float32)
    given = rng.normal(size=(64, 3)).astype(np.float32) if cond else None
    params = flow.init(jax.random.key(0), x, given)
    params["net"] = jax.tree.map(lambda leaf: 0.4 * leaf, params["net"])  # no tails beyond the grid below
    return flow, params, given


@pytest.mark.parametrize("cond", [False, True])
def test_a_density_integrates_to_one(cond: bool) -> None:
    flow, params, given = _flow(cond)
    line = np.linspace(-9, 9, 181, dtype=np.float32)
    grid = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    given = None if given is None else np.repeat(given[:1], len(grid), 0)
    assert abs(np.exp(jax.jit(flow.log_prob)(params, grid, given)).sum() * 0.01 - 1) < 2e-3


@pytest.mark.parametrize("shape", [2, (), [2]])
def test_a_base_needs_a_shape(shape: Any) -> None:
    with pytest.raises(InputError, match="StandardNormal: shape must be that of z without the batch"):
        flows.StandardNormal(shape)


@pytest.mark.parametrize("cond", [False, True])
def test_samples_have_the_density_they_say(cond: bool) -> None:
    flow, params, given = _flow(cond)
    x, log_prob = jax.jit(flow.sample_and_log_prob, static_argnums=2)(params, jax.random.key(1), 64, given)
    assert x.shape == (64, 2) and x.dtype == jnp.float32
    np.testing.assert_allclose(log_prob, flow.log_prob(params, x, given), atol=1e-4)
    np.testing.assert_allclose(flow.sample(params, jax.random.key(1), 64, given), x, atol=1e-5)
    other = flow.sample(params, jax.random.key(2), 64, given)
    assert np.abs(other - x).max() > 0.1


def test_a_flow_that_latents_leave() -> None:
    base = flows.StandardNormal(((2, 2, 2), (1, 1, 8)))
    flow = flows.Flow(bijectors.glow(2), base)
    params = flow.init(jax.random.key(0), jax.random.normal(jax.random.key(1), (4, 4, 4, 1)))
    x, log_prob = jax.jit(flow.sample_and_log_prob, static_argnums=2)(params, jax.random.key(0), 3)
    assert x.shape == (3, 4, 4, 1)
    np.testing.assert_allclose(log_prob, jax.jit(flow.log_prob)(params, x), rtol=1e-4, atol=1e-3)
    z = base.sample(jax.random.key(0), 20_000)
    np.testing.assert_allclose(base.log_prob(z).mean(), -16 * 0.5 * (np.log(2 * np.pi) + 1), rtol=5e-3)


def test_samples_are_float64_where_parameters_are() -> None:
    flow = flows.Flow(flows.Actnorm(), flows.StandardNormal((2,)))
    with jax.enable_x64(True):
        params = flow.init(jax.random.key(0), jnp.asarray(np.random.default_rng(0).normal(size=(8, 2))))
        assert flow.sample(params, jax.random.key(0), 3).dtype == jnp.float64
        params = flow.init(jax.random.key(0), jnp.ones((8, 2), jnp.float32))
        assert flow.sample(params, jax.random.key(0), 3).dtype == jnp.float32


def blocks(page: str, section: str = "") -> list[str]:
    """The Python programs of a page, from a heading on."""
    text = (ROOT / page).read_text()
    return re.findall(r"```python\n(.*?)```", text[text.index(section) :], re.S)


@pytest.mark.slow
def test_readme_ends_in_a_trained_density() -> None:
    source = blocks("README.md", "## Build your own flows")[0]
    assert len(source.splitlines()) < 25
    names: dict[str, Any] = {}
    exec(compile(source, "README.md", "exec"), names)
    losses = np.asarray(names["losses"])
    # The entropy of the moons is about 1.5 nats, and of a Gaussian of their covariance 2.3.
    assert losses[-20:].mean() < 1.9 < losses[:5].mean()
    assert np.isfinite(names["samples"]).all()


@pytest.mark.slow
def test_docs_programs_run() -> None:
    """The page's blocks are one program, read from top to bottom."""
    names: dict[str, Any] = {}
    for i, source in enumerate(blocks("docs/flows.md")):
        exec(compile(source, f"docs/flows.md, program {i}", "exec"), names)
    assert names["moons_loss"] < 1.6 and names["image_losses"][-1] < names["image_losses"][0] - 0.2
    assert names["points"].shape == (1000, 2) and names["images"].shape == (16, 8, 8, 1)


def test_docs_name_every_bijector() -> None:
    table = (ROOT / "docs/flows.md").read_text()
    for cls in bijectors.subclasses():
        assert f"| `{cls.__name__}" in table, f"docs/flows.md: its table lacks {cls.__name__}"
