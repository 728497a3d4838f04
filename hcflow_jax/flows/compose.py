"""Bijectors made of bijectors: `Chain` (a sequence), `Repeat` (one step many times), `Conditioned` (part of cond)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from hcflow_jax import parameters
from hcflow_jax.errors import InputError
from hcflow_jax.flows import reversible
from hcflow_jax.flows.annotations import Array
from hcflow_jax.flows.base import (
    Bijector,
    Cond,
    Latent,
    LogDet,
    Params,
    PulledBack,
    add_gradients,
    bijector,
    constant,
)
from hcflow_jax.flows.checking import describe
from hcflow_jax.flows.reversible import STORE


@bijector
class Chain(Bijector):
    """A sequence of bijectors in `forward` order. log_det is the sum of their log-dets. `chain` makes one.

    params is a dict with one entry per name. Each bijector is created for the output of the one before it. If latents
    leave early (`FactorOut`), z is a tuple: the latents that left, in order, and then the last bijector's output.

    >>> from hcflow_jax import flows
    >>> flows.chain(norm=flows.Actnorm(), mix=flows.Mixing()).names
    ('norm', 'mix')

    Attributes:
      names: the names of the bijectors.
      bijectors: the bijectors.
    """

    names: tuple[str, ...]
    bijectors: tuple[Bijector, ...] = constant()

    @property
    def keeps_shape(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return all(each.keeps_shape for each in self.bijectors)

    @property
    def takes_cond(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return any(each.takes_cond for each in self.bijectors)

    @property
    def leaving(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return sum(each.leaving for each in self.bijectors)

    def create(self, key: Array, x: Array, cond: Cond = None) -> Params:
        made = {}
        for (name, each), own in zip(self._each(), jax.random.split(key, len(self.names)), strict=True):
            made[name] = each.create(own, x, _for(each, cond))
            x = put_out(each, made[name], x, _for(each, cond))
        return made

    def calibrate(self, params: Params, x: Array, cond: Cond = None) -> tuple[Params, Latent]:
        done, left = {}, ()
        for name, each in self._each():
            done[name], z = each.calibrate(params[name], x, _for(each, cond))
            *gone, x = z if each.leaving else (z,)
            left += tuple(gone)
        return done, (*left, x) if self.leaving else x

    def forward(self, params: Params, x: Array, cond: Cond = None) -> tuple[Latent, LogDet]:
        total, left = jnp.zeros(x.shape[0], x.dtype), ()
        for name, each in self._each():
            z, log_det = each.forward(params[name], x, _for(each, cond))
            *gone, x = z if each.leaving else (z,)
            left += tuple(gone)
            total += log_det
        return (*left, x) if self.leaving else x, total

    def inverse(self, params: Params, z: Latent, cond: Cond = None) -> tuple[Array, LogDet]:
        *left, x = z if self.leaving else (z,)
        total = jnp.zeros(x.shape[0], x.dtype)
        for name, each in self._each()[::-1]:
            if each.leaving:
                left, gone = left[: -each.leaving], left[-each.leaving :]
                x = (*gone, x)
            x, log_det = each.inverse(params[name], x, _for(each, cond))
            total += log_det
        return x, total

    def pull_back(self, params: Params, z: Latent, cond: Cond, cotangents: tuple[Latent, LogDet]) -> PulledBack:
        if self.leaving:
            return super().pull_back(params, z, cond, cotangents)
        of_z, of_log_det = cotangents
        of_params, of_cond = {}, None
        for name, each in self._each()[::-1]:
            z, pulled = each.pull_back(params[name], z, _for(each, cond), (of_z, of_log_det))
            of_params[name], of_z, more = pulled
            if each.takes_cond:
                of_cond = more if of_cond is None else add_gradients(of_cond, more)
        return z, (of_params, of_z, of_cond)

    def prepare(self, params: Params) -> Params:
        return {name: each.prepare(params[name]) for name, each in self._each()}

    def _each(self) -> list[tuple[str, Bijector]]:
        return list(zip(self.names, self.bijectors, strict=True))


def _for(each: Bijector, cond: Cond) -> Cond:
    return cond if each.takes_cond else None


def put_out(each: Bijector, params: Params, x: Array, cond: Cond) -> Array:
    """An array with the shape and dtype that the next bijector gets. Its values do not matter."""
    if each.keeps_shape:
        return x
    z, _ = jax.eval_shape(each.forward, parameters.unbox(params), x, cond)
    z = z[-1] if each.leaving else z
    return x if (z.shape, z.dtype) == (x.shape, x.dtype) else jnp.zeros(z.shape, z.dtype)


def chain(**bijectors: Any) -> Chain:
    """chain(actnorm=..., coupling=...): a `Chain` of the bijectors, in the given order, which is `forward` order.

    >>> import jax
    >>> from hcflow_jax import flows
    >>> flow = flows.chain(squeeze=flows.Squeeze(), actnorm=flows.Actnorm(), mixing=flows.Mixing())
    >>> params, z = flow.init(jax.random.key(0), jax.random.normal(jax.random.key(1), (2, 4, 4, 3)))
    >>> z.shape, sorted(params)
    ((2, 2, 2, 12), ['actnorm', 'mixing', 'squeeze'])

    Raises:
      InputError: there is no argument, or an argument is not a bijector.
    """
    if not bijectors:
        raise InputError("chain: it needs at least one bijector")
    for name, each in bijectors.items():
        if not isinstance(each, Bijector):
            raise InputError(f"chain: {name} must be a bijector, not {each!r:.80}")
    return Chain(tuple(bijectors), tuple(bijectors.values()))


@bijector
class Repeat(Bijector):
    """Steps of the same structure, in `forward` order. Their parameters are stacked along a leading axis.

    All steps run the same program. They may differ only in `constant` fields, such as the squares of a checkerboard,
    which are not parameters. `unroll` and `backward` do not change the tree of parameters.

    >>> import jax
    >>> from hcflow_jax import flows
    >>> flow = flows.Repeat(flows.chain(actnorm=flows.Actnorm(), mixing=flows.Mixing()), 3)
    >>> params, z = flow.init(jax.random.key(0), jax.random.normal(jax.random.key(1), (8, 2)))
    >>> params["mixing"]["kernel"].shape
    (3, 2, 2)

    Attributes:
      steps: a tuple of bijectors that have the same structure; or one bijector, with `n`.
      n: how often one bijector is repeated.
      unroll: whether to run straight-line code instead of `lax.scan`.
      backward: what is kept of each step for the backward pass, in both directions. "store": all activations.
        "recompute": only its input; the step is computed again. "reversible": nothing; inputs are computed from
        outputs with the inverse, last step first (`reversible`).

    Raises:
      InputError: the arguments are not a tuple of bijectors, or one bijector and a number.
    """

    steps: Any = constant()
    n: dataclasses.InitVar[int | None] = None
    unroll: bool = dataclasses.field(default=False, kw_only=True)
    backward: str = dataclasses.field(default=STORE, kw_only=True)

    def __post_init__(self, n: int | None) -> None:
        if isinstance(self.steps, Bijector) or n is not None:
            if not isinstance(self.steps, Bijector) or not isinstance(n, int) or n < 1:
                raise InputError(
                    "Repeat: give it a bijector and a number, Repeat(step, 8), or a tuple of bijectors, Repeat(steps)"
                )
            object.__setattr__(self, "steps", (self.steps,) * n)

    @property
    def keeps_shape(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return True  # `create` refuses a step that changes the shape: its output could not be its input

    @property
    def takes_cond(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.steps[0].takes_cond

    def create(self, key: Array, x: Array, cond: Cond = None) -> Params:
        keys = jax.random.split(key, len(self.steps))
        made = jax.vmap(lambda k, step: step.create(k, x, cond))(keys, self._stacked())
        first = self.steps[0]
        if not first.keeps_shape:
            one = jax.tree.map(lambda leaf: leaf[0], parameters.unbox(made))
            z = jax.eval_shape(first.forward, one, x, cond)[0]
            if first.leaving or z.shape != x.shape:
                raise InputError(f"Repeat: its step must keep x's shape {tuple(x.shape)}, but gives {describe(z)}")
        return made

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
        """All steps as one bijector: its constants are stacked along a leading axis."""
        if not isinstance(self.steps, tuple) or not all(isinstance(step, Bijector) for step in self.steps):
            raise InputError(f"Repeat: its steps must be a tuple of bijectors, not {self.steps!r:.80}")
        first = jax.tree.structure(self.steps[0])
        if any(jax.tree.structure(step) != first for step in self.steps):
            raise InputError("Repeat: its steps may differ only in constants; these differ in structure")
        return jax.tree.map(lambda *each: jnp.stack([jnp.asarray(e) for e in each]), *self.steps)


@bijector
class Conditioned(Bijector):
    """A bijector that gets one entry of the conditioning, cond[part].

    >>> import jax
    >>> from hcflow_jax import flows
    >>> x = jax.random.normal(jax.random.key(1), (2, 3))
    >>> flows.Conditioned("start", flows.Injector()).forward({}, x, {"start": (x, 0 * x)})[0].tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]

    Attributes:
      part: the key. If cond is None, the bijector gets None.
      inner: the bijector.
    """

    part: str
    inner: Bijector = constant()

    @property
    def keeps_shape(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.keeps_shape

    @property
    def takes_cond(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.takes_cond

    @property
    def leaving(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.leaving

    def create(self, key: Array, x: Array, cond: Cond = None) -> Params:
        return self.inner.create(key, x, self._part(cond))

    def calibrate(self, params: Params, x: Array, cond: Cond = None) -> tuple[Params, Latent]:
        return self.inner.calibrate(params, x, self._part(cond))

    def forward(self, params: Params, x: Array, cond: Cond = None) -> tuple[Latent, LogDet]:
        return self.inner.forward(params, x, self._part(cond))

    def inverse(self, params: Params, z: Latent, cond: Cond = None) -> tuple[Array, LogDet]:
        return self.inner.inverse(params, z, self._part(cond))

    def prepare(self, params: Params) -> Params:
        return self.inner.prepare(params)

    def _part(self, cond: Cond) -> Cond:
        if cond is None:
            return None
        if not isinstance(cond, dict) or self.part not in cond:
            raise InputError(f"Conditioned: cond must be a dict with an entry {self.part!r}, not {describe(cond)}")
        return cond[self.part]
