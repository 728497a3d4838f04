"""Odd arguments of the API: the right result, or one error that names the argument. Nothing is compiled here."""

# pyright: reportArgumentType=false

import copy
import pickle
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from api_model import config, images, model, params

from hcflow_jax import api
from hcflow_jax.api import arguments, engine
from hcflow_jax.errors import InputError

SHAPES = {"prior": (4,), "y1": (12,), "8": (8, 8, 4), "16": (16, 16, 3)}


def latents(count: int = 3, **changed: Any) -> api.Latents:
    rng = np.random.default_rng(0)
    made = {name: rng.standard_normal((count, *shape)).astype(np.float32) for name, shape in SHAPES.items()}
    return api.Latents({**made, **changed})


def taken(z: api.Latents) -> dict[str, np.ndarray]:
    return arguments.known_latents(model().image_model, z)


def same(z: Any, expected: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, dict(z.items()), dict(expected.items()))


@pytest.mark.situation("latents that are not finite, of a dtype that is not numeric, or empty")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (latents(y1=np.full((3, 12), np.nan)), "level y1 have values that are not finite"),
        (latents(y1=np.full((3, 12), -np.inf, np.float32)), "level y1 have values that are not finite"),
        (latents(y1=np.full((3, 12), 1e300)), "level y1 have values that are not finite"),
        (latents(y1=np.zeros((3, 12), complex)), "level y1 are complex128"),
        (latents(y1=np.zeros((3, 12), object)), "level y1 are object"),
        (latents(y1=np.zeros((3, 12), bool)), "level y1 are bool"),
        (latents(y1=np.full((3, 12), "1")), "level y1 are <U1"),
        (latents(y1=None), "level y1 have shape"),
        (latents(y1=[[1], [1, 2], [3]]), "level y1 are not an array"),
        (latents(y1=np.zeros((3, 11))), r"level y1 have shape \(3, 11\); the model expects \(3, 12\)"),
        (latents(0), "latents: contain no image"),
        (latents().as_dict(), "latents is dict: expected Latents"),
        (None, "latents is NoneType"),
    ],
)
def test_latents_that_will_not_do(given, message):
    for call in (model().decode, lambda z: list(model().decode_batches(z)), lambda z: model().decode_coarse(z, "16")):
        with pytest.raises(InputError, match=message):
            call(given)


@pytest.mark.situation(
    "latents as lists, JAX arrays, of other float types or byte orders, read-only or not contiguous"
)
def test_latents_of_other_kinds():
    z = latents()
    expected = taken(z)
    fixed = np.array(z["y1"])
    fixed.setflags(write=False)
    for other in (z["y1"].tolist(), jnp.asarray(z["y1"]), z["y1"].astype(float), z["y1"].astype(">f4"), fixed):
        same(taken(z.replace(y1=other)), expected)
    same(taken(api.Latents({name: np.repeat(a, 2, 0)[::2] for name, a in z.items()})), expected)
    half = z.replace(y1=jnp.asarray(z["y1"], jnp.bfloat16))
    np.testing.assert_allclose(taken(half)["y1"], z["y1"], rtol=1e-2)


@pytest.mark.situation("counts, seeds and numbers of images: whole numbers of NumPy and JAX")
def test_whole_numbers_of_any_type():
    for two in (2, np.int64(2), np.uint8(2), np.array(2), jnp.array(2)):
        assert arguments.numbers(two, two) == range(2, 4)
        assert arguments.known_seed(two) == 2
    assert arguments.known_seed(2**32 - 1) == 2**32 - 1
    assert arguments.numbers(1, 2**32 - 1) == range(2**32 - 1, 2**32)


NO_NUMBERS: Any = [2.5, 2.0, "2", None, True, np.True_, np.array([2]), -1, 2**70, np.array(-1), float("nan")]


@pytest.mark.situation("counts, seeds and numbers of images that are fractions, booleans, negative or too large")
@pytest.mark.parametrize("number", NO_NUMBERS)
@pytest.mark.parametrize("name", ["n", "seed", "first"])
def test_what_is_no_whole_number(name, number):
    for call in (model().draw, model().sample, lambda **given: next(model().sample_batches(**given))):
        with pytest.raises(InputError, match=f"^{name} is "):
            call(**{"n": 1, name: number})


@pytest.mark.situation("counts, seeds and numbers of images that are fractions, booleans, negative or too large")
def test_other_counts():
    a, b = latents(1), latents(1)
    for call, message in (
        (lambda: model().sample(2, first=2**32 - 1), "n is 2 from image 4294967295 on"),
        (lambda: model().interpolate(a, b, 2.5), "n is 2.5: "),
        (lambda: api.held_out(model().config, 0), "count is 0: "),
        (lambda: model().interpolate(a, b, True), "n is True: "),
        (lambda: model().vary(a, "16", 2.5), "n is 2.5: "),
        (lambda: model().export_sampler("file", 2.5), "n is 2.5: "),
        (lambda: model().export_sampler(3), "path is 3: "),
        (lambda: model().interpolate(a, latents(0), 2), "b: contain no image"),
        (lambda: model().interpolate(None, b, 2), "a is NoneType"),
        (lambda: model().encode(images(1), progress=3), "progress is 3: "),
        (lambda: model().decode_from(a, a), "coarse is Latents"),
    ):
        with pytest.raises(InputError, match=message):
            call()


BAD_SIGMA: Any = ["0.7", True, np.nan, np.inf, 1e300, [0.7], np.array([0.7]), 1j, {"8": None}, {"8": "a"}, -1]


@pytest.mark.situation("a sigma that is not a number, not finite, negative, or of a level that does not exist")
@pytest.mark.parametrize("sigma", [*BAD_SIGMA, {8: 1.0}, {"4": 1.0}])
def test_no_sigma(sigma):
    with pytest.raises(InputError, match="^(sigma is|levels are named by text|no level '4')"):
        model().sample(1, sigma=sigma)


def test_sigmas_of_any_number_type():
    for half in (
        np.float64(0.5),
        jnp.float32(0.5),
        np.array(0.5),
        np.float16(0.5),
        {"8": 0.5, "16": np.float32(0.5)},
    ):
        np.testing.assert_array_equal(arguments.sigmas(model().image_model, half), [1, 1, 0.5, 0.5])


NO_LEVELS: Any = [8, None, b"8", [8], "32", ["8", None], [["8"]], np.array([8, 16]), 3.5, "", ["8", "32"]]


@pytest.mark.situation("levels that are not text, or that do not exist")
@pytest.mark.parametrize("levels", NO_LEVELS)
def test_no_levels(levels):
    for call in (model().zero, model().resample):
        with pytest.raises(InputError, match="level"):
            call(latents(), levels)
    for levels in (levels, ["8"], ("8", "16")):  # noqa: B020, PLR1704
        with pytest.raises(InputError, match="level"):
            model().decode_coarse(latents(), levels)


@pytest.mark.situation("levels named twice, or in a tuple, a set, an array of text or a generator")
def test_levels_of_any_kind():
    z = latents()
    for levels in ("8", ["8", "8"], ("8",), {"8"}, np.array(["8"]), (name for name in ["8"])):
        zeroed = model().zero(z, levels)
        assert not zeroed["8"].any() and (zeroed["16"] == z["16"]).all()
    same(model().zero(z, []), z)


@pytest.mark.situation("`api.load` of an empty path or none, with another dtype or with no mesh")
def test_loading_what_is_none():
    for given, message in (
        (dict(path=""), "path is empty"),
        (dict(path=3), "path is 3"),
        (dict(dtype=None), "dtype is 'float32' or 'bfloat16', not None"),
        (dict(dtype=np.float32), "dtype is 'float32' or 'bfloat16'"),
        (dict(mesh=3), "mesh is int"),
    ):
        with pytest.raises(InputError, match=message):
            api.load(**given)


@pytest.mark.situation("a model or latents, pickled or copied")
def test_pickles_and_copies():
    z = latents()
    same(pickle.loads(pickle.dumps(z)), z)
    same(copy.deepcopy(z), z)
    made = api.Model(config(), params(), statistics={"8": 1.5})
    made.batch_size = 4
    for other in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made), copy.copy(made)):
        assert (other.batch_size, other.dtype, other.statistics) == (4, "float32", {"8": 1.5})
        assert other.fingerprint == made.fingerprint and other.mesh == made.mesh
    deep = copy.deepcopy(made)
    jax.tree.map(lambda a: a.fill(0), deep.params)
    assert made.fingerprint == api.Model(config(), params()).fingerprint != deep.fingerprint
    bits = api.Bits({"total": np.zeros(2)}, "stored")
    assert pickle.loads(pickle.dumps(bits)).statistics == copy.copy(bits).statistics == "stored"


@pytest.mark.situation("a model that several threads use")
def test_threads_share_what_is_made_once(monkeypatch):
    made = api.Model(config(), params())
    calls, together, found = [], threading.Barrier(4), []
    monkeypatch.setattr(made._use("float32"), "prepare", lambda given: calls.append(1) or dict(given))

    def work():
        together.wait()
        found.append((made.prepared, made._use("bfloat16")))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1 and len({(id(a), id(b)) for a, b in found}) == 1 and len(found) == 4


@pytest.mark.situation("a model in a forked process")
def test_a_forked_process_is_told(monkeypatch):
    model()
    z = latents()
    monkeypatch.setattr(engine, "_started", 1)  # as in a copy of process 1
    for call in (
        *(lambda: model().sample(1), lambda: model().decode(z), lambda: model().prepared),
        lambda: api.Model(config(), params()),
    ):
        with pytest.raises(InputError, match="forked from process 1, in which a model was in use.*'spawn'"):
            call()
