"""Where a model for use is loaded from: a weights file, a workdir, a step of it; and files that are none."""

import jax
import numpy as np
import pytest
from api_model import config, params, save

from hcflow_jax import api, checkpoint
from hcflow_jax.checkpoint import CheckpointError
from hcflow_jax.config import config_to_plain


def test_a_weights_file_holds_the_model(tmp_path):
    loaded = api.load(save(tmp_path / "least.safetensors"))
    jax.tree.map(np.testing.assert_array_equal, loaded.params, params())
    assert config_to_plain(loaded.config) == config_to_plain(config())
    found = checkpoint.load(tmp_path / "least.safetensors")
    assert found.step == 7
    with pytest.raises(CheckpointError, match="only the weights of the EMA, not params"):
        checkpoint.load(tmp_path / "least.safetensors", ("params",))


def test_half_the_bytes_keep_eleven_bits(tmp_path):
    checkpoint.save_file(tmp_path / "half.safetensors", params(), config(), {}, dtype=np.float16)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-11, atol=1e-7),
        *(checkpoint.load(tmp_path / "half.safetensors").arrays["ema"], params()),
    )
    with pytest.raises(ValueError, match="style/layer_0/b is not finite as float16"):
        large = {"style": {"layer_0": {"b": np.full(3, 1e6, np.float32)}}}
        checkpoint.save_file(tmp_path / "large.safetensors", large, config(), {}, dtype=np.float16)
    assert not (tmp_path / "large.safetensors").exists()


def test_a_weights_file_that_is_none_is_refused_by_name(tmp_path):
    whole = save(tmp_path / "least.safetensors").read_bytes()
    for name, content in (("cut", whole[:-9]), ("empty", b""), ("text", b"these are not weights at all")):
        file = tmp_path / f"{name}.safetensors"
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{name}.safetensors cannot be read as a weights file"):
            api.load(file)
    with pytest.raises(CheckpointError, match="nothing.safetensors"):
        api.load(tmp_path / "nothing.safetensors")


def test_weights_that_do_not_fit_their_config_are_refused(tmp_path):
    other = {**params(), "style": {}}
    checkpoint.save_file(tmp_path / "other.safetensors", other, config(), {})
    with pytest.raises(CheckpointError, match="does not fit its own config: style/layer_0/b is missing there"):
        api.load(tmp_path / "other.safetensors")


@pytest.mark.slow
def test_a_workdir_and_a_step_of_it_load_alike(tmp_path):
    saved = checkpoint.Checkpoints(tmp_path, keep=2)
    saved.save(3, {"ema": params()}, config())
    saved.close()
    for path in (tmp_path, tmp_path / "checkpoints" / "3"):
        jax.tree.map(np.testing.assert_array_equal, api.load(path).params, params())
