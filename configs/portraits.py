"""The bundled model `portraits`: illustrated portraits at 32 px. Its model card describes its two training runs."""

from ml_collections import ConfigDict

from hcflow_jax.config import presets


def get_config() -> ConfigDict:
    """The demo's model for a longer run. The level of 32 px is wider, and has two flow steps for each split."""
    config = presets.config("demo")
    fine, coarse = config.model.levels.r32, config.model.levels.r8
    fine.steps = tuple(split for split in fine.steps for _ in range(2))
    fine.hidden = fine.condition = 32
    fine.decoder = 64
    coarse.steps = ("channel",) * 8

    config.data.train_images, config.data.eval_images = 60_000, 1_024

    train = config.train
    train.num_steps = 6_600
    train.optimizer = "adam"
    train.learning_rate.update(
        dict(encoder=5e-4, decoder=2e-3, flows=5e-3)
    )  # the paper's rates; those of the demo are for a short run
    train.images_per_epoch = 2_500
    train.warmup_steps = 200
    train.final_decay = 0.4
    train.ema_decay = 0.995
    train.log_every = 50
    train.eval_every = 1_500
    train.sample_every = 1_500
    train.watch_every = 3_000
    train.checkpoint_every = 500
    config.execution.freeze_program = True
    return config
