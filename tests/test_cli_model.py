"""The `hcflow` command with a real model, small and from its weights file."""

from pathlib import Path

import api_model
import jax
import numpy as np
import pytest
from cli_fakes import read
from PIL import Image

from hcflow_jax import api
from hcflow_jax.cli import command

pytestmark = pytest.mark.full


@pytest.fixture
def hcflow(tmp_path, capsys, monkeypatch):
    """Runs the command in a folder with the model's file and pictures; gives its lines."""
    monkeypatch.chdir(tmp_path)
    api_model.save(tmp_path / "model.safetensors")
    for i, image in enumerate(api_model.images(4)):
        Image.fromarray(image).save(f"{i}.png")
    cache = jax.config.jax_compilation_cache_dir  # pyright: ignore

    def run(*arguments):
        status = command.main([*arguments, "--checkpoint", "model.safetensors"])
        out = capsys.readouterr()
        assert (status, out.err) == (0, "")
        return out.out.splitlines()

    yield run
    jax.config.update("jax_compilation_cache_dir", cache)


def test_every_subcommand_with_a_model_from_its_file(hcflow, monkeypatch):
    hcflow("sample", "--count", "4", "--seed", "5", "--each", "samples")
    samples = np.stack([read(path) for path in sorted(Path("samples").iterdir())])
    np.testing.assert_array_equal(samples, api_model.model().sample(4, seed=5))

    # The same model for all others: what one of them has compiled, the next needs not trace again.
    monkeypatch.setattr(api, "load", lambda *_, **__: api_model.model())
    pictures = [f"{i}.png" for i in range(4)]
    assert hcflow("reconstruct", *pictures)[1] == f"changed 8-bit values: 0 of {4 * 16 * 16 * 3}"
    hcflow("encode", *pictures, "--out", "z.npz")
    hcflow("decode", "z.npz", "--out", "decoded")
    for name in pictures:
        np.testing.assert_array_equal(read(Path("decoded", name)), read(Path(name)))
    hcflow("edit", *pictures, "--resample", "y1,8", "--seeds", "1", "--zero", "16")
    hcflow("interpolate", "0.png", "seed:5", "--steps", "4", "--space", "y_top", "--out", "way.png")
    way = read(Path("way.png"))[::6]
    np.testing.assert_array_equal(way[:, :96:6], read(Path("0.png")))
    np.testing.assert_array_equal(way[:, 3 * 98 :: 6], samples[0])
