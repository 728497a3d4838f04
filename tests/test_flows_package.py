"""What comes with the library: few dependencies, types, examples that run."""

import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import hcflow_jax
from hcflow_jax import flows

MODULES = [f"hcflow_jax.flows.{module.name}" for module in pkgutil.iter_modules(flows.__path__)]

BLOCKED = """
import importlib.abc, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {missing}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
"""


def test_flows_need_jax_flax_and_numpy_alone() -> None:
    """All other dependencies of this package are missing, jaxtyping too; absl stays, Flax itself imports it."""
    missing = {"array_record", "clu", "flatbuffers", "grain", "importlib_resources", "jaxtyping", "lmdb"}
    missing |= {"ml_collections", "optax", "orbax", "PIL", "safetensors", "tensorboardX", "tensorflow_datasets"}
    program = BLOCKED.format(missing=missing) + (
        "import jax\n"
        "from hcflow_jax import flows\n"
        "flow = flows.Flow(flows.chain(a=flows.Actnorm(), m=flows.Mixing()), flows.StandardNormal((2,)))\n"
        "x = jax.random.normal(jax.random.key(0), (8, 2))\n"
        "print(jax.eval_shape(flow.init, jax.random.key(0), x)['m']['kernel'].shape)\n"
        "import jaxtyping\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.stdout == "(2, 2)\n", done.stderr
    assert "No module named 'jaxtyping'" in done.stderr  # the block works


def test_types_come_along() -> None:
    assert (Path(hcflow_jax.__path__[0]) / "py.typed").exists()


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert not result.failed


def test_public_names_have_examples() -> None:
    """All but those that only say what something must be."""
    without = {"Base", "Bijector", "Conditioner"}
    for name in set(flows.__all__) - without:
        assert ">>> " in (getattr(flows, name).__doc__ or ""), f"{name} has no example"
