"""PyTorch's side, as `compare_pytorch` times it: the twin, or the authors' own release."""
# pyright: reportMissingImports=false

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import torch
from ml_collections import ConfigDict

from benchmarks import release, train_step
from benchmarks.torch_twin import glow, objective, training
from benchmarks.torch_twin.model import Twin
from hcflow_jax import config as schema


class Theirs:
    """A function of PyTorch's, run a block of calls at a time."""

    def __init__(
        self,
        config: Path,
        batch: int | None,
        what: str,
        calls: int,
        precision: str,
        **how: Any,
    ):
        """Builds it and runs it until it is warm.

        Raises:
          SystemExit: for TF32 where there is no GPU.
        """
        jax.config.update("jax_platforms", "cpu")  # what names parameters here must not take the GPU's memory
        own = train_step.with_adam(train_step.load_config(config))
        own.train.batch_size = batch or own.train.batch_size
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._cuda = self._device.type == "cuda"
        if precision == "tf32" and not self._cuda:
            raise SystemExit("--precision=tf32 needs a GPU")
        training.settle_precision(precision)
        torch.manual_seed(own.seed)
        self._calls = calls
        start = time.perf_counter()
        if schema.family_of(own) == "glow":
            self._call = glow.prepare(own, what, precision, how, self._device)
        elif how["hflow"]:
            self._call = release.prepare(own, what, precision, how, self._device)
        else:
            self._call = twin(own, what, precision, how, self._device)
        built = time.perf_counter()
        self.block()
        warm = time.perf_counter()
        onednn = self._settle_onednn(how["onednn"])
        self.block()
        self.about = {
            "name": "the authors' release" if how["hflow"] else "a clone" if how.get("glow") else "torch_twin",
            "version": torch.__version__,
            "mode": how["torch"],
            "device": torch.cuda.get_device_name() if self._cuda else "cpu",
            "threads": torch.get_num_threads(),
            "batch": own.train.batch_size,
            "onednn": onednn,
            "build_seconds": built - start,
            "first_block_seconds": warm - built,  # with compilation in it
        }

    def block(self) -> float:
        """Seconds a call, over a block that ends when the device is done."""
        start = time.perf_counter()
        for _ in range(self._calls):
            self._call()
        if self._cuda:
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / self._calls

    def finish(self) -> dict[str, Any]:
        if self._cuda:
            return {"peak_memory_bytes": torch.cuda.max_memory_allocated()}
        return {"peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}

    def _settle_onednn(self, choice: str) -> bool | None:
        """On a CPU: oneDNN's convolutions or PyTorch's own, which are quicker for narrow layers without AVX-512."""
        if self._cuda:
            return None
        if choice == "auto":
            taken = {}
            for on in (True, False):
                _use_onednn(on)
                self.block()  # a compiled function is compiled again
                taken[on] = self.block()
            choice = "on" if taken[True] <= taken[False] else "off"
        _use_onednn(choice == "on")
        return choice == "on"


def _use_onednn(on: bool) -> None:
    torch.backends.mkldnn.enabled = on


def twin(
    config: ConfigDict, what: str, precision: str, how: dict[str, Any], device: torch.device
) -> Callable[[], Any]:
    """What is timed of the twin, as a function of nothing."""
    layout = torch.channels_last if how["layout"] == "nhwc" else torch.contiguous_format
    model = Twin(config).to(device).to(memory_format=layout)  # pyright: ignore[reportCallIssue]
    batch, images = config.train.batch_size, training.random_images(config)
    wrap: Any = torch.compile if how["torch"] == "compile" else lambda function: function
    if what == "sample":
        with torch.no_grad():
            kernels, z = model.kernels(inverse=True), model.draw(batch, config.sample.sigma)
        decode = wrap(model.decode)

        def sample() -> Any:
            with torch.no_grad(), training.autocast(device, precision):
                return decode(z, kernels)

        return sample

    @wrap
    def mean_loss(x: torch.Tensor, noise: objective.Noise) -> torch.Tensor:
        return objective.objective(model, x, noise)[0].mean()

    def backward(x: torch.Tensor, noise: objective.Noise | None = None) -> None:
        x = x.contiguous(memory_format=layout)
        with training.autocast(device, precision):
            loss = mean_loss(x, objective.draw_noise(model, batch) if noise is None else noise)
        loss.backward()

    if what == "gradient":
        x, eps = training.channels_first(images).to(device) / 256 - 0.5, objective.draw_noise(model, batch)

        def gradient() -> None:
            model.zero_grad(set_to_none=True)
            backward(x, eps)

        return gradient
    step = training.Trainer(model, training.groups_of(dict(model.named_parameters())), backward, config)
    return lambda: step(images)
