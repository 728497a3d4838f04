"""Every bijector against what a bijector promises, with parameters away from their initialisation."""

import functools
import re
from functools import partial
from types import SimpleNamespace
from typing import Any

import bijectors
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bijectors import CASES

from hcflow_jax import flows

ROUNDING = 2e-5  # float32, values of about 1; relative to the largest value on the way

COUPLINGS = {name: case.bijector for name, case in CASES.items() if isinstance(case.bijector, flows.Coupling)}
# Op by op is slow to compile: of the checkerboards one.
EAGER = [name for name in CASES if name == "checker2_odd" or not re.match("checker|repeat", name)]
REPEATS = ("repeat", "repeat_unrolled", "repeat_recomputed", "repeat_reversible")
# What holds of the first holds of the others, since they give the same numbers.
every = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in REPEATS[1:] else name for name in CASES]
)


# Programs take the bijector as an argument: cases that differ in a constant alone share them.
FORWARD = jax.jit(lambda bijector, *args: bijector.forward(*args))
READ = jax.jit(bijectors.scale_and_shift)
INVERSE = jax.jit(lambda bijector, *args: bijector.inverse(*args))


@jax.jit
def _transposed(bijector: flows.Bijector, params: Any, x: Any, cond: Any, cotangents: Any) -> Any:
    _, pull = jax.vjp(bijector.forward, params, x, cond)
    return jax.vmap(pull)(cotangents)


@functools.cache
def results(name: str) -> SimpleNamespace:
    """Everything about a case, from three programs: forward, inverse, and forward's transpose."""
    case = CASES[name]
    params, (x, cond) = bijectors.perturbed(case), bijectors.inputs(case)
    forward, inverse = partial(FORWARD, case.bijector), partial(INVERSE, case.bijector)

    # A cotangent a dimension, the same for both samples, gives the Jacobians; the last one is a loss.
    size = x[0].size
    weights = np.random.default_rng(3).normal(size=(1, *x.shape)).astype(np.float32)
    each = np.broadcast_to(np.eye(size, dtype=np.float32)[:, None], (size, 2, size))
    of_log_det = np.zeros((size + 1, 2), np.float32)
    of_log_det[-1] = 0.1
    given = bijectors.latent(case)
    of_z = _in_parts(np.concatenate([each, weights.reshape(1, 2, size)]), given)
    cotangents = (of_z, of_log_det)
    pulled = jax.device_get(_transposed(case.bijector, params, x, cond, cotangents))

    z, log_det = forward(params, x, cond)
    made, made_log_det = inverse(params, given, cond)
    elsewhere = x.copy()
    elsewhere[1] += 0.5
    return SimpleNamespace(
        case=case,
        params=params,
        x=x,
        cond=cond,
        given=given,
        forward=(z, log_det),
        back=inverse(params, z, cond),
        made=(made, made_log_det),
        again=forward(params, made, cond),
        other=jax.tree.map(lambda z: z[0], forward(params, elsewhere, cond)[0]),
        jacobians=pulled[1][:-1].reshape(size, 2, size).transpose(1, 0, 2),
        gradients=jax.tree.map(lambda leaf: leaf[-1], pulled),
    )


def _in_parts(flat: np.ndarray, latent: Any) -> Any:
    """(..., batch, all dimensions) cut into the shapes of a latent's parts."""
    leaves, structure = jax.tree.flatten(latent)
    ends = np.cumsum([leaf[0].size for leaf in leaves])
    parts = np.split(flat, ends[:-1], -1)
    lead = flat.shape[:-2]
    return jax.tree.unflatten(
        structure, [part.reshape(*lead, *leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
    )


def _near(a: Any, b: Any, limit: float = ROUNDING) -> None:
    """Trees equal to rounding, relative to 1 or the largest value."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=limit * _size(b)), a, b)


def _size(a: Any) -> float:
    return max(1.0, float(np.abs(a).max(initial=0)))


def test_every_bijector_is_in_the_table() -> None:
    def within(bijector: flows.Bijector) -> set[type]:
        is_one = lambda node: isinstance(node, flows.Bijector) and node is not bijector  # noqa: E731
        inner = jax.tree.leaves(bijector, is_leaf=is_one)
        return {type(bijector)}.union(*(within(b) for b in inner if isinstance(b, flows.Bijector)))

    covered = set().union(*(within(case.bijector) for case in CASES.values()))
    missing = {cls.__name__ for cls in bijectors.subclasses() - covered}
    assert not missing, f"tests/bijectors.py has no case of {', '.join(sorted(missing))}"


@every
def test_round_trip(name: str) -> None:
    r = results(name)
    _near(r.back[0], r.x)
    _near(r.again[0], r.given)


@every
def test_log_dets_cancel(name: str) -> None:
    r = results(name)
    for log_det in (r.forward[1], r.made[1]):
        assert log_det.shape == r.x.shape[:1] and log_det.dtype == np.float32
    _near(r.forward[1] + r.back[1], np.zeros(2), ROUNDING * _size(r.forward[1]))
    _near(r.made[1] + r.again[1], np.zeros(2), ROUNDING * _size(r.made[1]))


@every
def test_log_det_is_the_jacobians(name: str) -> None:
    r = results(name)
    reference = np.linalg.slogdet(r.jacobians.astype(np.float64)).logabsdet
    np.testing.assert_allclose(r.forward[1], reference, rtol=1e-4, atol=1e-4)


@every
def test_samples_do_not_see_each_other(name: str) -> None:
    r = results(name)
    _near(r.other, jax.tree.map(lambda z: z[0], r.forward[0]))


@pytest.mark.parametrize("name", [name for name in CASES if name not in REPEATS[1:]])
def test_prepared_is_raw(name: str) -> None:
    r = results(name)
    bijector = r.case.bijector
    ready = jax.jit(bijector.prepare)(r.params)
    _near(FORWARD(bijector, ready, r.x, r.cond), r.forward)
    _near(INVERSE(bijector, ready, r.forward[0], r.cond), r.back)
    jax.tree.map(np.testing.assert_array_equal, bijector.prepare(ready), ready)


@pytest.mark.slow
@pytest.mark.parametrize("name", EAGER)
def test_jitted_is_eager(name: str) -> None:
    r = results(name)
    _near(r.case.bijector.forward(r.params, r.x, r.cond), r.forward)
    _near(r.case.bijector.inverse(r.params, r.given, r.cond), r.made)
    np.testing.assert_allclose(r.case.bijector.log_det(r.params, r.x, r.cond), r.forward[1], rtol=1e-5, atol=1e-5)


@every
def test_gradients(name: str) -> None:
    r = results(name)
    for leaf in jax.tree.leaves(r.gradients):
        assert np.isfinite(leaf).all()
    of_params, of_x, of_cond = r.gradients
    assert all(np.abs(leaf).max() > 1e-4 for leaf in jax.tree.leaves((of_x, of_cond)))
    for path, leaf in jax.tree_util.tree_leaves_with_path(of_params):
        where = jax.tree_util.keystr(path, simple=True, separator="/")
        each = leaf if name in REPEATS else leaf[None]
        largest = np.abs(each).max(tuple(range(1, each.ndim)))
        if where in r.case.no_effect:
            assert (largest < 1e-4).all(), f"{where} has an effect after all"
        else:
            assert (largest > 1e-6).all(), f"{where} has no gradient"


@pytest.mark.slow
@every
def test_init_has_the_tree_of_create(name: str) -> None:
    case = CASES[name]
    x, cond = bijectors.inputs(case)
    params, z = jax.eval_shape(case.bijector.init, jax.random.key(0), x, cond)
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, bijectors.create(case))
    assert jax.tree.map(np.shape, z) == jax.tree.map(np.shape, bijectors.latent(case))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in EAGER if name != "checker2_odd"])
def test_init_gives_its_z(name: str) -> None:
    case = CASES[name]
    x, cond = bijectors.inputs(case)
    params, z = case.bijector.init(jax.random.key(0), jnp.asarray(x), cond)
    _near(z, case.bijector.forward(params, x, cond)[0])


@pytest.mark.parametrize("name", [name for name, coupling in COUPLINGS.items() if coupling.scale == "exp"])
def test_coupling_moves_the_hidden_part_by_the_visible(name: str) -> None:
    """Guards the table: with s or b zero or constant the tests above would say little."""
    r = results(name)
    hidden = np.broadcast_to(r.case.bijector.split.hidden(r.x.shape), r.x.shape)
    assert 0 < hidden.mean() < 1
    np.testing.assert_array_equal(r.forward[0][hidden == 0], r.x[hidden == 0])

    read = partial(READ, r.case.bijector)
    before = read(r.params, r.x, r.cond)
    after = read(r.params, r.x + 0.5 * np.sin(np.arange(r.x.size).reshape(r.x.shape)), r.cond)
    for value, changed, limit in zip(before, after, (3, 5), strict=True):
        inside = np.asarray(value)[hidden > 0]
        assert np.abs(inside).mean() > 0.02 and (np.abs(inside) < limit - 0.01).mean() > 0.5
        assert np.abs(np.asarray(changed)[hidden > 0] - inside).mean() > 0.002
    if r.cond is not None:
        other = read(r.params, r.x, r.cond + 1)
        assert all(np.abs(o - b).max() > 0.002 for o, b in zip(other, before, strict=True))


@pytest.mark.parametrize("name", [name for name, coupling in COUPLINGS.items() if coupling.scale != "exp"])
def test_other_couplings_move_the_hidden_part_by_the_visible(name: str) -> None:
    r = results(name)
    hidden = np.broadcast_to(r.case.bijector.split.hidden(r.x.shape), r.x.shape)
    changed, _ = FORWARD(r.case.bijector, r.params, r.x + (1 - hidden) * 0.5, r.cond)
    np.testing.assert_array_equal(r.forward[0][hidden == 0], r.x[hidden == 0])
    assert np.abs(r.forward[0] - r.x)[hidden > 0].mean() > 0.05
    assert np.abs(changed - r.forward[0])[hidden > 0].mean() > 0.002


@pytest.mark.parametrize("name", [n for n in CASES if n != "injector_without" and CASES[n].bijector.keeps_shape])
def test_wrong_channels_are_refused(name: str) -> None:
    case = CASES[name]
    x, cond = bijectors.inputs(case)
    wrong = np.concatenate([x, x[..., :1]], -1)
    for apply in (case.bijector.forward, case.bijector.inverse):
        with pytest.raises(ValueError, match="shape") as error:
            apply(bijectors.create(case), jnp.asarray(wrong), cond)
        _names_two_shapes(str(error.value), wrong.shape)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("channel_cond", np.zeros((2, 4, 4, 5), np.float32)),
        ("channel_cond", np.zeros((2, 2, 2, 4), np.float32)),
        ("channel_vector_cond", np.zeros((2, 3), np.float32)),
        ("checker2_odd", np.zeros((2, 4, 4, 6), np.float32)),
        ("injector", (np.zeros((2, 4, 4, 3), np.float32), np.zeros((2, 4, 4, 4), np.float32))),
        ("injector", (np.zeros((1, 4, 4, 3), np.float32), np.zeros((2, 4, 4, 3), np.float32))),
    ],
)
def test_wrong_conditioning_is_refused(name: str, wrong: Any) -> None:
    case = CASES[name]
    x, _ = bijectors.inputs(case)
    with pytest.raises(ValueError, match="shape") as error:
        case.bijector.forward(bijectors.create(case), x, wrong)
    _names_two_shapes(str(error.value), x.shape)
    odd = next(leaf.shape for leaf in jax.tree.leaves(wrong) if leaf.shape != x.shape)
    assert str(odd) in str(error.value)


def _names_two_shapes(message: str, given: tuple[int, ...]) -> None:
    assert "\n" not in message
    assert str(given) in message
    assert message.count("(") >= 2, message


def test_missing_conditioning_is_refused() -> None:
    case = CASES["channel_cond"]
    with pytest.raises(ValueError, match="does not take x of shape"):
        case.bijector.forward(bijectors.create(case), bijectors.inputs(case)[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", REPEATS[1:])
def test_how_a_repeat_runs_changes_nothing(name: str) -> None:
    scan, other = results("repeat"), results(name)
    assert jax.tree.structure(scan.params) == jax.tree.structure(other.params)
    _near(other.forward, scan.forward)
    _near(other.made, scan.made)
    _near(other.gradients, scan.gradients, 1e-4)


@pytest.mark.slow
def test_repeat_is_its_steps_one_after_another() -> None:
    r = results("repeat")
    x, total = r.x, 0
    for i, step in enumerate(bijectors.CHECKERS):
        x, log_det = step.forward(jax.tree.map(lambda leaf, i=i: leaf[i], r.params), x, r.cond)
        total += log_det
    _near((x, total), r.forward)
