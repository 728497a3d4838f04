"""What every bijector does with its arguments: the rule of dtypes, and the errors of misuse."""

import re
from collections.abc import Iterator
from typing import Any

import bijectors
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hcflow_jax import flows, parameters
from hcflow_jax.errors import InputError
from hcflow_jax.nets.coupling_nets import ConvConditioner

# One case a class; how often and in which loop a step runs does not matter here.
NAMES = ("actnorm", "mixing_1", "mixing_lu_vector", "orthogonal", "permute", "squeeze", "injector")
NAMES += (
    "conditioned_without",
    "channel_vector",
    "channel_additive",
    "factor_out",
    "prior",
    "repeat_n",
    "invert_squeeze",
    "chain_squeeze",
)


@pytest.fixture
def x64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def test_no_class_is_missing() -> None:
    kinds = {type(bijectors.CASES[name].bijector) for name in NAMES}
    assert not bijectors.subclasses() - kinds


def _dtypes(tree: Any) -> set[str]:
    return {leaf.dtype.name for leaf in jax.tree.leaves(tree)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("given", [jnp.bfloat16, jnp.float16, np.float64])
def test_float32_is_the_rule(name: str, given: Any) -> None:
    """By shapes alone, so nothing compiles. Without x64, jax makes float32 of float64 itself."""
    expected = {jax.dtypes.canonicalize_dtype(given).name if given is np.float64 else "float32"}
    case = bijectors.CASES[name]
    x, cond = bijectors.inputs(case)
    params = bijectors.create(case)
    z = jax.tree.map(lambda leaf: leaf.astype(given), bijectors.latent(case))
    assert _dtypes(jax.eval_shape(case.bijector.forward, params, x.astype(given), cond)) == expected
    assert _dtypes(jax.eval_shape(case.bijector.inverse, params, z, cond)) == expected
    assert _dtypes(jax.eval_shape(case.bijector.init, jax.random.key(0), x.astype(given), cond)) == expected


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("given", [np.float32, np.float64])
def test_float64_stays(name: str, given: Any) -> None:
    """Under x64 each dtype stays what it is, the parameters' too, whatever the conditioning's is."""
    case = bijectors.CASES[name]
    x, cond = bijectors.inputs(case)
    cond = jax.tree.map(lambda leaf: leaf.astype(np.float64), cond)
    x = x.astype(given)
    params, z = jax.eval_shape(case.bijector.init, jax.random.key(0), x, cond)
    assert _dtypes((params, z)) <= {jnp.dtype(given).name}
    assert _dtypes(jax.eval_shape(case.bijector.forward, params, x, cond)) == {jnp.dtype(given).name}
    assert _dtypes(jax.eval_shape(case.bijector.inverse, params, z, cond)) == {jnp.dtype(given).name}


@pytest.mark.usefixtures("x64")
def test_float64_is_computed_in_float64() -> None:
    step = flows.chain(turn=flows.OrthogonalMixing(), net=flows.Coupling(ConvConditioner(4), flows.ChannelSplit()))
    flow = flows.Repeat(step, 2)
    x: Any = np.random.default_rng(0).normal(size=(3, 4))
    params, z = flow.init(jax.random.key(0), x)
    assert _dtypes((params, z)) == {"float64"}
    assert np.abs(jax.jit(flow.inverse)(params, z)[0] - x).max() < 1e-12
    gradient = jax.eval_shape(jax.grad(lambda params: jnp.sum(flow.forward(params, x)[0])), params)
    assert _dtypes(gradient) == {"float64"}


BAD = {
    "integers": (np.zeros((2, 4), np.int32), r"must be floating point \(float32, say\), not int32; .*\(2, 4\)"),
    "pixels": (np.zeros((2, 4), np.uint8), "not uint8"),
    "a list": ([[0.0, 1.0]], r"must be an array of shape \(batch, ..., channels\), not a list"),
    "one example": (np.zeros(4, np.float32), r"must be \(batch, ..., channels\), but has shape \(4,\).*x\[None\]"),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", BAD)
def test_what_is_no_batch_of_floats_is_refused(name: str, what: str) -> None:
    case = bijectors.CASES[name]
    x, message = BAD[what]
    for call in (
        lambda: case.bijector.forward({}, x, None),  # pyright: ignore[reportArgumentType]
        lambda: case.bijector.init(jax.random.key(0), x, None),  # pyright: ignore[reportArgumentType]
    ):
        with pytest.raises(InputError, match=rf"^{type(case.bijector).__name__}: .*{message}"):
            call()


POINTS: Any = np.zeros((2, 4), np.float32)
IMAGES: Any = np.zeros((2, 4, 4, 3), np.float32)
NET = ConvConditioner(4)
COUPLING = flows.Coupling(NET, flows.ChannelSplit())
KEY = jax.random.key(0)


def _points(flow: flows.Bijector, cond: Any = None) -> Any:
    return parameters.unbox(flow.create(KEY, jnp.asarray(POINTS), cond))


CHAIN = flows.chain(norm=flows.Actnorm(), net=COUPLING)
SPLIT = flows.chain(out=flows.FactorOut(NET), norm=flows.Actnorm())
MISUSE = {
    "a step without a number": (lambda: flows.Repeat(CHAIN), r"Repeat: .* Repeat\(step, 8\)"),
    "steps and a number": (lambda: flows.Repeat((CHAIN, CHAIN), 2), r"Repeat: .* Repeat\(step, 8\)"),
    "no step": (lambda: flows.Repeat(CHAIN, 0), "Repeat"),
    "a network class": (
        lambda: flows.Coupling(ConvConditioner, flows.ChannelSplit()).init(KEY, POINTS),  # pyright: ignore
        "Coupling: its network must have init and apply.*but is the class ConvConditioner",
    ),
    "a function as a network": (
        lambda: flows.Coupling(lambda x: x, flows.ChannelSplit()).init(KEY, POINTS),  # pyright: ignore
        "Coupling: its network must have init and apply.*but is function",
    ),
    "no pair": (
        lambda: flows.Coupling(bijectors.OneArray(), flows.ChannelSplit()).init(KEY, POINTS),
        r"Coupling: its network must give \(s, b\), each of shape \(2, 4\), not \(2, 4\)",
    ),
    "a pair for an additive coupling": (
        lambda: flows.Coupling(NET, flows.ChannelSplit(), scale="additive").init(KEY, POINTS),
        r"Coupling: its network must give an array of shape \(2, 4\)",
    ),
    "another scale": (
        lambda: flows.Coupling(NET, flows.ChannelSplit(), "tanh"),
        "one of exp, sigmoid, additive, not",
    ),
    "conditioning of actnorm": (
        lambda: flows.Actnorm().init(KEY, POINTS, IMAGES),
        r"Actnorm: it has no conditioning, .* given: \(2, 4, 4, 3\)",
    ),
    "conditioning of a chain that takes none": (
        lambda: flows.chain(norm=flows.Actnorm(), mix=flows.Mixing()).init(KEY, POINTS, POINTS),
        r"Chain: it has no conditioning, .* given: \(2, 4\)",
    ),
    "extra conditioning of a network": (
        lambda: CHAIN.forward(_points(CHAIN), POINTS, POINTS),
        r"Coupling: its network does not take x of shape \(2, 4\) and cond of shape \(2, 4\)",
    ),
    "missing conditioning": (
        lambda: CHAIN.forward(_points(CHAIN, POINTS), POINTS),
        r"Coupling: its network does not take x of shape \(2, 4\) and cond None",
    ),
    "another part of the conditioning": (
        lambda: flows.Conditioned("start", flows.Injector()).forward({}, POINTS, {"end": POINTS}),
        r"Conditioned: cond must be a dict with an entry 'start', not \{'end': \(2, 4\)\}",
    ),
    "conditioning of an injector": (
        lambda: flows.Injector().forward({}, POINTS, POINTS),
        r"Injector: cond must be \(b, s\), each of x's shape \(2, 4\), not \(2, 4\)",
    ),
    "a missing part of params": (
        lambda: CHAIN.forward({"norm": _points(CHAIN)["norm"]}, POINTS),
        "Chain: params has no entry 'net'; its entries: 'norm'",
    ),
    "a missing leaf": (lambda: flows.Actnorm().forward({}, POINTS), "Actnorm: params has no entry 'bias'"),
    "no params": (lambda: CHAIN.inverse(None, POINTS), "Chain: params must be the dict .*, not a NoneType"),
    "x in place of params": (lambda: CHAIN.forward(POINTS, POINTS), "Chain: params must be .* of shape \\(2, 4\\)"),
    "points for a squeeze": (lambda: flows.Squeeze().forward({}, POINTS), r"Squeeze: .*\(batch, h, w, .*\(2, 4\)"),
    "odd images": (lambda: flows.Squeeze(3).forward({}, IMAGES), r"multiples of 3, but has shape \(2, 4, 4, 3\)"),
    "a latent of too few channels": (lambda: flows.Squeeze().inverse({}, IMAGES), r"multiple of 4, .*\(2, 4, 4, 3\)"),
    "an odd half": (lambda: flows.FactorOut(NET).init(KEY, IMAGES), r"FactorOut: .* even .*\(2, 4, 4, 3\)"),
    "one latent of two": (
        lambda: SPLIT.inverse(_points(SPLIT), POINTS),
        r"Chain: its latent is a tuple of 2 arrays.* given: an array of shape \(2, 4\)",
    ),
    "latents that leave a repeated step": (
        lambda: flows.Repeat(SPLIT, 2).init(KEY, POINTS),
        r"Repeat: its step must keep x's shape \(2, 4\), but gives \(\(2, 2\), \(2, 2\)\)",
    ),
    "a shape that changes in a repeated step": (
        lambda: flows.Repeat(flows.Squeeze(), 2).init(KEY, jnp.zeros((1, 4, 4, 1))),
        r"Repeat: its step must keep x's shape \(1, 4, 4, 1\), but gives \(1, 2, 2, 4\)",
    ),
    "no permutation": (lambda: flows.Permute((0, 2)), r"Permute: .* permutation of 0, ..., 1, not \(0, 2\)"),
    "latents that leave what is inverted": (
        lambda: flows.Invert(SPLIT).init(KEY, POINTS),
        "Invert: .* Chain that factors out latents",
    ),
    "an empty chain": (lambda: flows.chain(), "chain: it needs"),
    "a class in a chain": (lambda: flows.chain(norm=flows.Actnorm), "chain: norm must be a bijector"),  # pyright: ignore
    "another base": (
        lambda: flows.Flow(flows.Actnorm(), flows.StandardNormal((3,))).init(KEY, POINTS),
        r"StandardNormal: z must have the shape \(3,\) after the batch, but has \(2, 4\)",
    ),
    "samples of another number than their conditioning": (
        lambda: flows.Flow(CHAIN, flows.StandardNormal((4,))).sample({}, KEY, 3, POINTS),
        r"Flow: for 3 samples cond must have 3 entries, but has shape \(2, 4\)",
    ),
}


@pytest.mark.parametrize("what", MISUSE)
def test_misuse_is_named(what: str) -> None:
    call, message = MISUSE[what]
    with pytest.raises(InputError) as error:
        call()
    assert re.search(message, str(error.value)), str(error.value)
    assert "\n" not in str(error.value)


def test_a_bijector_without_forward_cannot_be_made() -> None:
    class Nothing(flows.Bijector):
        pass

    with pytest.raises(TypeError, match="Nothing.*forward"):
        Nothing()  # pyright: ignore[reportAbstractUsage]
