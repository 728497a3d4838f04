"""Coupling (Eq. 2; NICE, Real NVP, Glow): a network sees the visible part and transforms the hidden part."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from hcflow_jax.errors import InputError
from hcflow_jax.flows import conditioner
from hcflow_jax.flows.affine import SCALE_LIMIT, SHIFT_LIMIT, affine_forward, affine_inverse
from hcflow_jax.flows.annotations import Array
from hcflow_jax.flows.base import Bijector, Cond, LogDet, Params, PulledBack, bijector, check_same, constant
from hcflow_jax.flows.split import Split

SCALES = EXP, SIGMOID, ADDITIVE = ("exp", "sigmoid", "additive")


@bijector
class Coupling(Bijector):
    """forward: z = (x - b) exp(-s) on the hidden part; inverse: x = z exp(s) + b; log_det = -sum(s).

    The network gets gain * (visible part of x) and cond. s and b are zero on the visible part, which does not change.
    So the network gets the same input in both directions. `scale` says what the output of the network means:

    - "exp": (s, b); s is clipped to [-3, 3] and b to [-5, 5];
    - "sigmoid": (r, t), for z = (x + t) sigmoid(r + 2), as in Glow;
    - "additive": t, for z = x + t, as in NICE; log_det is 0.

    Each output has x's shape. With `ChannelSplit` it may have only the hidden channels.

    >>> import jax
    >>> from hcflow_jax import flows
    >>> from hcflow_jax.nets.coupling_nets import ConvConditioner
    >>> coupling = flows.Coupling(ConvConditioner(hidden=4), flows.ChannelSplit())
    >>> x = jax.random.normal(jax.random.key(1), (8, 2))
    >>> params, z = coupling.init(jax.random.key(0), x)
    >>> bool((z[:, 0] == x[:, 0]).all())
    True

    Attributes:
      net: a `Conditioner`, such as a Flax module: net(visible, cond) -> the output, as `scale` says.
      split: which part is hidden.
      scale: one of `SCALES`.
      gain: the factor of the network's input.

    Raises:
      InputError: `scale` is not one of `SCALES`.
    """

    keeps_shape: ClassVar[bool] = True

    net: Any  # a `Conditioner`; `conditioner.create` refuses others
    split: Split = constant()
    scale: str = EXP
    gain: float = math.sqrt(2)

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise InputError(f"Coupling: scale must be one of {', '.join(SCALES)}, not {self.scale!r}")

    def create(self, key: Array, x: Array, cond: Cond = None) -> Params:
        return conditioner.create("Coupling", self.net, key, self._visible(x), cond)

    def calibrate(self, params: Params, x: Array, cond: Cond = None) -> tuple[Params, Array]:
        params = conditioner.calibrate(self.net, params, self._visible(x), cond)
        return params, self.forward(params, x, cond)[0]

    def forward(self, params: Params, x: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        return affine_forward(x, *self._scale_and_shift(params, x, cond))

    def inverse(self, params: Params, z: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        return affine_inverse(z, *self._scale_and_shift(params, z, cond))

    def pull_back(self, params: Params, z: Array, cond: Cond, cotangents: tuple[Array, LogDet]) -> PulledBack:
        # The visible parts of z and x are equal. So one run of the network is enough to compute x and the gradients.
        (s, b), pull_net = jax.vjp(self._scale_and_shift, params, z, cond)
        x, _ = affine_inverse(z, s, b)
        _, pull_affine = jax.vjp(affine_forward, x, s, b)
        of_x, of_s, of_b = pull_affine(cotangents)
        of_params, of_visible, of_cond = pull_net((of_s, of_b))
        return x, (of_params, of_x + of_visible, of_cond)

    def _visible(self, x: Array) -> Array:
        return self.gain * (1 - self.split.hidden(x.shape)) * x

    def _scale_and_shift(self, params: Params, x: Array, cond: Cond) -> tuple[Array, Array]:
        hidden = self.split.hidden(x.shape)
        out = conditioner.run("Coupling", self.net, params, self._visible(x), cond)
        if self.scale == ADDITIVE:
            return jnp.zeros((), x.dtype), -hidden * self._placed(out, x)
        s, b = (self._placed(a, x) for a in conditioner.pair("Coupling", out, "(s, b)", x.shape))
        if self.scale == SIGMOID:
            return -hidden * jax.nn.log_sigmoid(s + 2), -hidden * b
        s, b = hidden * s, hidden * b
        return jnp.clip(s, -SCALE_LIMIT, SCALE_LIMIT), jnp.clip(b, -SHIFT_LIMIT, SHIFT_LIMIT)

    def _placed(self, made: Any, x: Array) -> Array:
        if not isinstance(made, jax.Array):
            raise InputError(f"Coupling: its network must give an array of shape {tuple(x.shape)}, not {made!r:.60}")
        made = self.split.place(made, x.shape)
        check_same("Coupling", x, made, "the network's output")
        return made.astype(x.dtype)
