"""The job with distrax: its ScalarAffine, SplitCoupling, UnconstrainedAffine, Block, Inverse and Chain.

distrax has no loop over like bijectors, so the chain is straight-line code, and no networks: the conditioner is the
Flax module that ours uses too, with XLA's own gradients. Its bijectors are written from latent to data; `Inverse`
turns round those whose cheap direction is wanted the other way. The free-form matrix has as many parameters as
ours. `lu` takes distrax's LowerUpperTriangularAffine for it instead.
"""

from typing import Any

import distrax  # pyright: ignore[reportMissingImports]
import jax
import jax.numpy as jnp
from jaxtyping import Array

from benchmarks.pieces.job import ROOT2, Conditioner, Job, Work, clip, flat_net


def build(job: Job, weights: dict[str, Any], lu: bool = False) -> Work:
    """Does the job with a list of parameters, an entry a step."""
    net, half = Conditioner(job), job.channels // 2

    def mixing(matrix: Array) -> Any:
        made = distrax.LowerUpperTriangularAffine if lu else distrax.UnconstrainedAffine
        return distrax.Block(made(matrix, jnp.zeros(job.channels)), 2)

    def step(params: Any, cond: Array) -> list[Any]:
        def conditioner(visible: Any) -> Any:
            s_and_b: Any = net.apply({"params": params["net"]}, ROOT2 * visible, cond)
            return clip(*s_and_b)

        def affine(s_and_b: tuple[Array, Array]) -> Any:
            return distrax.ScalarAffine(shift=s_and_b[1], log_scale=s_and_b[0])

        actnorm = distrax.ScalarAffine(shift=params["bias"], log_scale=params["log_scale"])
        coupling = distrax.SplitCoupling(half, event_ndims=3, conditioner=conditioner, bijector=affine)
        return [
            distrax.Inverse(distrax.Block(actnorm, 3)),
            distrax.Inverse(coupling),
            mixing(params["matrix"]),
        ]

    def flow(params: Any, cond: Array) -> Any:
        steps = [each for p in params for each in step(p, cond)]
        return distrax.Chain(steps[::-1])  # its last bijector comes first

    def forward(params: Any, x: Array, cond: Array) -> tuple[Array, Array]:
        return flow(params, cond).forward_and_log_det(x)

    def inverse(params: Any, z: Array, cond: Array) -> tuple[Array, Array]:
        return flow(params, cond).inverse_and_log_det(z)

    def shared(tree: Any) -> dict[str, Any]:
        parts = [{"bias": p["bias"], "log_scale": p["log_scale"], **p["net"]} for p in tree]
        return jax.tree.map(lambda *each: jnp.stack(each), *parts)

    lower, upper = weights["lower"], weights["upper"]
    stacked = {
        "bias": weights["bias"],
        "log_scale": weights["log_scale"],
        "net": flat_net(weights["net"]),
        "matrix": lower - jnp.eye(job.channels) + upper if lu else lower @ upper,
    }
    params = [jax.tree.map(lambda leaf, i=i: jnp.asarray(leaf[i]), stacked) for i in range(job.length)]
    return Work(params, forward, inverse, shared)
