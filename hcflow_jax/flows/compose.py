"""Bijectors made of bijectors: one after another, the same step many times, and a part of the conditioning."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from hcflow_jax.flows import reversible
from hcflow_jax.flows.base import Bijector, Cond, LogDet, Params, PulledBack, add_gradients, bijector, constant
from hcflow_jax.flows.reversible import STORE


@bijector
class Chain(Bijector):
    """Bijectors in `forward` order; params is a dict with an entry a name. log_det is the sum of theirs."""

    names: tuple[str, ...]
    bijectors: tuple[Bijector, ...] = constant()

    def create(self, key: Array, x: Array, cond: Cond = None) -> Params:
        keys = jax.random.split(key, len(self.names))
        return {n: b.create(k, x, cond) for n, b, k in zip(self.names, self.bijectors, keys, strict=True)}

    def calibrate(self, params: Params, x: Array, cond: Cond = None) -> tuple[Params, Array]:
        done = {}
        for name, each in zip(self.names, self.bijectors, strict=True):
            done[name], x = each.calibrate(params[name], x, cond)
        return done, x

    def forward(self, params: Params, x: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        total = jnp.zeros(x.shape[0])
        for name, each in zip(self.names, self.bijectors, strict=True):
            x, log_det = each.forward(params[name], x, cond)
            total += log_det
        return x, total

    def inverse(self, params: Params, z: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        total = jnp.zeros(z.shape[0])
        for name, each in zip(self.names[::-1], self.bijectors[::-1], strict=True):
            z, log_det = each.inverse(params[name], z, cond)
            total += log_det
        return z, total

    def pull_back(self, params: Params, z: Array, cond: Cond, cotangents: tuple[Array, LogDet]) -> PulledBack:
        of_z, of_log_det = cotangents
        of_params, of_cond = {}, None
        for name, each in zip(self.names[::-1], self.bijectors[::-1], strict=True):
            z, pulled = each.pull_back(params[name], z, cond, (of_z, of_log_det))
            of_params[name], of_z, more = pulled
            of_cond = more if of_cond is None else add_gradients(of_cond, more)
        return z, (of_params, of_z, of_cond)

    def prepare(self, params: Params) -> Params:
        return {n: b.prepare(params[n]) for n, b in zip(self.names, self.bijectors, strict=True)}


def chain(**bijectors: Bijector) -> Chain:
    """chain(actnorm=..., coupling=...): a `Chain` in the order written, which is `forward` order."""
    return Chain(tuple(bijectors), tuple(bijectors.values()))


@bijector
class Repeat(Bijector):
    """Like steps in `forward` order over parameters stacked along a leading axis.

    The steps are one program: they may differ only in `constant` fields (the squares of a checkerboard), which
    are handed to it step by step and are no part of the parameters. How it runs does not change its tree.

    Attributes:
      steps: the bijectors; all of one structure.
      unroll: run as straight-line code instead of `lax.scan`.
      backward: what the backward pass, of either direction, has of each step: "store", all activations;
        "recompute", its input alone, from which it runs again; "reversible", nothing: inputs are rebuilt through
        the inverse, last step first (`reversible`).
    """

    steps: tuple[Bijector, ...] = constant()
    unroll: bool = False
    backward: str = STORE

    def create(self, key: Array, x: Array, cond: Cond = None) -> Params:
        keys = jax.random.split(key, len(self.steps))
        return jax.vmap(lambda k, step: step.create(k, x, cond))(keys, self._stacked())

    def calibrate(self, params: Params, x: Array, cond: Cond = None) -> tuple[Params, Array]:
        def body(x: Array, each: tuple[Params, Bijector]) -> tuple[Array, Params]:
            done, z = each[1].calibrate(each[0], x, cond)
            return z, done

        x, params = jax.lax.scan(body, x, (params, self._stacked()))
        return params, x

    def forward(self, params: Params, x: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        return self._run(params, x, cond, inverse=False)

    def inverse(self, params: Params, z: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        return self._run(params, z, cond, inverse=True)

    def prepare(self, params: Params) -> Params:
        return jax.vmap(lambda p, step: step.prepare(p))(params, self._stacked())

    def _run(self, params: Params, x: Array, cond: Cond, inverse: bool) -> tuple[Array, LogDet]:
        each = (self.prepare(params), self._stacked())
        return reversible.run(each, x, cond, inverse=inverse, unroll=self.unroll, backward=self.backward)

    def _stacked(self) -> Any:
        """The steps as one bijector whose constants have a leading axis."""
        first = jax.tree.structure(self.steps[0])
        if any(jax.tree.structure(step) != first for step in self.steps):
            raise ValueError("Repeat: its steps must be alike but for constants; these differ in structure")
        return jax.tree.map(lambda *each: jnp.stack([jnp.asarray(e) for e in each]), *self.steps)


@bijector
class Conditioned(Bijector):
    """A bijector that is given one entry, `part`, of a conditioning that is a dict (or None)."""

    part: str
    inner: Bijector = constant()

    def create(self, key: Array, x: Array, cond: Cond = None) -> Params:
        return self.inner.create(key, x, self._part(cond))

    def calibrate(self, params: Params, x: Array, cond: Cond = None) -> tuple[Params, Array]:
        return self.inner.calibrate(params, x, self._part(cond))

    def forward(self, params: Params, x: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        return self.inner.forward(params, x, self._part(cond))

    def inverse(self, params: Params, z: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        return self.inner.inverse(params, z, self._part(cond))

    def prepare(self, params: Params) -> Params:
        return self.inner.prepare(params)

    def _part(self, cond: Cond) -> Cond:
        return None if cond is None else cond[self.part]
