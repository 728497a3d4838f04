"""Compares two sets of drawings by their drawing options, and lists the values that the generated images lack."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import attributes
from hcflow_jax.evaluation.attributes import Attribute

DROPPED = 0.1  # a value is dropped if its generated share is below this fraction of its real share
LEAST_EXPECTED = 10  # a value is judged only if this many generated images would have it at its real share
FLOOR_DRAWS = 100  # pairs of random sets for each floor


@dataclasses.dataclass(frozen=True)
class AttributeDistance:
    """The distance between two sets in one attribute.

    Attributes:
      attribute: the attribute.
      distance: the total variation distance of the predicted values, in [0, 1].
      floor: the mean distance between two random sets of the same sizes that are both drawn with the real shares.
      generated: the share of each value among the generated images.
      real: the share of each value among the real images.
      dropped: the values that the generated images lack.
    """

    attribute: Attribute
    distance: float
    floor: float
    generated: tuple[float, ...]
    real: tuple[float, ...]
    dropped: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class AttributeDistances:
    """The distances between two sets in all attributes.

    Attributes:
      each: one distance for each attribute, in the order of the network's attributes.
      count: the number of generated images.
      count_real: the number of real images.
      seed: the seed of the draws for the floors.
    """

    each: tuple[AttributeDistance, ...]
    count: int
    count_real: int
    seed: int

    @property
    def mean(self) -> float:
        """The mean distance over the attributes."""
        return float(np.mean([found.distance for found in self.each]))

    @property
    def floor(self) -> float:
        """The mean floor over the attributes."""
        return float(np.mean([found.floor for found in self.each]))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: "mean", "floor", "by_attribute", "dropped", "count", "count_real" and "seed"."""
        by_attribute, dropped = {}, []
        for found in self.each:
            names = found.attribute.values
            shares = dict(zip(names, found.generated, strict=True)), dict(zip(names, found.real, strict=True))
            by_attribute[found.attribute.name] = {
                "distance": found.distance,
                "floor": found.floor,
                "accuracy": found.attribute.accuracy,
                "generated": shares[0],
                "real": shares[1],
            }
            for value in found.dropped:
                row = {"attribute": found.attribute.name, "value": value}
                dropped.append({**row, "generated": shares[0][value], "real": shares[1][value]})
        counts = {"count": self.count, "count_real": self.count_real, "seed": self.seed}
        return {"mean": self.mean, "floor": self.floor, "by_attribute": by_attribute, "dropped": dropped, **counts}

    def __str__(self) -> str:
        return table(self.as_dict())


def total_variation(a: Int[np.ndarray, "*b v"], b: Int[np.ndarray, "*b v"]) -> Float[np.ndarray, "*b"]:
    """The total variation distance of two distributions: 1/2 sum over v of |p(v) - q(v)|.

    Args:
      a: counts of each value v; p are their shares.
      b: the same for q.

    >>> float(total_variation(np.array([3, 1]), np.array([1, 1])))
    0.25
    """
    shares = a / a.sum(-1, keepdims=True) - b / b.sum(-1, keepdims=True)
    return np.abs(shares).sum(-1) / 2


def attribute_distances(
    generated: Mapping[str, Int[np.ndarray, " n"]],
    real: Mapping[str, Int[np.ndarray, " m"]],
    known: Sequence[Attribute],
    seed: int = 0,
) -> AttributeDistances:
    """Compares two sets of predictions of `attributes.Reader.predict`.

    A value is dropped if its share among the generated images is under `DROPPED` times its share among the real
    images. A value is judged only if at least `LEAST_EXPECTED` generated images would have it at the real share.

    Args:
      generated: attribute name -> index of the value in each generated image.
      real: the same for the real images.
      known: the attributes.
      seed: the seed of the draws for the floors: `FLOOR_DRAWS` pairs of sets, multinomial with the real shares.

    Raises:
      InputError: one of the sets is empty.
    """
    rng, found = np.random.default_rng(seed), []
    count, count_real = (len(side[known[0].name]) for side in (generated, real))
    if not (count and count_real):
        raise InputError("attribute distances: one of the two sets is empty")
    for attribute in known:
        sizes = len(attribute.values)
        counts, counts_real = (np.bincount(side[attribute.name], minlength=sizes) for side in (generated, real))
        p, q = counts / count, counts_real / count_real
        draws = (rng.multinomial(number, q, FLOOR_DRAWS) for number in (count, count_real))
        lacking = (p < DROPPED * q) & (q * count >= LEAST_EXPECTED)
        found.append(
            AttributeDistance(
                attribute,
                float(total_variation(counts, counts_real)),
                float(total_variation(*draws).mean()),
                tuple(p.tolist()),
                tuple(q.tolist()),
                tuple(value for value, lacks in zip(attribute.values, lacking, strict=True) if lacks),
            )
        )
    return AttributeDistances(tuple(found), count, count_real, seed)


def of_features(
    name: str, generated: Float[np.ndarray, "n d"], real: Float[np.ndarray, "m d"], seed: int = 0
) -> AttributeDistances:
    """Computes the attribute distances from features.

    Args:
      name: the extractor of the features, one of `attributes.NAMES`.
      generated: features of the generated images.
      real: features of the real images.
      seed: the seed of the draws for the floors.

    Raises:
      InputError: the name is unknown, the features have other dimensions, or a set is empty.
    """
    reader = attributes.read(name)
    return attribute_distances(reader.predict(generated), reader.predict(real), reader.attributes, seed)


def table(found: Mapping[str, Any]) -> str:
    """Text for a person, made of the values of `AttributeDistances.as_dict`."""
    lines = [f"{'attributes':>18}  {found['mean']:.4f} total variation on average, floor {found['floor']:.4f}"]
    for name, row in found["by_attribute"].items():
        lines.append(f"{name:>18}  {row['distance']:.4f}, floor {row['floor']:.4f}")
    for row in found["dropped"]:
        shares = f"{row['generated']:.2%} of the generated images, {row['real']:.2%} of the real ones"
        lines.append(f"{'dropped':>18}  {row['attribute']} {row['value']}: {shares}")
    if not found["dropped"]:
        lines.append(f"{'dropped':>18}  none")
    return "\n".join(lines)
