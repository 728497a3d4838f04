"""The demo: all parts of configuration A with small widths, for illustrated portraits of 32 px.

It trains in minutes on two CPU cores.
"""

from ml_collections import ConfigDict

from hcflow_jax import config as schema


def get_config() -> ConfigDict:
    """Levels 32 and 8, and a top of 64 dimensions. Epochs are short, so that averaging, decay and freeze happen."""
    config = schema.default()
    config.model.levels = schema.levels(
        {
            32: schema.level(
                channels=3,
                steps=("channel", "checker2", "checker4", "checker8"),
                hidden=24,
                condition=16,
                unet_growth=1.1,
                unet_scales=2,
                unet_halvings=1,
                encoder=32,
                decoder=48,
                end_unets=True,
            ),
            8: schema.level(
                channels=8,
                steps=("channel",) * 6,
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
    config.data.train_images, config.data.eval_images = 5_000, 256

    train = config.train
    train.batch_size = 8  # more steps in the same time than with 16, and 0.25 bits/dim better
    train.num_steps = 1_100
    train.images_per_epoch = 350
    train.freeze_epoch = 24
    # Muon, and three times the paper's rates: so short a run ends half a bit/dim lower than with Adam at these rates,
    # and one bit/dim lower than with Adam at the paper's.
    train.optimizer = "muon"
    train.learning_rate.update(dict(encoder=1.5e-3, decoder=6e-3, flows=1.5e-2))
    train.warmup_steps = 100
    train.final_decay = 0.35
    train.ema_decay = 0.98  # 0.995 would average over a fifth of a run this short
    train.log_every = 20
    train.eval_every = 0
    train.sample_every = 400
    train.watch_every = 0  # it would need one more program to compile
    train.checkpoint_every = 200
    config.execution.freeze_program = False  # compiling it would take longer than it saves in few steps
    config.eval.images = 256
    config.eval.batch_size = 64
    return config
