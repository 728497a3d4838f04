"""Protocols: how samples and real images are chosen and prepared for a distance.

Each preset has a name, which is printed with the distance:

- plain: 30,000 samples, or as many as there are real images. All real images are used unchanged.
- paper: 30,000 samples at sigma 0.8, and the first 30,000 real images of the whole set. The real images are reduced
  to `data.bits` bits, get the training noise, and become 8-bit values again. They are not mirrored. The authors' code
  does this.
- figure7: 25,000 samples and 25,000 training images, chosen at random, with the training augmentations: bits, noise,
  and mirroring if the config has it (Figure 7).
"""

import dataclasses
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from hcflow_jax.errors import InputError

Split = Literal["train", "eval", "all"]
SPLITS: tuple[Split, ...] = ("train", "eval", "all")


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a distance is measured.

    Attributes:
      name: the name of the preset.
      samples: the number of images that the model draws.
      as_many_as_reals: draw fewer samples if there are fewer real images.
      reals: which real images are used: "all", the "first" `samples`, or `samples` at "random".
      split: the split of the data that the real images are from.
      sigma: the standard deviation of the latents; None: the model's or the config's, see `metrics.Options`.
      noise: whether the real images are reduced to `data.bits` bits, get the training noise, and become 8-bit values
        again.
      flip: whether the real images are mirrored at random if `data.flip` is True.
    """

    name: str
    samples: int
    as_many_as_reals: bool = False
    reals: Literal["all", "first", "random"] = "all"
    split: Split = "eval"
    sigma: float | None = None
    noise: bool = False
    flip: bool = False

    def count(self, reals: int, name: str) -> int:
        """The number of samples to draw.

        Args:
          reals: the number of real images in the set.
          name: the name of the set, for messages.

        Raises:
          InputError: there are fewer real images than the protocol needs.
        """
        if self.as_many_as_reals:
            return min(self.samples, reals)
        if self.reals != "all" and reals < self.samples:
            raise InputError(
                f"{name}: holds {reals:,} images, and the protocol {self.name!r} takes {self.samples:,} of them: "
                f"give --samples {reals} or fewer, or --split all"
            )
        return self.samples

    def places(self, reals: int, seed: int) -> Int[np.ndarray, " n"]:
        """The indices of the real images that are used.

        Args:
          reals: the number of real images in the set.
          seed: the seed of the choice, for "random".
        """
        if self.reals == "all":
            return np.arange(reals)
        if self.reals == "first":
            return np.arange(self.samples)
        return np.sort(np.random.default_rng(seed).choice(reals, self.samples, replace=False))

    def about(self, samples: int) -> dict[str, Any]:
        """The name of the protocol, which real images it chose, and the number of samples that were used."""
        return {"name": self.name, "reals": self.reals, "samples": samples}


PLAIN = Protocol("plain", 30_000, as_many_as_reals=True)
PAPER = Protocol("paper", 30_000, reals="first", split="all", sigma=0.8, noise=True)
FIGURE7 = Protocol("figure7", 25_000, reals="random", split="train", noise=True, flip=True)
PRESETS = {protocol.name: protocol for protocol in (PLAIN, PAPER, FIGURE7)}


def with_samples(protocol: Protocol, samples: int | None) -> Protocol:
    """The protocol with exactly `samples` samples. None: the protocol unchanged.

    Raises:
      InputError: `samples` is less than 2.
    """
    if samples is None:
        return protocol
    if samples < 2:
        raise InputError(f"--samples {samples}: a distance needs at least 2")
    return dataclasses.replace(protocol, samples=samples, as_many_as_reals=False)
