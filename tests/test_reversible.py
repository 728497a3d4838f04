"""Gradients of a flow that keeps no activations: the ordinary ones, in memory that does not grow with it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from golden_data import group, load, nhwc
from golden_model import config, params
from jax.sharding import PartitionSpec

from benchmarks import flops, memory
from hcflow_jax import flows, parameters
from hcflow_jax.flows import reversible
from hcflow_jax.flows.base import bijector, constant, rebuild
from hcflow_jax.interop import arrays
from hcflow_jax.models.hierarchy import Hierarchy, build, noise
from hcflow_jax.models.hierarchy.objective import objective
from hcflow_jax.nets.coupling_nets import ConvConditioner
from hcflow_jax.nets.layers import Execution

SHAPE = (2, 8, 8, 4)


class Tiny(nn.Module):
    """A network of one layer that compiles at once; its conditioning may be a dict with an integer in it."""

    @nn.compact
    def __call__(self, visible: jax.Array, cond: Any = None) -> tuple[jax.Array, jax.Array]:
        x = visible
        if cond is not None:
            x = x + jnp.where(cond["on"] > 0, cond["by"], 0)
        h = jnp.tanh(nn.Dense(6, bias_init=nn.initializers.normal(1.0))(x))
        s, b = jnp.split(nn.Dense(2 * x.shape[-1])(h), 2, -1)
        return 0.3 * s, b


@bijector
class Roll(flows.Bijector):
    """Channels moved round by `offset`, an integer parameter, plus `shift`, a constant that steps may differ in."""

    shift: Any = constant()

    def create(self, key: jax.Array, x: jax.Array, cond: Any = None) -> Any:
        return {"offset": jnp.ones((), jnp.int32)}

    def forward(self, params: Any, x: jax.Array, cond: Any = None) -> tuple[jax.Array, jax.Array]:
        return jnp.roll(x, params["offset"], -1) + self.shift, jnp.zeros(x.shape[0])

    def inverse(self, params: Any, z: jax.Array, cond: Any = None) -> tuple[jax.Array, jax.Array]:
        return jnp.roll(z - self.shift, -params["offset"], -1), jnp.zeros(z.shape[0])


def tiny_step(shift: float = 0.0) -> flows.Chain:
    coupling = flows.Coupling(Tiny(), flows.ChannelSplit())
    return flows.chain(actnorm=flows.Actnorm(), coupling=coupling, mixing=flows.Mixing(), roll=Roll(shift))


def tiny(backward: str, **options: Any) -> flows.Repeat:
    return flows.Repeat(tuple(tiny_step(0.1 * i) for i in range(4)), backward=backward, **options)


@functools.cache
def tiny_case() -> tuple[Any, Any, Any]:
    """Parameters, x and conditioning of `tiny`."""
    rng = np.random.default_rng(0)
    x, by = (jnp.asarray(rng.normal(size=(3, 2, 2, 4)), jnp.float32) for _ in range(2))
    cond = {"by": by, "on": jnp.ones((), jnp.int32), "none": None}
    made = parameters.unbox(jax.jit(tiny("store").create)(jax.random.key(0), x, cond))
    made["actnorm"] = jax.tree.map(lambda leaf: leaf + 0.2 * rng.normal(size=leaf.shape), made["actnorm"])
    return jax.tree.map(jnp.asarray, made), x, cond


@functools.partial(jax.jit, static_argnames="direction")
def tiny_gradients(flow: flows.Repeat, cotangents: Any, direction: str = "forward") -> Any:
    """(output, gradients of parameters, x and cond)."""
    out, pull = jax.vjp(getattr(flow, direction), *tiny_case())
    return out, pull(cotangents)


def cotangents(x: Any, of_x: float = 1, of_log_det: float = 1) -> Any:
    rng = np.random.default_rng(1)
    z, log_det = (rng.normal(size=shape).astype(np.float32) for shape in (x.shape, x.shape[:1]))
    return of_x * z, of_log_det * log_det


def floating(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree) if leaf.dtype == np.float32]


def error(ours: Any, reference: Any) -> float:
    """||ours - reference|| / ||reference|| over all leaves together."""
    norm = lambda leaves: np.sqrt(sum(np.sum(np.square(leaf)) for leaf in leaves))  # noqa: E731
    pairs = zip(floating(ours), floating(reference), strict=True)
    return float(norm([a - b for a, b in pairs]) / norm(floating(reference)))


# The gradients


def convolutional(length: int, backward: str) -> flows.Repeat:
    coupling = flows.Coupling(ConvConditioner(8, Execution(conv="shifted")), flows.ChannelSplit())
    return flows.Repeat(
        (flows.chain(actnorm=flows.Actnorm(), coupling=coupling, mixing=flows.Mixing()),) * length, backward=backward
    )


def as_trained(flow: flows.Repeat, x: Any, cond: Any) -> Any:
    """Parameters of the size that training gives them.

    A flow of 64 of these steps, trained for 200 steps of Adam, had couplings with |s| about 0.05 and |b| 0.35,
    actnorms with |scale| about 0.1 and mixings of condition number 1.1.
    """
    rng = np.random.default_rng(2)
    own = {"coupling/scale/w": 0.07, "actnorm/bias": 0.1, "actnorm/scale": 0.1, "mixing/kernel": 0.07}

    def perturb(path: Any, leaf: np.ndarray) -> np.ndarray:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        leaf = leaf + (own.get(name, 0.1) * rng.normal(size=leaf.shape)).astype(np.float32)
        return 0.5 * leaf if name.startswith("coupling/shift/") else leaf

    boxed = jax.eval_shape(flow.create, jax.random.key(0), x, cond)
    return jax.tree_util.tree_map_with_path(perturb, parameters.draw_all(jax.random.key(1), boxed))


@pytest.mark.parametrize("length", [pytest.param(8, marks=pytest.mark.full), 64])
def test_gradients_are_the_ordinary_ones(length: int) -> None:
    rng = np.random.default_rng(0)
    x, cond = (rng.normal(size=SHAPE).astype(np.float32) for _ in range(2))
    made = as_trained(convolutional(length, "store"), x, cond)

    def gradients(backward: str) -> Any:
        flow = convolutional(length, backward)
        pull = jax.jit(lambda of_out: jax.vjp(flow.forward, made, x, cond)[1](of_out))
        return [pull(cotangents(x, *weights)) for weights in ((1, 0), (0, 1), (1, 1))]

    for ours, reference in zip(gradients("reversible"), gradients("store"), strict=True):
        assert min(np.abs(leaf).max() for leaf in floating(reference)) > 0  # every one is put to the test
        for part, ordinary in zip(ours, reference, strict=True):
            assert error(part, ordinary) < 1e-4


@pytest.mark.parametrize(("direction", "unroll"), [("forward", False), ("forward", True), ("inverse", False)])
def test_both_directions(direction: str, unroll: bool) -> None:
    """The log-det's cotangent counts, integers have no gradient, a None stays one."""
    _, x, _ = tiny_case()
    for weights in ((1, 0), (0, 1)):
        of_out = cotangents(x, *weights)
        out, (of_params, of_x, of_cond) = tiny_gradients(tiny("reversible", unroll=unroll), of_out, direction)
        expected, ordinary = tiny_gradients(tiny("store"), of_out, direction)
        assert error(out, expected) < 1e-6
        for part, reference in zip((of_params, of_x, of_cond), ordinary, strict=True):
            assert error(part, reference) < 1e-5
            assert jax.tree.structure(part) == jax.tree.structure(reference)
        assert of_params["roll"]["offset"].dtype == of_cond["on"].dtype == jax.dtypes.float0


def test_constants_have_no_gradient() -> None:
    made, x, cond = tiny_case()
    of_flow = jax.grad(lambda flow: jnp.sum(flow.forward(made, x, cond)[0]))(tiny("reversible"))
    assert all(step.bijectors[-1].shift == 0 for step in of_flow.steps)


def test_a_chain_and_a_coupling_rebuild_as_any_bijector_does() -> None:
    made, x, cond = tiny_case()
    step, one = tiny_step(0.3), jax.tree.map(lambda leaf: leaf[1], made)
    of_out = cotangents(x)
    ours = jax.jit(step.pull_back)(one, x, cond, of_out)
    plain = jax.jit(lambda *args: rebuild(step.forward, step.inverse, *args))(one, x, cond, of_out)
    assert jax.tree.structure(ours) == jax.tree.structure(plain)
    assert error(ours, plain) < 1e-6


def test_it_computes_what_recomputing_does() -> None:
    """Each network runs once more than with everything stored, not twice."""

    def count(backward: str) -> float:
        function, arguments = memory.gradient_program(4, backward)
        return flops.count(function, *arguments)

    forward_share = count("recompute") - count("store")
    assert abs(count("reversible") - count("recompute")) < 0.1 * forward_share


def test_under_shard_map() -> None:
    """With the types that say what varies over a mesh: the zeros it starts from have to, too."""
    made, x, cond = tiny_case()
    mesh = jax.make_mesh((1,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    one, run = PartitionSpec(), PartitionSpec("batch")

    integers = {"roll": made["roll"]}

    def gradients(backward: str) -> Any:
        def loss(floats: Any, x: Any, by: Any) -> Any:
            z, log_det = tiny(backward).forward({**floats, **integers}, x, {**cond, "by": by})
            return jnp.sum(z**2) - jnp.sum(log_det)

        of_all = jax.shard_map(jax.grad(loss, (0, 2)), mesh=mesh, in_specs=(one, run, run), out_specs=(one, run))
        return jax.jit(of_all)({name: made[name] for name in set(made) - set(integers)}, x, cond["by"])

    assert error(gradients("reversible"), gradients("store")) < 1e-5


# The memory


def temporaries(length: int, backward: str) -> int:
    """Bytes that the compiled gradient of a flow needs beside its arguments and results."""
    function, arguments = memory.gradient_program(length, backward, memory.Setting(conv="shifted"))
    analysis: Any = jax.jit(function).lower(*arguments).compile().memory_analysis()
    return analysis.temp_size_in_bytes


def test_memory_does_not_grow_with_the_length() -> None:
    assert temporaries(64, "reversible") <= 1.1 * temporaries(8, "reversible")


@pytest.mark.full
def test_memory_grows_where_activations_are_stored() -> None:
    """So that the test above would notice a gradient that stores them."""
    assert temporaries(64, "store") > 4 * temporaries(8, "store")


# The choice


def test_another_choice_is_refused() -> None:
    made, x, cond = tiny_case()
    with pytest.raises(ValueError, match="store, recompute, reversible, not 'checkpoint'"):
        tiny("checkpoint").forward(made, x, cond)


def _of_the_release(backward: str) -> Hierarchy:
    own = config().copy_and_resolve_references()
    own.execution.backward = backward
    return build.build(own)


@pytest.mark.parametrize("backward", reversible.BACKWARD)
def test_the_config_chooses_for_every_flow(backward: str) -> None:
    def repeats(node: Any) -> list[flows.Repeat]:
        if isinstance(node, flows.Repeat):
            return [node]
        if isinstance(node, flows.Conditioned):
            return repeats(node.inner)
        return [found for each in getattr(node, "bijectors", ()) for found in repeats(each)]

    for level in _of_the_release(backward).levels:
        found = repeats(level.flow)
        assert found and all(repeat.backward == backward for repeat in found)


@pytest.mark.full
def test_gradients_of_the_whole_model_are_the_authors() -> None:
    model, x = _of_the_release("reversible"), nhwc(load("tiny_a/forward")["x"])
    eps = noise.zeros(model, x.shape[0])
    gradient = jax.jit(jax.grad(lambda params: jnp.mean(objective(model, params, x, eps).loss)))
    ours, theirs = arrays.to_torch(gradient(params()), config()), group(load("tiny_a/loss_zero"), "grad/")
    assert error(ours, {name: theirs[name] for name in ours}) < 5e-4
