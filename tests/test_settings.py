"""Settings of JAX that a process may have: the same numbers come out, whatever they are."""

import ast
import contextlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import api_model
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import training_fakes as fakes

import hcflow_jax
from hcflow_jax import api, checkpoint, flows, likelihood
from hcflow_jax.api import arguments
from hcflow_jax.data import preprocessing
from hcflow_jax.keys import root_key
from hcflow_jax.training import loop

PACKAGE = Path(hcflow_jax.__file__).parent
DTYPE_AT = {"normal": 2, "uniform": 2, "bernoulli": None, "orthogonal": None}  # place of the dtype among arguments
NO_FLOATS = {"key", "fold_in", "split", "key_data", "wrap_key_data"}


@contextmanager
def setting(name: str, value: Any) -> Iterator[None]:
    """A setting for the whole process, as a variable sets it."""
    before = jax.config.values[name]
    jax.config.update(name, value)
    try:
        yield
    finally:
        jax.config.update(name, before)


def _draws() -> Iterator[tuple[str, str, ast.Call]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("jax.random."):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", ast.unparse(node.func).split(".")[-1], node


@pytest.mark.situation("`JAX_ENABLE_X64=1`, or `jax_enable_x64` set by the program that uses the package")
def test_every_draw_names_its_dtype():
    unnamed, names = [], set()
    for where, name, node in _draws():
        names.add(name)
        if name in NO_FLOATS:
            continue
        assert name in DTYPE_AT, f"{where}: is {name} drawn with a dtype? say so here"
        place = DTYPE_AT[name]
        named = any(k.arg == "dtype" for k in node.keywords) or (place is not None and len(node.args) > place)
        if name == "bernoulli":  # it draws in the dtype of p
            named = ast.unparse(node.args[1]).startswith("jnp.float32(")
        if not named:
            unnamed.append(f"{where}: {ast.unparse(node)}")
    assert unnamed == [] and names >= {"normal", "uniform", "bernoulli", "fold_in", "key"}


@pytest.mark.situation("`JAX_ENABLE_X64=1`, or `jax_enable_x64` set by the program that uses the package")
@pytest.mark.parametrize("seed", [3, 2**31 + 5, 2**32 + 7, -1])
def test_keys_and_what_training_sees_do_not_depend_on_x64(seed):
    images: Any = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
    indices: Any = np.arange(4, dtype=np.int32)

    def made():
        keys = likelihood.evaluation_keys(seed, indices)
        x = preprocessing.augment(keys, images, bits=8, noise_std=0.1, flip=True)
        return np.asarray(jax.random.key_data(root_key(seed))), np.asarray(x)

    key, x = made()
    with jax.enable_x64(True):
        wide_key, wide_x = made()
    np.testing.assert_array_equal(key, wide_key)
    assert wide_x.dtype == np.float32
    np.testing.assert_allclose(x, wide_x, atol=1e-6)


@pytest.mark.situation("JAX's strict promotion of dtypes or ranks, and a flow of your own")
def test_bijectors_take_strict_promotion():
    flow = flows.chain(actnorm=flows.Actnorm(), mixing=flows.Mixing())
    x = np.random.default_rng(0).standard_normal((4, 2)).astype(np.float32)
    params, expected = flow.init(jax.random.key(0), x)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        _, z = flow.init(jax.random.key(0), x)
        np.testing.assert_allclose(z, expected, rtol=1e-6)
        np.testing.assert_allclose(flow.inverse(params, z)[0], x, atol=1e-5)


# Training

TOGETHER = {
    "jax_transfer_guard": "disallow",
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_default_prng_impl": "rbg",
    "jax_threefry_partitionable": False,
    "jax_debug_nans": True,
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run of four steps in a process that set nothing."""
    folder = tmp_path_factory.mktemp("plain")
    made = fakes.config(folder / "images", num_steps=4, checkpoint_every=2, eval_every=2, sample_every=4)
    with pytest.MonkeyPatch.context() as monkeypatch:
        fakes.install(monkeypatch.setattr)
        loop.train(made, folder / "run")
    return made, folder / "run"


def outcome(workdir: Path) -> tuple[list[float], Any]:
    """The losses and bounds of a run, and its last state."""
    rows = [json.loads(line) for line in (workdir / "history.jsonl").read_text().splitlines()]
    state = checkpoint.load(workdir, ("step", "params", "opt_state", "ema")).arrays
    return [row["loss" if row["kind"] == "train" else "bits_per_dim"] for row in rows if "loss" in row], state


def assert_alike(one: Path, other: Path) -> None:
    (losses, state), (others, wide) = outcome(one), outcome(other)
    np.testing.assert_allclose(losses, others, rtol=1e-5)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(state), jax.tree.leaves(wide), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), path
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6, err_msg=str(path))


@pytest.mark.full
@pytest.mark.parametrize(
    "given",
    [
        pytest.param(
            TOGETHER,
            marks=pytest.mark.situation(
                "JAX's transfer guard, strict promotion of dtypes or ranks, another generator or its old splitting"
            ),
        ),
        pytest.param({"jax_disable_jit": True}, marks=pytest.mark.situation("`JAX_DISABLE_JIT=1`")),
        pytest.param(
            {"jax_enable_x64": True},
            marks=pytest.mark.situation(
                "`JAX_ENABLE_X64=1`, or `jax_enable_x64` set by the program that uses the package"
            ),
        ),
    ],
    ids=lambda given: "-".join(given)[:24],
)
def test_a_run_does_not_depend_on_the_settings(plain, tmp_path, monkeypatch, given):
    fakes.install(monkeypatch.setattr)
    with contextlib.ExitStack() as settings:
        for name, value in given.items():
            settings.enter_context(setting(name, value))
        loop.train(plain[0], tmp_path)
    assert_alike(plain[1], tmp_path)


@pytest.mark.full
@pytest.mark.situation("a run that starts without 64 bits and resumes with them, or the other way round")
@pytest.mark.parametrize("first", [False, True])
def test_a_run_goes_on_with_or_without_x64(plain, tmp_path, monkeypatch, first):
    fakes.install(monkeypatch.setattr)
    half = plain[0].copy_and_resolve_references()
    half.train.num_steps = 2
    with setting("jax_enable_x64", first):
        loop.train(half, tmp_path)
    with setting("jax_enable_x64", not first):
        loop.train(plain[0], tmp_path)
    assert_alike(plain[1], tmp_path)


# The model in use


@pytest.fixture(scope="module")
def used():
    """What the least model gives in a process that set nothing."""
    return api_model.model(), _use(api_model.model())


def _use(model: api.Model) -> dict[str, Any]:
    images = api_model.images(4)
    latents = model.encode(images)
    drawn = model.draw(4, seed=5)
    made = {
        "bits": model.bits_per_dim(images)["total"],
        "sample": model.sample(4, seed=5),
        "decode": model.decode(drawn),
    }
    for name in model.level_names:
        made |= {f"encode {name}": latents[name], f"draw {name}": drawn[name]}
    return {name: np.asarray(value) for name, value in made.items()}


def assert_same_use(expected: dict[str, Any], found: dict[str, Any]) -> None:
    for name, array in expected.items():
        assert (array.dtype, array.shape) == (found[name].dtype, found[name].shape), name
        if array.dtype == np.uint8:  # a value that lies between two may be rounded to either
            assert np.abs(array.astype(int) - found[name]).max() <= 1, name
        else:
            np.testing.assert_allclose(array, found[name], rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.full
@pytest.mark.situation("`JAX_ENABLE_X64=1`, or `jax_enable_x64` set by the program that uses the package")
def test_a_model_gives_the_same_with_x64_between_calls_and_traced_anew(used):
    model, expected = used
    with setting("jax_enable_x64", True):
        assert_same_use(expected, _use(model))
        with setting("jax_compilation_cache_dir", None):  # what was traced without x64 is not read
            anew = api.Model(api_model.config(), api_model.params())
            anew.batch_size = 4
            assert_same_use(expected, _use(anew))
    assert_same_use(expected, _use(model))


@pytest.mark.full
@pytest.mark.situation("a caller's own contexts: default device, precision of products, guards, promotion")
def test_a_model_gives_the_same_in_a_callers_contexts(used):
    _, expected = used
    with (
        setting("jax_compilation_cache_dir", None),
        jax.default_device(jax.local_devices()[0]),
        jax.default_matmul_precision("bfloat16"),
        jax.transfer_guard("disallow"),
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
        jax.threefry_partitionable(False),
        jax.debug_nans(True),
    ):
        model = api.Model(api_model.config(), api_model.params())
        model.batch_size = 4
        assert_same_use(expected, _use(model))


@pytest.mark.full
@pytest.mark.situation("`JAX_ENABLE_X64=1`, or `jax_enable_x64` set by the program that uses the package")
def test_an_exported_sampler_gives_the_same_with_x64(used, tmp_path):
    model, expected = used
    with setting("jax_enable_x64", True):
        model.export_sampler(tmp_path / "s", n=4)
        sampler = jax.export.deserialize(bytearray((tmp_path / "s").read_bytes()))
        sigmas = arguments.sigmas(model.image_model, 0.7)
        images = sampler.call(jnp.uint32(5), jnp.uint32(0), jnp.asarray(sigmas))
    assert np.abs(np.asarray(images).astype(int) - expected["sample"]).max() <= 1
