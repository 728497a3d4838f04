"""Total variation by attribute, its floor, and dropped values: against numbers worked out by hand."""

import numpy as np
import pytest

from hcflow_jax.errors import InputError
from hcflow_jax.evaluation.attribute_distances import attribute_distances, table, total_variation
from hcflow_jax.evaluation.attributes import Attribute

HAIR = Attribute("hair", ("bun", "long", "none"), 0.99)
SKIN = Attribute("skin", ("dark", "light"), 0.95)


def _set(hair: list[int], skin: list[int]) -> dict[str, np.ndarray]:
    """Predictions with so many images of each value."""
    return {name: np.repeat(np.arange(len(n)), n) for name, n in (("hair", hair), ("skin", skin))}


def test_total_variation_by_hand() -> None:
    assert total_variation(np.array([5, 3, 2]), np.array([2, 3, 5])) == pytest.approx(0.3)
    assert total_variation(np.array([4, 0]), np.array([0, 7])) == 1
    assert total_variation(np.array([[1, 1], [3, 1]]), np.array([[2, 2], [1, 1]])).tolist() == [0, 0.25]


def test_distances_by_hand() -> None:
    found = attribute_distances(_set([1, 60, 39], [50, 50]), _set([100, 60, 40], [80, 120]), (HAIR, SKIN))
    hair, skin = found.each
    assert hair.distance == pytest.approx((0.49 + 0.30 + 0.19) / 2)
    assert skin.distance == pytest.approx(0.1)
    assert found.mean == pytest.approx((0.49 + 0.1) / 2)
    assert hair.generated == (0.01, 0.6, 0.39) and hair.real == (0.5, 0.3, 0.2)
    assert hair.dropped == ("bun",) and skin.dropped == ()
    told = found.as_dict()
    assert told["dropped"] == [{"attribute": "hair", "value": "bun", "generated": 0.01, "real": 0.5}]
    assert told["by_attribute"]["skin"]["real"] == {"dark": 0.4, "light": 0.6}
    assert told["by_attribute"]["skin"]["accuracy"] == 0.95
    assert (told["count"], told["count_real"], told["mean"]) == (100, 200, found.mean)
    assert str(found) == table(told)
    assert "dropped  hair bun: 1.00% of the generated images, 50.00% of the real ones" in str(found)


@pytest.mark.parametrize(
    "few, many, dropped",
    [
        ([0, 500, 500], [10, 495, 495], True),  # 10 of 1,000 were expected
        ([0, 500, 499], [10, 495, 495], False),  # 9.99
        ([1, 500, 499], [10, 495, 495], False),  # a tenth is not under a tenth
        ([1, 500, 499], [11, 495, 494], True),
    ],
)
def test_what_counts_as_dropped(few: list[int], many: list[int], dropped: bool) -> None:
    hair = attribute_distances(_set(few, [1, 1]), _set(many, [1, 1]), (HAIR,)).each[0]
    assert hair.dropped == (("bun",) if dropped else ())


def test_the_floor_is_that_of_two_draws_of_the_same_counts() -> None:
    """For two values, the mean of |p - q| of normal p and q is sqrt(2 / pi) of the difference's spread."""
    real = _set([1, 1, 1], [300, 700])
    for count in (400, 16_000):
        generated = _set([1, 1, 1], [count // 4, 3 * count // 4])
        found = attribute_distances(generated, real, (SKIN,), seed=1)
        spread = np.sqrt(0.3 * 0.7 * (1 / count + 1 / 1000))
        assert found.floor == pytest.approx(np.sqrt(2 / np.pi) * spread, rel=0.25)
        assert found == attribute_distances(generated, real, (SKIN,), seed=1)
    assert found.floor != attribute_distances(generated, real, (SKIN,), seed=2).floor


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(InputError, match="one of the two sets is empty"):
        attribute_distances(_set([0, 0, 0], [0, 0]), _set([1, 0, 0], [1, 0]), (HAIR, SKIN))
