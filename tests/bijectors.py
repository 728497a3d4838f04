"""Every bijector, once or more: what `test_bijectors` puts each through. A new one needs its rows here."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hcflow_jax import flows, parameters
from hcflow_jax.flows import Bijector, Coupling, Injector, Mixing, OrthogonalMixing, Repeat
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


def _channel(hidden: int = 6) -> Coupling:
    return Coupling(ConvConditioner(hidden, EXECUTION), flows.ChannelSplit())


def _checker(square: int, index: int, scales: int = 1) -> Coupling:
    return Coupling(UNetConditioner(4, 1.3, scales, 1, EXECUTION), flows.CheckerSplit(square, index))


def _step(coupling: Coupling) -> flows.Chain:
    return flows.chain(actnorm=flows.Actnorm(), coupling=coupling, mixing=Mixing())


CHECKERS = tuple(_step(_checker(square, index)) for square, index in ((4, 1), (2, 0)))

# A bias of a last layer of a scale, before an instance norm on every path, has no effect.
_BEFORE_NORM = ("down_0_c/b", "up_0_c/b")

CASES: dict[str, Case] = {
    "actnorm": Case(flows.Actnorm(), (4, 4, 3)),
    "actnorm_vector": Case(flows.Actnorm(), (5,)),
    "actnorm_from_zero": Case(flows.Actnorm(data_dependent=False), (5,)),
    "mixing_3": Case(Mixing(), (4, 4, 3)),
    "mixing_4": Case(Mixing(0.5), (2, 2, 4)),
    "orthogonal": Case(OrthogonalMixing(), (6,)),
    "orthogonal_image": Case(OrthogonalMixing(0.3), (2, 2, 3)),
    "channel": Case(_channel(), (4, 4, 3)),
    "channel_cond": Case(_channel(), (4, 4, 3), (4, 4, 4)),
    "channel_vector": Case(_channel(), (5,)),
    "channel_vector_cond": Case(_channel(), (5,), (4,)),
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


def create(case: Case) -> Any:
    """Fresh parameters, before any data is seen."""
    x, cond = inputs(case)
    boxed = jax.eval_shape(case.bijector.create, jax.random.key(0), x, cond)
    return parameters.draw_all(jax.random.key(1), boxed) if jax.tree.leaves(boxed) else boxed


def perturbed(case: Case) -> Any:
    """Parameters away from initialisation: where heads start at zero, a coupling would be the identity."""
    rng = np.random.default_rng(2)

    def perturb(path: Any, leaf: np.ndarray) -> np.ndarray:
        of_a_network = path[-1].key in ("w", "b")
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
    """Public bijectors defined under `hcflow_jax.flows`, however deep."""
    found: set[type] = set()
    for sub in cls.__subclasses__():
        found |= subclasses(sub)
        if sub.__module__.startswith("hcflow_jax.flows") and not sub.__name__.startswith("_"):
            found.add(sub)
    return found
