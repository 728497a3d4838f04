"""The job with flowjax: its Affine, TriangularAffine, Vmap, Invert and Scan (or Chain).

flowjax works on one image and is vmapped over the batch; `Vmap` spreads a bijection of channels over the pixels.
Its Coupling is of vectors with a dense network, so `ConvCoupling` is written through its extension interface, with
Equinox's convolutions (channels first, hence the transposes) and XLA's own gradients. It has no free-form matrix:
the mixing is two TriangularAffine, whose shifts (zero here) and unit diagonal are 3 c parameters more a step.
`scan` is how flowjax's ready-made flows repeat a layer; without it the steps are straight-line code.
"""

from typing import Any

import equinox as eqx  # pyright: ignore[reportMissingImports]
import jax
import jax.numpy as jnp
from flowjax.bijections import (  # pyright: ignore[reportMissingImports]
    AbstractBijection,
    Affine,
    Chain,
    Invert,
    Scan,
    TriangularAffine,
    Vmap,
)
from jaxtyping import Array
from paramax import Parameterize  # pyright: ignore[reportMissingImports]

from benchmarks.pieces.job import ROOT2, Job, Work, clip
from hcflow_jax.nets.layers import activate


class ConvCoupling(AbstractBijection):
    """Affine coupling of one image, (h, w, c), the first channels of which stay as they are."""

    shape: tuple[int, ...]
    cond_shape: tuple[int, ...] | None
    convolutions: tuple[eqx.nn.Conv2d, ...]

    def transform_and_log_det(self, x: Array, condition: Array) -> tuple[Array, Array]:
        visible, hidden = jnp.split(x, 2, -1)
        s, b = self._scale_and_shift(visible, condition)
        return jnp.concatenate([visible, (hidden - b) * jnp.exp(-s)], -1), -jnp.sum(s)

    def inverse_and_log_det(self, y: Array, condition: Array) -> tuple[Array, Array]:
        visible, hidden = jnp.split(y, 2, -1)
        s, b = self._scale_and_shift(visible, condition)
        return jnp.concatenate([visible, hidden * jnp.exp(s) + b], -1), jnp.sum(s)

    def _scale_and_shift(self, visible: Array, condition: Array) -> tuple[Array, Array]:
        x = jnp.moveaxis(jnp.concatenate([ROOT2 * visible, condition], -1), -1, 0)
        for i, conv in enumerate(self.convolutions):
            x = conv(activate(x, "lrelu") if i else x)
        s, b = jnp.split(jnp.moveaxis(x, 0, -1), 2, -1)
        return clip(s, b)


def build(job: Job, weights: dict[str, Any], scan: bool = True) -> Work:
    """Does the job with the float arrays of a bijection as parameters."""
    height, width = job.shape()[:2]
    layers = job.layers()

    def over_pixels(bijection: Any) -> Any:
        return Vmap(Vmap(bijection, axis_size=width), axis_size=height)

    def convolution(name: str, w: Array, b: Array) -> eqx.nn.Conv2d:
        k, features_in, features_out = layers[name]
        conv = eqx.nn.Conv2d(features_in, features_out, k, padding="SAME", key=jax.random.key(0))
        return eqx.tree_at(lambda c: (c.weight, c.bias), conv, (w.transpose(3, 2, 0, 1), b[:, None, None]))

    def make_step(one: dict[str, Any]) -> Any:
        scale = Parameterize(jnp.exp, one["log_scale"])
        actnorm = eqx.tree_at(lambda affine: affine.scale, Affine(one["bias"]), scale)
        convolutions = tuple(convolution(name, **one["net"][name]) for name in layers)
        upper = TriangularAffine(0, one["upper"], lower=False)
        lower = TriangularAffine(0, one["lower"])
        return Chain(
            [
                Invert(over_pixels(actnorm)),
                ConvCoupling(job.shape(), (height, width, job.condition), convolutions),
                over_pixels(Chain([upper, lower])),
            ]
        )

    stacked = jax.tree.map(jnp.asarray, weights)
    if scan:
        flow = Scan(eqx.filter_vmap(make_step)(stacked))
    else:
        flow = Chain([make_step(jax.tree.map(lambda leaf, i=i: leaf[i], stacked)) for i in range(job.length)])
    params, static = eqx.partition(flow, eqx.is_inexact_array)

    def forward(params: Any, x: Array, cond: Array) -> tuple[Array, Array]:
        return jax.vmap(eqx.combine(params, static).transform_and_log_det)(x, cond)

    def inverse(params: Any, z: Array, cond: Array) -> tuple[Array, Array]:
        return jax.vmap(eqx.combine(params, static).inverse_and_log_det)(z, cond)

    def read(step: Any) -> dict[str, Any]:
        actnorm, coupling = step.bijections[0].bijection.bijection.bijection, step.bijections[1]
        found = {"bias": actnorm.loc, "log_scale": actnorm.scale.args[0]}
        for name, conv in zip(layers, coupling.convolutions, strict=True):
            found[f"{name}_w"] = jnp.moveaxis(conv.weight, (-4, -3, -2, -1), (-1, -2, -4, -3))
            found[f"{name}_b"] = conv.bias[..., 0, 0]
        return found

    def shared(tree: Any) -> dict[str, Any]:
        if scan:
            return read(tree.bijection)
        return jax.tree.map(lambda *each: jnp.stack(each), *(read(step) for step in tree.bijections))

    return Work(params, forward, inverse, shared)
