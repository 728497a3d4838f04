"""The fields that every family of models has: how it is given images, trained, measured, sampled and computed.

The group `model`, the rate groups under `train.learning_rate` and `train.decay`, and defaults that a family wants
otherwise are the family's own: see `registry.Family`.
"""

from hcflow_jax.config.fields import COUNT, NOT_NEGATIVE, POSITIVE, WHOLE, Field, Rule, Tree, one_of

_FRACTION = Rule("be a fraction in [0, 1]", lambda value: 0 <= value <= 1)
_BELOW_ONE = Rule("be in [0, 1)", lambda value: 0 <= value < 1)
_BITS = Rule("be 1 to 8", lambda value: value in range(1, 9))
_DTYPE = one_of("auto", "float32", "bfloat16")


SEED = Field(0, "of everything random in training")

DATA: Tree = {
    "source": Field("portraits", "portraits, prepared, folder, zip, lsun or tfds", resume=True),
    "path": Field(
        "",
        "prepared, folder, lsun: the directory; zip: the file; tfds: its data_dir; portraits: the cache "
        '("": the user\'s own, for tfds and portraits)',
        resume=True,
    ),
    "name": Field(
        "",
        'tfds: the builder, such as celeb_a_hq/256; "": the prepared builder\'s directory is `data.path`',
        resume=True,
    ),
    "eval_path": Field(
        "", 'prepared, folder, zip, lsun: where the held-out images lie; "": at the end of the set', resume=True
    ),
    "resolution": Field(256, "of the images; equal to the finest level", unit="pixels"),
    "bits": Field(8, "kept of each 8-bit value", unit="bits", rule=_BITS),
    "noise_std": Field(
        0.005, "std of Gaussian noise on the images, where 1 is all 255 levels", unit="x", rule=NOT_NEGATIVE
    ),
    "flip": Field(True, "mirror half of the training images"),
    "style": Field("toon-head", "portraits: the illustrator's style", resume=True),
    "train_images": Field(12_000, "portraits: pictures drawn for training", unit="images", resume=True),
    "eval_images": Field(
        2_000,
        "portraits: pictures drawn to be held out; a set without held-out images of its own: how many of its last "
        "ones are, unless `data.eval_fraction` says which part",
        unit="images",
        resume=True,
    ),
    "eval_fraction": Field(0.0, "the part of a set that is held out; 0: `data.eval_images`", resume=True),
    "read_threads": Field(2, "each reads a batch at a time", unit="threads", resume=True),
    "read_timeout": Field(300.0, "without a batch after which a run ends and says so", unit="seconds", resume=True),
    "allow_other_images": Field(
        False, "resume though the training set is not the one the checkpoint was trained on", resume=True
    ),
}

TRAIN: Tree = {
    "batch_size": Field(16, "of all devices together; a multiple of the model's batch unit", "images", COUNT),
    "accumulate": Field(
        1, "that a device takes its share of the batch in, one after the other", "micro-batches", COUNT, resume=True
    ),
    "num_steps": Field(1_000_000, "the run's length", "steps", COUNT, resume=True),
    "images_per_epoch": Field(0, "an epoch; 0: the training set's size", "images", WHOLE),
    "init_images": Field(
        64, "that set the data-dependent parameters; a multiple of the model's batch unit", "images", COUNT
    ),
    "init_from": Field(
        "",
        "a workdir, a step in its checkpoints/, a weights file, or the name of a bundled model, whose EMA a fresh "
        'run starts from; "": none. A run that has a checkpoint resumes from that',
        resume=True,
    ),
    "optimizer": Field("adam", "of all rate groups", rule=one_of("adam", "adamax")),
    "decay_after": Field(10, "the rates fall at every even epoch above it", "epochs", WHOLE),
    "freeze_epoch": Field(
        60, "from which the model's frozen group (the encoder) stops learning; 0: never", "epochs", WHOLE
    ),
    "clip_norm": Field(50.0, "global norm of the gradients of what learns, at most", rule=POSITIVE),
    "warmup_steps": Field(0, "the rates rise linearly from 0", "steps", WHOLE),
    "warmup_images": Field(0, "likewise, in images; of the two only one may be set", "images", WHOLE),
    "final_decay": Field(
        0.0, "of the run, at its end, over which the rates fall linearly to 0", "fraction", _FRACTION
    ),
    "adam_b1": Field(0.9, "decay of the first moment"),
    "adam_b2": Field(0.999, "decay of the second moment (Adamax: of the infinity norm)"),
    "adam_eps": Field(1e-8, "added to the denominator"),
    "ema_decay": Field(0.995, "of the parameters' average, a step after epoch 0; a copy during it", rule=_BELOW_ONE),
    "log_every": Field(20, "between rows of metrics", "steps", COUNT, resume=True),
    "eval_every": Field(5_000, "between held-out evaluations; 0: only at the end", "steps", WHOLE, resume=True),
    "sample_every": Field(1_000, "between sample sheets; 0: only at the end", "steps", WHOLE, resume=True),
    "watch_every": Field(
        1_000, "between looks at the flows' scales and conditioning; 0: never", "steps", WHOLE, resume=True
    ),
    "checkpoint_every": Field(1_000, "between checkpoints; the last step is saved too", "steps", COUNT, resume=True),
    "keep_checkpoints": Field(3, "of the newest that are kept", "checkpoints", COUNT, resume=True),
    "keep_every": Field(0, "checkpoints at its multiples are kept besides; 0: none", "steps", WHOLE, resume=True),
    "max_skipped": Field(
        20, "in a row without a finite loss and gradient that end a run; 0: never", "steps", WHOLE, resume=True
    ),
}

EVAL: Tree = {
    "images": Field(2_000, "held out that the bound is taken over; at most those there are", "images", resume=True),
    "batch_size": Field(16, "a multiple of the model's batch unit", "images", COUNT, resume=True),
    "seed": Field(1, "of the bound's noise: fold_in(key(eval.seed), index of the image)", resume=True),
}

SAMPLE: Tree = {
    "count": Field(64, "on a sheet", "images", COUNT, resume=True),
    "sigma": Field(
        0.7, "std of the latents above 1x1 (1 at the top): Figures 4 and 11", rule=NOT_NEGATIVE, resume=True
    ),
    "seed": Field(0, "of the latents", resume=True),
}

EXECUTION: Tree = {
    "preset": Field(
        "auto", "whose choices `auto` stands for below", rule=one_of("auto", "cpu", "gpu", "tpu"), resume=True
    ),
    "dtype": Field("auto", "the networks' arithmetic (flows stay float32)", rule=_DTYPE, resume=True),
    "encoder_dtype": Field(
        "auto",
        "the encoder's, if other than `execution.dtype`; bfloat16 makes its gradient noisier",
        rule=_DTYPE,
        resume=True,
    ),
    "loop": Field("auto", "steps of like shape", rule=one_of("auto", "scan", "unroll"), resume=True),
    "conv": Field(
        "auto",
        "how a convolution and its gradients are computed",
        rule=one_of("auto", "xla", "shifted", "padded"),
        resume=True,
    ),
    "resample": Field(
        "auto",
        "halving and doubling elementwise, or as matrix products",
        rule=one_of("auto", "taps", "matrix"),
        resume=True,
    ),
    "gain": Field(
        "auto",
        "where a layer's constant factor is multiplied in",
        rule=one_of("auto", "weights", "result"),
        resume=True,
    ),
    "halves": Field(
        "auto",
        "a layer's output in halves: by one convolution, or one each",
        rule=one_of("auto", "one", "each"),
        resume=True,
    ),
    "freeze_program": Field(
        True, "compile a second step, without the frozen group's gradients, for after its freeze", resume=True
    ),
    "backward": Field(
        "store",
        "what the gradient keeps of the flow steps: all activations (the quickest); each step's input, its network "
        "runs once more; or nothing, inputs are rebuilt through the inverse and gradients carry its rounding",
        rule=one_of("store", "recompute", "reversible"),
        resume=True,
    ),
}
