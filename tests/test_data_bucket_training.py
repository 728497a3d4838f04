"""Training on a set in a bucket: the numbers of the same set on a disk, and one line if the set is lost."""

import bucket_sets
import jax
import numpy as np
import pytest
import training_fakes as fakes
from bucket_sets import SIZE, URL

from hcflow_jax import checkpoint
from hcflow_jax.data import DataError
from hcflow_jax.training import loop

pytestmark = pytest.mark.full
server = pytest.fixture(bucket_sets.prepared)


@pytest.fixture
def config(tmp_path, monkeypatch):
    fakes.install(monkeypatch.setattr)
    made = fakes.config(tmp_path / "images", num_steps=6, checkpoint_every=2)
    made.data.update(source="prepared", resolution=SIZE)
    return made


def test_a_run_on_a_disk_resumes_on_the_set_in_the_bucket(server, config, tmp_path, capsys):
    config.data.path = str(tmp_path / "local")
    loop.train(config, tmp_path / "whole")
    config.train.num_steps = 2
    loop.train(config, tmp_path / "run")
    config.train.num_steps, config.data.path = 6, URL
    assert loop.train(config, tmp_path / "run")["resumed_from"] == 2
    one, other = (checkpoint.load(tmp_path / name, ("params", "ema")) for name in ("whole", "run"))
    jax.tree.map(np.testing.assert_array_equal, one.arrays, other.arrays)
    assert one.metadata["next_index"] == other.metadata["next_index"]


def test_a_set_that_is_lost_ends_the_run_and_what_was_trained_is_kept(server, config, tmp_path):
    config.data.path, config.train.num_steps = URL, 1000
    with (
        server.failing("GET .*images-", status=404, after=200),
        pytest.raises(DataError, match=rf"^{URL}/images-0000\d-of-00005\.array_record: missing; "),
    ):
        loop.train(config, tmp_path / "run")
    assert checkpoint.load(tmp_path / "run", ("params",)).step > 2
