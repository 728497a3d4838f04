"""The schema: every field of a config with its default and unit. Files in `configs/` only override it.

A config is a locked `ml_collections.ConfigDict`, so a misspelt field is refused where it is written. What a
value may be is checked by `hcflow_jax.models.build`, before anything compiles. Sections, equations and tables
are those of the paper ("Invertible Hierarchical Generative Model for Images", TMLR 2023).
"""

import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax.errors import InputError


class ConfigError(InputError):
    """A config whose values cannot make a model or a run; the message names the field in one line."""


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
    """One level of the hierarchy: a row of Tables 2 and 3.

    Args:
      channels: c, channels of y_R (3 at the finest level: the image).
      steps: coupling splits, nearest the data first: "channel", "checker2", "checker4" or "checker8".
      hidden: h, width of the coupling networks; even.
      condition: e, width of what the couplings are conditioned on.
      encoder: width of the encoder stages that start at this resolution.
      decoder: d, width of the decoder that conditions this level.
      **overrides: any other field below.

    Returns:
      The level's fields, locked.

    Raises:
      AttributeError or KeyError: for a misspelt override.
    """
    fields = ConfigDict(
        dict(
            channels=channels,
            steps=tuple(steps),
            hidden=hidden,
            condition=condition,
            encoder=encoder,
            decoder=decoder,
            unet_growth=1.2,  # q: width i of a checkerboard U-Net is floor(hidden * q**i)
            unet_scales=1,  # n: scales of a checkerboard U-Net
            unet_halvings=1,  # t: halvings between two scales
            skip=0,  # channels handed to the decoder of the next finer level; 0 at the finest
            end_unets=False,  # refine start_b and end_b with a U-Net
            style=False,  # modulate the decoder with the style vector
            norm=False,  # instance norm in the decoder and its U-Nets
            orthogonal=False,  # orthogonal instead of free-form 1x1 mixing
            mixing_multiplier=0.3,  # M: learning-rate multiplier of the mixing
            flow_noise=0.0,  # alpha: noise on y_R as input of its flow, in units of sigma(y_R)
            decoder_noise=0.0,  # alpha': noise on y_R as input of the next finer decoder, likewise
            weight=1.0,  # k: weight of the level's bits per own dimension in the loss
            prior_std=1.0,  # std of z_R under the prior; sampling multiplies by it too
        )
    )
    with fields.unlocked():
        for name, value in overrides.items():
            if name not in fields:
                raise ConfigError(f"level has no field {name!r}; it has {', '.join(sorted(fields))}")
            fields[name] = value
    return fields.lock()


def levels(rows: Mapping[int, ConfigDict]) -> ConfigDict:
    """Levels keyed by resolution, as `config.model.levels` holds them: r256, r128, ...

    The "r" makes every field reachable on the command line: `--config.model.levels.r32.hidden=64`.
    """
    return ConfigDict({f"r{resolution}": row for resolution, row in rows.items()})


def _model() -> ConfigDict:
    return ConfigDict(
        dict(
            levels=ConfigDict({}),  # see `level`; finest first, resolutions falling by 2 or 4 down to 8
            top=dict(  # the 1x1 vector y_top = [y_prior | y_1] and everything at 1x1
                dims=512,  # length of y_top, and width of the encoder's last two stages
                style_width=512,  # width of the style network
                style_layers=6,
                style_multiplier=0.2,  # m of the style network
                style_masked=(0, 4),  # channels [a, b) of y_top that the style network does not see
                base_masked=(0, 512),  # channels [a, b) of y_top that the 4x4 base does not see
                mixing_multiplier=0.1,  # M of the top's mixings
                orthogonal=True,  # orthogonal (else free-form) mixing
                prior=dict(
                    dims=4, steps=8, hidden=64, flow_noise=0.05, decoder_noise=0.075, weight=1 / 512
                ),  # weight: w itself, not times 1/dims
                y1=dict(steps=8, hidden=512, condition=32, flow_noise=0.05, decoder_noise=0.075, weight=1 / 512),
            ),
            encoder_multiplier=10.0,  # m of the encoder's layers
            decoder_multiplier=10.0,  # m of the decoder's own convolutions
            statistics_group=4,  # samples over which sigma(y) is taken: "Batch size Var(X)" of Table 2
        )
    )


def _data() -> ConfigDict:
    return ConfigDict(
        dict(
            source="portraits",  # portraits | prepared | folder | zip | lsun | tfds
            # prepared, folder, lsun: the directory; zip: the file; tfds: its data_dir; portraits: the cache.
            # "": the user's own, for tfds and portraits
            path="",
            name="",  # tfds: the builder, e.g. celeb_a_hq/256; "": the prepared builder's directory is data.path
            eval_path="",  # prepared, folder, zip, lsun: where the held-out images lie; "": the set's end
            resolution=256,  # pixels; equal to the finest level
            bits=8,  # bits kept of each 8-bit value
            noise_std=0.005,  # Gaussian noise on the images, in units of x (255 levels = 1)
            flip=True,  # mirror half of the training images
            style="toon-head",  # portraits: the illustrator's style
            train_images=12_000,  # portraits: pictures drawn for training
            # portraits: pictures drawn to be held out; a set without held-out images of its own: how many of its
            # last ones are, unless eval_fraction says which part of it
            eval_images=2_000,
            eval_fraction=0.0,  # 0: eval_images
            read_threads=2,  # each reads a batch at a time
            read_timeout=300.0,  # seconds without a batch after which a run ends, saying so
            allow_other_images=False,  # resume though the training set is not the one the checkpoint was trained on
        )
    )


def _train() -> ConfigDict:
    return ConfigDict(
        dict(
            batch_size=16,  # global; a multiple of model.statistics_group
            accumulate=1,  # micro-batches that a device takes its share of the batch in, one after the other
            num_steps=1_000_000,
            images_per_epoch=0,  # an epoch, in images; 0: the training set's size
            init_images=64,  # images that initialise the actnorms; a multiple of model.statistics_group
            # A workdir, a step in its checkpoints/, a weights file, or the name of a model in the box: whose EMA a
            # fresh run starts from, its actnorms as they are. "": none. A run that has a checkpoint of its own
            # resumes from that.
            init_from="",
            learning_rate=dict(encoder=5e-4, decoder=2e-3, flows=5e-3),
            decay=dict(encoder=0.92, decoder=0.95, flows=0.95),  # factor at every even epoch above decay_after
            decay_after=10,  # epochs
            freeze_epoch=60,  # the encoder stops learning from this epoch on; 0: never
            clip_norm=50.0,  # global norm of the gradients of what learns
            warmup_steps=0,  # linear warm-up from 0
            warmup_images=0,  # the same in images; 0: none
            optimizer="adam",  # adam | adamax
            final_decay=0.0,  # fraction of the run, at its end, over which the rates fall linearly to 0
            adam_b1=0.9,
            adam_b2=0.999,
            adam_eps=1e-8,
            ema_decay=0.995,  # per step after epoch 0; a copy during it
            log_every=20,  # steps
            eval_every=5_000,  # steps; 0: only at the end
            sample_every=1_000,  # steps between sample sheets; 0: only at the end
            watch_every=1_000,  # steps between looks at the flows' scales and conditioning; 0: never
            checkpoint_every=1_000,  # steps; the last step is always saved
            keep_checkpoints=3,  # of the newest
            keep_every=0,  # steps; those saved at its multiples are kept besides; 0: none
            max_skipped=20,  # steps in a row without a finite loss and gradient that end a run; 0: never
        )
    )


def default() -> ConfigDict:
    """The default config: everything but the levels, with the paper's values for CelebA-HQ.

    Returns:
      A locked ConfigDict; `config.model.levels` is to be set from `levels({256: level(...), ...})`.
    """
    return ConfigDict(
        dict(
            seed=0,
            model=_model(),
            data=_data(),
            train=_train(),
            eval=dict(
                images=2_000,  # held-out images the bound is taken over; at most those there are
                batch_size=16,
                seed=1,  # noise of the bound: fold_in(key(eval.seed), index of the image)
            ),
            sample=dict(
                count=64,  # images on a sheet
                sigma=0.7,  # std of the latents above 1x1 (1 at the top): Figures 4 and 11
                seed=0,
            ),
            execution=dict(  # how the same function is computed; "auto" takes the backend's preset
                preset="auto",  # auto | cpu | gpu | tpu
                dtype="auto",  # auto | float32 | bfloat16: the networks' arithmetic (flows stay float32)
                encoder_dtype="auto",  # auto (as dtype) | float32 | bfloat16, with a noisier gradient
                loop="auto",  # auto | scan | unroll: steps of like shape
                conv="auto",  # auto | xla | shifted | padded: how a convolution and its gradients are computed
                resample="auto",  # auto | taps | matrix: halving and doubling elementwise, or as matrix products
                gain="auto",  # auto | weights | result: where a layer's constant factor is multiplied in
                halves="auto",  # auto | one | each: a layer's output in halves, by one convolution or one each
                freeze_program=True,  # compile a second step, without the encoder's gradients, for after its freeze
                # What the gradient has of the flow steps' activations:
                #   store       all of them: the quickest, and memory that grows by a network's activations a step
                #   recompute   each step's input; its network runs once more: memory grows by an input a step
                #   reversible  nothing: inputs are rebuilt through the inverse, a network once more: memory does not
                #               grow, gradients carry the rounding of what is rebuilt
                backward="store",
            ),
        )
    ).lock()


def config_to_plain(config: ConfigDict) -> dict[str, Any]:
    """A config as JSON's own types."""
    return json.loads(config.to_json())


def config_from_plain(plain: Mapping[str, Any]) -> ConfigDict:
    """The config that `config_to_plain` wrote, locked. JSON has no tuples, and a config has no lists."""

    def tuples(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: tuples(v) for name, v in value.items()}
        return tuple(tuples(v) for v in value) if isinstance(value, list) else value

    return ConfigDict(_with_fields_of_today(tuples(plain))).lock()


def _with_fields_of_today(plain: Mapping[str, Any]) -> dict[str, Any]:
    """A stored config's fields, with those of `execution`, `data` and `train` that there are now.

    How a model is computed, trained and given its images is no part of what it is, so an older checkpoint need not
    name every choice: a field that came since takes its default, one that went is dropped. A missing group stays
    missing.
    """
    groups = {}
    for group in ("execution", "data", "train"):
        if group in plain:
            fields = default()[group].to_dict()
            kept = {name: value for name, value in plain[group].items() if name in fields}
            groups[group] = {**fields, **kept}
    return {**plain, **groups}
