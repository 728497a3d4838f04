"""The examples: they learn, and draw what they learnt."""

import numpy as np
import pytest
from PIL import Image

from examples import conditional_flow_2d as plane


@pytest.mark.slow
def test_the_flow_of_the_plane_learns_a_density_by_condition(tmp_path):
    params, losses = plane.train(steps=60, batch=128)
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.2  # nats a point

    # It is a density: its integral over the plane is 1, and the mean of its logarithm is the loss.
    line = np.linspace(-8, 8, 161)
    grid = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    means = []
    for kind in range(3):
        density = np.exp(plane.log_density(params, grid, np.full(len(grid), kind)))
        np.testing.assert_allclose(density.sum() * 0.1**2, 1, atol=0.02)
        points = plane.draw_data(np.random.default_rng(5), np.full(500, kind))
        means.append([-plane.log_density(params, points, np.full(500, k)).mean() for k in range(3)])
    np.testing.assert_allclose(np.mean(np.diag(means)), np.mean(losses[-10:]), atol=0.1)
    assert np.argmin(np.array(means), 1).tolist() == [0, 1, 2]  # each shape is likeliest under its own condition

    plane.draw(params, str(tmp_path / "flow.png"))
    assert len(np.unique(np.asarray(Image.open(tmp_path / "flow.png").convert("RGB")).reshape(-1, 3), axis=0)) > 100
