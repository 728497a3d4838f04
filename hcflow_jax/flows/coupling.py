"""Affine coupling (Eq. 2): a network sees the visible part and moves the hidden part."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array

from hcflow_jax.flows.affine import SCALE_LIMIT, SHIFT_LIMIT, affine_forward, affine_inverse
from hcflow_jax.flows.base import Bijector, Cond, LogDet, Params, PulledBack, bijector, check_same, constant
from hcflow_jax.flows.split import Split


@bijector
class Coupling(Bijector):
    """forward: z = (x - b) exp(-s) on the hidden part; inverse: x = z exp(s) + b; log_det = -sum(s).

    (s, b) = net(sqrt(2) * visible part, cond), both zero on the visible part; s is clipped to [-3, 3], b to
    [-5, 5]. The visible part passes unchanged, so both directions give the network the same input.

    Attributes:
      net: a Flax module, net(visible, cond) -> (s, b), each of x's shape.
      split: which part is hidden.
    """

    net: nn.Module
    split: Split = constant()

    def create(self, key: Array, x: Array, cond: Cond = None) -> Params:
        return self.net.init(key, x, cond)["params"]

    def forward(self, params: Params, x: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        return affine_forward(x, *self._scale_and_shift(params, x, cond))

    def inverse(self, params: Params, z: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        return affine_inverse(z, *self._scale_and_shift(params, z, cond))

    def pull_back(self, params: Params, z: Array, cond: Cond, cotangents: tuple[Array, LogDet]) -> PulledBack:
        # The network sees the same in z as in x: one run of it serves to rebuild x and to differentiate.
        (s, b), pull_net = jax.vjp(self._scale_and_shift, params, z, cond)
        x, _ = affine_inverse(z, s, b)
        _, pull_affine = jax.vjp(affine_forward, x, s, b)
        of_x, of_s, of_b = pull_affine(cotangents)
        of_params, of_visible, of_cond = pull_net((of_s, of_b))
        return x, (of_params, of_x + of_visible, of_cond)

    def _scale_and_shift(self, params: Params, x: Array, cond: Cond) -> tuple[Array, Array]:
        hidden = self.split.hidden(x.shape)
        s, b = self._run_net(params, math.sqrt(2) * (1 - hidden) * x, cond)
        check_same("Coupling", x, s, "the network's output")
        s, b = (hidden * a.astype(jnp.float32) for a in (s, b))
        return jnp.clip(s, -SCALE_LIMIT, SCALE_LIMIT), jnp.clip(b, -SHIFT_LIMIT, SHIFT_LIMIT)

    def _run_net(self, params: Params, visible: Array, cond: Cond) -> Any:
        try:
            return self.net.apply({"params": params}, visible, cond)
        except Exception as error:
            wanted = "" if cond is None else f" and cond of shape {tuple(cond.shape)}"
            raise ValueError(
                f"Coupling: its network does not take x of shape {tuple(visible.shape)}{wanted}: "
                f"{str(error).splitlines()[0]}"
            ) from error
