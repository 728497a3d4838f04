"""Networks of three libraries inside a coupling: one density, the same promises."""

from dataclasses import dataclass
from typing import Any

import bijectors
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hcflow_jax import flows

X: Any = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
COND: Any = np.random.default_rng(1).normal(size=(8, 2)).astype(np.float32)


@dataclass(frozen=True)
class Nnx:
    """A Flax NNX network that sees x and cond side by side."""

    def network(self, key: Any) -> nnx.Sequential:
        return nnx.Sequential(nnx.Linear(4, 6, rngs=nnx.Rngs(key)), jnp.tanh, nnx.Linear(6, 4, rngs=nnx.Rngs(key)))

    def init(self, key: Any, x: Any, cond: Any) -> Any:
        return {"params": nnx.to_pure_dict(nnx.state(self.network(key), nnx.Param))}

    def apply(self, variables: Any, x: Any, cond: Any) -> Any:
        network = nnx.eval_shape(lambda: self.network(jax.random.key(0)))
        nnx.update(network, nnx.State(variables["params"]))
        return jnp.split(network(jnp.concatenate([x, cond], -1)), 2, -1)


@dataclass(frozen=True)
class Equinox:
    """An Equinox network that sees x and cond side by side."""

    def network(self, key: Any) -> eqx.nn.MLP:
        return eqx.nn.MLP(4, 4, 6, 1, jnp.tanh, key=key)

    def init(self, key: Any, x: Any, cond: Any) -> Any:
        return {"params": eqx.filter(self.network(key), eqx.is_array)}

    def apply(self, variables: Any, x: Any, cond: Any) -> Any:
        network = eqx.combine(variables["params"], eqx.filter_eval_shape(self.network, jax.random.key(0)))
        return jnp.split(jax.vmap(network)(jnp.concatenate([x, cond], -1)), 2, -1)


@pytest.mark.parametrize("net", [bijectors.Normed(), Nnx(), Equinox()], ids=lambda net: type(net).__name__)
def test_a_network_of_any_library_fits(net: Any) -> None:
    step = flows.chain(net=flows.Coupling(net, flows.ChannelSplit()), swap=flows.Permute((1, 0)))
    flow = flows.Flow(flows.Repeat(step, 2), flows.StandardNormal((2,)))
    params = flow.init(jax.random.key(0), X, COND)
    z, log_det = flow.bijector.forward(params, X, COND)
    assert np.abs(z - X).max() > 0.05
    back, negative = flow.bijector.inverse(params, z, COND)
    np.testing.assert_allclose(back, X, atol=1e-5)
    np.testing.assert_allclose(log_det, -negative, atol=1e-5)
    gradient = jax.jit(jax.grad(lambda params: -flow.log_prob(params, X, COND).mean()))(params)
    weights = [leaf for leaf in jax.tree.leaves(gradient) if leaf.ndim == 3]  # a matrix a step
    assert len(weights) == 2 and all(np.abs(leaf).max() > 1e-4 for leaf in weights)
