"""How samples and real images are chosen and prepared for a distance: presets by name, printed with the number.

- plain: 30,000 samples, or as many as there are reals; the reals as they are.
- paper: 30,000 samples at sigma 0.8 and the first as many reals of the whole set. The reals have `data.bits` bits
  and the training noise, and are cut to 8 bits; they are not mirrored. The authors' code does this.
- figure7: 25,000 samples and as many training images, drawn at random, with the training's augmentations: noise,
  bits, and mirroring where the config has it (Figure 7).
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
      samples: images that the model draws.
      as_many_as_reals: draw fewer if there are fewer reals; else that is an error.
      reals: "all" of them, the "first" `samples`, or as many at "random".
      split: which part of the data the reals are.
      sigma: standard deviation of the latents; None: the config's `sample.sigma`.
      noise: the reals are reduced to `data.bits` bits and get the training noise, then 8-bit values again.
      flip: the reals are mirrored at random where `data.flip` says so.
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
        """How many samples are drawn.

        Args:
          reals: how many real images there are.
          name: the name of their set, for messages.

        Raises:
          InputError: there are fewer reals than the protocol needs.
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
        """Which of the real images are taken, by their places in the set.

        Args:
          reals: how many there are.
          seed: the seed of the choice, for "random".
        """
        if self.reals == "all":
            return np.arange(reals)
        if self.reals == "first":
            return np.arange(self.samples)
        return np.sort(np.random.default_rng(seed).choice(reals, self.samples, replace=False))

    def about(self) -> dict[str, Any]:
        """As plain values."""
        return dataclasses.asdict(self)


PLAIN = Protocol("plain", 30_000, as_many_as_reals=True)
PAPER = Protocol("paper", 30_000, reals="first", split="all", sigma=0.8, noise=True)
FIGURE7 = Protocol("figure7", 25_000, reals="random", split="train", noise=True, flip=True)
PRESETS = {protocol.name: protocol for protocol in (PLAIN, PAPER, FIGURE7)}


def with_samples(protocol: Protocol, samples: int | None) -> Protocol:
    """The protocol with another number of samples: exactly so many. None: as it is.

    Raises:
      InputError: for fewer than 2.
    """
    if samples is None:
        return protocol
    if samples < 2:
        raise InputError(f"--samples {samples}: a distance needs at least 2")
    return dataclasses.replace(protocol, samples=samples, as_many_as_reals=False)
