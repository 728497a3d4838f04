"""What each level of a model adds: images decoded with more and more of their levels at zero."""

from collections.abc import Iterator

from hcflow_jax import api
from hcflow_jax.api.images import Images


def cumulative_zeroing(model: api.Model, latents: api.Latents) -> Iterator[tuple[str, Images]]:
    """Images with the finest level at zero, then with the two finest, and so on until all are.

    Args:
      model: from `api.load`.
      latents: of n images.

    Yields:
      A label, and the images, (n, R, R, 3) uint8; one pair for each level.
    """
    names = model.level_names
    for kept in range(len(names) - 1, -1, -1):
        label = "all = 0" if kept == 0 else f"z_{names[kept]} = 0" + ("" if kept == len(names) - 1 else " too")
        yield label, model.decode(model.zero(latents, names[kept:]))
