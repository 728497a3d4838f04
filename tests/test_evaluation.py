"""Round trips and nearest pictures."""

import numpy as np
import pytest
from api_model import images, model

from hcflow_jax.evaluation import nearest as neighbours
from hcflow_jax.evaluation import search
from hcflow_jax.evaluation.round_trip import round_trip, strange_images, to_values


class Listed:
    """A set of pictures in memory."""

    name = identity = "listed"

    def __init__(self, pictures):
        self.pictures = pictures

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        return self.pictures[index]


def test_a_set_comes_back_as_it_was():
    result = round_trip(model(), images(6))
    assert result.images == 6 and result.finite
    assert result.same_values == result.same_images == 1
    assert result.worst_error is not None and 0 < result.worst_error < 1 / 512
    assert result.as_dict()["worst_error"] == result.worst_error


@pytest.mark.slow
def test_another_arithmetic_does_not_bring_it_back():
    result = round_trip(model(), images(4), dtype="bfloat16")
    assert result.finite and result.worst_error is not None and result.worst_error > 1e-3
    assert result.same_images < 1


def test_what_is_not_finite_is_said(monkeypatch):
    decode = model()._decoded

    def broken(*args, **kwargs):
        for decoded in map(np.array, decode(*args, **kwargs)):
            decoded[0, 0, 0, 0] = np.nan
            yield decoded

    monkeypatch.setattr(model(), "_decoded", broken, raising=False)
    black = np.zeros((2, 16, 16, 3), np.uint8)
    result = round_trip(model(), black)
    assert not result.finite and result.worst_error is None
    assert result.same_images == 0.5 and result.same_values == 1 - 1 / black.size
    assert result.changed_values == 1 and result.worst_error_text == "not finite"


def test_values_of_any_size_become_8_bit_values():
    decoded = np.array([np.nan, -np.inf, -3e38, 0.0, 0.5, 1.0, 3e38, np.inf], np.float32)
    assert to_values(decoded).tolist() == [0, 0, 0, 0, 128, 255, 255, 255]


@pytest.mark.parametrize(("resolution", "different"), [(8, 6), (32, 8), (256, 8)])
def test_every_checkerboard_has_squares(resolution, different):
    boards = dict(strange_images(resolution))["checkerboard"]
    assert boards.shape == (8, resolution, resolution, 3) and (boards.mean((1, 2, 3)) == 255 / 2).all()
    assert len({board.tobytes() for board in boards}) == different


@pytest.mark.parametrize("kind, pictures", list(strange_images(16, 4)), ids=lambda v: v if isinstance(v, str) else "")
def test_strange_images_come_back(kind, pictures):
    assert pictures.shape == (4, 16, 16, 3) and pictures.dtype == np.uint8
    assert kind == "constant" or (pictures != pictures[:, :1, :1]).any()
    result = round_trip(model(), pictures)
    assert result.finite and result.same_values == 1


def test_the_nearest_picture_is_found_with_its_mirror_images(monkeypatch):
    monkeypatch.setattr(search, "_MOST", 4)
    pictures, looked_at = images(10), []
    near = pictures[[7, 2]].copy()
    near[:, 0, 0] ^= 1
    near[1] = near[1, :, ::-1]
    found, place, distance = neighbours.nearest(near, Listed(pictures), tell=looked_at.append)
    assert place.tolist() == [7, 2] and looked_at == [4, 8, 10]
    np.testing.assert_array_equal(found, [pictures[7], pictures[2][:, ::-1]])
    np.testing.assert_allclose(distance, np.sqrt(3 / (16 * 16 * 3)), rtol=1e-5)
    plain = neighbours.nearest(near, Listed(pictures), mirrored=False)
    assert plain[1][0] == 7 and plain[2][1] > distance[1]
