"""A conditional flow on points of the plane, made of the pieces: `python -m examples.conditional_flow_2d`.

Moons, rings and a spiral are one data set, and which of them is wanted is the condition. Draws flow.png in the end.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jaxtyping import Array, Float, Int, PyTree
from matplotlib.figure import Figure

from hcflow_jax import flows


class Conditioner(nn.Module):
    """The network in a coupling: the visible part and the condition -> (s, b), both zero at first."""

    @nn.compact
    def __call__(self, visible: Float[Array, "n 2"], cond: Float[Array, "n 3"]) -> list[Array]:
        h = jnp.concatenate([visible, cond], -1)
        h = nn.silu(nn.Dense(64)(nn.silu(nn.Dense(64)(h))))
        return jnp.split(nn.Dense(4, kernel_init=nn.initializers.zeros)(h), 2, -1)


coupling = flows.Coupling(Conditioner(), flows.ChannelSplit())
flow = flows.Repeat((flows.chain(actnorm=flows.Actnorm(), mixing=flows.Mixing(), coupling=coupling),) * 16)


def draw_data(rng: np.random.Generator, kind: Int[np.ndarray, " n"]) -> Float[Array, "n 2"]:
    """A noisy point of each kind: 0 moons, 1 rings, 2 spiral."""
    t, half = rng.uniform(size=kind.shape), rng.integers(0, 2, kind.shape)
    angle = np.pi * np.choose(kind, (t + half, 2 * t, 3 * np.sqrt(t)))
    radius = np.choose(kind, (np.ones_like(t), 0.7 + 0.9 * half, angle / 5.5))
    shift = np.where(kind == 0, half - 0.5, 0)
    points = np.stack([radius * np.cos(angle) + shift, radius * np.sin(angle) + shift / 2], -1)
    return jnp.asarray(points + 0.07 * rng.normal(size=points.shape), jnp.float32)


@jax.jit
def log_density(params: PyTree, x: Float[Array, "n 2"], kind: Int[Array, " n"]) -> Float[Array, " n"]:
    """log p(x | kind), nats: the standard normal's at z, and the log-det of the way there."""
    z, log_det = flow.forward(params, x, jax.nn.one_hot(kind, 3))
    return jax.scipy.stats.norm.logpdf(z).sum(-1) + log_det


def train(steps: int, batch: int = 256) -> tuple[PyTree, list[float]]:
    """Returns the parameters, and each step's mean of -log p(x | kind) in nats."""
    rng, losses = np.random.default_rng(0), []
    kinds = rng.integers(0, 3, (steps, batch))
    params, _ = flow.init(jax.random.key(0), draw_data(rng, kinds[0]), jax.nn.one_hot(kinds[0], 3))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(5e-3, steps)))
    state = optimizer.init(params)
    loss = jax.jit(jax.value_and_grad(lambda params, x, kind: -log_density(params, x, kind).mean()))
    update = jax.jit(optimizer.update)
    for kind in kinds:
        value, gradient = loss(params, draw_data(rng, kind), kind)
        change, state = update(gradient, state)
        params = optax.apply_updates(params, change)
        losses.append(float(value))
    return params, losses


def draw(params: PyTree, path: str) -> None:
    """The picture: 4,000 points that the flow draws of each kind, and p(x | kind) below them."""
    line, figure = np.linspace(-2.2, 2.2, 220), Figure(figsize=(9, 6), layout="constrained")
    grid = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    for i, (above, below) in enumerate(figure.subplots(2, 3, subplot_kw=dict(xlim=(-2.2, 2.2), ylim=(-2.2, 2.2))).T):
        z, kind = jax.random.normal(jax.random.key(i), (4000, 2)), jax.nn.one_hot(np.full(4000, i), 3)
        above.plot(*flow.inverse(params, z, kind)[0].T, ",")
        below.pcolormesh(line, line, np.exp(log_density(params, grid, np.full(len(grid), i))).reshape(220, 220))
    figure.savefig(path)


if __name__ == "__main__":
    params, losses = train(steps=2000)
    print(f"nats per point: {np.mean(losses[:10]):.2f} at first, {np.mean(losses[-100:]):.2f} at last")
    draw(params, "flow.png")
