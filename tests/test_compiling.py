"""The compiler's options by backend. (Where compiled programs are stored: test_environment.)"""

from importlib.metadata import version

import jax
import pytest

from hcflow_jax import compiling


@pytest.fixture(autouse=True)
def forget():
    yield
    compiling._known.cache_clear()


def test_each_backend_has_its_options():
    fast, slow = (compiling.compile_options(once, "cpu") for once in (True, False))
    assert fast == {"xla_backend_optimization_level": 0, **compiling._CPU}
    assert slow == {"xla_backend_optimization_level": 1, **compiling._CPU}
    assert compiling.compile_options(backend="gpu") is None


def test_this_release_knows_the_options_of_the_cpu():
    """jaxlib 0.10 has one for the code generator; to pass it to another release is an error."""
    older = {"xla_cpu_use_fusion_emitters": False}
    assert (older if version("jaxlib").startswith("0.10.") else {}) == compiling._CPU
    double = jax.jit(lambda x: 2 * x, compiler_options=compiling.compile_options(backend="cpu"))
    assert double(3) == 6


def test_options_that_a_compiler_does_not_know_are_left_out(caplog):
    """This process has no TPU: the CPU's compiler does not know the options."""
    [device] = jax.devices()[:1]
    assert compiling.compile_options(backend="tpu", device=device) is None
    assert "refuses xla_tpu_run_space_to_batch" in caplog.text and "No such compile option" in caplog.text
    compiling.compile_options(backend="tpu", device=device)
    assert len(caplog.records) == 1


def test_options_that_a_compiler_knows_are_given(monkeypatch):
    monkeypatch.setattr(compiling, "_TPU", {"xla_backend_optimization_level": 1})
    assert compiling.compile_options(backend="tpu", device=jax.devices()[0]) == compiling._TPU


def test_a_run_on_a_tpu_gets_the_options_of_its_first_device(monkeypatch):
    name = "xla_tpu_run_space_to_batch"  # all three are needed
    assert {name: False, f"{name}_after_spmd": False, f"{name}_on_new_platforms": False} == compiling._TPU
    devices = jax.devices("cpu")
    monkeypatch.setattr(jax, "local_devices", lambda backend: {"tpu": devices}[backend])
    monkeypatch.setattr(compiling, "_TPU", {"xla_backend_optimization_level": 1})
    assert compiling.compile_options(backend="tpu") == compiling._TPU
