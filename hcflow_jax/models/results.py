"""What the methods of a model give: `Objective` and `LevelMap`."""

from flax import struct
from jax.tree_util import Partial
from jaxtyping import Array, Float

PerSample = Float[Array, " b"]


@struct.dataclass
class Objective:
    """The result of `ImageModel.objective` for each image of a batch.

    Attributes:
      loss: (b,), bits, with the model's weights of its levels; training minimises its mean over the batch.
      bits_per_dim: (b,), -log2 p(image) or an upper bound on it, over the 3 R^2 dimensions; NaN if undefined.
      bits_by_level: each level's share of `bits_per_dim`. `bits_per_dim` is the sum of the shares and `data.bits`.
    """

    loss: PerSample
    bits_per_dim: PerSample
    bits_by_level: dict[str, PerSample]


@struct.dataclass
class LevelMap:
    """The bijection of one level at some images: the one whose log-determinant `ImageModel.encode` returns. A pytree.

    Attributes:
      y: its input at the images, (b, ...).
      forward: y -> (the result, its log-determinant (b,) in nats). Samples do not depend on each other.
      inverse: the inverse of `forward`; its log-determinant is the negative of forward's.
    """

    y: Array
    forward: Partial
    inverse: Partial
