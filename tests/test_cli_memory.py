"""The `hcflow` command with many images: the most memory that it holds at once."""

import tracemalloc
from pathlib import Path
from typing import Any

import cli_fakes as fakes
import numpy as np
import pytest

from hcflow_jax import api


@pytest.fixture
def hcflow(tmp_path, capsys, monkeypatch):
    yield from fakes.running(tmp_path, capsys, monkeypatch)


class _Large(fakes.Model):
    """Of images of 96 pixels, one batch of which is small; what is computed takes no memory of its own."""

    resolution, batch_size = 96, 4

    def encode(self, images: Any, progress: Any = None) -> api.Latents:
        return api.Latents({"8": np.asarray(images, np.float32)})

    def decode(self, latents: Any, as_float: bool = False, dtype: str = "float32", progress: Any = None) -> Any:
        x = latents["8"]
        return (x + 0.5) / 256 if as_float else x.astype(np.uint8)

    def draw(self, n: int, seed: int = 0, sigma: Any = 0.7, first: int = 0) -> api.Latents:
        return api.Latents({"8": np.full((n, 96, 96, 3), first % 256, np.float32)})


def _peak(run: Any, *arguments: Any) -> int:
    """Bytes of Python's and NumPy's that a command held at once."""
    tracemalloc.start()
    status, *_ = run(*arguments)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert status == 0
    return peak


@pytest.mark.situation("`hcflow sample`, `encode`, `decode` and `reconstruct` of any number of images: memory")
def test_memory_does_not_grow_with_the_number_of_images(hcflow, tmp_path, monkeypatch):
    model: Any = _Large()
    model.level_names, model.latent_shapes = ("8",), {"8": (96, 96, 3)}
    monkeypatch.setattr(api, "load", lambda *_, **__: model)
    [picture] = fakes.pictures(tmp_path, 1, (96, 96))
    few, many = 12, 96
    commands = {
        "sample --each": lambda n: ("sample", "--count", n, "--each", f"s{n}"),
        "sample --out": lambda n: ("sample", "--count", n, "--columns", 4, "--out", f"s{n}.png"),
        "sample --npz": lambda n: ("sample", "--count", n, "--npz", f"s{n}.npz"),
        "encode": lambda n: ("encode", *[picture] * n, "--out", f"{n}.npz"),
        "decode": lambda n: ("decode", f"{n}.npz", "--out", f"d{n}"),
        "reconstruct": lambda n: ("reconstruct", *[picture] * n, "--out", f"r{n}.png"),
    }
    image = 96 * 96 * 3  # bytes
    for name, arguments in commands.items():
        _peak(hcflow, *arguments(3))  # what is imported or made once
        peaks = [_peak(hcflow, *arguments(n)) for n in (few, many)]
        assert peaks[1] - peaks[0] < 20 * image, (name, peaks)  # a byte kept of each value would be 84 images
    assert len(list(Path(f"d{many}").iterdir())) == many
