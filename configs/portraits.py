"""The model in the box: illustrated portraits at 32 px, all of configuration A's parts, for two cores."""

from ml_collections import ConfigDict

from hcflow_jax import config as schema


def get_config() -> ConfigDict:
    """Levels 32 and 8 and a top of 64, with two flow steps of every split, as configuration A's levels 128 and 32."""
    config = schema.default()
    config.model.levels = schema.levels(
        {
            32: schema.level(
                channels=3,
                steps=("channel", "channel", "checker2", "checker2", "checker4", "checker4", "checker8", "checker8"),
                hidden=32,
                condition=32,
                unet_growth=1.1,
                unet_scales=2,
                unet_halvings=1,
                encoder=32,
                decoder=64,
                end_unets=True,
            ),
            8: schema.level(
                channels=8,
                steps=("channel",) * 8,
                hidden=64,
                condition=32,
                encoder=64,
                decoder=64,
                skip=16,
                style=True,
                norm=True,
                flow_noise=0.05,
                decoder_noise=0.05,
            ),
        }
    )
    top = config.model.top
    top.dims, top.style_width, top.base_masked = 64, 64, (0, 64)
    top.prior.steps, top.prior.hidden = 4, 16
    top.y1.steps, top.y1.hidden, top.y1.condition = 4, 64, 16
    top.prior.weight = top.y1.weight = 1 / top.dims

    config.data.resolution = 32
    config.data.train_images, config.data.eval_images = 60_000, 1_024

    train = config.train
    train.batch_size = 8
    train.num_steps = 6_600
    train.images_per_epoch = 2_500
    train.freeze_epoch = 24
    train.warmup_steps = 200
    train.final_decay = 0.4
    train.log_every = 50
    train.eval_every = 1_500
    train.sample_every = 1_500
    train.watch_every = 3_000
    train.checkpoint_every = 500
    config.eval.images = 256
    config.eval.batch_size = 64
    return config
