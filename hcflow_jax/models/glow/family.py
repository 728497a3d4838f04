"""The family "glow", a `config.registry.Family`: the fields of its config, and its model.

Functions import JAX when they need it, so the fields can be read without it.
"""

from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from hcflow_jax.config.fields import COUNT, Field, need, one_of
from hcflow_jax.config.registry import Rate

if TYPE_CHECKING:
    from hcflow_jax.models.glow.model import Glow
    from hcflow_jax.models.glow.outline import GlowOutline

NAME = "glow"
ADDITIVE, AFFINE = COUPLINGS = ("additive", "affine")
FULL, LU = MIXINGS = ("full", "lu")
PYTORCH, OPENAI = VARIANTS = ("pytorch", "openai")

FIELDS = {
    "levels": Field(3, "L: levels; each halves the resolution, so data.resolution is a multiple of 2^L", rule=COUNT),
    "steps": Field(32, "K: flow steps of each level", "steps", COUNT),
    "hidden": Field(512, "width of the coupling networks", "channels", COUNT),
    "coupling": Field(
        AFFINE,
        "additive: z2 + shift; affine: (z2 + shift) sigmoid(scale + 2)",
        rule=one_of(*COUPLINGS),
    ),
    "mixing": Field(
        FULL,
        "how the 1x1 convolutions are parametrised: full: the matrix itself; lu: its LU decomposition",
        rule=one_of(*MIXINGS),
    ),
    "variant": Field(
        PYTORCH,
        "pytorch: zero padding; openai: an input channel more in 3x3 convolutions, which is 1 in the padding, and "
        "actnorms that store a third of their log-scale",
        rule=one_of(*VARIANTS),
    ),
}

RATES = {"all": Rate(1e-3)}

# No part is frozen, and images get only the uniform noise of dequantisation. A level has many equal steps, so they
# run in a loop: straight-line code would take long to compile.
DEFAULTS: dict[str, Any] = {
    "train.optimizer": "adamax",
    "train.freeze_epoch": 0,
    "data.noise_std": 0.0,
    "execution.loop": "scan",
}

IMAGE_CHANNELS = 3


def check(config: ConfigDict) -> None:
    """Checks that the resolution of the images can be halved once per level.

    Raises:
      ConfigError: one line that names the field and says what it must be.
    """
    resolution, factor = config.data.resolution, 2**config.model.levels
    fits = COUNT.holds(resolution) and resolution % factor == 0
    need("data.resolution", fits, f"be a multiple of 2^model.levels = {factor}", resolution)


def build(config: ConfigDict) -> "Glow":
    """Makes the model of a config, without checks. Use `hcflow_jax.models.build`, which checks the config first."""
    from hcflow_jax.models.glow import build as own

    return own.build(config)


def outline(model: "Glow") -> "GlowOutline":
    """The outline of a model; see `Family`."""
    from hcflow_jax.models.glow.outline import GlowOutline

    return GlowOutline(model)
