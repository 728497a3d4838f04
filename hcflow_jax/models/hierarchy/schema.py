"""The fields of a hierarchy's config: its levels (each a row of Tables 2 and 3), the 1x1 top, and the rate groups."""

from typing import Any

from ml_collections import ConfigDict

from hcflow_jax.config import schema
from hcflow_jax.config.fields import COUNT, NOT_NEGATIVE, POSITIVE, REQUIRED, WHOLE, Field, Rows, Rule, Tree, one_of
from hcflow_jax.config.registry import Rate

_EVEN = Rule("be even and above 0", lambda value: COUNT.holds(value) and value % 2 == 0)
_GROUP = Rule("be 2 or more", lambda value: COUNT.holds(value) and value >= 2)

ROW: Tree = {
    "channels": Field(REQUIRED, "c, channels of y_R (3 at the finest level: the image)", rule=COUNT),
    "steps": Field(REQUIRED, "coupling splits, nearest the data first: channel, checker2, checker4 or checker8"),
    "hidden": Field(REQUIRED, "h, width of the coupling networks", rule=_EVEN),
    "condition": Field(REQUIRED, "e, width of what the couplings are conditioned on", rule=COUNT),
    "encoder": Field(REQUIRED, "width of the encoder stages that start at this resolution", rule=COUNT),
    "decoder": Field(REQUIRED, "d, width of the decoder that conditions this level", rule=COUNT),
    "unet_growth": Field(1.2, "q: width i of a checkerboard U-Net is floor(hidden * q^i)"),
    "unet_scales": Field(1, "n: scales of a checkerboard U-Net", rule=COUNT),
    "unet_halvings": Field(1, "t: halvings between two scales", rule=COUNT),
    "skip": Field(0, "channels handed to the decoder of the next finer level; 0 at the finest", rule=WHOLE),
    "end_unets": Field(False, "refine start_b and end_b with a U-Net"),
    "style": Field(False, "modulate the decoder with the style vector"),
    "norm": Field(False, "instance norm in the decoder and its U-Nets"),
    "orthogonal": Field(False, "orthogonal instead of free-form 1x1 mixing"),
    "mixing_multiplier": Field(0.3, "M: learning-rate multiplier of the mixing", rule=POSITIVE),
    "flow_noise": Field(0.0, "alpha: noise on y_R as input of its flow", "sigma(y_R)", NOT_NEGATIVE),
    "decoder_noise": Field(
        0.0, "alpha': noise on y_R as input of the next finer decoder", "sigma(y_R)", NOT_NEGATIVE
    ),
    "weight": Field(1.0, "k: weight of the level's bits per own dimension in the loss", rule=NOT_NEGATIVE),
    "prior_std": Field(
        1.0, "standard deviation of z_R under the prior; sampling multiplies by it too", rule=POSITIVE
    ),
}


def _part(own: Tree, *, steps: int, hidden: int) -> Tree:
    """The fields of y_prior or y_1.

    Args:
      own: the fields that only this part has.
      steps: the default number of flow steps.
      hidden: the default width of the coupling networks.
    """
    return {
        **own,
        "steps": Field(steps, "flow steps", rule=COUNT),
        "hidden": Field(hidden, "width of the coupling networks", rule=_EVEN),
        "flow_noise": Field(0.05, "as a level's", "sigma(y)", NOT_NEGATIVE),
        "decoder_noise": Field(0.075, "as a level's", "sigma(y)", NOT_NEGATIVE),
        "weight": Field(
            1 / 512, "w: weight of the part's bits in the loss; it is not divided by dims", rule=NOT_NEGATIVE
        ),
    }


FIELDS: Tree = {
    "levels": Rows(ROW, "r<resolution>", "a level; resolutions fall by 2 or 4 down to 8"),
    "top": {
        "dims": Field(512, "length of y_top, and width of the encoder's last two stages", rule=COUNT),
        "style_width": Field(512, "width of the style network", rule=COUNT),
        "style_layers": Field(6, "layers of the style network", rule=COUNT),
        "style_multiplier": Field(0.2, "m, learning-rate multiplier of the style network"),
        "style_masked": Field((0, 4), "channels [a, b) of y_top that the style network does not see"),
        "base_masked": Field((0, 512), "channels [a, b) of y_top that the 4x4 base does not see"),
        "mixing_multiplier": Field(0.1, "M of the top's mixings"),
        "orthogonal": Field(True, "orthogonal instead of free-form mixing"),
        "prior": _part({"dims": Field(4, "length of y_prior")}, steps=8, hidden=64),
        "y1": _part(
            {"condition": Field(32, "width of what the couplings are conditioned on", rule=COUNT)},
            steps=8,
            hidden=512,
        ),
    },
    "encoder_multiplier": Field(10.0, "m, learning-rate multiplier of the encoder's layers"),
    "decoder_multiplier": Field(10.0, "m, learning-rate multiplier of the decoder's own convolutions"),
    "stop_gradient": Field(True, "the flows' inputs pass no gradient to the encoder"),
    "loss": Field(
        "weighted",
        "weighted: the levels' bits, each times its weight. bound: the bound itself, in bits/dim of the "
        "image without the bits of the data; the entropies of the noise then pass gradients",
        rule=one_of("weighted", "bound"),
    ),
    "statistics_group": Field(
        4,
        'size of the statistics group, over which sigma(y) is taken: "Batch size Var(X)" of Table 2',
        "images",
        rule=_GROUP,
    ),
}

# Learning rates and decay factors of Table 2.
RATES = {"encoder": Rate(5e-4, 0.92), "decoder": Rate(2e-3, 0.95), "flows": Rate(5e-3, 0.95)}

DEFAULTS: dict[str, Any] = {}


def level(
    *,
    channels: int,
    steps: tuple[str, ...],
    hidden: int,
    condition: int,
    encoder: int,
    decoder: int,
    **overrides: Any,
) -> ConfigDict:
    """The fields of one level of the hierarchy: a row of Tables 2 and 3.

    Args:
      channels: c, the number of channels of y_R (3 at the finest level, where y_R is the image).
      steps: the split of each coupling, in `forward` order: "channel", "checker2", "checker4" or "checker8".
      hidden: h, the width of the coupling networks; even.
      condition: e, the number of channels of the couplings' conditioning.
      encoder: the width of the encoder stages that start at this resolution.
      decoder: d, the width of the decoder that conditions this level.
      **overrides: any other fields of `ROW`.

    Returns:
      The fields of the level, locked.

    Raises:
      ConfigError: an override is not a field of `ROW`.
    """
    required = dict(
        channels=channels,
        steps=tuple(steps),
        hidden=hidden,
        condition=condition,
        encoder=encoder,
        decoder=decoder,
    )
    return schema.with_defaults(ROW, {**required, **overrides}, "level")
