"""Features of images: applies a network to any number of images, on all devices."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, UInt8

from hcflow_jax import batches, devices

Images = UInt8[np.ndarray, "n R R 3"]


def features(
    network: Callable[[Any, UInt8[Array, "b R R 3"]], Float[Array, "b *d"]],
    params: Any,
    images: Images | Iterable[Images],
    batch_size: int,
    mesh: Mesh | None = None,
) -> Iterator[Float[np.ndarray, "b *d"]]:
    """Computes features of images, one batch after another.

    Args:
      network: a function (params, images) -> features. It is compiled. The feature of an image must not depend on
        other images.
      params: the parameters of the network, a pytree.
      images: (n, R, R, 3), or an iterable of such arrays of any n, such as `Model.sample_batches`.
      batch_size: the largest number of images that a device takes at once.
      mesh: the devices that share every batch; None: all devices of this process.

    Yields:
      Features (b, ...), in the order of the images, with the dtype that the network returns.

    >>> means = features(lambda _, x: x.mean((1, 2)), {}, np.ones((5, 8, 8, 3), np.uint8), batch_size=4)
    >>> [part.shape for part in means]
    [(4, 3), (1, 3)]
    """
    mesh = devices.in_a_row(jax.local_devices()) if mesh is None else mesh
    params, where = devices.place(devices.replicated(mesh), params), devices.split(mesh)
    compiled = jax.jit(network)
    each = [images] if isinstance(images, np.ndarray) else images
    return batches.stream(
        lambda batch: compiled(params, batch),
        each,
        batch_size * mesh.size,
        mesh.size,
        lambda batch: devices.place(where, batch),
    )
