"""CelebA-HQ 256x256, configuration A (Tables 2 to 4): 77,118,712 learnable parameters, 271,360 latent dims.

The paper's result: a Frechet distance of 27.3 with 8 bits (30,000 samples, sigma 0.8); see Table 1.
"""

from ml_collections import ConfigDict

from hcflow_jax import config as schema

CHANNEL, CHECKER2, CHECKER4, CHECKER8 = (("channel",), ("checker2",), ("checker4",), ("checker8",))


def rows(finest: int) -> dict[int, ConfigDict]:
    """The four rows of Tables 2 and 3: levels 256, 128, 32, 8 at 256 pixels; 128, 64, 32, 8 at 128 pixels.

    In the third row the paper prints flow and decoder noise 0.05, but the released preset has 0.4. For the preset's:
    `--config.model.levels.r32.flow_noise=0.4 --config.model.levels.r32.decoder_noise=0.4`.

    Args:
      finest: the resolution of the images, 256 or 128 pixels.
    """
    second = finest // 2
    return {
        finest: schema.level(
            channels=3,
            steps=2 * CHANNEL + 2 * CHECKER2,
            hidden=32,
            condition=16,
            unet_growth=1.1,
            unet_scales=2,
            unet_halvings=2,
            encoder=64,
            decoder=64,
        ),
        second: schema.level(
            channels=4,
            steps=2 * CHANNEL + 2 * CHECKER2 + 2 * CHECKER4 + 2 * CHECKER8,
            hidden=64,
            condition=32,
            unet_scales=2,
            unet_halvings=2,
            encoder=256,
            decoder=256,
            skip=8,
            end_unets=True,
            flow_noise=0.4,
            decoder_noise=0.4,
            weight=10.0,
        ),
        32: schema.level(
            channels=8,
            steps=2 * CHANNEL + 2 * CHECKER2 + 2 * CHECKER4 + 2 * CHECKER8,
            hidden=128,
            condition=64,
            encoder=256,
            decoder=512,
            skip=32,
            end_unets=True,
            flow_noise=0.05,
            decoder_noise=0.05,
            weight=10.0,
        ),
        8: schema.level(
            channels=8,
            steps=8 * CHANNEL,
            hidden=128,
            condition=128,
            encoder=256,
            decoder=512,
            skip=32,
            style=True,
            norm=True,
            flow_noise=0.05,
            decoder_noise=0.05,
        ),
    }


def get_config() -> ConfigDict:
    """Configuration A on CelebA-HQ.

    The paper weights y_1 and the prior by 1/512 each, the released preset by 1/508 and 1/4. For the preset's:
    `--config.model.top.y1.weight=0.001968503937007874 --config.model.top.prior.weight=0.25`.
    """
    config = schema.default()
    config.model.levels = schema.levels(rows(256))
    config.data.source = "tfds"
    config.data.name = "celeb_a_hq/256"
    config.data.resolution = 256
    return config
