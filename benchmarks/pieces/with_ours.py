"""The job with hcflow_jax.flows, executed as the model executes its levels."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array

from benchmarks.pieces.job import Conditioner, Job, Work, flat_net
from hcflow_jax import flows


class _OnHalves(nn.Module):
    """`Conditioner` as `flows.Coupling` wants a network: it gets and gives all channels, the others being zero."""

    job: Job
    conv: str

    @nn.compact
    def __call__(self, visible: Array, cond: Array) -> tuple[Array, Array]:
        half = self.job.channels // 2
        s, b = Conditioner(self.job, self.conv, name="half")(visible[..., :half], cond)
        only_hidden = ((0, 0),) * 3 + ((half, 0),)
        return jnp.pad(s, only_hidden), jnp.pad(b, only_hidden)


def build(job: Job, weights: dict[str, Any], execution: dict[str, str]) -> Work:
    """Does the job with the loop and the convolution of `execution`, an entry of `build.PRESETS`."""
    mixing = flows.Mixing()
    step = flows.chain(
        actnorm=flows.Actnorm(),
        coupling=flows.Coupling(_OnHalves(job, execution["conv"]), flows.ChannelSplit()),
        mixing=mixing,
    )
    flow = flows.Repeat((step,) * job.length, unroll=execution["loop"] == "unroll")
    params = {
        "actnorm": {"bias": weights["bias"], "scale": weights["log_scale"]},
        "coupling": {"half": flat_net(weights["net"])},
        "mixing": {"kernel": weights["lower"] @ weights["upper"] / mixing.multiplier},
    }

    def shared(tree: Any) -> dict[str, Any]:
        actnorm = tree["actnorm"]
        return {"bias": actnorm["bias"], "log_scale": actnorm["scale"], **tree["coupling"]["half"]}

    return Work(jax.tree.map(jnp.asarray, params), flow.forward, flow.inverse, shared)
