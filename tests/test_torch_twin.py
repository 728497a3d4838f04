"""The PyTorch twin against the authors' network (`golden/`): what ours is timed against is the same function."""
# pyright: reportMissingImports=false

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from golden_data import LOG_DET, assert_close, group, load
from golden_model import config, params
from torch import Tensor

from benchmarks.torch_twin import objective, resample, training, weights
from benchmarks.torch_twin.model import Twin
from hcflow_jax.interop import arrays
from hcflow_jax.models.hierarchy.rate_groups import RATE_GROUPS
from hcflow_jax.training.groups import count_by_group

pytestmark = pytest.mark.full

LEVELS = ("64", "32", "8")
LOSSES = ("loss_zero", "loss_noise")
NOISE = {
    "flow": {"prior": "end_loss/0", "y1": "end_loss/1", "8": "flow/8", "32": "flow/32"},
    "decoder": {"prior": "end_apply/0", "y1": "end_apply/1", "8": "cond/32", "32": "cond/64"},
}


@pytest.fixture(scope="module", autouse=True)
def plain_convolutions() -> Iterator[None]:
    """oneDNN's are several times slower at tiny_a's widths on a CPU without AVX-512."""
    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False
    yield
    torch.backends.mkldnn.enabled = before


@pytest.fixture(scope="module")
def twin() -> Twin:
    model = Twin(config())
    weights.load(model, params())
    return model


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.from_numpy(load("tiny_a/forward")["x"].copy())


@pytest.fixture(scope="module")
def encoded(twin: Twin, x: Tensor) -> tuple[Any, Any, Any]:
    """y's, latents and log-dets of the images."""
    with torch.no_grad():
        return twin.features(x), *twin.encode(x)


@pytest.fixture(scope="module", params=LOSSES)
def trained(request: pytest.FixtureRequest, twin: Twin, x: Tensor) -> tuple[str, Tensor, Tensor, Any]:
    """The name of the case, loss and bits/dim by sample, and gradients under the twin's names."""
    data = load(f"tiny_a/{request.param}")
    scale = float(request.param == "loss_noise")

    def noise(n: str, key: str) -> Tensor:
        shape = (4, *twin.shapes[n])
        return torch.from_numpy(data[f"noise/{key}"].reshape(shape)) if scale else torch.zeros(shape)

    eps = {use: {n: noise(n, key) for n, key in keys.items()} for use, keys in NOISE.items()}
    twin.zero_grad()
    loss, bits = objective.objective(twin, x, eps)
    loss.mean().backward()
    gradients = {name: p.grad.numpy().copy() for name, p in twin.named_parameters() if p.grad is not None}
    return request.param, loss.detach(), objective.bits_per_dim(twin, bits).detach(), gradients


def _vector(parts: Any) -> Tensor:
    return torch.cat([parts["prior"], parts["y1"]], 1)[:, :, None, None]


def test_features(encoded: Any) -> None:
    y, forward = encoded[0], load("tiny_a/forward")
    for level in LEVELS[1:]:
        assert_close(y[level], forward[f"y/{level}"], f"y/{level}")
    assert_close(_vector(y), forward["y/1"], "y/1")


def test_latents(encoded: Any) -> None:
    _, z, log_dets = encoded
    forward = load("tiny_a/forward")
    for level in LEVELS:
        assert_close(z[level], forward[f"z/{level}"], f"z/{level}")
        assert_close(log_dets[level], forward[f"ildj_flow/{level}"][:, 0], f"ildj_flow/{level}", **LOG_DET)
    assert_close(_vector(z), forward["z/1"], "z/1")
    assert_close(log_dets["prior"] + log_dets["y1"], forward["ildj/1"][:, 0], "ildj/1", **LOG_DET)


def test_decoding_is_the_inverse(twin: Twin, encoded: Any, x: Tensor) -> None:
    with torch.no_grad():
        assert_close(twin.decode(encoded[1]), x, "x", relative=0, absolute=5e-5)


def test_sample(twin: Twin) -> None:
    data = load("tiny_a/sample")
    z = {level: torch.from_numpy(data[f"Z/{level}"].copy()) for level in LEVELS}
    top = torch.from_numpy(data["Z/1"][:, :, 0, 0].copy())
    with torch.no_grad():
        y = twin.generate({"prior": top[:, :4], "y1": top[:, 4:], **z})
    for level in LEVELS[1:]:
        assert_close(y[level], data[f"y/{level}"], f"y/{level}")
    assert_close(_vector(y), data["y/1"], "y/1")
    assert_close(y["64"] / 4, data["image"], "image")


def test_loss_and_bound(trained: Any) -> None:
    name, loss, bits_per_dim, _ = trained
    data = load(f"tiny_a/{name}")
    assert_close(loss, data["loss"][:, 0], "loss", relative=0, absolute=2e-4)
    assert_close(bits_per_dim, data["bits_per_dim"][:, 0], "bits_per_dim", relative=0, absolute=1e-4)


def test_gradients(trained: Any, twin: Twin) -> None:
    name, _, _, gradients = trained
    data = load(f"tiny_a/{name}")
    ours = arrays.to_torch(weights.to_tree(twin, gradients, params()), config())
    theirs = group(data, "grad/")
    assert set(theirs) - set(ours) == set(data["grad_exactly_zero"]) and not set(ours) - set(theirs)
    norm = np.sqrt(sum(np.sum(np.square(value, dtype=np.float64)) for value in theirs.values()))
    total, wrong = 0.0, []
    for key, value in ours.items():
        error = np.linalg.norm(value - theirs[key])
        total += error**2
        rounding = key in data["grad_roundoff_only"]
        if error > (0 if rounding else 2e-3 * np.linalg.norm(theirs[key])) + 1e-6 * norm:
            wrong.append(f"{key}: {error:.3g} of {np.linalg.norm(theirs[key]):.3g}")
    assert not wrong, f"{len(wrong)} of {len(ours)} gradients are off: {wrong[:5]}"
    assert np.sqrt(total) <= 5e-4 * norm


def test_learning_rate_groups_are_ours(twin: Twin) -> None:
    groups = training.groups_of(dict(twin.named_parameters()))
    counts = dict.fromkeys(groups.values(), 0)
    for name, parameter in twin.named_parameters():
        counts[groups[name]] += parameter.numel()
    assert counts == count_by_group(params(), RATE_GROUPS)


def test_a_step_moves_every_group_at_its_rate(x: Tensor) -> None:
    """Adam's first step is the rate times the gradient's sign; the average starts as a copy."""
    model = Twin(config())
    weights.load(model, params())
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    images = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)
    seen = []

    def backward(x: Tensor) -> None:
        seen.append(x)
        objective.objective(model, x, objective.draw_noise(model, len(x)))[0].mean().backward()

    groups = training.groups_of(before)
    step = training.Trainer(model, groups, backward, config())
    step(images)
    assert seen[0].shape == x.shape and -0.53 < seen[0].min() < seen[0].max() < 0.53
    moved = dict.fromkeys(groups.values(), 0.0)
    for name, parameter in model.named_parameters():
        moved[groups[name]] = max(moved[groups[name]], float((parameter.detach() - before[name]).abs().max()))
    for name, rate in config().train.learning_rate.items():
        assert moved[name] == pytest.approx(rate, rel=1e-2), name
    averaged = dict(step.average.module.named_parameters())
    assert all(torch.equal(averaged[name], p) for name, p in model.named_parameters())


@pytest.mark.parametrize("kind", [resample.Down, resample.Up])
def test_resampling_on_a_gpu_is_the_same(kind: Any) -> None:
    """Depthwise convolutions, there, are the sums of slices of a CPU."""
    x = torch.randn(2, 3, 8, 8)
    assert_close(kind().by_convolution(x), kind()(x), relative=1e-6)


@pytest.mark.parametrize("prefix", ["decimate2", "interpolate2"])
def test_resampling(prefix: str) -> None:
    units = load("units")
    resampled = resample.Down() if prefix == "decimate2" else resample.Up()
    for n in (16, 8, 6):
        x = torch.from_numpy(units[f"fir/x{n}"].copy())
        assert_close(resampled(x), units[f"fir/{prefix}_x{n}"], f"{prefix}_x{n}", relative=1e-5)
