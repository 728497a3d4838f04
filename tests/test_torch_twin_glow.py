"""The PyTorch twin of Glow against the public implementation's numbers: ours is timed against the same function."""
# pyright: reportMissingImports=false

from typing import Any

import glow_cases as cases
import numpy as np
import pytest
import torch
from golden_data import group, load

from benchmarks.torch_twin.glow import Glow

pytestmark = pytest.mark.full


def twin(case: str) -> tuple[Glow, dict[str, Any]]:
    """With the case's parameters, and the same tensors by the public names."""
    config, given = cases.config(case), group(load(f"glow/{case}/forward"), "param/")
    made, number, by_name = Glow(config), 0, {}

    def zero_conv(name: str, module: Any) -> dict[str, Any]:
        conv = {f"{name}.conv.weight": module.conv.weight, f"{name}.conv.bias": module.conv.bias}
        return {**conv, f"{name}.logs": module.logs}

    for i, steps in enumerate(made.levels):
        number += 1
        for step in steps:  # pyright: ignore[reportGeneralTypeIssues]
            name = f"flow.layers.{number}"
            by_name |= {f"{name}.actnorm.bias": step.norm.bias, f"{name}.actnorm.logs": step.norm.logs}
            by_name[f"{name}.invconv.weight"] = step.weight
            for place in (0, 2):
                conv, norm = step.net[3 * place // 2], step.net[3 * place // 2 + 1]
                by_name[f"{name}.block.{place}.conv.weight"] = conv.weight
                by_name |= {f"{name}.block.{place}.actnorm.{part}": getattr(norm, part) for part in ("bias", "logs")}
            by_name |= zero_conv(f"{name}.block.4", step.net[6])
            number += 1
        if i < len(made.priors):
            by_name |= zero_conv(f"flow.layers.{number}.conv", made.priors[i])
            number += 1
    bias, logs = given["learn_top_fn.conv.bias"], given["learn_top_fn.logs"]
    mean, log = np.split((bias * np.exp(3 * logs.reshape(-1))).reshape(-1), 2)
    with torch.no_grad():
        for name, parameter in by_name.items():
            parameter.copy_(torch.from_numpy(given[name]).reshape(parameter.shape))
        made.top_mean.copy_(torch.from_numpy(mean).reshape(made.top_mean.shape))
        made.top_logs.copy_(torch.from_numpy(log).reshape(made.top_logs.shape))
    assert set(given) - set(by_name) == {"learn_top_fn.conv.bias", "learn_top_fn.logs"}
    return made, by_name


@pytest.mark.parametrize("case", cases.CASES)
def test_bits_and_gradients_are_the_public_ones(case: str) -> None:
    made, by_name = twin(case)
    data = load(f"glow/{case}/forward")
    bits = made(torch.from_numpy(data["x"]))
    np.testing.assert_allclose(bits.detach().numpy(), data["bpd"], atol=1e-4)
    bits.mean().backward()
    expected = group(load(f"glow/{case}/gradients"), "grad/")
    difference = sum(float(((p.grad.numpy() - expected[n].reshape(p.shape)) ** 2).sum()) for n, p in by_name.items())
    assert difference**0.5 < 5e-4 * sum(float((g**2).sum()) for g in expected.values()) ** 0.5


@pytest.mark.parametrize("case", cases.CASES)
def test_samples_are_encoded_to_what_they_were_drawn_from(case: str) -> None:
    made, _ = twin(case)
    with torch.no_grad():
        torch.manual_seed(0)
        x = made.sample(3, 0.7, made.inverses())
        repeated = x
        for i, steps in enumerate(made.levels):
            repeated = torch.nn.functional.pixel_unshuffle(repeated, 2)
            for step in steps:  # pyright: ignore[reportGeneralTypeIssues]
                repeated, _ = step(repeated)
            if i < len(made.priors):
                repeated, _ = repeated.chunk(2, 1)
        torch.manual_seed(0)
        side = repeated.shape[2]
        top = made.top_mean + torch.exp(made.top_logs) * 0.7 * torch.randn(3, made.top_mean.shape[1], side, side)
    np.testing.assert_allclose(repeated.numpy(), top.numpy(), atol=1e-3)
