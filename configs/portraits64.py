"""Illustrated portraits at 64 px: levels 64, 32 and 8, about a third of the widths of configuration A.

It has 3,807,869 learnable parameters.
"""

from ml_collections import ConfigDict

from hcflow_jax import config as schema
from hcflow_jax.config import presets


def get_config() -> ConfigDict:
    """The card of the bundled model, hcflow_jax/box/portraits64.md, has the commands of its two runs."""
    config = presets.config("portraits")
    config.model.levels = schema.levels(
        {
            64: schema.level(
                channels=3,
                steps=("channel", "channel", "checker2", "checker2"),
                hidden=20,
                condition=12,
                unet_growth=1.1,
                unet_scales=2,
                unet_halvings=2,
                encoder=24,
                decoder=32,
            ),
            32: schema.level(
                channels=4,
                steps=("channel", "checker2", "checker4", "checker8"),
                hidden=40,
                condition=24,
                unet_scales=2,
                unet_halvings=1,
                encoder=64,
                decoder=80,
                skip=8,
                end_unets=True,
                flow_noise=0.05,
                decoder_noise=0.05,
            ),
            8: schema.level(
                channels=8,
                steps=("channel",) * 8,
                hidden=80,
                condition=48,
                encoder=80,
                decoder=96,
                skip=24,
                style=True,
                norm=True,
                flow_noise=0.05,
                decoder_noise=0.05,
            ),
        }
    )
    top = config.model.top
    top.dims, top.style_width, top.base_masked = 96, 96, (0, 96)
    top.y1.hidden, top.y1.condition = 80, 24
    top.prior.weight = top.y1.weight = 1 / top.dims
    config.data.resolution = 64
    return config
