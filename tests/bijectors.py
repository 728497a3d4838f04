"""Every bijector, once or more: what `test_bijectors` puts each through. A new one needs its rows here."""

import inspect
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from hcflow_jax import flows, parameters
from hcflow_jax.flows import Bijector, Coupling, Injector, Mixing, OrthogonalMixing, Repeat
from hcflow_jax.models.glow.nets import CouplingNetwork, TopPrior
from hcflow_jax.nets.coupling_nets import ConvConditioner, UNetConditioner
from hcflow_jax.nets.layers import Execution

BATCH = 2
EXECUTION = Execution(conv="shifted")


class Case(NamedTuple):
    """A bijector and what goes into it.

    Attributes:
      bijector: under test.
      shape: of x, without the batch.
      cond: shape of the conditioning without the batch, or a tuple or dict of such; None for none.
      no_effect: parts of the paths of parameters whose gradient is exactly zero in exact arithmetic.
    """

    bijector: Bijector
    shape: tuple[int, ...]
    cond: Any = None
    no_effect: tuple[str, ...] = ()


class OneArray(nn.Module):
    """A network for additive couplings: the shift alone, of the hidden channels if so many are said."""

    channels: int | None = None

    @nn.compact
    def __call__(self, visible: jax.Array, cond: Any = None) -> jax.Array:
        x = visible if cond is None else jnp.concatenate([visible, cond], -1)
        h = jnp.tanh(nn.Dense(6)(x))
        return nn.Dense(self.channels or visible.shape[-1])(h)


class Normed(nn.Module):
    """A network with an actnorm inside, which it initialises from data."""

    @nn.compact
    def __call__(self, visible: jax.Array, cond: Any = None, first: bool = False) -> tuple[jax.Array, jax.Array]:
        h = nn.Dense(6)(visible if cond is None else jnp.concatenate([visible, cond], -1))
        bias = self.param("bias", nn.initializers.zeros, (6,))
        if first:
            bias = -h.mean(tuple(range(h.ndim - 1)))
            self.put_variable("params", "bias", bias)
        s, b = jnp.split(nn.Dense(2 * visible.shape[-1])(jnp.tanh(h + bias)), 2, -1)
        return s, b

    @nn.nowrap
    def calibrate(self, variables: Any, visible: jax.Array, cond: Any = None) -> Any:
        return self.apply(variables, visible, cond, True, mutable=["params"])[1]


def _channel(hidden: int = 6, **options: Any) -> Coupling:
    return Coupling(ConvConditioner(hidden, EXECUTION), flows.ChannelSplit(), **options)


def _checker(square: int, index: int, scales: int = 1) -> Coupling:
    return Coupling(UNetConditioner(4, 1.3, scales, 1, EXECUTION), flows.CheckerSplit(square, index))


def _step(coupling: Coupling) -> flows.Chain:
    return flows.chain(actnorm=flows.Actnorm(), coupling=coupling, mixing=Mixing())


def _glow_coupling(affine: bool, **options: Any) -> Coupling:
    net = CouplingNetwork(4, affine, execution=EXECUTION, **options)
    return Coupling(net, flows.ChannelSplit(), scale="sigmoid" if affine else "additive", gain=1.0)


CHECKERS = tuple(_step(_checker(square, index)) for square, index in ((4, 1), (2, 0)))

# Permutation and signs are not trained.
_FIXED = ("order", "sign")
_FIXED_IN_STEPS = ("mix/order", "mix/sign")


def glow(levels: int = 2) -> flows.Chain:
    """Glow in small: levels of squeeze, steps, and a half that leaves; the last latent has a learned prior."""
    step = flows.chain(
        actnorm=flows.Actnorm(biased_std=True),
        mixing=Mixing(1.0),
        coupling=Coupling(Normed(), flows.ChannelSplit(), scale="sigmoid", gain=1.0),
    )
    parts: dict[str, Bijector] = {}
    for i in range(levels):
        parts |= {f"squeeze_{i}": flows.Squeeze(), f"steps_{i}": Repeat(step, 2)}
        parts |= {f"out_{i}": flows.FactorOut(Normed())} if i < levels - 1 else {"top": flows.Prior(Normed())}
    return flows.chain(**parts)


# A bias of a last layer of a scale, before an instance norm on every path, has no effect.
_BEFORE_NORM = ("down_0_c/b", "up_0_c/b")

CASES: dict[str, Case] = {
    "actnorm": Case(flows.Actnorm(), (4, 4, 3)),
    "actnorm_vector": Case(flows.Actnorm(), (5,)),
    "actnorm_from_zero": Case(flows.Actnorm(data_dependent=False), (5,)),
    "actnorm_biased": Case(flows.Actnorm(biased_std=True), (4, 4, 3)),
    "mixing_1": Case(Mixing(1.0), (2, 2, 3)),
    "mixing_lu": Case(flows.LUMixing(), (2, 2, 4), None, _FIXED),
    "mixing_lu_vector": Case(flows.LUMixing(), (5,), None, _FIXED),
    "permute": Case(flows.Permute((2, 0, 3, 1)), (4,)),
    "permute_image": Case(flows.Permute((2, 0, 1)), (2, 2, 3)),
    "squeeze": Case(flows.Squeeze(), (4, 6, 3)),
    "squeeze_3": Case(flows.Squeeze(3), (3, 6, 2)),
    "mixing_3": Case(Mixing(), (4, 4, 3)),
    "mixing_4": Case(Mixing(0.5), (2, 2, 4)),
    "orthogonal": Case(OrthogonalMixing(), (6,)),
    "orthogonal_image": Case(OrthogonalMixing(0.3), (2, 2, 3)),
    "channel": Case(_channel(), (4, 4, 3)),
    "channel_cond": Case(_channel(), (4, 4, 3), (4, 4, 4)),
    "channel_vector": Case(_channel(), (5,)),
    "channel_vector_cond": Case(_channel(), (5,), (4,)),
    "channel_sigmoid": Case(_channel(scale="sigmoid"), (4, 4, 3)),
    "channel_sigmoid_cond": Case(_channel(scale="sigmoid", gain=1.0), (5,), (4,)),
    "channel_additive": Case(Coupling(OneArray(), flows.ChannelSplit(), scale="additive"), (2, 2, 4)),
    "channel_additive_cond": Case(Coupling(OneArray(3), flows.ChannelSplit(), scale="additive"), (5,), (2,)),
    "channel_calibrated": Case(Coupling(Normed(), flows.ChannelSplit()), (2, 2, 3), (2, 2, 2)),
    "checker2_even": Case(_checker(2, 0), (4, 4, 3), (4, 4, 4)),
    "checker2_odd": Case(_checker(2, 3), (4, 4, 3), (4, 4, 4)),
    "checker4_even": Case(_checker(4, 2, scales=2), (8, 8, 3), None, _BEFORE_NORM),
    "checker4_odd": Case(_checker(4, 1, scales=2), (8, 8, 3), None, _BEFORE_NORM),
    "checker8_even": Case(_checker(8, 4), (16, 16, 1), (16, 16, 4)),
    "checker8_odd": Case(_checker(8, 1), (16, 16, 1), (16, 16, 4)),
    "injector": Case(Injector(), (4, 4, 3), ((4, 4, 3), (4, 4, 3))),
    "injector_without": Case(Injector(), (4, 4, 3)),
    "chain": Case(_step(_channel()), (4, 4, 3), (4, 4, 4)),
    "repeat": Case(Repeat(CHECKERS), (8, 8, 2), (8, 8, 4)),
    "repeat_unrolled": Case(Repeat(CHECKERS, unroll=True), (8, 8, 2), (8, 8, 4)),
    "repeat_of_one": Case(Repeat(CHECKERS[:1]), (8, 8, 2), (8, 8, 4)),
    "repeat_recomputed": Case(Repeat(CHECKERS, backward="recompute"), (8, 8, 2), (8, 8, 4)),
    "repeat_reversible": Case(Repeat(CHECKERS, backward="reversible"), (8, 8, 2), (8, 8, 4)),
    "repeat_n": Case(Repeat(flows.chain(norm=flows.Actnorm(), mix=flows.LUMixing()), 2), (4,), None, _FIXED_IN_STEPS),
    "repeat_permuted": Case(Repeat(tuple(map(flows.Permute, ((1, 2, 0), (0, 2, 1))))), (3,)),
    "invert": Case(flows.Invert(_step(_channel())), (3,), (4,)),
    "invert_squeeze": Case(flows.Invert(flows.chain(squeeze=flows.Squeeze(), norm=flows.Actnorm())), (2, 2, 8)),
    "chain_squeeze": Case(flows.chain(squeeze=flows.Squeeze(), step=_step(_channel())), (4, 4, 1)),
    "factor_out": Case(flows.FactorOut(Normed()), (2, 2, 4)),
    "factor_out_cond": Case(flows.FactorOut(Normed()), (6,), (2,)),
    "prior": Case(flows.Prior(Normed()), (4,), None, ("Dense_0/kernel",)),
    "glow": Case(glow(), (4, 4, 1), None, ("top/Dense_0/kernel",)),
    "actnorm_multiplied": Case(flows.Actnorm(biased_std=True, multiplier=3.0), (4, 4, 3)),
    "glow_additive": Case(_glow_coupling(affine=False), (3, 4, 4)),
    "glow_affine": Case(_glow_coupling(affine=True), (3, 4, 4)),
    "glow_openai": Case(_glow_coupling(affine=True, factor=3.0, indicator=True), (3, 4, 4)),
    "glow_top": Case(flows.Prior(TopPrior()), (2, 2, 4)),
    "glow_top_openai": Case(flows.Prior(TopPrior(indicator=True)), (2, 2, 4)),
    "conditioned": Case(flows.Conditioned("steps", _channel()), (4, 4, 3), {"steps": (4, 4, 4)}),
    "conditioned_without": Case(flows.Conditioned("steps", flows.Actnorm()), (5,)),
}


def inputs(case: Case) -> tuple[Any, Any]:
    """x and the conditioning of a case: numbers of about 1, the same at every call."""
    rng = np.random.default_rng(0)

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        return rng.normal(size=(BATCH, *shape)).astype(np.float32)

    x = draw(case.shape)
    if case.cond is None:
        return x, None
    is_shape = lambda node: isinstance(node, tuple) and all(isinstance(n, int) for n in node)  # noqa: E731
    return x, jax.tree.map(draw, case.cond, is_leaf=is_shape)


def latent(case: Case) -> Any:
    """Numbers of about 1 in the shape of z: x itself where that is x's."""
    x, cond = inputs(case)
    z = jax.eval_shape(case.bijector.forward, create(case), x, cond)[0]
    rng = np.random.default_rng(4)
    return jax.tree.map(lambda z: x if z.shape == x.shape else rng.normal(size=z.shape).astype(np.float32), z)


def create(case: Case) -> Any:
    """Fresh parameters, before any data is seen; what other libraries' layers draw is zero."""
    x, cond = inputs(case)
    boxed = jax.eval_shape(case.bijector.create, jax.random.key(0), x, cond)
    made = parameters.draw_all(jax.random.key(1), boxed) if jax.tree.leaves(boxed) else boxed

    def in_order(path: Any, leaf: np.ndarray) -> np.ndarray:
        return leaf + np.arange(leaf.shape[-1], dtype=np.float32)[::-1] if path[-1].key == "order" else leaf

    return jax.tree_util.tree_map_with_path(in_order, made)


def perturbed(case: Case) -> Any:
    """Parameters away from initialisation: where heads start at zero, a coupling would be the identity."""
    rng = np.random.default_rng(2)

    def perturb(path: Any, leaf: np.ndarray) -> np.ndarray:
        of_a_network = path[-1].key in ("w", "b") or any("Dense" in part.key for part in path)
        noise = rng.normal(size=leaf.shape) * (0.7 if of_a_network else 0.2)
        return leaf + noise.astype(np.float32)

    return jax.tree_util.tree_map_with_path(perturb, create(case))


def scale_and_shift(coupling: Coupling, params: Any, x: Any, cond: Any = None) -> tuple[Any, Any]:
    """s and b on the hidden part, zero elsewhere: read off what the coupling makes of latents 0 and 1."""
    hidden = coupling.split.hidden(x.shape)
    at_0, _ = coupling.inverse(params, (1 - hidden) * x, cond)
    at_1, _ = coupling.inverse(params, (1 - hidden) * x + hidden, cond)
    s = hidden * jnp.log(jnp.where(hidden > 0, at_1 - at_0, 1))
    return s, hidden * at_0


def subclasses(cls: type = Bijector) -> set[type]:
    """Bijectors defined under `hcflow_jax.flows`, however deep, that are no mere base of others."""
    found: set[type] = set()
    for sub in cls.__subclasses__():
        found |= subclasses(sub)
        own = getattr(sys.modules[sub.__module__], sub.__name__, None) is sub  # an example's is not
        if sub.__module__.startswith("hcflow_jax.flows") and own and not inspect.isabstract(sub):
            found.add(sub)
    return found
