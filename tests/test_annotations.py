"""Annotations of shapes are checked in every call while tests run, here and in each process of the tests."""

import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from hcflow_jax.nets import layers, resample


@pytest.mark.parametrize("array", [jnp, np])
def test_a_wrong_shape_is_refused(array):
    layers.instance_norm(array.zeros((2, 4, 4, 3), np.float32))
    with pytest.raises(jaxtyping.TypeCheckError, match="b h w c"):
        layers.instance_norm(array.zeros((2, 4, 3), np.float32))


def test_so_are_integers():
    with pytest.raises(jaxtyping.TypeCheckError, match="Float"):
        resample.up(jnp.zeros((2, 4, 4, 3), np.int32))
