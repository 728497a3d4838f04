"""The sampler as a file that jax alone runs."""

import os
import subprocess
import sys

import numpy as np
import pytest
from api_model import model

ALONE = """
import sys
sys.modules["hcflow_jax"] = None  # importing it would fail
import jax, numpy
with open(sys.argv[1], "rb") as file:
    sampler = jax.export.deserialize(bytearray(file.read()))
assert set(sampler.platforms) == {"cpu", "cuda", "tpu"}, sampler.platforms
images = sampler.call(jax.numpy.uint32(5), jax.numpy.uint32(2), jax.numpy.array([1, 1, 0.7, 0.7], jax.numpy.float32))
numpy.save(sys.argv[2], images)
"""


def test_the_file_samples_where_the_package_is_not(tmp_path):
    model().export_sampler(tmp_path / "sampler", n=3)
    command = [sys.executable, "-c", ALONE, "sampler", "images.npy"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    images = np.load(tmp_path / "images.npy")
    expected = model().sample(3, seed=5, first=2)
    assert images.shape == expected.shape and images.dtype == np.uint8
    assert np.abs(images.astype(int) - expected).max() <= 1  # other programs round otherwise
    assert (images == expected).mean() > 0.99


def test_no_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match="n is 0"):
        model().export_sampler(tmp_path / "sampler", n=0)
